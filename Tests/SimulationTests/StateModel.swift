/// What the state of every channel must be: a fold over the events in their order, and nothing else.

import Wire

@testable import FanoutServer

/// The newest event of each key, from the truth as far as that is known.
///
/// `alpha` events put their key and `beta` events remove it; of `gamma` events the newest is kept, or, on one channel,
/// is the whole state.
struct StateModel {
    private static let wholeChannel = "a/b/c"

    /// For each channel, numbers of events by key.
    private var rows = [[String: UInt64]](repeating: [:], count: Channels.names.count)
    /// Events up to here are in it.
    private var known: UInt64 = 0
    /// What was compared last; nil when something has changed since that is no event.
    private var compared: UInt64?
    /// Where a channel that had ended was begun anew: its state does not outlive it.
    private var begun: [(channel: Int, after: UInt64)] = []
    /// Which channels had ended, and the head, when it looked last.
    private var hadEnded = [Bool](repeating: false, count: Channels.names.count)
    private var headBefore: UInt64 = 0

    static func rules(_ channel: String) -> Configuration.StateRules {
        var rules = Configuration.StateRules()
        rules.upsert = ["alpha": .init(pointer: "/key")]
        rules.remove = ["beta": .init(pointer: "/key")]
        if channel == wholeChannel { rules.snapshot = ["gamma"] } else { rules.replace = ["gamma"] }
        return rules
    }

    /// What disagrees: every table with a count from scratch, and, where everything is known up to the head, with the
    /// fold.
    mutating func faults(_ engine: Engine, _ truth: Truth, _ sightings: inout Sightings) -> [String] {
        noteBegun(engine.hub)
        fold(truth)
        var faults: [String] = []
        var count = 0
        for channel in 0..<UInt32(engine.hub.channels.count) where engine.hub.channels[channel].state != States.none {
            let number = engine.hub.channels[channel].state
            let name = engine.hub.channels[channel].name
            if let fault = engine.hub.states[number].audit() { faults.append("the state of \(name): \(fault)") }
            count += engine.hub.states[number].count
        }
        if count != engine.hub.states.rowCount {
            faults.append("\(engine.hub.states.rowCount) rows are counted and \(count) there")
        }
        guard faults.isEmpty, known == engine.hub.head, known != compared else { return faults }
        compared = known
        sightings.statesCompared += 1
        sightings.stateRows += count
        for channel in Channels.names.indices { faults += compare(channel, engine, truth) }
        return faults
    }

    /// To be asked after each turn: nothing was published to a channel that had ended before the turn until it was
    /// begun anew, so that happened behind the head of before.
    private mutating func noteBegun(_ hub: Hub) {
        for channel in Channels.names.indices {
            let index = ChannelName(Channels.names[channel]).flatMap { hub.channels.index(of: $0) }
            let hasEnded = index.map { hub.channels[$0].isOver } ?? false
            if hadEnded[channel], !hasEnded {
                begun.append((channel, headBefore))
                compared = nil
            }
            hadEnded[channel] = hasEnded
        }
        headBefore = hub.head
    }

    private mutating func fold(_ truth: Truth) {
        while true {
            while let first = begun.first, first.after == known {
                rows[first.channel] = [:]
                begun.removeFirst()
            }
            guard known < truth.head else { return }
            let index = truth.atSeq[Int(known)]
            guard index >= 0 else { return }
            known += 1
            let event = truth.offered[index]
            switch event.kind {
            case "alpha": rows[event.channel][event.key ?? ""] = known
            case "beta": rows[event.channel][event.key ?? ""] = nil
            case "gamma":
                if Channels.names[event.channel] == Self.wholeChannel { rows[event.channel] = [:] }
                rows[event.channel]["gamma"] = known
            default: break
            }
        }
    }

    private func compare(_ channel: Int, _ engine: Engine, _ truth: Truth) -> [String] {
        let expected = rows[channel].values.sorted()
        var found: [UInt64] = []
        guard let name = ChannelName(Channels.names[channel]), let index = engine.hub.channels.index(of: name),
            engine.hub.channels[index].state != States.none
        else { return expected.isEmpty ? [] : ["\(Channels.names[channel]) keeps no state, and has \(expected)"] }
        let number = engine.hub.channels[index].state
        var place = engine.hub.states[number].first
        while place != StateRow.none {
            let row = engine.hub.states[number][place]
            place = row.next
            guard row.isLive else { continue }
            found.append(row.seq)
            guard row.seq >= 1, row.seq <= truth.head else { continue }
            let payload = truth.offered[truth.atSeq[Int(row.seq) - 1]].payload
            if !row.bytes.suffix(payload.count - 1).elementsEqual(payload.dropFirst()) {
                return ["the state of \(name) at \(row.seq) is not its event: \(Array(row.bytes).excerpt)"]
            }
        }
        return found == expected ? [] : ["the state of \(name) is \(found), and must be \(expected)"]
    }
}
