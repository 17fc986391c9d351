// The store's plain values: faults, the high-water file, numberings, the age clock.

import CSQLite
import CTestDisk
import Glibc
import Testing
import Wire

@testable import EventStore

@Suite("Store values")
struct ValueTests {
    private typealias Meaning = (code: Int32, errno: Int32, kind: StoreFault.Kind)

    private static let readOnlyMoved: Int32 = SQLITE_READONLY | 4 << 8
    private static let ioWrite: Int32 = SQLITE_IOERR | 3 << 8
    private static let primaryKey: Int32 = SQLITE_CONSTRAINT | 6 << 8

    private static let meanings: [Meaning] = [
        (SQLITE_FULL, 0, .full),
        (ioWrite, ENOSPC, .full),
        (ioWrite, EDQUOT, .full),
        (SQLITE_CANTOPEN, ENOSPC, .full),
        (SQLITE_READONLY, 0, .readOnly),
        (readOnlyMoved, 0, .readOnly),
        (SQLITE_CANTOPEN, EROFS, .readOnly),
        (SQLiteCode.fsync, EIO, .notSynced),
        (SQLiteCode.fsync, ENOSPC, .notSynced),
        (SQLiteCode.directoryFsync, EIO, .notSynced),
        (ioWrite, EIO, .io),
        (SQLITE_CORRUPT, 0, .corrupt),
        (SQLITE_NOTADB, 0, .corrupt),
        (primaryKey, 0, .corrupt),
        (SQLITE_BUSY, 0, .locked),
        (SQLITE_NOMEM, 0, .noMemory),
        (SQLiteCode.ioNoMemory, 0, .noMemory),
        (SQLITE_CANTOPEN, EACCES, .cannotOpen),
        (SQLITE_MISUSE, 0, .unexpected),
    ]

    @Test("SQLite's codes and the kernel's reasons say what a failure means", arguments: 0..<meanings.count)
    func kinds(index: Int) {
        let meaning = Self.meanings[index]
        let fault = StoreFault(code: meaning.code, errno: meaning.errno, operation: "", path: "", detail: "")
        #expect(fault.kind == meaning.kind)
    }

    @Test("a fault is one line with what failed, where, why, and what to do")
    func description() {
        let fault = StoreFault(
            code: SQLITE_IOERR | 4 << 8, errno: EIO, operation: "commit", path: "/data/events.db",
            detail: "disk I/O error")
        let line =
            "commit /data/events.db: disk I/O error, EIO (Input/output error); "
            + "look at the disk, then start again: what reached it is found and told to readers"
        #expect("\(fault)" == line)
        #expect(!fault.isPassing)
        #expect("\(StoreFault(code: SQLITE_FULL, errno: 0, operation: "a", path: "b", detail: ""))".contains("full"))
    }

    @Test("only what a high-water file can hold is read as one")
    func highWaterText() {
        func read(_ text: String) -> HighWater? {
            let bytes = Array(text.utf8)
            return HighWater(bytes.span)
        }
        #expect(read("00000000000000ff 0000000000000001\n") == HighWater(number: 255, seal: 1))
        #expect(read("0000000000000000 ffffffffffffffff\n") == HighWater(number: 0, seal: HighWater.isOpen))
        #expect(read("4000000000000000 0000000000000000\n") != nil)
        let others = [
            "", "\n", "00000000000000ff 000000000000000\n", "00000000000000ff 0000000000000001",
            "00000000000000ff 0000000000000001\n\n", "00000000000000FF 0000000000000001\n",
            "00000000000000ff-0000000000000001\n", "4000000000000001 0000000000000000\n",
            String(repeating: "\0", count: 34),
        ]
        for text in others { #expect(read(text) == nil, "\(text)") }
    }

    @Test("a high-water file is read back, and none is nothing")
    func highWaterFile() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        #expect(try HighWater.read(TestDisk.highWater, vfs: disk.name) == nil)
        for number in [UInt64(1), 77, 1 << 40] {
            let value = HighWater(number: number, seal: 9)
            try value.write(TestDisk.highWater, vfs: disk.name)
            #expect(try HighWater.read(TestDisk.highWater, vfs: disk.name) == value)
        }
        disk.fail(TEST_DISK_SYNC, call: 1, errno: EIO)
        let kind = faultOf { try HighWater(number: 1, seal: 1).write(TestDisk.highWater, vfs: disk.name) }?.kind
        #expect(kind == .notSynced)
    }

    @Test("cursors of every numbering mean a place, a loss, or nothing")
    func epochs() {
        let names = (1...4).map { Epoch(rawValue: $0) }
        let epochs = Epochs(
            present: names[2], firstSeq: 501,
            past: [
                Incarnation(epoch: names[0], firstSeq: 1, lastSeq: 40),
                Incarnation(epoch: names[1], firstSeq: 101, lastSeq: 120),
            ])
        func place(_ epoch: Int, _ seq: UInt64) -> CursorPlace {
            epochs.place(of: Cursor(epoch: names[epoch], seq: seq), head: 510)
        }
        #expect(place(2, 510) == .after(510))
        #expect(place(2, 511) == .ahead)
        #expect(place(2, 7) == .after(7))
        #expect(place(0, 0) == .after(0))
        #expect(place(0, 40) == .after(40))
        #expect(place(0, 41) == .rewound(from: 41, to: 41))
        #expect(place(1, 300) == .rewound(from: 121, to: 300))
        #expect(place(1, 120) == .after(120))
        #expect(place(3, 1) == .unknownEpoch)
    }

    @Test("what is known to be lost is told whole to who stands in front of it or within")
    func losses() {
        let names = (1...3).map { Epoch(rawValue: $0) }
        let epochs = Epochs(
            present: names[2], firstSeq: 61,
            past: [
                Incarnation(epoch: names[0], firstSeq: 1, lastSeq: 40, usedSeq: 45),
                Incarnation(epoch: names[1], firstSeq: 46, lastSeq: 60, usedSeq: 60),
            ])
        func place(_ epoch: Int, _ seq: UInt64) -> CursorPlace {
            epochs.place(of: Cursor(epoch: names[epoch], seq: seq), head: 61)
        }
        #expect(place(0, 39) == .after(39))
        for seq in UInt64(40)...45 { #expect(place(0, seq) == .rewound(from: 41, to: 45)) }
        #expect(place(0, 50) == .rewound(from: 41, to: 50))
        #expect(place(1, 60) == .after(60))
        #expect(place(2, 42) == .after(42))
        #expect([0, 39, 44].allSatisfy { epochs.nextLoss(after: $0) == epochs.past[0] })
        #expect([45, 59, 60, 1 << 62].allSatisfy { epochs.nextLoss(after: $0) == nil })
        #expect([44, 45, 60].map(epochs.lastLost(upTo:)) == [0, 45, 45])
    }

    @Test("ages follow the clock, and neither jump ahead nor go back")
    func ageClock() {
        let year: Int64 = 31_536_000_000
        var clock = AgeClock(wallMs: 1_000_000, monotonicMs: 500)
        #expect(clock.advance(wallMs: 1_001_000, monotonicMs: 1500) == 1_001_000)
        #expect(clock.advance(wallMs: 1_001_000 + year, monotonicMs: 2500) == 1_003_000)
        #expect(clock.advance(wallMs: 1_001_000 + year, monotonicMs: 2500) == 1_003_000)
        #expect(clock.advance(wallMs: 1_002_500, monotonicMs: 3500) == 1_003_000)
        #expect(clock.advance(wallMs: 1_004_000, monotonicMs: 4500) == 1_004_000)
        #expect(clock.advance(wallMs: 1_004_000 - year, monotonicMs: 5500) == 1_004_000)
        // A clock that was wrong and stays so is believed after as long again.
        #expect(clock.advance(wallMs: 1_004_000 + year, monotonicMs: 5500 + UInt64(year)) == 1_004_000 + year)
    }

    @Test("a batch counts what is whole, and keeps it when another is added")
    func batches() {
        var batch = StoreBatch()
        batch.publish(["a", "bc"], kinds: ["k"], at: 5)
        #expect((batch.count, batch.eventCount, batch.byteCount, batch.lastSeq) == (1, 2, 4, 6))
        var other = StoreBatch()
        other.publish(["def"], kinds: ["kind"], at: 9)
        other.setEnded(true, channel: "events")
        batch.append(contentsOf: other)
        #expect((batch.count, batch.eventCount, batch.byteCount, batch.lastSeq) == (3, 3, 11, 9))
        batch.finish(Publication(channel: "none", firstSeq: 10, timeMs: 0, level: .synced))
        #expect(batch.count == 3)
        batch.removeAll()
        #expect((batch.isEmpty, batch.byteCount, batch.lastSeq) == (true, 0, 0))
    }
}
