// A worker whose turns a test calls, on a clock that the test sets.

import Testing

@testable import EventStore

/// A clock that a test sets.
final class TestClock {
    var nowNs: UInt64 = 1_000_000_000_000
    /// How much it goes on by itself, the next times that it is asked.
    var ticks: [UInt64] = []

    func read() -> StoreTime {
        if !ticks.isEmpty { nowNs += ticks.removeFirst() }
        return StoreTime(monotonicNs: nowNs, wallMs: Int64(nowNs / 1_000_000))
    }
}

/// A worker on a disk, and what it has reported.
final class WorkerBench {
    let clock = TestClock()
    let queue: StoreQueue
    let worker: StoreWorker
    var pages: [StoreReport.Page] = []
    var pruned: [StoredChannel] = []
    /// The newest report.
    private(set) var last = StoreReport()
    private var nextSeq: UInt64

    init(_ store: EventStore) throws {
        queue = try StoreQueue {}
        nextSeq = store.head + 1
        let clock = clock
        worker = StoreWorker(store: store, queue: queue, clock: { clock.read() })
        last = queue.latest
    }

    /// Turns until the worker wants to wait, and takes what it has to say.
    @discardableResult
    func run() -> StoreWait {
        var wait = StoreWait.none
        for _ in 0..<1000 {
            wait = worker.turn()
            if case .until(let time) = wait, time <= clock.nowNs { continue }
            if wait != .none { break }
        }
        if let report = queue.takeReport() {
            pages += report.pages
            pruned += report.pruned
            last = report
        }
        return wait
    }

    /// Hands over a publication of so many events.
    func publish(_ count: Int = 1, level: StoreLevel = .committed, text: String = "x") {
        var batch = StoreBatch()
        batch.publish(
            Array(repeating: text, count: count), at: nextSeq, level: level, timeMs: Int64(clock.nowNs / 1_000_000))
        queue.append(&batch)
        nextSeq += UInt64(count)
    }

    /// Stores one event in a transaction that takes five milliseconds.
    func storeSlowly() {
        publish()
        clock.ticks = [0, 5_000_000]
        run()
    }

    var used: UInt64 { nextSeq - 1 }
}
