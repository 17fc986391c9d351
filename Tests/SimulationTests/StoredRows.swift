/// The state in a world with a database: the rules it is kept by, the rows it must have, and those that it has.

import Wire

@testable import EventStore
@testable import FanoutServer

/// Rules of a channel that keeps state, over the three kinds of events and the member `k`.
enum StoredRules: CaseIterable {
    /// Of two kinds the newest event of each key, until the third one removes it.
    case keyed
    /// One kind with a key, one without, and one whose event is all.
    case mixed
    /// Only events that are all.
    case whole

    var configuration: Configuration.StateRules {
        let key = Configuration.StateKey(pointer: "/key")
        var rules = Configuration.StateRules()
        switch self {
        case .keyed:
            rules.upsert = ["alpha": key, "beta": key]
            rules.remove = ["gamma": key]
        case .mixed:
            rules.upsert = ["alpha": key]
            rules.replace = ["beta"]
            rules.snapshot = ["gamma"]
        case .whole: rules.snapshot = ["gamma"]
        }
        return rules
    }

    /// Whether a newer event takes an older one's row away.
    func drops(_ older: MadeEvent, behind newer: MadeEvent) -> Bool {
        guard changes(newer) else { return false }
        switch self {
        case .keyed: return older.key == newer.key
        case .mixed:
            guard newer.kind != "gamma" else { return true }
            return older.kind == newer.kind && (newer.kind == "beta" || older.key == newer.key)
        case .whole: return true
        }
    }

    func changes(_ event: MadeEvent) -> Bool { self == .whole ? event.kind == "gamma" : event.kind != nil }
    func adds(_ event: MadeEvent) -> Bool { changes(event) && !(self == .keyed && event.kind == "gamma") }
}

/// One row of the state, without what it is known by.
struct StoredRow: Equatable {
    var seq: UInt64
    var channel: String
    var line: [UInt8]

    /// What a database has.
    static func rows(of state: StoredState) -> [StoredRow] {
        state.rows.map {
            StoredRow(seq: $0.seq, channel: state.channels[$0.channel], line: Array(state.bytes[$0.line]))
        }
    }

    /// What a server has in memory.
    static func rows(of hub: Hub) -> [StoredRow] {
        var rows: [StoredRow] = []
        for name in Channels.names {
            guard let channel = ChannelName(name).flatMap({ hub.channels.index(of: $0) }) else { continue }
            let number = hub.channels[channel].state
            if number == States.none { continue }
            var place = hub.states[number].first
            while place != FanoutServer.StateRow.none {
                let row = hub.states[number][place]
                if row.isLive { rows.append(StoredRow(seq: row.seq, channel: name, line: Array(row.bytes))) }
                place = row.next
            }
        }
        return rows.sorted { $0.seq < $1.seq }
    }
}

extension StoredLedger {
    /// Holds rows against what the events that are there, or were until retention took them, make by the rules.
    /// - Returns: how many there are.
    @discardableResult
    func checkRows(_ rows: [StoredRow], by rules: [String: StoredRules], upTo last: UInt64) throws -> Int {
        var owed: [StoredLedger.Event] = []
        for event in events where event.lostWith == nil && event.seq <= last {
            guard let rule = rules[Channels.names[event.item.channel]], rule.changes(event.made) else { continue }
            owed.removeAll { $0.item.channel == event.item.channel && rule.drops($0.made, behind: event.made) }
            if rule.adds(event.made) { owed.append(event) }
        }
        let expected = owed.map { StoredRow(seq: $0.seq, channel: Channels.names[$0.item.channel], line: $0.line) }
        guard rows == expected else {
            let first = zip(rows, expected).first { $0 != $1 }
            throw Malformed(
                "\(rows.count) rows of the state, \(expected.count) owed; \(first?.0.seq ?? 0) on "
                    + "\(first?.0.channel ?? "-") for \(first?.1.seq ?? 0) on \(first?.1.channel ?? "-")")
        }
        return rows.count
    }
}
