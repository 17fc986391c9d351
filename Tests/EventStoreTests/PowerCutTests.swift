// Loss of power at any moment: what was synced is there, whatever became of the rest.

import CTestDisk
import Foundation
import Reactor
import Testing

@testable import EventStore

@Suite("Power cuts")
struct PowerCutTests {
    /// 10 lives of a store, unless the environment says otherwise, each cut at 50 moments, each moment in 6 ways: 3,000
    /// disks.
    private static let lives = UInt64(ProcessInfo.processInfo.environment["FANOUT_POWER_CUT_LIVES"] ?? "") ?? 10
    private static let moments = 50

    @Test(
        "whatever a power cut leaves can be opened, has what was synced, and gives no number twice",
        arguments: 0..<lives)
    func images(seed: UInt64) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        let workload = Workload(disk, seed: seed)
        try workload.run(lives: 3, steps: 25)
        var random = SeededRandom(seed: seed &+ 1000)
        for _ in 0..<Self.moments {
            let at = random.below(disk.logged + 1)
            for policy in 0..<TEST_DISK_POLICIES {
                let cut = random.next()
                let left = try TestDisk(cutting: disk, at: at, policy: policy, seed: cut)
                defer { left.free() }
                let fault = try workload.fault(of: left, at: at, isKill: policy == TEST_DISK_ALL)
                #expect(fault == nil, "cut at \(at) of \(disk.logged), policy \(policy), seed \(cut)")
            }
        }
        #expect(workload.beginnings.contains(.uncleanEnd))
    }

    @Test("the end of the process alone loses nothing that was committed, at any moment")
    func kills() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        let workload = Workload(disk, seed: 77)
        try workload.run(lives: 2, steps: 12)
        for at in 0...disk.logged {
            let left = try TestDisk(cutting: disk, at: at, policy: TEST_DISK_ALL, seed: 1)
            defer { left.free() }
            let fault = try workload.fault(of: left, at: at, isKill: true)
            #expect(fault == nil, "killed at \(at) of \(disk.logged)")
        }
    }

    @Test("what the worker has said to be synced is there after any power cut", arguments: 0..<lives)
    func saidSynced(seed: UInt64) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        /// Up to where it was said after so many operations of the disk.
        var promises: [(at: Int, synced: UInt64)] = []
        var random = SeededRandom(seed: seed)
        var nowNs: UInt64 = 1_000_000_000_000
        do {
            let store = try EventStore.open(disk.configuration(epoch: 1), nowMs: 1_000_000)
            let queue = try StoreQueue {}
            let worker = StoreWorker(store: store, queue: queue) {
                StoreTime(monotonicNs: nowNs, wallMs: Int64(nowNs / 1_000_000))
            }
            var used: UInt64 = 0
            for _ in 0..<300 {
                for _ in 0..<random.below(3) {
                    let lines = (0..<random.within(1...3)).map { _ in
                        String(repeating: "x", count: random.below(4000))
                    }
                    var batch = StoreBatch()
                    batch.publish(lines, at: used + 1, level: random.chance(0.5) ? .synced : .committed)
                    queue.append(&batch)
                    used += UInt64(lines.count)
                }
                nowNs += UInt64(random.pick([10_000, 1_000_000, 6_000_000_000]))
                for _ in 0..<random.within(1...4) { _ = worker.turn() }
                guard let report = queue.takeReport() else { continue }
                promises.append((disk.logged, report.synced))
            }
        }
        #expect(promises.count > 100)
        for _ in 0..<Self.moments / 5 {
            let at = random.below(disk.logged + 1)
            for policy in 0..<TEST_DISK_POLICIES {
                let left = try TestDisk(cutting: disk, at: at, policy: policy, seed: random.next())
                defer { left.free() }
                let last = promises.last { $0.at <= at }?.synced ?? 0
                try left.open(epoch: 2) { store throws in
                    let found = try store.database.integer("SELECT count(*) FROM event WHERE seq <= \(last)")
                    #expect(UInt64(found) == last, "cut at \(at) of \(disk.logged), policy \(policy)")
                }
            }
        }
    }

    @Test("a disk that lies about what it has is found out by these tests")
    func lies() throws {
        // Every sync is left out of the log's effect by cutting with "nothing" at a moment where the workload believes
        // that more was synced than was: the check must notice.
        let disk = try TestDisk()
        defer { disk.free() }
        let workload = Workload(disk, seed: 5)
        try workload.run(lives: 1, steps: 30)
        let early = try TestDisk(cutting: disk, at: disk.logged / 2, policy: TEST_DISK_NOTHING, seed: 1)
        defer { early.free() }
        #expect(try workload.fault(of: early, at: disk.logged, isKill: false) != nil)
    }
}
