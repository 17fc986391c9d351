// Storing: what is in the database afterwards.

import CTestDisk
import Glibc
import Testing

@testable import EventStore

@Suite("Storing")
struct AppendTests {
    @Test("events are read back byte for byte, with their numbers, channels, kinds and times")
    func roundTrip() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        let lines = ["{}", "", "\u{0}\u{1}é\u{10FFFF}", String(repeating: "x", count: 262_300)]
        try disk.open { store throws in
            try store.publish(lines, kinds: ["a", "", nil, "kind \"é\""], on: "a/b", timeMs: 77)
            try store.publish(["z"], on: "c", at: 100, timeMs: -5)
        }
        try disk.open(epoch: 2) { store throws in
            let page = try store.read(StoreQuery(.after(0)))
            #expect(page.seqs == [1, 2, 3, 4])
            #expect(page.rows.map { page.text($0.line) } == lines)
            #expect(page.rows.map { $0.kind.map(page.text) } == ["a", "", nil, "kind \"é\""])
            #expect(page.rows.map(\.timeMs) == [77, 77, 77, 77])
            #expect(!page.isLast)
            let rest = try store.read(StoreQuery(.after(page.reached)))
            #expect(rest.texts == ["100 c z"])
            #expect(rest.rows[0].timeMs == -5)
            #expect(rest.isLast)
            try store.checkIntegrity()
        }
    }

    @Test("a transaction takes a thousand events, and never splits a publication")
    func groups() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var batch = StoreBatch()
        var seq: UInt64 = 1
        for count in [400, 600, 1, 2500, 3] {
            batch.publish((0..<count).map { "\($0)" }, at: seq)
            seq += UInt64(count)
        }
        try disk.open { store throws in
            var places = [0]
            while places[places.count - 1] < batch.count {
                places.append(try store.append(batch, from: places[places.count - 1]))
            }
            #expect(places == [0, 2, 3, 4, 5])
            #expect(store.head == seq - 1)
            #expect(try store.everything().count == 3504)
            try store.checkIntegrity()
        }
    }

    @Test("one publication that asks for synced makes its whole transaction so")
    func levels() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            var batch = StoreBatch()
            batch.publish(["a"], at: 1, level: .committed)
            var syncs = disk.calls(TEST_DISK_SYNC)
            _ = try store.append(batch)
            #expect(disk.calls(TEST_DISK_SYNC) == syncs)
            #expect((store.head, store.syncedHead) == (1, 0))
            batch = StoreBatch()
            batch.publish(["b"], at: 2, level: .committed)
            batch.publish(["c"], at: 3, level: .synced)
            syncs = disk.calls(TEST_DISK_SYNC)
            _ = try store.append(batch)
            #expect(disk.calls(TEST_DISK_SYNC) == syncs + 1)
            #expect((store.head, store.syncedHead) == (3, 3))
        }
    }

    @Test("a sync brings what was committed to the disk, and costs nothing where all is there")
    func sync() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var batch = StoreBatch()
        batch.sync()
        try disk.open { store throws in
            try store.publish(["a"], level: .committed)
            let syncs = disk.calls(TEST_DISK_SYNC)
            for _ in 0..<2 {
                _ = try store.append(batch)
                #expect(disk.calls(TEST_DISK_SYNC) == syncs + 1)
                #expect(store.syncedHead == 1)
            }
        }
        let left = try TestDisk(cutting: disk, at: disk.logged, policy: TEST_DISK_NOTHING, seed: 1)
        defer { left.free() }
        try left.open(epoch: 2) { store throws in #expect(try store.everything() == ["1 events a"]) }
    }

    @Test("a transaction that fails leaves nothing, in the file or in memory, and the same one then succeeds")
    func failing() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var batch = StoreBatch()
        batch.publish(["b", "c"], on: "x", at: 2, level: .synced, .key(1))
        batch.publish(["d"], on: "new", at: 4)
        try disk.open { store throws in
            try store.publish(["a"], on: "x")
            let before = store.channel("x")
            disk.fail(TEST_DISK_WRITE, call: 1, errno: ENOSPC)
            #expect(faultOf { _ = try store.append(batch) }?.kind == .full)
            #expect(store.channel("x") == before)
            #expect(store.channel("new") == nil)
            #expect(store.head == 1)
            #expect(try store.everything() == ["1 x a"])
            #expect(try store.keys() == [])
            #expect(try store.append(batch) == 2)
            #expect(try store.everything() == ["1 x a", "2 x b", "3 x c", "4 new d"])
            #expect(try store.keys() == ["1 1 2-3"])
            try store.checkIntegrity()
        }
    }

    @Test(
        "why a commit failed is known from the kernel, whatever failed before it",
        arguments: [(EROFS, StoreFault.Kind.readOnly), (EDQUOT, .full), (EFBIG, .full), (ENOSPC, .full), (EIO, .io)])
    func commitFails(errno: Int32, kind: StoreFault.Kind) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            // A checkpoint's failure is one that SQLite remembers.
            try store.publish(["a"])
            disk.fail(TEST_DISK_WRITE, call: 1, errno: errno == EROFS ? EIO : EROFS)
            #expect(faultOf { try store.checkpoint() } != nil)
            disk.fail(TEST_DISK_WRITE, call: 1, forEver: true, errno: errno)
            let fault = faultOf { try store.publish(["b"]) }
            #expect(fault?.kind == kind, "\(fault as Any)")
        }
    }

    @Test("an end is stored in its place and on the disk, and nothing that was given a number is refused behind it")
    func ended() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            var batch = StoreBatch()
            batch.publish(["a"], on: "x", at: 1)
            batch.setEnded(true, channel: "x")
            batch.publish(["b"], on: "x", at: 2)
            batch.setEnded(true, channel: "empty")
            #expect(try store.append(batch) == 4)
            #expect(store.syncedHead == 2)
        }
        let left = try TestDisk(cutting: disk, at: disk.logged, policy: TEST_DISK_NOTHING, seed: 1)
        defer { left.free() }
        try left.open(epoch: 2) { store throws in
            #expect(try store.everything() == ["1 x a", "2 x b"])
            #expect(store.opening.channels.map(\.isEnded) == [true, true])
            try store.setEnded(false, "x")
            #expect(store.channel("x")?.isEnded == false)
        }
    }

    @Test("a number that was given before is refused as a fault of the program")
    func numbers() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            try store.publish(["a", "b"])
            #expect(faultOf { try store.publish(["c"], at: 2) }?.kind == .unexpected)
            #expect(faultOf { try store.publish(["c"], at: UInt64(StoreLimits.numberMax) + 1) }?.kind == .unexpected)
            try store.publish(["c"], at: 3)
            #expect(store.head == 3)
        }
    }
}
