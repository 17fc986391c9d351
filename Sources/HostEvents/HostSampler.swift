/// Real events about this host: what `fanout demo` publishes.

import Glibc

/// Reads the kernel's files under `/proc` and says what changed since the last call. One thread uses it at a time; a
/// call opens, reads and closes each file, and takes a few milliseconds for some hundred processes.
///
/// What a file does not say is left out of the event, and an event of which nothing is known is left out altogether, so
/// that containers that hide parts of `/proc` get the rest.
package struct HostSampler: Sendable {
    private let proc: String
    private var text = KernelText()
    private var processor = ProcessorSampler()
    private var network: NetworkSampler
    private var disk: DiskSampler
    private var processes = ProcessSampler()
    private var sampledAt: UInt64?

    /// - Parameters:
    ///   - root: where the proc file system is mounted.
    ///   - sys: where sysfs is mounted: it tells which interfaces are up and which block devices are real.
    ///   - fileSystem: a path on the file system whose free space is reported.
    package init(root: String = "/proc", sys: String = "/sys", fileSystem: String = "/") {
        proc = root
        network = NetworkSampler(sys: sys)
        disk = DiskSampler(sys: sys, fileSystem: fileSystem)
    }

    /// The events since the last call. Rates need two readings, so that the first call gives none; nor does a call in
    /// the same millisecond as the one before it.
    ///
    /// - Parameter now: milliseconds on a clock that only goes forward.
    package mutating func sample(now: UInt64) -> [HostEvent] {
        let elapsed = sampledAt.map { growth(of: now, since: $0) } ?? 0
        if sampledAt != nil, elapsed == 0 { return [] }
        sampledAt = now
        let interval = elapsed > 0 ? elapsed : nil
        var events: [HostEvent] = []
        processor.sample(proc, &text, over: interval, into: &events)
        sampleMemory(proc, &text, into: &events)
        network.sample(proc, &text, over: interval, into: &events)
        disk.sample(proc, &text, over: interval, into: &events)
        processes.sample(proc, &text, into: &events)
        return events
    }
}
