/// What the channels of a world with state hold, worked out from its events by the rules alone.

import Reactor
import Wire

@testable import EventStore
@testable import FanoutServer

/// A key of one channel's state.
struct LastingName: Hashable {
    let channel: String
    let table: String
    let key: String
}

/// What an event does to the state, as the rules of `LastingChannels` say.
enum LastingEffect: Equatable {
    case none
    case put(LastingName)
    case remove(LastingName)
    case reset(LastingName)
}

/// An event that has a number.
struct LastingEvent {
    let seq: UInt64
    let channel: String
    let payload: [UInt8]
    let effect: LastingEffect
}

/// The newest event of each key.
struct LastingModel: Equatable {
    private(set) var rows: [LastingName: UInt64] = [:]

    mutating func apply(_ event: LastingEvent) {
        switch event.effect {
        case .none: break
        case .put(let name): rows[name] = event.seq
        case .remove(let name): rows[name] = nil
        case .reset(let name):
            rows = rows.filter { $0.key.channel != name.channel }
            rows[name] = event.seq
        }
    }

    /// The first few rows that differ, for a failure.
    func difference(from other: LastingModel) -> String {
        let names = Set(rows.keys).union(other.rows.keys).filter { rows[$0] != other.rows[$0] }
        return names.prefix(3).map { name in
            let (its, should) = (rows[name].map(String.init) ?? "-", other.rows[name].map(String.init) ?? "-")
            return "\(name.channel) \(name.table) \(name.key): \(its), not \(should)"
        }.joined(separator: "; ")
    }
}

/// The channels of such a world, their rules, and events for them.
enum LastingChannels {
    static let names = ["rows", "held", "deep/a", "deep/b", "plain"]
    static let patterns = [["rows"], ["held"], ["deep/*"], ["deep/a"], ["**"], ["rows", "deep/b"], ["held", "plain"]]

    /// For the server's configuration.
    static func rules(holdsBack: Bool) -> [(pattern: String, rules: Configuration.ChannelRules)] {
        var rows = Configuration.ChannelRules()
        var state = Configuration.StateRules()
        state.upsert = ["put": Configuration.StateKey(pointer: "/k")]
        state.remove = ["del": Configuration.StateKey(pointer: "/k")]
        state.replace = ["list"]
        state.snapshot = ["all"]
        rows.state = state
        var held = rows
        if holdsBack { held.visible = .synced }
        var deep = Configuration.ChannelRules()
        state = Configuration.StateRules()
        state.upsert = ["set": Configuration.StateKey(pointer: "/o/k~1", table: "t")]
        state.remove = ["drop": Configuration.StateKey(pointer: "/a/1", table: "t")]
        deep.state = state
        return [("rows", rows), ("held", held), ("deep/*", deep)]
    }

    /// What a producer's object on a channel does there: the rules above, read by other code than the server's.
    static func effect(of payload: [UInt8], on channel: String) throws -> LastingEffect {
        let json = try TinyJSON(plain(payload))
        func name(_ table: String, _ key: TinyJSON?) throws -> LastingName {
            switch key {
            case .string(let text): return LastingName(channel: channel, table: table, key: "s" + text)
            case .number(let text): return LastingName(channel: channel, table: table, key: "n" + text)
            default: throw Malformed("no key in \(json)")
            }
        }
        switch (channel, json["type"]?.text) {
        case ("rows", "put"), ("held", "put"): return .put(try name(channel, json["k"]))
        case ("rows", "del"), ("held", "del"): return .remove(try name(channel, json["k"]))
        case ("rows", "list"), ("held", "list"): return .put(LastingName(channel: channel, table: "$list", key: ""))
        case ("rows", "all"), ("held", "all"): return .reset(LastingName(channel: channel, table: "$all", key: ""))
        case ("deep/a", "set"), ("deep/b", "set"): return .put(try name("t", json["o"]?["k/"]))
        case ("deep/a", "drop"), ("deep/b", "drop"):
            guard case .array(let elements) = json["a"], elements.count > 1 else {
                throw Malformed("no key in \(json)")
            }
            return .remove(try name("t", elements[1]))
        default: return .none
        }
    }

    /// The one escape that producers here write, taken back.
    private static func plain(_ payload: [UInt8]) -> [UInt8] {
        let escape = Array("\\u006b".utf8)
        guard let place = payload.indices.first(where: { payload[$0...].starts(with: escape) }) else { return payload }
        return payload[..<place] + [UInt8(ascii: "k")] + payload[(place + escape.count)...]
    }

    /// An event for a channel, compacted; `number` makes it unlike any other.
    static func event(_ number: Int, on channel: String, keys: Int, _ random: inout SeededRandom) -> String {
        let place = random.below(keys)
        // A key may be spelt in two ways, and 1 is not "1".
        let spelling = place % 5 == 0 && random.chance(0.5) ? "\\u006b\(place)" : "k\(place)"
        let key = place % 3 == 1 ? "\(place)" : "\"\(place % 3 == 2 ? "\(place - 1)" : spelling)\""
        let fill = String(repeating: "x", count: random.chance(0.1) ? random.magnitude(1...255) : random.below(8))
        let rest = ",\"n\":\(number),\"fill\":\"\(fill)\"}"
        if random.chance(0.1) { return "{\"type\":\"note\"" + rest }
        if channel.hasPrefix("deep/") {
            if random.chance(0.3) { return "{\"type\":\"drop\",\"a\":[0,\(key)]" + rest }
            return "{\"type\":\"set\",\"o\":{\"k\":0,\"k/\":\(key)}" + rest
        }
        if channel == "plain" { return "{\"type\":\"put\",\"k\":\(key)" + rest }
        switch random.below(100) {
        case 0: return "{\"type\":\"all\"" + rest
        case 1..<10: return "{\"type\":\"list\"" + rest
        case 10..<35: return "{\"k\":\(key),\"type\":\"del\"" + rest
        default: return "{\"type\":\"put\",\"k\":\(key)" + rest
        }
    }
}

/// Every event of such a world that is there, by rising numbers.
final class LastingLedger {
    private(set) var events: [LastingEvent] = []
    /// What was numbered, and went with the life in which it was.
    private var gone: [[UInt8]: LastingEvent] = [:]
    var lost: Int { gone.count }
    var head: UInt64 { events.last?.seq ?? 0 }

    /// Takes the lines that the server gives its database.
    func note(_ entry: StoreBatch.Entry, of batch: StoreBatch) throws {
        for (place, index) in entry.events.enumerated() {
            let event = batch.events[index]
            let line = Array(batch.bytes[event.lineStart..<event.lineEnd])
            let seq = entry.publication.firstSeq + UInt64(place)
            let channel = entry.publication.channel
            let stamp = Array("{\"seq\":\(seq),\"channel\":\"\(channel)\",".utf8)
            guard seq > head, line.starts(with: stamp) else { throw Malformed("\(line.excerpt) as \(seq)") }
            let payload = [0x7B] + line[stamp.count...]
            events.append(
                LastingEvent(
                    seq: seq, channel: channel, payload: payload,
                    effect: try LastingChannels.effect(of: payload, on: channel)))
        }
    }

    /// A life has ended; only these events are there for the next.
    func keep(_ kept: Set<UInt64>) {
        for event in events where !kept.contains(event.seq) { gone[event.payload] = event }
        events.removeAll { !kept.contains($0.seq) }
    }

    func event(_ seq: UInt64) -> LastingEvent? {
        var low = 0
        var high = events.count
        while low < high {
            let middle = (low + high) / 2
            if events[middle].seq < seq { low = middle + 1 } else { high = middle }
        }
        return low < events.count && events[low].seq == seq ? events[low] : nil
    }

    /// An event that was lost: those who read what an earlier life has sent may still get it.
    func goneEvent(_ seq: UInt64, _ payload: [UInt8]) -> LastingEvent? {
        gone[payload].flatMap { $0.seq == seq ? $0 : nil }
    }

    /// The events between two numbers that a reader of these patterns gets.
    func matching(_ patterns: [String], after first: UInt64, upTo last: UInt64) -> [LastingEvent] {
        events.filter { $0.seq > first && $0.seq <= last && Self.matches(patterns, $0.channel) }
    }

    /// The state as of an event.
    func state(of patterns: [String], upTo last: UInt64) -> LastingModel {
        var model = LastingModel()
        for event in matching(patterns, after: 0, upTo: last) { model.apply(event) }
        return model
    }

    static func matches(_ patterns: [String], _ channel: String) -> Bool {
        patterns.contains { Channels.matches($0, channel) }
    }
}
