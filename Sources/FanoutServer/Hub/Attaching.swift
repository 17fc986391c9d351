/// Who reads what: connections come to groups of readers that asked for the same, and go.

import Planted
import Wire

extension Hub {
    /// Puts a connection among the readers of what it asked for: it gets the next event that matches, or, with a place
    /// to replay from, becomes one who is sent what lies behind that first. O(1) when somebody asked for the same
    /// before. Larger limits than it may have are `checkLimits`'s to refuse.
    func attach(_ slot: UInt32, _ subscription: Subscription, replayingAfter place: UInt64? = nil) {
        let connection = delivery.connections.records + Int(slot)
        let index = group(for: subscription, at: connection.pointee.listener)
        connection.pointee.group = index
        // What waits of an earlier subscription's history goes out first, and is not held against this one.
        if place != nil || connection.pointee.ring.isEmpty { connection.pointee.flags.remove(.catchingUp) }
        if let place {
            connection.pointee.flags.insert(.replaying)
            connection.pointee.replaySeq = place
            replayingCount += 1
        }
        connection.pointee.member = subscriptions.addMember(slot, to: index, list: list(of: slot))
        // What the reader has is everything up to now: events of an earlier subscription that still wait go out before
        // this one's `$hello`, and what it missed of them was said.
        connection.pointee.queuedSeq = head
        connection.pointee.sentSeq = head
    }

    private func group(for subscription: Subscription, at listener: ListenerName) -> UInt32 {
        let place = Int(listener.rawValue)
        let isPlain = subscription.isPlain
        if isPlain, plainGroups[place].version == subscriptions.version { return plainGroups[place].index }
        let terms = terms(of: subscription, at: listener)
        let index = subscriptions.group(forKey: terms.key) ?? makeGroup(terms, subscription)
        if isPlain { plainGroups[place] = (index, subscriptions.version) }
        return index
    }

    /// Takes a connection out: it gets no later event. O(1) while others asked for the same.
    func detach(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        let index = connection.pointee.group
        guard index != Connection.none else { return }
        leaveList(slot)
        if connection.pointee.flags.contains(.replaying) {
            noteReplayed(slot)
            if !connection.pointee.ring.isEmpty { connection.pointee.flags.insert(.catchingUp) }
        }
        leaveImage(slot)
        connection.pointee.group = Connection.none
        if subscriptions[index].memberCount == 0 { subscriptions.remove(index) }
    }

    /// Makes a reader that was sent everything up to the head a member: it gets the next event that matches.
    func join(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        precondition(connection.pointee.flags.contains(.replaying), "who joins has replayed")
        leaveList(slot)
        noteReplayed(slot)
        if !connection.pointee.ring.isEmpty { connection.pointee.flags.insert(.catchingUp) }
        connection.pointee.member = subscriptions.addMember(slot, to: connection.pointee.group, list: list(of: slot))
        connection.pointee.queuedSeq = head
        if connection.pointee.ring.isEmpty { connection.pointee.sentSeq = head }
    }

    /// Makes a member one that is sent what lies behind a place, before it gets events again as they are published.
    func leave(_ slot: UInt32, toReplayAfter place: UInt64) {
        let connection = delivery.connections.records + Int(slot)
        precondition(!connection.pointee.flags.contains(.replaying), "who leaves was a member")
        leaveList(slot)
        connection.pointee.flags.remove(.catchingUp)
        connection.pointee.flags.insert(.replaying)
        connection.pointee.replaySeq = place
        replayingCount += 1
        connection.pointee.member = subscriptions.addMember(slot, to: connection.pointee.group, list: list(of: slot))
    }

    /// A connection is sent no state any more, and waits for none.
    func leaveImage(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.wasLagging) { connection.pointee.missed = 0 }
        if connection.pointee.flags.contains(.inImage) {
            images.leave(ImagePlace(packed: connection.pointee.replaySeq).serial)
        }
        connection.pointee.flags.subtract([.inImage, .awaitsImage, .wasLagging, .needsState])
    }

    /// Which of its group's lists a connection is in.
    private func list(of slot: UInt32) -> Int {
        let connection = delivery.connections.records + Int(slot)
        return connection.pointee.flags.contains(.replaying) && !isPlanted("memberWhileReplaying")
            ? SubscriberGroup.replaying : Int(connection.pointee.transport.format.rawValue)
    }

    private func leaveList(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        let moved = subscriptions.removeMember(
            at: connection.pointee.member, of: connection.pointee.group, list: list(of: slot))
        if let moved { delivery.connections[moved].member = connection.pointee.member }
    }

    /// A connection does not replay any more. With the last one the pages go.
    private func noteReplayed(_ slot: UInt32) {
        delivery.connections[slot].flags.subtract([.replaying, .awaitsStore])
        replayingCount -= 1
        guard replayingCount == 0 else { return }
        if !isPlanted("pagesKeptForNobody") { pages.removeAll(&delivery.log.segments) }
        stretches.removeAll()
    }

    /// The member that names the kind of a subscriber's `$` records.
    func discriminator(of slot: UInt32) -> [UInt8] {
        let group = delivery.connections[slot].group
        return group == Connection.none ? EventRules().discriminator : subscriptions[group].discriminator
    }

    /// The schema of everything that a subscriber reads, if that has one.
    func schema(of slot: UInt32) -> ContentDigest? {
        let group = delivery.connections[slot].group
        return group == Connection.none ? nil : subscriptions[group].schema
    }

    /// What holds for the subscribers of a group, and the key that says so.
    struct Terms {
        var key: [UInt8]
        var discriminator: [UInt8]
        var schema: ContentDigest?
        var onLag: Configuration.LagPolicy
        var limits: Configuration.LagLimits
    }

    /// What holds for a subscription at a listener. O(rules + names).
    func terms(of subscription: Subscription, at listener: ListenerName) -> Terms {
        let common = rules.common(to: subscription.patterns)
        // Whoever wants no `$gap` cannot skip either.
        let onLag = subscription.failsOnGap ? .close : subscription.onLag ?? common.onLag ?? defaults.onLag
        let limits = subscription.lag.applied(to: limitsAllowed(common, at: listener))
        return Terms(
            key: Self.key(subscription, common, onLag, limits), discriminator: common.event.discriminator,
            schema: common.schema, onLag: onLag, limits: limits)
    }

    private func makeGroup(_ terms: Terms, _ subscription: Subscription) -> UInt32 {
        // Each pattern once: a group that stood twice in a channel's list would get its events twice.
        let patterns = subscription.patterns.contains { $0.isEverything } ? [] : Array(Set(subscription.patterns))
        let group = SubscriberGroup(
            key: terms.key, patterns: patterns, types: subscription.types, discriminator: terms.discriminator,
            schema: terms.schema, onLag: terms.onLag, limits: terms.limits)
        return subscriptions.insert(group)
    }

    /// Whether this subscription has room at a listener: it is somebody's already, or what it costs fits.
    func hasRoom(for subscription: Subscription, at listener: ListenerName) -> Bool {
        subscriptions.bytesHeld + MemoryFormula.groupBytesMax(subscription) <= subscriptionBytesMax
            || subscriptions.group(forKey: terms(of: subscription, at: listener).key) != nil
    }

    private static func key(
        _ subscription: Subscription, _ common: CompiledRules, _ onLag: Configuration.LagPolicy,
        _ limits: Configuration.LagLimits
    ) -> [UInt8] {
        var key = Array("\(onLag.rawValue):\(limits.events):\(limits.bytes):\(limits.ageMilliseconds)".utf8)
        // Two that asked for the same may have others where the configuration was read again between them.
        key.append(0)
        key.append(contentsOf: Array("\(common.schema?.high ?? 0):\(common.event.discriminator.count):".utf8))
        key.append(contentsOf: common.event.discriminator)
        // Bytes below 0x20 stand in no pattern; kinds are counted, since they may hold anything.
        for pattern in Set(subscription.patterns.map(\.description)).sorted() {
            key.append(1)
            key.append(contentsOf: pattern.utf8)
        }
        for type in subscription.types.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            key.append(2)
            key.append(contentsOf: Array("\(type.count):".utf8))
            key.append(contentsOf: type)
        }
        return key
    }
}
