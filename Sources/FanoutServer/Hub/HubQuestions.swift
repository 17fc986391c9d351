/// What the hub can be asked that changes nothing for anybody.

import Wire

extension Hub {
    /// Whether every channel that these patterns name has ended: nothing will ever come.
    func hasEnded(_ patterns: [ChannelPattern]) -> Bool {
        !patterns.isEmpty
            && patterns.allSatisfy { pattern in
                guard let name = pattern.name, let index = channels.index(of: name) else { return false }
                return channels[index].hasEnded
            }
    }

    /// Readers of a channel.
    func subscriberCount(of channel: UInt32) -> Int {
        let groups = groups(of: channel)
        return (0..<groups.count).reduce(0) { $0 + subscriptions[groups[$1]].memberCount }
    }

    /// The most that an event on a channel can come to in the unit of `extraWork`, deliveries included.
    /// O(groups that read it).
    func workMax(ofEventOn channel: UInt32) -> Int {
        let groups = groups(of: channel)
        let table = subscriptions.groups
        return (0..<groups.count).reduce(0) { work, place in
            let group = table + Int(groups[place])
            return work + group.pointee.memberCount + group.pointee.types.count
        }
    }

    /// The number of the newest event that readers of these patterns could have got, kinds left aside; 0 is none.
    /// A look-up for each literal pattern; a walk over the channels where there is a wildcard.
    func newest(for patterns: [ChannelPattern]) -> UInt64 {
        if patterns.isEmpty || patterns.contains(where: { $0.isEverything }) { return head }
        return greatest(of: patterns) { $0.lastSeq }
    }

    /// The number of the newest event that readers of these patterns could have got and that is not held any more; 0 is
    /// none. As costly as `newest`.
    func newestPruned(for patterns: [ChannelPattern]) -> UInt64 {
        guard window.isOn else { return newest(for: patterns) }
        if patterns.isEmpty || patterns.contains(where: { $0.isEverything }) { return oldestHeld - 1 }
        return greatest(of: patterns) { $0.prunedSeq }
    }

    private func greatest(of patterns: [ChannelPattern], _ number: (Channel) -> UInt64) -> UInt64 {
        var greatest: UInt64 = 0
        if patterns.allSatisfy({ $0.isLiteral }) {
            for pattern in patterns {
                if let name = pattern.name, let index = channels.index(of: name) {
                    greatest = max(greatest, number(channels[index]))
                }
            }
        } else {
            var wanted = PatternIndex()
            for pattern in patterns { wanted.insert(0, under: pattern) }
            for index in 0..<UInt32(channels.count)
            where number(channels[index]) > greatest && wanted.contains(channels[index].name) {
                greatest = number(channels[index])
            }
            extraWork &+= UInt64(channels.count)
        }
        return greatest
    }
}
