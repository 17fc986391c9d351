// The table of a channel's state against a dictionary, also under a walk that takes its time.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("The table of a channel's state")
struct StateTableTests {
    private func digest(_ key: Int) -> ContentDigest {
        ContentDigest(high: UInt64(key) &* 0x9E37_79B9_7F4A_7C15, low: UInt64(key))
    }

    private func table(removalsKnownFrom: UInt64 = 0) -> StateTable {
        StateTable(secrets: (11, 13), removalsKnownFrom: removalsKnownFrom)
    }

    @Test("a key's newest event is kept in the order of numbers, and a removal in its place")
    func order() {
        var table = table()
        for (seq, key) in [(1, 1), (2, 2), (3, 3), (4, 1), (6, 2)] {
            Self.put(&table, digest(key), "k\(key)@\(seq)", UInt64(seq))
        }
        #expect(Self.rows(table).map(\.text) == ["k3@3", "k1@4", "k2@6"])
        Self.remove(&table, digest(3), "gone", 7)
        #expect(Self.rows(table).map(\.text) == ["k1@4", "k2@6"])
        #expect(Self.rows(table, removed: true).map(\.text) == ["k1@4", "k2@6", "gone"])
        #expect(table.count == 2 && table.removedCount == 1 && table.lastChange == 7)
        Self.put(&table, digest(3), "back", 8)
        #expect(Self.rows(table).map(\.text) == ["k1@4", "k2@6", "back"])
        #expect(table.removedCount == 0 && table.removedBytes == 0)
    }

    @Test("removing what nobody knows leaves nothing")
    func unknownRemoval() {
        var table = table()
        let version = table.version
        Self.remove(&table, digest(1), "gone", 5)
        #expect(table.count == 0 && table.removedCount == 0 && table.version == version)
    }

    @Test("removals beyond the most are forgotten, the oldest first, and it is known from where on they are known")
    func removals() {
        var table = table(removalsKnownFrom: 3)
        #expect(table.removalsKnownFrom == 3)
        var seq: UInt64 = 10
        for key in 0..<StateTable.removedLeast + 5 {
            Self.put(&table, digest(key), "x", seq)
            Self.remove(&table, digest(key), "x", seq + 1)
            seq += 2
        }
        #expect(table.removedCount == StateTable.removedLeast)
        // The fifth was removed with number 10 + 4 x 2 + 1.
        #expect(table.removalsKnownFrom == 19)
        #expect(Self.rows(table, removed: true).first?.seq == 21)
    }

    @Test("a key that says the same again grows nothing, however long numbers become")
    func sameSize() {
        var table = table()
        for key in 0..<20 { Self.put(&table, digest(key), "{\"seq\":\(key + 1),\"x\":1}", UInt64(key + 1)) }
        let bytes = table.bytes
        for seq: UInt64 in [100, 12_345, 99_999_999, .max - 100] {
            for key in 0..<20 {
                Self.put(&table, digest(key), "{\"seq\":\(seq + UInt64(key)),\"x\":1}", seq + UInt64(key))
            }
            #expect(table.bytes == bytes)
        }
    }

    @Test("a walk finds the rows as they were when it began, whatever happens meanwhile")
    func walk() {
        var table = table()
        for key in 0..<6 { Self.put(&table, digest(key), "k\(key)", UInt64(key + 1)) }
        Self.remove(&table, digest(5), "r5", 7)
        var walk = StateWalk(from: 0, head: 7)
        var place = table.first
        var seen: [String] = []
        func step() {
            let row = table[place]
            if !row.isRemoved { seen.append(Self.text(row)) }
            walk.from = row.seq + 1
            place = table.step(over: place)
        }
        step()
        step()
        Self.put(&table, digest(0), "new0", 8, walk)
        #expect(table.supersededCount == 0, "it has passed that one")
        Self.put(&table, digest(2), "new2", 9, walk)
        Self.remove(&table, digest(3), "r3", 10, walk)
        Self.put(&table, digest(2), "newer2", 11, walk)
        #expect(table.supersededCount == 2)
        step()
        #expect(table.supersededCount == 1)
        Self.reset(&table, digest(99), "all", 12, walk)
        #expect(Self.rows(table).map(\.text) == ["all"])
        while place != StateRow.none, table[place].seq <= walk.head { step() }
        #expect(seen == ["k0", "k1", "k2", "k3", "k4"])
        table.walkEnded()
        #expect(table.supersededCount == 0 && table.supersededBytes == 0)
        #expect(Self.rows(table, removed: true).map(\.text) == ["all"])
    }

    @Test("what a producer says replaces everything, and a walk still finds what was there")
    func produced() {
        var table = table()
        table.replaceAll(asOf: 40, nil)
        for text in ["a", "b", "c"] { Self.append(&table, text) }
        #expect(Self.rows(table).map(\.text) == ["a", "b", "c"] && table.asOf == 40)
        let walk = StateWalk(from: 0, head: 50)
        var place = table.first
        var seen = [Self.text(table[place])]
        place = table.step(over: place)
        // A place before the one that it replaces.
        table.replaceAll(asOf: 30, walk)
        for text in ["d", "e"] { Self.append(&table, text) }
        while place != StateRow.none {
            seen.append(Self.text(table[place]))
            place = table.step(over: place)
        }
        #expect(seen == ["a", "b", "c"])
        table.walkEnded()
        #expect(Self.rows(table).map(\.text) == ["d", "e"] && table.count == 2)
    }

    @Test("other rules give rows other keys: of two that meet the newer one stays, and some go")
    func rederived() {
        var table = table()
        for key in 0..<9 { Self.put(&table, digest(key), "\(key)", UInt64(key + 1)) }
        Self.remove(&table, digest(8), "r", 10)
        // The key is the number's remainder, and 4 is none any more; 1 has the key that 0 had.
        var rekeyed: [String] = []
        table.rederive(at: 20, nil, rekeyed: { rekeyed.append("\($0.low)>\($1.map { "\($0.low)" } ?? "")") }) { line in
            let value = Int(line[0] - UInt8(ascii: "0"))
            return value == 4 ? .none : .put(self.digest((value + 2) % 3))
        }
        #expect(rekeyed == ["0>2", "1>0", "2>1", "3>2", "4>", "5>1", "6>2", "7>0"])
        #expect(Self.rows(table).map(\.text) == ["5", "6", "7"])
        #expect(table.removalsKnownFrom == 20)
        #expect(table.row(digest(0)).map(Self.text) == "7")
    }

    @Test("random changes, walks and replacements leave what a dictionary has", arguments: 1...40)
    func model(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var table = table()
        var model = StateModel()
        var seq: UInt64 = 0
        let keys = random.magnitude(1...3000)
        var walk: StateWalk?
        var walked = StateRow.none
        var expected: [String] = []
        for _ in 0..<random.magnitude(200...20_000) {
            seq += UInt64(random.within(1...3))
            let key = random.below(keys)
            let text = String(repeating: "x", count: random.below(40)) + "\(key)@\(seq)"
            switch random.below(100) {
            case 0..<55:
                Self.put(&table, digest(key), text, seq, walk)
                model.put(key, text, seq)
            case 55..<95 where random.below(3) > 0 || keys < 100:
                Self.remove(&table, digest(key), text, seq, walk)
                model.remove(key)
            case 95 where random.below(20) == 0:
                Self.reset(&table, digest(key), text, seq, walk)
                model.reset(key, text, seq)
            case 96 where walk == nil:
                walk = StateWalk(from: 0, head: seq - 1)
                walked = table.first
                expected = model.lines
            default:
                var steps = random.below(50)
                while let now = walk, steps > 0 {
                    steps -= 1
                    guard walked != StateRow.none, table[walked].seq <= now.head else {
                        #expect(expected.isEmpty)
                        walk = nil
                        table.walkEnded()
                        break
                    }
                    let row = table[walked]
                    if !row.isRemoved {
                        #expect(expected.first == Self.text(row))
                        if !expected.isEmpty { expected.removeFirst() }
                    }
                    walk?.from = row.seq + 1
                    walked = table.step(over: walked)
                }
            }
            guard random.below(200) == 0 else { continue }
            #expect(Self.rows(table).map(\.text) == model.lines)
            #expect(table.audit() == nil)
        }
        if walk != nil { table.walkEnded() }
        #expect(Self.rows(table).map(\.text) == model.lines)
        #expect(table.audit() == nil)
        table.removeAll(at: seq, nil)
        #expect(table.count == 0 && table.first == StateRow.none)
        #expect(table.bytes <= StateTable.emptyBytes + 16_384)
    }

    @Test("after most of many rows have gone the memory goes, too")
    func compaction() {
        var table = table()
        for key in 0..<10_000 { Self.put(&table, digest(key), "some line", UInt64(key + 1)) }
        let full = table.bytes
        for key in 0..<9_990 { Self.remove(&table, digest(key), "r", UInt64(20_000 + key)) }
        // A thousand removals are still known.
        #expect(table.bytes * 2 < full)
        #expect(Self.rows(table).count == 10)
        #expect(table.audit() == nil)
    }

    // MARK: Help

    private static func put(
        _ table: inout StateTable, _ key: ContentDigest, _ text: String, _ seq: UInt64, _ walk: StateWalk? = nil
    ) {
        Array(text.utf8).withUnsafeBufferPointer { table.put(key, $0, seq: seq, walk) }
    }

    private static func remove(
        _ table: inout StateTable, _ key: ContentDigest, _ text: String, _ seq: UInt64, _ walk: StateWalk? = nil
    ) {
        _ = Array(text.utf8).withUnsafeBufferPointer { table.remove(key, $0, seq: seq, walk) }
    }

    private static func reset(
        _ table: inout StateTable, _ key: ContentDigest, _ text: String, _ seq: UInt64, _ walk: StateWalk? = nil
    ) {
        Array(text.utf8).withUnsafeBufferPointer { table.reset(key, $0, seq: seq, walk) }
    }

    private static func append(_ table: inout StateTable, _ text: String) {
        Array(text.utf8).withUnsafeBufferPointer { table.append($0) }
    }

    private static func text(_ row: StateRow) -> String { String(decoding: row.bytes, as: UTF8.self) }

    private static func rows(_ table: borrowing StateTable, removed: Bool = false) -> [(seq: UInt64, text: String)] {
        var found: [(seq: UInt64, text: String)] = []
        var place = table.first
        while place != StateRow.none {
            let row = table[place]
            if row.isLive || removed && row.isRemoved && !row.isSuperseded { found.append((row.seq, text(row))) }
            place = row.next
        }
        return found
    }
}

/// What a table is to hold.
private struct StateModel {
    private var rows: [Int: (seq: UInt64, text: String)] = [:]

    var lines: [String] { rows.values.sorted { $0.seq < $1.seq }.map(\.text) }

    mutating func put(_ key: Int, _ text: String, _ seq: UInt64) { rows[key] = (seq, text) }
    mutating func remove(_ key: Int) { rows[key] = nil }
    mutating func reset(_ key: Int, _ text: String, _ seq: UInt64) { rows = [key: (seq, text)] }
}
