// Every call on the disk failing under a worker: it ends or goes on, never hangs, and keeps what it has said.

import CTestDisk
import Glibc
import Testing

@testable import EventStore

@Suite("The worker on failing disks")
struct WorkerFaultTests {
    /// A worker with a loop that publishes, reads and takes reports, each some times.
    private final class Life {
        let disk: TestDisk
        private let queue: StoreQueue
        private var worker: StoreWorker?
        private var nowNs: UInt64 = 1_000_000_000_000
        private(set) var published: UInt64 = 0
        /// The last event that was said to be committed, and the last one that was said to be synced.
        private(set) var committed: UInt64 = 0
        private(set) var synced: UInt64 = 0
        private(set) var state = StoreState.running
        private(set) var hangs = false

        init(_ disk: TestDisk) throws {
            self.disk = disk
            queue = try StoreQueue {}
            var configuration = disk.configuration(epoch: 1)
            configuration.retention = RetentionLimits(events: 6)
            let store = try EventStore.open(configuration, nowMs: 1_000_000)
            worker = StoreWorker(store: store, queue: queue) { [unowned self] in
                StoreTime(monotonicNs: nowNs, wallMs: Int64(nowNs / 1_000_000))
            }
        }

        /// Turns until the worker wants to wait, and takes what it has to say.
        func run(afterNs: UInt64) {
            nowNs += afterNs
            hangs = true
            for _ in 0..<300 where worker?.turn() != StoreWait.none {
                hangs = false
                break
            }
            guard let report = queue.takeReport() else { return }
            committed = report.committed
            synced = report.synced
            state = report.state
        }

        func work() {
            for round in 0..<6 as Range<UInt64> {
                if state == .running {
                    let level = round % 2 == 0 ? StoreLevel.synced : .committed
                    let lines = ["a", String(repeating: "b", count: 5000)]
                    var batch = StoreBatch()
                    batch.publish(lines, at: published * 2 + 1, level: level)
                    queue.append(&batch)
                    published += 1
                }
                _ = queue.ask(.page(ticket: round, StoreQuery(.after(0))))
                run(afterNs: round == 3 ? 6_000_000_000 : 600_000_000)
            }
        }

        /// Lets some time pass.
        func rest() {
            for _ in 0..<4 { run(afterNs: StoreWorker.probeIntervalNs) }
        }

        /// Ends the worker, and lets go of the database.
        func end() {
            queue.close(used: published * 2)
            run(afterNs: 1)
            worker = nil
        }
    }

    /// Runs a life of which a call fails, with its end on a disk that is sound again or on the same; answers whether
    /// the failure was met.
    private func sweep(call: Int, forEver: Bool, errno: Int32, isSoundAtEnd: Bool) throws -> Bool {
        let disk = try TestDisk()
        defer { disk.free() }
        let life = try Life(disk)
        let last = disk.calls() + call
        disk.fail(call: call, forEver: forEver, errno: errno)
        life.work()
        var wasMet = disk.calls() >= last
        if isSoundAtEnd { disk.stopFailing() }
        life.rest()
        life.end()
        wasMet = wasMet || !isSoundAtEnd && disk.calls() >= last
        disk.stopFailing()
        let place: Comment =
            "call \(call), for ever: \(forEver), \(errno), sound: \(isSoundAtEnd): \(life.state)"
        #expect(!life.hangs, place)
        #expect(life.committed % 2 == 0 && life.synced <= life.committed, place)
        switch life.state {
        case .ended(nil): #expect(life.committed == life.published * 2, place)
        case .ended(let fault?):
            // Where only the last call of all fails, there is nothing to try again.
            let isFull = fault.kind == .full && !isSoundAtEnd
            #expect([.io, .notSynced, .cannotOpen].contains(fault.kind) || isFull, place)
        default: Issue.record(place)
        }
        for (policy, promised) in [(TEST_DISK_ALL, life.committed), (TEST_DISK_NOTHING, life.synced)] {
            let left = try TestDisk(cutting: disk, at: disk.logged, policy: policy, seed: 1)
            defer { left.free() }
            try left.open(epoch: 8) { store throws in
                try store.checkIntegrity()
                let row = store.channel("events")
                #expect(row?.lastSeq ?? 0 >= promised, place)
                #expect(store.opening.head >= life.published * 2, place)
            }
        }
        return wasMet
    }

    @Test(
        "whichever call fails, once or for ever, what was said is kept, and want of space is no end",
        arguments: [EIO, ENOSPC], [(false, false), (false, true), (true, false), (true, true)])
    func everyCall(errno: Int32, when: (forEver: Bool, isSoundAtEnd: Bool)) throws {
        var call = 1
        while try sweep(call: call, forEver: when.forEver, errno: errno, isSoundAtEnd: when.isSoundAtEnd) { call += 1 }
        #expect(call > 20)
    }

    @Test("a worker for whom nothing fails ends cleanly, with every publication stored and retention done")
    func noFailure() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        let life = try Life(disk)
        life.work()
        life.rest()
        life.end()
        #expect((life.committed, life.state) == (12, .ended(nil)))
        try disk.open(epoch: 2) { #expect(($0.opening.beginning, $0.channel("events")?.events) == (.goesOn, 6)) }
    }
}
