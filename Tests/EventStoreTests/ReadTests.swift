// Reading pages: both directions, all channels and some, limits.

import Testing

@testable import EventStore

@Suite("Reading")
struct ReadTests {
    /// What is stored: the channel of each number.
    private typealias Model = [(seq: UInt64, channel: String)]

    private static func fill(_ store: EventStore, channels: Int, events: Int) throws -> Model {
        var model: Model = []
        var state: UInt64 = 99
        var batch = StoreBatch()
        var seq: UInt64 = 0
        for _ in 0..<events {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            // Some numbers are left out, as those that an unclean end left unused are.
            seq += state >> 60 == 0 ? 3 : 1
            // One channel has a good part of them all.
            let channel = "c\(state >> 58 & 3 == 0 ? 0 : Int(state >> 33) % channels)"
            batch.publish(["line of \(seq)"], on: channel, at: seq)
            model.append((seq, channel))
        }
        var next = 0
        while next < batch.count { next = try store.append(batch, from: next) }
        return model
    }

    /// Every page from a place on, put together in rising order; nil where one breaks its promises.
    private static func readAll(
        _ store: EventStore, from start: StoreQuery.Place, _ channels: [String]?, rowsMax: Int
    ) throws -> [UInt64]? {
        var found: [UInt64] = []
        var query = StoreQuery(start, channels: channels, rowsMax: rowsMax)
        for _ in 0..<10_000 {
            let page = try store.read(query)
            guard page.rows.count <= min(max(rowsMax, 1), StoreLimits.pageRowsMax) else { return nil }
            guard page.rows.allSatisfy({ page.text($0.line) == "line of \($0.seq)" }) else { return nil }
            if case .after = start {
                found += page.seqs
                query.place = .after(page.reached)
            } else {
                found = page.seqs + found
                query.place = .before(page.reached)
            }
            if page.isLast { return found }
        }
        return nil
    }

    @Test(
        "pages in either direction, put together, are exactly what was asked for",
        arguments: [
            nil, ["c1"], ["c0", "c2", "c2", "nobody"], ["nobody"], [], (0..<50).map { "c\($0)" },
            (0..<100).map { "c\($0)" },
        ] as [[String]?])
    func pages(channels: [String]?) throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            let model = try Self.fill(store, channels: 120, events: 6000)
            let wanted = channels.map(Set.init)
            let expected = model.filter { wanted?.contains($0.channel) ?? true }.map(\.seq)
            for rowsMax in [1000, 500, 77] {
                #expect(try Self.readAll(store, from: .after(0), channels, rowsMax: rowsMax) == expected)
                #expect(try Self.readAll(store, from: .before(.max), channels, rowsMax: rowsMax) == expected)
            }
            for place in [UInt64(1), 2999, 3000, store.head - 1, store.head, store.head + 1, .max] {
                let after = try Self.readAll(store, from: .after(place), channels, rowsMax: 500)
                #expect(after == expected.filter { $0 > place })
                let before = try Self.readAll(store, from: .before(place), channels, rowsMax: 500)
                #expect(before == expected.filter { $0 < place })
            }
            let newest = try store.read(StoreQuery(.before(.max), channels: channels, rowsMax: 5))
            if channels?.count ?? 0 < 100 { #expect(newest.seqs == Array(expected.suffix(5))) }
        }
    }

    @Test("a page has at least one event, and no more than it takes to pass 256 KiB")
    func bytes() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            for size in [100, 100_000, 100_000, 100_000, 262_144, 10] {
                try store.publish([String(repeating: "x", count: size)], on: "c")
            }
            for channels in [nil, ["c"]] {
                var seqs: [[UInt64]] = []
                var place: UInt64 = 0
                while seqs.count < 10 {
                    let page = try store.read(StoreQuery(.after(place), channels: channels))
                    seqs.append(page.seqs)
                    place = page.reached
                    if page.isLast { break }
                }
                #expect(seqs == [[1, 2, 3, 4], [5], [6]])
            }
        }
    }

    @Test("an empty store and a place behind its head have a last page without events")
    func empty() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            for channels in [nil, ["a"]] {
                let page = try store.read(StoreQuery(.after(5), channels: channels))
                #expect((page.rows.isEmpty, page.isLast, page.reached) == (true, true, 5))
                #expect(try store.read(StoreQuery(.before(5), channels: channels)).isLast)
            }
        }
    }
}
