/// What a run has found, as numbers.

/// The outcome of one run. What was not measured is nil.
package struct LoadResult: Sendable {
    // What was asked for.
    package var transport = ""
    package var readers = 0
    package var channels = 1
    package var publishers = 1
    package var events = 0
    package var bytes = 0
    package var burst = 1
    package var rate = 0
    package var stalled = 0
    package var crawling = 0
    package var churn = 0
    package var behind = 0
    package var wasSnapshot = false

    /// Events received in the measured time, by all readers together.
    package var deliveries = 0
    /// Deliveries that were wrong: holes, repetitions, foreign bytes, streams that ended.
    package var faults = 0
    /// How often readers were told that events are missing.
    package var gaps = 0
    /// How many streams the server ended.
    package var ends = 0
    /// From the first measured event until the last reader had the last one.
    package var seconds: Double?
    /// Events published in each of them; where others publish, received by each reader.
    package var eventsPerSecond: Double?
    /// What readers received in the measured time, framing included.
    package var receivedBytes = 0

    /// The server's CPU in microseconds, all its threads, where its process is known; then the parts, where enough was
    /// used to tell them.
    package var cpuPerDelivery: Double?
    package var userPerDelivery: Double?
    package var systemPerDelivery: Double?
    package var cpuPerEvent: Double?
    /// The server's resident memory in bytes: before the first reader, with all of them idle, and at most.
    package var residentStart: Int?
    package var residentConnected: Int?
    package var residentPeak: Int?
    /// Of one core, while nothing was published.
    package var idleCPUPercent: Double?

    /// From the first connection until every reader's stream had begun.
    package var connectSeconds: Double?
    package var connectsPerSecond: Double?
    /// The server's CPU for each of them, in microseconds.
    package var cpuPerConnect: Double?
    /// With readers that came back: from the first connection until each of them had all that was published before, the
    /// server's CPU for each of these deliveries in microseconds, and how much its resident memory grew meanwhile.
    package var behindSeconds: Double?
    package var cpuPerReplayed: Double?
    package var residentGrowthBehind: Int?
    /// This process's own CPU in microseconds.
    package var clientPerDelivery: Double?

    /// Microseconds below which half, 99 %, 99.9 % and all deliveries lay.
    package var latency: (p50: Double, p99: Double, p999: Double, max: Double)?
    package var histogram: [(upperNanoseconds: UInt64, count: UInt64)] = []
    /// Whether somebody ended the run before its time.
    package var isInterrupted = false

    package init() {}
}
