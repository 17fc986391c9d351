// Appends at `synced` through the store's thread: publishers that each wait until the disk has what they gave.

import CLinux
import EventStore

/// What appending came to.
struct AppendFigures {
    var events: Double
    var transactions: Double
    /// Milliseconds from a publication's hand-over until it was known to be on the disk.
    var latencies: [Double]
    /// Frames of 4 KiB that the log grew by, for each transaction: what one fsync has to bring to the disk.
    var framesPerTransaction: Double
}

/// Runs publishers in closed loops: each hands over a publication of `batch` events, and the next when that is on the
/// disk.
func append(
    _ store: sending EventStore, publishers: Int, batch: Int, bytes: Int, seconds: Double
) throws -> AppendFigures {
    let bell = linux_event_descriptor()
    defer { _ = linux_close(bell) }
    var used = store.head
    let thread = try StoreThread(store: store) {
        var one: UInt64 = 1
        _ = linux_write_event(bell, &one)
    }
    let line = [UInt8](repeating: 0x78, count: bytes)
    /// Each publisher's last number and when it was handed over: in the order of the numbers.
    var waiting: [(seq: UInt64, sent: UInt64)] = []
    var latencies: [Double] = []
    var frames: (last: UInt64, sum: UInt64) = (0, 0)
    var publications = StoreBatch()
    func publish() {
        for _ in 0..<batch { publications.add(line: line.span, kind: nil) }
        publications.finish(
            Publication(channel: "appended", firstSeq: used + 1, timeMs: linux_wall_clock_ms(), level: .synced))
        used += UInt64(batch)
        waiting.append((used, monotonicNs()))
        thread.queue.append(&publications)
    }
    for _ in 0..<publishers { publish() }
    let start = monotonicNs()
    var last = StoreReport()
    while Double(monotonicNs() - start) < seconds * 1e9 {
        _ = linux_wait_event(bell, 1_000_000_000)
        var count: UInt64 = 0
        _ = linux_read(bell, &count, 8)
        guard let report = thread.queue.takeReport() else { continue }
        if case .ended(let fault?) = report.state { throw fault }
        if report.counts.walFrames > frames.last { frames.sum += report.counts.walFrames - frames.last }
        frames.last = report.counts.walFrames
        last = report
        let now = monotonicNs()
        let stored = waiting.prefix { $0.seq <= report.synced }
        waiting.removeFirst(stored.count)
        for publication in stored {
            latencies.append(Double(now - publication.sent) / 1e6)
            publish()
        }
    }
    let elapsed = Double(monotonicNs() - start) / 1e9
    thread.queue.close(used: used)
    thread.join()
    return AppendFigures(
        events: Double(latencies.count * batch) / elapsed, transactions: Double(last.counts.transactions) / elapsed,
        latencies: latencies,
        framesPerTransaction: Double(frames.sum) / Double(max(last.counts.transactions, 1)))
}
