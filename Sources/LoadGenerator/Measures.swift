/// The readings of a run's meters, and when they were taken.

import ClientSockets
import Glibc

/// Clocks are CLOCK_MONOTONIC in nanoseconds.
struct Measures {
    // The server, before the first reader, with all of them, and around what is measured.
    var start = ProcessUsage(of: 0)
    var connected = ProcessUsage(of: 0)
    var before = ProcessUsage(of: 0)
    var after = ProcessUsage(of: 0)
    var residentBytesPeak = 0
    var idleResidentBytes = 0
    var idleCPUPercent: Double?

    // This process, around what is measured.
    var clientBefore = ProcessUsage(of: 0)
    var clientAfter = ProcessUsage(of: 0)

    var connectingSince: UInt64 = 0
    var connectSeconds = 0.0
    var holdingSince: UInt64 = 0
    /// True exactly when the first measured event was published, or is about to be.
    var isMeasuring = false
    var isInterrupted = false
    var since: UInt64 = 0
    var until: UInt64 = 0

    var deliveriesBefore = 0
    var deliveriesAfter = 0
    var bytesBefore = 0
    var bytesAfter = 0
    var publishedMeasured = 0

    // Coming back: from the first connection until every reader had what was published before.
    var caughtUp = ProcessUsage(of: 0)
    var behindSeconds = 0.0
    var behindResidentBytesPeak = 0
    var behindSampledAt: UInt64 = 0

    // Churn.
    var churnDue = 0.0
    var churned = 0

    // Progress.
    var shownAt: UInt64 = 0
    var shownDeliveries = 0

    /// Reads how much memory the server has.
    mutating func sample(_ pids: [pid_t]) {
        guard !pids.isEmpty else { return }
        residentBytesPeak = max(residentBytesPeak, ProcessUsage(of: pids).residentBytes)
    }
}
