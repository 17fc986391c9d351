/// What the hub can be asked about states.

import Wire

extension Hub {
    /// Whether channels that these patterns match keep state, or could as soon as they exist: by their rules, or since
    /// a producer has made one. A look-up for each literal pattern; a walk over the channels where there is a wildcard.
    func mayKeepState(_ patterns: [ChannelPattern]) -> Bool {
        let patterns = patterns.isEmpty ? [.everything] : patterns
        return rules.mayKeepState(patterns) || !channelsWithState(of: patterns).isEmpty
    }

    /// Whether there is anything to know of what these patterns match.
    func hasRows(_ patterns: [ChannelPattern]) -> Bool {
        channelsWithState(of: patterns).contains { states[channels[$0].state].count > 0 }
    }

    /// The channels that have a table of state, of those that these patterns match, each once. As costly as
    /// `mayKeepState`.
    func channelsWithState(of patterns: [ChannelPattern]) -> [UInt32] {
        guard states.tableCount > 0 else { return [] }
        var found: [UInt32] = []
        if !patterns.isEmpty, patterns.allSatisfy({ $0.isLiteral }) {
            for pattern in patterns {
                guard let name = pattern.name, let channel = channels.index(of: name),
                    channels[channel].state != States.none, !found.contains(channel)
                else { continue }
                found.append(channel)
            }
            return found
        }
        var wanted = PatternIndex()
        for pattern in patterns.isEmpty ? [.everything] : patterns { wanted.insert(0, under: pattern) }
        for channel in 0..<UInt32(channels.count)
        where channels[channel].state != States.none && wanted.contains(channels[channel].name) {
            found.append(channel)
        }
        extraWork &+= UInt64(channels.count)
        return found
    }

    /// From where on every removal is known in the states of these channels; nil where that is not how they can be
    /// brought up to date: one of them is what a producer says now and then.
    func removalsKnown(of patterns: [ChannelPattern]) -> UInt64? {
        var known: UInt64 = 0
        for channel in channelsWithState(of: patterns) {
            let table = channels[channel].state
            if states[table].asOf != nil { return nil }
            known = max(known, states[table].removalsKnownFrom)
        }
        return known
    }

    /// Whether a state of these rows fits in the place of what a channel has.
    func hasRoom(forState rows: [[UInt8]], of channel: ChannelName, asOf place: UInt64) -> Bool {
        var growth = rows.reduce(StateTable.emptyBytes) {
            $0 + StateRow.fixedBytes + StateRow.capacity($1.count, seq: place)
        }
        if let index = channels.index(of: channel), channels[index].state != States.none {
            growth -= states[channels[index].state].bytes
        }
        return states.hasRoom(for: growth)
    }

    /// About what an image would take.
    func imageBytes(_ index: Int) -> Int {
        channelsWithState(of: images[index].patterns).reduce(0) { $0 + states[channels[$1].state].bytes }
    }
}
