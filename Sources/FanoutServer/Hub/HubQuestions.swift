/// What the hub can be asked that changes nothing for anybody.

import Wire

extension Hub {
    /// Whether every channel that these patterns name has ended: nothing will ever come.
    func hasEnded(_ patterns: [ChannelPattern]) -> Bool {
        !patterns.isEmpty
            && patterns.allSatisfy { pattern in
                guard let name = pattern.name, let index = channels.index(of: name) else { return false }
                return channels[index].isOver
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

    /// The number of the newest event that readers of these patterns could have got and that is not held any more, or
    /// that retention has removed from the database; 0 is none. As costly as `newest`.
    func newestPruned(for patterns: [ChannelPattern]) -> UInt64 {
        // What nobody has seen yet is nobody's loss so far.
        if records { return min(newestRemoved(of: patterns), head) }
        guard window.isOn else { return newest(for: patterns) }
        if patterns.isEmpty || patterns.contains(where: { $0.isEverything }) { return oldestHeld - 1 }
        return greatest(of: patterns) { $0.prunedSeq }
    }

    /// The newest event after a place that readers of these patterns cannot have any more; nil where everything is to
    /// be had. As costly as `newest` where something was removed behind the place, else free.
    ///
    /// What retention has removed from the database is gone, also while memory holds it. But a reader of several
    /// channels would lose with it what others still have: as far as memory goes it gets everything.
    /// - Parameter group: the group that reads them, where there is one: its answer is kept until more is removed.
    func newestGone(after place: UInt64, for patterns: [ChannelPattern], in group: UInt32? = nil) -> UInt64? {
        guard records else { return place + 1 < oldestHeld ? greater(newestPruned(for: patterns), than: place) : nil }
        guard removed.newest > place else { return nil }
        if patterns.count == 1, patterns[0].isLiteral { return greater(newestPruned(for: patterns), than: place) }
        guard place + 1 < oldestHeld else { return nil }
        let pruned = group.map(newestPruned) ?? newestPruned(for: patterns)
        return greater(min(pruned, oldestHeld - 1), than: place)
    }

    /// The same as `newestPruned` of a group's patterns. A walk over the channels only if something was removed since.
    func newestPruned(in group: UInt32) -> UInt64 {
        if subscriptions[group].pruned.version != removed.version {
            subscriptions[group].pruned = (newestRemoved(of: subscriptions[group].patterns), removed.version)
        }
        return min(subscriptions[group].pruned.seq, head)
    }

    private func newestRemoved(of patterns: [ChannelPattern]) -> UInt64 {
        let isAll = patterns.isEmpty || patterns.contains { $0.isEverything }
        if isAll || removed.newest == 0 { return removed.newest }
        let known = greatest(of: patterns) { $0.prunedSeq }
        // A channel that nobody knows may be one that was forgotten.
        let areKnown = patterns.allSatisfy { $0.name.map { channels.index(of: $0) != nil } ?? false }
        return areKnown ? known : max(known, removed.newestForgotten)
    }

    private func greater(_ seq: UInt64, than place: UInt64) -> UInt64? { seq > place ? seq : nil }

    /// The place behind which everything is held that these patterns can still have.
    func placeOfOldest(for patterns: [ChannelPattern]) -> UInt64 {
        records ? newestPruned(for: patterns) : oldestHeld - 1
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
