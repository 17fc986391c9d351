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

    /// The number of the newest event that a subscription could have got, kinds left aside; 0 is none.
    /// A look-up for each literal pattern; a walk over the channels where there is a wildcard.
    func newest(for subscription: Subscription) -> UInt64 {
        if subscription.patterns.isEmpty || subscription.patterns.contains(where: { $0.isEverything }) { return head }
        var newest: UInt64 = 0
        if subscription.patterns.allSatisfy({ $0.isLiteral }) {
            for pattern in subscription.patterns {
                if let name = pattern.name, let index = channels.index(of: name) {
                    newest = max(newest, channels[index].lastSeq)
                }
            }
        } else {
            var patterns = PatternIndex()
            for pattern in subscription.patterns { patterns.insert(0, under: pattern) }
            for index in 0..<UInt32(channels.count)
            where channels[index].lastSeq > newest && patterns.contains(channels[index].name) {
                newest = channels[index].lastSeq
            }
            extraWork &+= UInt64(channels.count)
        }
        return newest
    }
}
