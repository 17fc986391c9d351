// What the state of channels must be, by the plain reading of the rules: each change in its order, nothing left out.

import Reactor
import Wire

@testable import EventStore

/// The rows of every channel, as what was published makes them.
struct StateModel {
    private struct Row {
        var channel: String
        var key: ContentDigest?
        var seq: UInt64
        var line: String
        /// The order in which rows of one snapshot came.
        var order: Int
    }

    private var rows: [Row] = []
    private var snapshots: [String: UInt64] = [:]
    private var count = 0

    static func key(_ number: Int) -> ContentDigest { ContentDigest(high: 9, low: UInt64(number)) }

    /// A change by chance; keys repeat soon.
    func anyChange(_ random: inout SeededRandom) -> StoreChange {
        let key = Self.key(random.below(6))
        switch random.below(12) {
        case 0...2: return .none
        case 3...4: return .remove(key)
        case 5: return .reset(key)
        default: return .put(key)
        }
    }

    mutating func publish(_ lines: [String], on channel: String, at seq: UInt64, _ changes: [StoreChange]) {
        for (index, line) in lines.enumerated() where index < changes.count {
            let seq = seq + UInt64(index)
            switch changes[index] {
            case .none: break
            case .put(let key): put(key, line, on: channel, at: seq)
            case .remove(let key): rows.removeAll { $0.channel == channel && $0.key == key }
            case .reset(let key):
                clear(channel)
                put(key, line, on: channel, at: seq)
            }
        }
    }

    private mutating func put(_ key: ContentDigest?, _ line: String, on channel: String, at seq: UInt64) {
        if key != nil { rows.removeAll { $0.channel == channel && $0.key == key } }
        rows.append(Row(channel: channel, key: key, seq: seq, line: line, order: count))
        count += 1
    }

    private mutating func clear(_ channel: String) {
        rows.removeAll { $0.channel == channel }
        snapshots[channel] = nil
    }

    /// Does to a channel, here and in a batch, what is done to a state as a whole: a snapshot, none, other keys.
    mutating func act(on channel: String, asOf seq: Int, in batch: inout StoreBatch, _ random: inout SeededRandom) {
        switch random.below(3) {
        case 0:
            clear(channel)
            snapshots[channel] = UInt64(seq)
            for index in 0..<random.below(4) {
                let line = "row \(index) as of \(seq)"
                put(nil, line, on: channel, at: UInt64(seq))
                batch.add(line: Array(line.utf8).span, kind: nil)
            }
            batch.setSnapshot(channel: channel, asOf: UInt64(seq), level: random.chance(0.5) ? .synced : .committed)
        case 1:
            clear(channel)
            batch.clearState(channel: channel)
        default:
            // Keys go round among three rows, and a fourth one goes.
            let changed = (0..<3).map { StoreRekey(from: Self.key($0), to: Self.key(($0 + 1) % 3)) }
            let rekeys = changed + [StoreRekey(from: Self.key(3), to: nil)]
            batch.rekey(channel: channel, rekeys)
            rows.removeAll { $0.channel == channel && $0.key == Self.key(3) }
            for index in rows.indices where rows[index].channel == channel {
                if let other = changed.first(where: { $0.from == rows[index].key })?.to { rows[index].key = other }
            }
        }
    }

    /// The rows as `StoredState.texts` has them.
    var texts: [String] {
        let sorted = rows.sorted { ($0.seq, $0.order) < ($1.seq, $1.order) }
        return sorted.map { "\($0.seq) \($0.channel) \($0.key.map { "\($0.low)" } ?? "-") \($0.line)" }
            + snapshots.map { "\($0.key) as of \($0.value)" }.sorted()
    }
}

extension StoredState {
    /// The rows as `seq channel key line`, then the snapshots.
    var texts: [String] {
        let texts = rows.map { row in
            let line = String(decoding: bytes[row.line], as: UTF8.self)
            return "\(row.seq) \(channels[row.channel]) \(row.key.map { "\($0.low)" } ?? "-") \(line)"
        }
        return texts + snapshots.map { "\($0.channel) as of \($0.seq)" }.sorted()
    }
}

extension EventStore {
    /// Stores a snapshot in a transaction of its own.
    func setSnapshot(_ lines: [String], on channel: String, asOf seq: UInt64) throws {
        var batch = StoreBatch()
        for line in lines { batch.add(line: Array(line.utf8).span, kind: nil) }
        batch.setSnapshot(channel: channel, asOf: seq, level: .committed)
        _ = try append(batch)
    }
}
