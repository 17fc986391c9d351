/// What one run does: who reads where, what is published, what is measured.

import Glibc

/// A fault that keeps a run from being made.
package struct LoadFailure: Error, Equatable {
    /// What a script is told.
    package enum Kind: Sendable {
        /// The plan cannot be carried out as it is written.
        case usage
        /// A server cannot be reached, or stopped answering.
        case unavailable
        /// The machine refused something.
        case system
    }

    /// What a script is told.
    package let kind: Kind
    /// One line for a person.
    package let text: String

    package init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }
}

/// One run's orders. Everything counted is bounded by `check`, so that the rest may allocate by it.
package struct LoadPlan: Sendable {
    /// Where readers go, and how many each way.
    package var readers: [(route: Route, count: Int)] = []
    /// Where publishers go; nil where others publish, and then only counts are known.
    package var publishing: PublishRoute?
    /// How many publishers take turns.
    package var publishers = 1
    /// The channels' names; empty for the server's default. Reader i reads channel i mod count.
    package var channels: [String] = []
    /// Events measured. With `durationSeconds` it is not used.
    package var events = 200
    /// Events before them, for each reader, one at a time.
    package var warm = 40
    /// Events for each reader before it connects: it comes back to the place before them.
    package var behind = 0
    /// Seconds between those and the first reader.
    package var leadSeconds = 0
    /// Readers ask for the state instead: every event that was published before them is a row of it.
    package var wantsSnapshot = false
    /// Size of an event in bytes as published.
    package var bytes = 200
    /// Closed loop: so many at once, when every reader has the last ones.
    package var burst = 1
    /// Events a second, due at fixed times; 0 is the closed loop.
    package var rate = 0
    /// Measures so long instead of a number of events; nil for the number.
    package var durationSeconds: Int?
    /// Share of readers that stop reading after warming, 0 to 1.
    package var stalledShare = 0.0
    /// Share of readers that take 1 KiB a second.
    package var crawlingShare = 0.0
    /// Readers replaced each second.
    package var churnPerSecond = 0
    /// Connects as fast as it can and goes.
    package var isStorm = false
    /// Seconds of idling between connecting and publishing.
    package var holdSeconds = 0
    /// The processes whose CPU and memory are measured.
    package var serverPIDs: [pid_t] = []
    /// The descriptor that a publisher without a destination writes to.
    package var input: Int32 = -1
    /// Nothing for so long ends the run.
    package var patienceSeconds = 30
    /// Faults written out; further ones are only counted.
    package var faultsShownMax = 10
    /// Whether a line of progress is written to standard error each second.
    package var showsProgress = false

    package init() {}

    /// Events of one run, warming ones too: their numbers have 32 bits.
    static let eventsMax = 4_000_000_000
    private static let addressesMax = 64
    private static let bytesAtOnceMax = 256 << 20

    /// How many readers there are.
    package var readerCount: Int { readers.reduce(0) { $0 + $1.count } }
    /// How many channels there are.
    var channelCount: Int { max(1, channels.count) }
    /// The first number, with every publisher, that is measured.
    var firstMeasured: Int { readerCount == 0 ? 0 : numbers(behind) + numbers(warm) }
    /// Numbers of each publisher that give every reader so many events.
    private func numbers(_ each: Int) -> Int { (each + publishers - 1) / publishers * channelCount }
    /// Events of all publishers that are there before the first reader.
    var behindTotal: Int { numbers(behind) * publishers }
    /// How many of them a publisher gives at once: over HTTP they are one request.
    var fillBatch: Int { max(1, min(256, (512 << 10) / bytes)) }
    /// Events of all publishers before what is measured.
    var warmTotal: Int { firstMeasured * publishers }

    /// The most of each, with what the limit is for.
    package func check() throws(LoadFailure) {
        func require(_ holds: Bool, _ text: String) throws(LoadFailure) {
            if !holds { throw LoadFailure(.usage, text) }
        }
        try require(readerCount > 0 || publishing != nil, "without readers and publishers there is nothing to measure")
        try require((1...64).contains(publishers), "there are 1 to 64 publishers")
        try require(
            (BenchEvent.bytesMin...262_144).contains(bytes), "an event has \(BenchEvent.bytesMin) to 262144 bytes")
        try require((1...100_000).contains(burst), "a burst has 1 to 100000 events")
        try require(burst * bytes <= Self.bytesAtOnceMax, "a burst of more than 256 MiB")
        try require(
            warmTotal == 0 || channelCount * publishers * bytes <= Self.bytesAtOnceMax,
            "warming gives every channel an event of every publisher at once: here more than 256 MiB")
        try require((0...1_000_000_000).contains(events), "there are at most 1000000000 events")
        try require(warmTotal <= Self.eventsMax - events, "warming takes more than 3000000000 events")
        try require(readers.count <= Self.addressesMax, "readers go to at most \(Self.addressesMax) addresses")
        try require(stalledShare + crawlingShare <= 1, "the shares of stalled and crawling readers exceed the whole")
        try require(!isStorm || readerCount > 0, "a storm needs readers")
        try require(behind > 0 || !wantsSnapshot, "--snapshot needs --behind: so many rows the state has")
        try require(behind > 0 || leadSeconds == 0, "--lead needs --behind")
        guard behind > 0 else { return }
        try require(
            publishing?.destination != nil && readerCount > 0,
            "--behind needs readers, and an address to publish to before they come")
        try require(!isStorm && churnPerSecond == 0, "--behind goes with neither --storm nor --churn")
        try require(
            readers.allSatisfy { [.jsonl, .jsonlHTTP, .sse, .ws].contains($0.route.dialect) },
            "--behind needs readers that can ask for a place: jsonl, sse or ws")
    }
}
