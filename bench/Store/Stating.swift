// What keeping channels' state costs: in transactions of publications, in one event that is the whole, at a start.

import CLinux
import EventStore
import Wire

/// What the events of a round are for their channel's state.
private enum Keys: String, CaseIterable {
    case none = "no state"
    case one = "one key"
    case many = "100,000 keys"
    case all = "new keys"
}

private let rowCount: UInt64 = 100_000

/// Stores events with and without state in turns, so that a busy machine is busy for all of them, and prints how much
/// dearer an event with state is; then what it takes to write one event that is the whole state, and to read all of it.
func measureState(_ shape: Shape) throws {
    var shape = shape
    shape.directory += "/state"
    let store = try EventStore.open(shape.configuration, nowMs: linux_wall_clock_ms())
    var random: UInt64 = 1
    let line = [UInt8](repeating: 0x78, count: shape.bytes)
    var fresh: UInt64 = 1 << 32
    func transaction(_ keys: Keys, events: UInt64 = 1000) throws {
        var batch = StoreBatch()
        for _ in 0..<events {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            fresh += 1
            let key: UInt64? =
                switch keys {
                case .none: nil
                case .one: 0
                case .many: (random >> 20) % rowCount
                case .all: fresh
                }
            batch.add(line: line.span, kind: nil, change: key.map { .put(digest($0)) } ?? .none)
        }
        batch.finish(
            Publication(
                channel: keys == .none ? "plain" : keys == .all ? "growing" : "kept", firstSeq: store.head + 1,
                timeMs: linux_wall_clock_ms(), level: .committed))
        _ = try store.append(batch)
        try store.reserve(behind: store.head)
        if store.walFrames > 8192 { try store.checkpoint() }
    }
    for key in 0..<rowCount / 1000 {
        var batch = StoreBatch()
        for place in 0..<1000 as Range<UInt64> {
            batch.add(line: line.span, kind: nil, change: .put(digest(key * 1000 + place)))
        }
        batch.finish(Publication(channel: "kept", firstSeq: store.head + 1, timeMs: 1, level: .committed))
        _ = try store.append(batch)
    }
    var spent: [Keys: Double] = [:]
    let kinds = Keys.allCases
    for round in 0..<60 {
        // Each follows each other one: what one leaves in the cache is no advantage of the next.
        for step in kinds.indices {
            let keys = kinds[(step * (round % 2 == 0 ? 1 : 3) + round) % kinds.count]
            spent[keys, default: 0] += try time { try transaction(keys) }.processor
        }
    }
    let plain = spent[.none] ?? 1
    for keys in kinds {
        let each = (spent[keys] ?? 0) / 60
        say(
            "state, \(keys.rawValue): \(rounded(each)) ms of processor for 1,000 events, "
                + "\(rounded((spent[keys] ?? 0) / plain)) times that without state")
    }
    var rows = 0
    report("state, read at a start", [try time { rows = try store.storedState().rows.count }])
    let before = store.walFrames
    let reset = try time {
        var batch = StoreBatch()
        batch.add(line: line.span, kind: nil, change: .reset(digest(0)))
        batch.finish(Publication(channel: "kept", firstSeq: store.head + 1, timeMs: 1, level: .synced))
        _ = try store.append(batch)
    }
    let frames = store.walFrames - before
    report("state, of \(rows) rows \(rowCount) make room for one event, \(frames) frames", [reset])
    try store.close(used: store.head, isWhole: true)
}

/// A key; digests are spread evenly.
private func digest(_ number: UInt64) -> ContentDigest {
    ContentDigest(high: (number &+ 1) &* 0x9E37_79B9_7F4A_7C15, low: number)
}
