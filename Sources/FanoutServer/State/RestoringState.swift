/// The state at a start with a database, and what becomes of rows there when the rules are others.

import EventStore
import Planted
import Wire

/// A row in the database, and what it is by the present rules.
private struct ReadRow {
    /// The key that it was stored under.
    var key: ContentDigest
    var change: StateChange
}

extension Hub {
    /// Takes in what the database has of the channels' state, each row by the rules that its channel has now. What has
    /// no rule any more, and what a producer gave where the rules make the state now, goes, there too. O(rows).
    func restoreState(_ stored: StoredState, _ log: Log) {
        if isPlanted("stateNotRestored") { return }
        var produced: Set<UInt32> = []
        var cleared: Set<UInt32> = []
        for snapshot in stored.snapshots {
            guard let channel = ChannelName(snapshot.channel).flatMap({ channels.index(of: $0) }) else { continue }
            if channels[channel].rules.checks?.state == nil {
                beginProducedState(of: channel, asOf: snapshot.seq)
                produced.insert(channel)
            } else {
                cleared.insert(channel)
            }
        }
        let numbers = stored.channels.map { ChannelName($0).flatMap { channels.index(of: $0) } }
        var read: [UInt32: [ReadRow]] = [:]
        stored.bytes.withUnsafeBufferPointer { bytes in
            for row in stored.rows {
                guard let channel = numbers[row.channel] else { continue }
                let line = UnsafeBufferPointer(rebasing: bytes[row.line])
                if let key = row.key, !produced.contains(channel) {
                    let change = restoreState(of: channel, line, seq: row.seq)
                    read[channel, default: []].append(ReadRow(key: key, change: change))
                } else if row.key == nil, produced.contains(channel) {
                    addProducedRow(line, to: channel)
                } else {
                    cleared.insert(channel)
                }
            }
        }
        var gone = 0
        for (channel, rows) in read { gone += store(rows, of: channel, &cleared) }
        for channel in cleared where !produced.contains(channel) {
            outgoing.clearState(channel: channels[channel].text)
        }
        guard gone > 0 || !cleared.isEmpty else { return }
        log.warning("rows of the state that have no rule any more are forgotten: \(gone) with a key")
    }

    /// Before a channel's rows are run through rules that have changed: has the database do the same.
    func storeRederived(_ channel: UInt32) {
        guard channels[channel].state != States.none else { return }
        if isGiven(channels[channel].state) {
            outgoing.clearState(channel: channels[channel].text)
            return forgetState(of: channel)
        }
        let rules = channels[channel].rules.checks?.state
        var rows: [ReadRow] = []
        var place = states[channels[channel].state].first
        while place != StateRow.none {
            let row = states[channels[channel].state][place]
            if row.isLive {
                let change = rules?.change(line: row.bytes.span) ?? .none
                rows.append(ReadRow(key: row.digest, change: change))
            }
            place = row.next
        }
        var cleared: Set<UInt32> = []
        _ = store(rows, of: channel, &cleared)
        if !cleared.isEmpty { outgoing.clearState(channel: channels[channel].text) }
    }

    /// Whether a producer has given the state as a whole: no event is any of it.
    private func isGiven(_ number: Int32) -> Bool {
        guard states[number].asOf != nil else { return false }
        var place = states[number].first
        while place != StateRow.none, !states[number][place].isLive { place = states[number][place].next }
        return place == StateRow.none || states[number][place].digest == StateTable.producedKey(0)
    }

    /// Has the database give rows of a channel, by rising numbers, the keys that they have now, and forget those that
    /// are none any more: their number. Where that is all of them, `cleared` gets the channel.
    private func store(_ rows: [ReadRow], of channel: UInt32, _ cleared: inout Set<UInt32>) -> Int {
        // Under each key the row that has it, by its place.
        var owners: [ContentDigest: Int] = [:]
        for (place, row) in rows.enumerated() {
            switch row.change {
            case .none, .remove: break
            case .put(let key): owners[key] = place
            case .reset(let key): owners = [key: place]
            }
        }
        var rekeys: [StoreRekey] = []
        for (place, row) in rows.enumerated() {
            switch row.change {
            case .put(let key) where owners[key] == place, .reset(let key) where owners[key] == place:
                if key != row.key { rekeys.append(StoreRekey(from: row.key, to: key)) }
            default: rekeys.append(StoreRekey(from: row.key, to: nil))
            }
        }
        if owners.isEmpty {
            if !rows.isEmpty { cleared.insert(channel) }
        } else if !rekeys.isEmpty {
            outgoing.rekey(channel: channels[channel].text, rekeys)
        }
        return rows.count - owners.count
    }
}

extension StoreChange {
    /// What an event does to the state, as the database is told it.
    init(_ change: StateChange) {
        switch change {
        case .none: self = .none
        case .put(let key): self = .put(key)
        case .remove(let key): self = .remove(key)
        case .reset(let key): self = .reset(key)
        }
    }
}
