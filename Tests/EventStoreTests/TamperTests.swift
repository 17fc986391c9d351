// A database whose rows say what this program never writes: damage is told, and nothing traps.

import CTestDisk
import Reactor
import Testing
import Wire

@testable import EventStore

@Suite("Rows that are not ours")
struct TamperTests {
    /// A closed database with something in every table.
    private static func fill(_ disk: TestDisk) throws {
        for epoch in UInt64(1)...2 {
            try disk.open(epoch: epoch) { store throws in
                for round in 0..<20 as Range<UInt64> {
                    try store.publish(
                        ["{}", "[]"], kinds: ["kind"], on: "c\(round % 2)/d", Self.rows(round, epoch),
                        changes: [.put(StateModel.key(Int(round) % 5)), .none])
                }
                try store.setSnapshot(["{}", "[]"], on: "c2/d", asOf: store.head)
            }
        }
        try disk.open(epoch: 3) { try $0.close(used: $0.head, isWhole: true) }
    }

    private static func rows(_ round: UInt64, _ epoch: UInt64) -> StoreRows {
        var rows = StoreRows.key(round)
        rows.producer = StoreRows.producer(round % 2, epoch: epoch, last: 2 * round + 2).producer
        return rows
    }

    private static func tamper(_ disk: TestDisk, _ script: String) throws {
        let database = try Database(path: TestDisk.database, vfs: disk.name)
        try database.execute("PRAGMA locking_mode=EXCLUSIVE; \(script)", "test")
        try database.close()
    }

    @Test(
        "what must not be in a column is damage",
        arguments: [
            "UPDATE log SET epoch = 'none'", "UPDATE log SET head = -1", "UPDATE incarnation SET epoch = epoch || '0'",
            "UPDATE channel SET name = name || ' '", "UPDATE channel SET events = -1", "UPDATE channel SET id = id + 5",
            "UPDATE channel SET bytes = 1", "UPDATE event SET line = x'7B0A7D'",
            "UPDATE event SET channel = 77", "UPDATE event SET seq = -seq", "UPDATE key SET first_seq = last_seq + 1",
            "UPDATE key SET last_seq = last_seq + 4611686018427387905", "UPDATE key SET digest = x'01'",
            "UPDATE state SET channel = channel + 5", "UPDATE state SET key = x'01' WHERE id = 1",
            "UPDATE state SET seq = 4000000", "UPDATE state SET seq = 0", "UPDATE state SET line = x'7B0A7D'",
            "UPDATE snapshot SET channel = channel + 5", "UPDATE snapshot SET seq = 4000000",
            "UPDATE producer SET last_pseq = -1", "UPDATE producer SET epoch = -1", "DELETE FROM event",
        ])
    func damage(script: String) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try Self.fill(disk)
        try Self.tamper(disk, script)
        #expect(faultOf { try Self.live(disk) }?.kind == .corrupt)
    }

    /// Everything that a store can be asked.
    private static func live(_ disk: TestDisk) throws {
        var configuration = disk.configuration(epoch: 9)
        configuration.retention = RetentionLimits(events: 7, ageMs: 500_000, bytes: 20)
        configuration.keysKept = 3
        try disk.open(configuration, nowMs: 1_000_001) { store throws in
            for channels in [nil, ["c0/d"], ["c0/d", "c1/d"]] {
                var place = StoreQuery.Place.after(0)
                for _ in 0..<100 {
                    let page = try store.read(StoreQuery(place, channels: channels, rowsMax: 3))
                    if page.isLast { break }
                    place = .after(page.reached)
                }
                _ = try store.read(StoreQuery(.before(.max), channels: channels))
            }
            for incarnation in store.epochs.past {
                for seq in [0, incarnation.lastSeq, .max] {
                    _ = store.epochs.place(of: Cursor(epoch: incarnation.epoch, seq: seq), head: store.head)
                }
            }
            _ = try store.storedKeys(100, since: .min)
            _ = try store.storedProducers()
            _ = try store.storedState()
            for round in 0..<22 as Range<UInt64> {
                try store.reserve(behind: store.head)
                let last = round == 7 ? StoreChange.reset(StateModel.key(4)) : .remove(StateModel.key(1))
                try store.publish(
                    ["new", "newer"], on: "c\(round % 2)/d", Self.rows(round, 2),
                    changes: [.put(StateModel.key(3)), last])
            }
            try store.setSnapshot(["{}"], on: "c2/d", asOf: store.head)
            try store.setEnded(true, "c2/d")
            _ = try store.storedState()
            for clockMs in [1_000_003, 2_000_000, Int64.max, .min] {
                for _ in 0..<20 { _ = try store.retain(clockMs: clockMs) }
            }
            while try store.vacuum() {}
            try store.checkpoint(emptying: true)
            try store.close(used: store.head, isWhole: true)
        }
    }

    private static let columns = [
        "log": ["first_seq", "head", "clean", "device", "inode", "began_ms", "forgotten_seq", "epoch"],
        "incarnation": ["first_seq", "last_seq", "used_seq", "epoch"],
        "channel": ["id", "name", "ended", "events", "bytes", "first_seq", "last_seq", "pruned_seq"],
        "event": ["seq", "channel", "time_ms", "kind", "line"],
        "key": ["name", "digest", "first_seq", "last_seq", "time_ms"],
        "producer": ["name", "digest", "epoch", "last_pseq", "first_seq", "last_seq"],
        "state": ["id", "channel", "key", "seq", "line"], "snapshot": ["channel", "seq"],
    ]

    private static let texts = ["epoch", "name", "kind"]
    private static let blobs = ["line", "digest"]

    private static func value(for column: String, of table: String, _ random: inout SeededRandom) -> String {
        if ["key", "producer"].contains(table), column == "name" { return "zeroblob(16)" }
        if table == "state", column == "key" { return random.pick(["NULL", "x''", "x'01'", "zeroblob(16)"]) }
        if column == "epoch", table == "producer" { return random.pick(["-1", "0", "9223372036854775807"]) }
        if texts.contains(column) { return random.pick(["''", "'../x'", "'c0/d'", "char(0xFFFD, 10)", "'a b'"]) }
        if blobs.contains(column) { return random.pick(["x''", "x'7B0A7D'", "x'FF'", "zeroblob(300000)"]) }
        return random.pick([
            "-9223372036854775808", "-1", "0", "1", "3", "40", "131100", "4611686018427387904", "4611686018427387905",
            "9223372036854775807", "\(column) + 1", "\(column) - 1",
        ])
    }

    @Test("any value in any column is damage or can be lived with", arguments: 0..<150 as Range<UInt64>)
    func tamper(seed: UInt64) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try Self.fill(disk)
        var random = SeededRandom(seed: seed)
        var script = ""
        for _ in 0..<random.within(1...2) {
            let table = random.pick(Self.columns.keys.sorted())
            let column = random.pick(Self.columns[table] ?? [])
            let value = Self.value(for: column, of: table, &random)
            let rows = random.pick(["", " WHERE \(column) = (SELECT max(\(column)) FROM \(table))"])
            script += "UPDATE OR IGNORE \(table) SET \(column) = \(value)\(rows);"
        }
        try Self.tamper(disk, script)
        let fault = faultOf { try Self.live(disk) }
        // Where numbers have come to their end, a publication is refused as a fault of the program.
        let isEnd = fault?.kind == .unexpected && script.contains("46116860184273879")
        if let fault { #expect(fault.kind == .corrupt || isEnd, "\(script): \(fault)") }
    }
}
