// The state's rows: what publications make of them, what keeps them and what takes them away.

import Glibc
import Testing
import Wire

@testable import EventStore

@Suite("Rows of the state")
struct StateRowsTests {
    private func key(_ number: Int) -> ContentDigest { StateModel.key(number) }

    @Test("each key has one row, its newest event, and all are read in the order of their numbers")
    func rows() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            try store.publish(["a1", "b1"], on: "x", changes: [.put(key(1)), .put(key(2))])
            try store.publish(["a1y", "plain"], on: "y", changes: [.put(key(1)), .none])
            try store.publish(["a2"], on: "x", changes: [.put(key(1))])
            #expect(try store.storedState().texts == ["2 x 2 b1", "3 y 1 a1y", "5 x 1 a2"])
            try store.publish(["gone"], on: "x", changes: [.remove(key(2))])
            try store.publish(["never there"], on: "x", changes: [.remove(key(9))])
            #expect(try store.storedState().texts == ["3 y 1 a1y", "5 x 1 a2"])
            try store.publish(["all"], on: "x", changes: [.reset(key(7))])
            #expect(try store.storedState().texts == ["3 y 1 a1y", "8 x 7 all"])
            try store.close(used: store.head, isWhole: true)
        }
        try disk.open { store throws in
            #expect(try store.storedState().texts == ["3 y 1 a1y", "8 x 7 all"])
            try store.checkIntegrity()
        }
    }

    @Test("of what one key sees in a transaction only the last is written")
    func once() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            try store.publish(["first"], on: "x", changes: [.put(key(1))])
            let before = sqlite3Changes(store)
            var batch = StoreBatch()
            for index in 0..<50 as Range<UInt64> {
                batch.publish(["x\(index)"], on: "x", at: 2 + 2 * index, changes: [.put(key(1))])
                batch.publish(["y\(index)"], on: "y", at: 3 + 2 * index, changes: [.put(key(1))])
            }
            batch.publish(["z"], on: "x", at: 200, changes: [.reset(key(2))])
            _ = try store.append(batch)
            // 101 events, the rows of two channels, and of the state one of each.
            #expect(sqlite3Changes(store) - before == 101 + 2 + 2 + 1)
            #expect(try store.storedState().texts == ["101 y 1 y49", "200 x 2 z"])
        }
    }

    private func sqlite3Changes(_ store: EventStore) -> Int64 {
        (try? store.database.integer("SELECT total_changes()")) ?? -1
    }

    @Test("a snapshot is a channel's whole state as of an event, and may have no row")
    func snapshots() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            try store.setSnapshot([], on: "empty", asOf: 0)
            try store.publish(["1", "2"], on: "x", changes: [.put(key(1))])
            try store.setSnapshot(["c", "b", "a"], on: "x", asOf: 1)
            try store.setSnapshot(["b", "a"], on: "x", asOf: 2)
            #expect(try store.storedState().texts == ["2 x - b", "2 x - a", "empty as of 0", "x as of 2"])
            try store.publish(["3"], on: "x", changes: [.reset(key(1))])
            #expect(try store.storedState().texts == ["3 x 1 3", "empty as of 0"])
            var batch = StoreBatch()
            batch.clearState(channel: "x")
            batch.clearState(channel: "empty")
            _ = try store.append(batch)
            #expect(try store.storedState() == StoredState())
            #expect(try store.everything() == ["1 x 1", "2 x 2", "3 x 3"])
        }
    }

    @Test("rows may exchange their keys, and those without a new one go")
    func rekeys() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            try store.publish(["a", "b", "c"], on: "x", changes: [.put(key(1)), .put(key(2)), .put(key(3))])
            var batch = StoreBatch()
            batch.publish(["b2"], on: "x", at: 4, changes: [.put(key(2))])
            batch.rekey(
                channel: "x",
                [
                    StoreRekey(from: key(1), to: key(2)), StoreRekey(from: key(2), to: key(1)),
                    StoreRekey(from: key(3), to: nil), StoreRekey(from: key(8), to: key(9)),
                ])
            batch.publish(["a2"], on: "x", at: 5, changes: [.put(key(2))])
            _ = try store.append(batch)
            #expect(try store.storedState().texts == ["4 x 1 b2", "5 x 2 a2"])
        }
    }

    @Test("rows stay when retention takes their events, and go with their channel")
    func retention() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var configuration = disk.configuration()
        configuration.retention = RetentionLimits(events: 1)
        try disk.open(configuration) { store throws in
            try store.publish(["a", "b", "c"], on: "x", changes: [.put(key(1)), .put(key(2))])
            try store.setSnapshot(["s"], on: "y", asOf: 3)
            while try store.retain(clockMs: 0).isMore {}
            #expect(try store.everything() == ["3 x c"])
            try store.setEnded(true, "x")
            while try store.retain(clockMs: 0).isMore {}
            #expect(try store.storedState().texts == ["1 x 1 a", "2 x 2 b", "3 y - s", "y as of 3"])
            store.setRetention(RetentionLimits(events: 0), of: "x")
            try store.setEnded(true, "y")
            while try store.retain(clockMs: 0).isMore {}
            #expect(store.channel("x") == nil && store.channel("y") == nil)
            #expect(try store.storedState() == StoredState())
            try store.checkIntegrity()
        }
    }

    @Test("more state than may be read is refused before it is read, with what to do")
    func tooMuch() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var configuration = disk.configuration()
        configuration.stateBytesMax = 2 * (64 + 1000)
        try disk.open(configuration) { store throws in
            let line = String(repeating: "x", count: 1000)
            try store.publish([line, line], changes: [.put(key(1)), .put(key(2))])
            #expect(try store.storedState().rows.count == 2)
            try store.publish([""], changes: [.put(key(3))])
            let fault = faultOf { _ = try store.storedState() }
            #expect(fault?.kind == .tooMuch && fault?.description.contains("--max-memory") == true)
        }
    }

    @Test("a transaction that fails leaves the state as it was")
    func failure() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            try store.publish(["a"], changes: [.put(key(1))])
            disk.setCapacity(disk.used)
            let long = String(repeating: "x", count: 300_000)
            let fault = faultOf { try store.publish(["b", long], changes: [.remove(key(1)), .put(key(2))]) }
            #expect(fault?.kind == .full)
            #expect(try store.storedState().texts == ["1 events 1 a"])
            disk.setCapacity(0)
            try store.publish(["b", long], changes: [.remove(key(1)), .put(key(2))])
            #expect(try store.storedState().rows.map(\.seq) == [3])
        }
    }

    @Test("batches that are put together keep what each said of the state")
    func together() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            var all = StoreBatch()
            for round in 0..<3 as Range<UInt64> {
                var batch = StoreBatch()
                batch.publish(["p", "q"], at: 1 + 2 * round, changes: [.none, .put(key(Int(round)))])
                batch.rekey(
                    channel: "events", [StoreRekey(from: key(Int(round)), to: key(Int(round) + 10))])
                all.append(contentsOf: batch)
            }
            _ = try store.append(all)
            #expect(try store.storedState().texts == ["2 events 10 q", "4 events 11 q", "6 events 12 q"])
            all.removeAll()
            #expect(all.changes.isEmpty && all.rekeys.isEmpty && all.eventCount == 0)
        }
    }
}
