// Every call on the disk failing, one after the other, once and for ever; and files that are damaged.

import CTestDisk
import Glibc
import Reactor
import Testing
import Wire

@testable import EventStore

@Suite("Failing disks")
struct FaultSweepTests {
    /// A short life of a store: it is opened, stores, reads, retains, checkpoints, and is closed. Remembers what it was
    /// promised.
    private final class Life {
        /// Events that were answered as committed, and those that were answered as synced.
        private(set) var committed: [UInt64] = []
        private(set) var synced: [UInt64] = []
        private(set) var isClosed = false

        func run(_ disk: TestDisk) throws {
            var configuration = disk.configuration(epoch: 7)
            configuration.retention = RetentionLimits(events: 1000)
            try disk.open(configuration) { store throws in
                for round in 0..<4 {
                    let level = round % 2 == 0 ? StoreLevel.synced : .committed
                    let first = store.head + 1
                    try store.publish(
                        ["a", String(repeating: "b", count: 5000)], on: "c\(round)", at: first, level: level,
                        .key(UInt64(round)))
                    committed += [first, first + 1]
                    if level == .synced { synced = committed }
                    _ = try store.read(StoreQuery(.after(0)))
                    _ = try store.retain(clockMs: 0)
                    if round == 1 {
                        try store.checkpoint()
                        synced = committed
                    }
                    try store.reserve(behind: store.head + UInt64(round) * 70_000)
                }
                try store.close(used: store.head, isWhole: true)
                isClosed = true
                synced = committed
            }
        }
    }

    /// Runs a life on a disk whose `call`th call fails, and looks at what is left by a kill and by a power cut; answers
    /// whether the failure was met.
    private func sweep(_ kinds: Int, call: Int, forEver: Bool, errno: Int32) throws -> Bool {
        let disk = try TestDisk()
        defer { disk.free() }
        disk.fail(kinds, call: call, forEver: forEver, errno: errno)
        let life = Life()
        let fault = faultOf { try life.run(disk) }
        let wasMet = disk.calls(kinds) >= call
        disk.stopFailing()
        let place: Comment =
            "call \(call) of kinds \(kinds), for ever: \(forEver), \(errno): \(String(describing: fault))"
        if fault == nil { #expect(life.isClosed, place) }
        if let fault {
            // A full disk and a broken one are told apart, and nothing is blamed on this program.
            #expect(fault.kind != .unexpected && fault.kind != .corrupt && fault.kind != .locked, place)
        }
        for (policy, promised) in [(TEST_DISK_ALL, life.committed), (TEST_DISK_NOTHING, life.synced)] {
            let left = try TestDisk(cutting: disk, at: disk.logged, policy: policy, seed: 1)
            defer { left.free() }
            try left.open(epoch: 8) { store throws in
                try store.checkIntegrity()
                let seqs = Set(try store.read(StoreQuery(.after(0))).seqs)
                #expect(seqs.isSuperset(of: promised), place)
                #expect(store.opening.head >= life.committed.last ?? 0, place)
            }
        }
        return wasMet
    }

    @Test(
        "whichever call fails, once or for ever, what was promised is kept, and the store can be opened again",
        arguments: [EIO, ENOSPC], [false, true])
    func everyCall(errno: Int32, forEver: Bool) throws {
        var call = 1
        while try sweep(TEST_DISK_EVERY, call: call, forEver: forEver, errno: errno) { call += 1 }
        #expect(call > 100)
    }

    @Test("a sync that fails is told as such, and is not asked for again", arguments: 1...40)
    func syncs(call: Int) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        // While the file is made SQLite has no write-ahead log, and undoes what it did: nothing is there to lose.
        try disk.open { store throws in try store.close(used: 0, isWhole: true) }
        let last = disk.calls(TEST_DISK_SYNC) + call
        disk.fail(TEST_DISK_SYNC, call: call, errno: EIO)
        let fault = faultOf { try Life().run(disk) }
        guard disk.calls(TEST_DISK_SYNC) >= last else { return }
        #expect(fault?.kind == .notSynced)
        #expect(disk.calls(TEST_DISK_SYNC) == last)
    }

    @Test("a disk that is full for a while stops nothing for good, and loses nothing")
    func fullDisk() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            var stored = 0
            var refused = 0
            disk.setCapacity(disk.used + 200_000)
            for round in 0..<400 {
                let level = round % 3 == 0 ? StoreLevel.synced : .committed
                let outcome = faultOf { try store.publish([String(repeating: "x", count: 3000)], level: level) }
                if outcome == nil { stored += 1 } else { refused += 1 }
                if let outcome { #expect(outcome.kind == .full) }
                if round == 300 {
                    disk.setCapacity(0)
                    try store.probe()
                }
            }
            #expect(refused > 0)
            #expect(stored > 100)
            #expect(Int(try store.database.integer("SELECT count(*) FROM event")) == stored)
            try store.checkIntegrity()
        }
    }

    @Test("damaged files are damage or sound, never a crash", arguments: 0..<20 as Range<UInt64>)
    func damage(seed: UInt64) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try Workload(disk, seed: seed).run(lives: 2, steps: 15)
        var random = SeededRandom(seed: seed)
        for _ in 0..<15 {
            let left = try TestDisk(cutting: disk, at: disk.logged, policy: TEST_DISK_ALL, seed: 1)
            defer { left.free() }
            for _ in 0..<random.within(1...8) {
                let path = random.pick([TestDisk.database, TestDisk.database, TestDisk.log, TestDisk.highWater])
                let size = Int(max(left.size(path), 1))
                if random.chance(0.1) {
                    left.shorten(path, to: Int64(random.below(size)))
                } else {
                    let bytes = (0..<random.within(1...16)).map { _ in UInt8(random.below(256)) }
                    left.damage(path, at: Int64(random.below(size)), bytes)
                }
            }
            let fault = faultOf {
                try left.open(epoch: 99) { store throws in
                    _ = try store.everything()
                    try store.publish(["new"])
                    _ = try store.retain(clockMs: 5)
                    try store.checkpoint(emptying: true)
                    try store.close(used: store.head, isWhole: true)
                }
            }
            // A log whose end is damaged is a shorter log; a page that is damaged may not have been read.
            if let fault { #expect([.corrupt, .foreign, .newer, .io].contains(fault.kind), "\(fault)") }
        }
    }
}
