// The worker, turn by turn on a clock that the test sets: group commit, bounds, failures, the end.

import CTestDisk
import Glibc
import Reactor
import Testing

@testable import EventStore

@Suite("The store's worker")
struct WorkerTests {
    /// Runs `body` with a worker on a fresh disk.
    private func bench(
        _ prepare: (inout StoreConfiguration) -> Void = { _ in }, _ body: (WorkerBench, TestDisk) throws -> Void
    ) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try run(disk, prepare, body)
    }

    private func run(
        _ disk: TestDisk, _ prepare: (inout StoreConfiguration) -> Void, _ body: (WorkerBench, TestDisk) throws -> Void
    ) throws {
        var configuration = disk.configuration(epoch: 5)
        prepare(&configuration)
        let bench = try WorkerBench(EventStore.open(configuration, nowMs: 1_000_000))
        bench.run()
        try body(bench, disk)
    }

    @Test("an event that comes alone is stored at once")
    func alone() throws {
        try bench { bench, _ throws in
            bench.publish(level: .synced)
            bench.run()
            #expect((bench.last.committed, bench.last.synced) == (1, 1))
        }
    }

    @Test("events are gathered for as long as a transaction takes, two milliseconds at most")
    func gathering() throws {
        try bench { bench, _ throws in
            bench.storeSlowly()
            let transactions = bench.last.counts.transactions
            bench.publish()
            guard case .until(let due) = bench.run() else {
                Issue.record("it did not wait")
                return
            }
            #expect(due > bench.clock.nowNs && due <= bench.clock.nowNs + StoreWorker.gatherNsMax)
            #expect(bench.last.committed == 1)
            bench.publish()
            bench.clock.nowNs = due
            bench.run()
            #expect(bench.last.committed == 3)
            #expect(bench.last.counts.transactions == transactions + 1)
        }
    }

    @Test("a thousand events do not wait for more")
    func fullGroup() throws {
        try bench { bench, _ throws in
            bench.storeSlowly()
            bench.publish(999)
            bench.run()
            #expect(bench.last.committed == 1)
            bench.publish(1)
            bench.run()
            #expect(bench.last.committed == 1001)
        }
    }

    @Test("what is on its way is counted until it is stored, and numbers are reserved ahead of those that are used")
    func load() throws {
        try bench { bench, _ throws in
            bench.publish(1500, text: "abc")
            bench.publish(2)
            #expect((bench.queue.load.events, bench.queue.load.bytes) == (1502, 4502))
            _ = bench.worker.turn()
            #expect((bench.queue.load.events, bench.queue.load.bytes) == (2, 4502))
            bench.run()
            #expect(bench.queue.load == StoreLoad())
            bench.publish(65_535)
            bench.run()
            #expect(bench.last.committed == 67_037)
            #expect(bench.last.reserved > 67_037 + StoreLimits.reservedNumbers / 2)
        }
    }

    @Test("a full disk: publications are refused, reading goes on, and a moment after space is back all is stored")
    func full() throws {
        try bench { bench, disk throws in
            bench.publish(text: "first")
            bench.run()
            disk.setCapacity(disk.used)
            bench.publish(5, text: String(repeating: "x", count: 5000))
            let wait = bench.run()
            #expect(wait == .until(bench.clock.nowNs + StoreWorker.probeIntervalNs))
            #expect(bench.last.committed == 1)
            guard case .refusing(let fault) = bench.last.state else {
                Issue.record("not refused")
                return
            }
            #expect(fault.kind == .full)
            #expect(bench.queue.ask(.page(ticket: 9, StoreQuery(.after(0)))))
            bench.run()
            #expect(try bench.pages.first?.result.get().texts == ["1 events first"])
            // Still full at the next try.
            bench.clock.nowNs += StoreWorker.probeIntervalNs
            #expect(bench.run() == .until(bench.clock.nowNs + StoreWorker.probeIntervalNs))
            disk.setCapacity(0)
            bench.clock.nowNs += StoreWorker.probeIntervalNs
            bench.run()
            #expect(bench.last.state == .running)
            #expect(bench.last.committed == 6)
        }
    }

    @Test("whenever the disk is full in between, everything that was taken is stored", arguments: 0..<5)
    func fullNowAndThen(seed: Int) throws {
        try bench({ $0.retention = RetentionLimits(events: 300) }) { bench, disk throws in
            var random = SeededRandom(seed: UInt64(seed))
            var refused = 0
            for _ in 0..<600 {
                switch random.below(8) {
                case 0: disk.setCapacity(disk.used + UInt64(random.below(100_000)))
                case 1: disk.setCapacity(0)
                default:
                    guard bench.last.state == .running else {
                        refused += 1
                        break
                    }
                    let text = String(repeating: "x", count: random.below(3000))
                    bench.publish(random.within(1...4), level: random.chance(0.3) ? .synced : .committed, text: text)
                }
                bench.clock.nowNs += UInt64(random.below(400_000_000))
                bench.run()
            }
            disk.setCapacity(0)
            bench.clock.nowNs += StoreWorker.probeIntervalNs
            bench.run()
            #expect(bench.last.state == .running)
            #expect(refused > 0)
            #expect(bench.last.committed == bench.used)
            #expect(bench.last.counts.events == bench.used)
            bench.queue.close(used: bench.used)
            #expect(bench.run() == .ended)
            #expect(bench.last.state == .ended(nil))
        }
    }

    @Test("a sync that fails ends the store, and says nothing of what it was given")
    func failedSync() throws {
        try bench { bench, disk throws in
            disk.fail(TEST_DISK_SYNC, call: 1, errno: EIO)
            bench.publish(level: .synced)
            #expect(bench.run() == .ended)
            guard case .ended(let fault) = bench.last.state else {
                Issue.record("not ended")
                return
            }
            #expect(fault?.kind == .notSynced)
            #expect(bench.last.committed == 0)
            #expect(!bench.queue.ask(.page(ticket: 1, StoreQuery(.after(0)))))
        }
    }

    @Test("damage that a reader meets is told, and ends the store")
    func damage() throws {
        try bench { bench, disk throws in
            bench.publish(200, text: String(repeating: "x", count: 200_000))
            bench.run()
            bench.clock.nowNs += 10_000_000_000
            bench.run()
            let zeros = [UInt8](repeating: 0xFF, count: 1 << 20)
            for offset in stride(from: Int64(8192), to: disk.size(TestDisk.database), by: 1 << 20) {
                disk.damage(TestDisk.database, at: offset, zeros)
            }
            _ = bench.queue.ask(.page(ticket: 1, StoreQuery(.after(0))))
            #expect(bench.run() == .ended)
            let kind = faultOf { _ = try bench.pages[0].result.get() }?.kind
            #expect(kind == .corrupt)
        }
    }

    @Test("closing stores what waits, and the numbering goes on afterwards")
    func closing() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try run(disk, { _ in }) { bench, _ throws in
            bench.publish(3)
            bench.publish(2500)
            bench.queue.close(used: bench.used)
            #expect(bench.run() == .ended)
            #expect(bench.last.state == .ended(nil))
            #expect(bench.last.committed == 2503)
        }
        try disk.open(epoch: 9) { store throws in
            #expect(store.opening.beginning == .goesOn)
            #expect(store.head == 2503)
        }
    }

    @Test("a disk that only the write-ahead log has filled refuses nobody")
    func fullOfLog() throws {
        try bench({ $0.retention = RetentionLimits(events: 100) }) { bench, disk in
            // The database has once been as large as it will be.
            bench.publish(900, text: String(repeating: "x", count: 900))
            bench.run()
            bench.clock.nowNs += 6_000_000_000
            bench.run()
            disk.setCapacity(disk.used + 2_000_000)
            for _ in 0..<200 {
                bench.publish(50, text: String(repeating: "x", count: 900))
                bench.clock.nowNs += 200_000_000
                bench.run()
                #expect(bench.last.state == .running)
            }
            #expect(bench.last.committed == 10_900)
            #expect(bench.last.counts.refusals > 0)
        }
    }

    @Test("closing with a full disk ends at once, and not cleanly")
    func closingFull() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try run(disk, { _ in }) { bench, disk throws in
            disk.setCapacity(disk.used)
            bench.publish(5, text: String(repeating: "x", count: 5000))
            bench.run()
            bench.queue.close(used: bench.used)
            #expect(bench.run() == .ended)
            disk.setCapacity(0)
        }
        try disk.open(epoch: 9) { store throws in #expect(store.opening.beginning == .uncleanEnd) }
    }

    @Test("retention goes on each second, and says what is gone")
    func retention() throws {
        try bench({ $0.retention = RetentionLimits(events: 10) }) { bench, _ throws in
            bench.publish(1000)
            bench.publish(1000)
            bench.run()
            bench.clock.nowNs += StoreWorker.retentionIntervalNs
            bench.run()
            #expect(bench.pruned.last?.events == 10)
            #expect(bench.pruned.last?.prunedSeq == 1990)
            #expect(bench.last.counts.pruned == 1990)
        }
    }

    @Test("retention keeps up with a stream that never rests")
    func retentionUnderLoad() throws {
        try bench({ $0.retention = RetentionLimits(events: 100) }) { bench, _ throws in
            for _ in 0..<30 {
                bench.publish(1000)
                bench.clock.nowNs += 500_000_000
                _ = bench.worker.turn()
                _ = bench.worker.turn()
            }
            bench.run()
            #expect((bench.pruned.last?.events ?? .max) < 5000)
        }
    }

    @Test("the log is emptied into the database when there is time, and what was committed is then synced")
    func checkpoints() throws {
        try bench { bench, _ throws in
            bench.publish()
            bench.run()
            #expect(bench.last.synced == 0)
            bench.clock.nowNs += 5_000_000_000
            bench.run()
            #expect(bench.last.synced == 1)
            #expect(bench.last.counts.checkpoints == 1)
            #expect(bench.last.counts.walFrames == 0)
            // And then nothing more happens for a minute.
            bench.clock.nowNs += 2_000_000_000
            bench.run()
            guard case .until(let time) = bench.run() else {
                Issue.record("it does not wait")
                return
            }
            #expect(time > bench.clock.nowNs + 30_000_000_000)
        }
    }

    @Test("requests are bounded, also those that the worker has taken, and pages that nobody takes are not read")
    func requestBounds() throws {
        try bench { bench, _ throws in
            bench.publish(3)
            bench.run()
            var asked = 0
            while bench.queue.ask(.page(ticket: UInt64(asked), StoreQuery(.after(0)))) { asked += 1 }
            #expect(asked == StoreQueue.requestsMax)
            for _ in 0..<1000 where bench.worker.turn() == .none {}
            #expect(bench.queue.state.withLock { $0.report.pages.count } == StoreLimits.untakenPagesMax)
            let room = (0..<100).count { _ in bench.queue.ask(.page(ticket: 0, StoreQuery(.after(0)))) }
            #expect(room == StoreLimits.untakenPagesMax)
            // A publication does not wait for a reader.
            bench.publish()
            for _ in 0..<asked { bench.run() }
            #expect(bench.last.committed == 4)
            #expect(bench.pages.count == asked + room)
            #expect(bench.pages.prefix(asked).map(\.ticket) == (0..<UInt64(asked)).map { $0 })
        }
    }
}
