/// The one total order: gives each event its number and hands it to everyone who asked for it.

import Wire

/// Publishes events and keeps who reads what. Loop thread only.
///
/// An event costs one encoding for each wire format that a matching subscriber speaks, and one run for each matching
/// subscriber; subscribers that do not match cost nothing.
final class Hub {
    /// What a publisher is told.
    struct Receipt: Equatable {
        var first: UInt64 = 0
        var last: UInt64 = 0
        var count = 0
        /// Subscribers that the last event was handed to, and those of them that had not yet taken what came before.
        var subscribers = 0
        var behind = 0
    }

    let delivery: Delivery
    let epoch: Epoch
    private(set) var head: UInt64 = 0
    let rules: RuleBook
    private let defaults: (onLag: Configuration.LagPolicy, limits: Configuration.LagLimits)
    private(set) var channels = ChannelTable()
    private(set) var subscriptions = SubscriptionTable()
    private var staging = Staging()
    /// Subscribers that passed a limit in this turn: judged when the socket has been tried.
    private var suspects: [UInt32] = []

    init(delivery: Delivery, epoch: Epoch, configuration: Configuration) throws(StartError) {
        self.delivery = delivery
        self.epoch = epoch
        rules = try RuleBook(configuration)
        for limits in [configuration.limits] + configuration.channelRules.compactMap(\.rules.limits)
        where [limits.events, limits.bytes, limits.ageMilliseconds].contains(where: {
            !(1...Configuration.LagLimits.most ~= $0)
        }) {
            throw StartError("a lag limit is 1 to \(Configuration.LagLimits.most)", exitCode: .configuration)
        }
        defaults = (configuration.onLag, configuration.limits)
    }

    /// The place after the newest event.
    var headCursor: Cursor { Cursor(epoch: epoch, seq: head) }

    // MARK: Channels

    /// The channel of this name, made if need be; nil when there are too many.
    func channel(_ name: ChannelName) -> UInt32? {
        if let index = channels.index(of: name) { return index }
        guard let index = channels.insert(Channel(name: name, rules: rules[name])) else { return nil }
        for group in subscriptions.groups(reading: name) { _ = channels[index].groups.append(group) }
        return index
    }

    /// Ends a channel.
    func end(_ channel: UInt32) { channels[channel].hasEnded = true }

    /// Lets a channel begin anew. True if it had ended.
    func reopen(_ channel: UInt32) -> Bool {
        defer { channels[channel].hasEnded = false }
        return channels[channel].hasEnded
    }

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
        var count = 0
        for place in 0..<channels[channel].groups.count {
            count += subscriptions[channels[channel].groups[place]].memberCount
        }
        return count
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
            for index in 0..<UInt32(channels.count)
            where subscription.patterns.contains(where: { $0.matches(channels[index].name) }) {
                newest = max(newest, channels[index].lastSeq)
            }
        }
        return newest
    }

    // MARK: Publishing

    /// How many events are staged.
    var stagedCount: Int { staging.events.count }

    /// The rules for events of a channel, which need not exist yet.
    func eventRules(of name: ChannelName) -> EventRules {
        channels.index(of: name).map { channels[$0].rules.event } ?? rules[name].event
    }

    /// Checks an event and keeps it for `publishStaged`.
    func stage(_ text: Span<UInt8>, rules: EventRules) throws(EventFault) {
        try staging.add(text, rules: rules)
    }

    /// Forgets what is staged.
    func discardStaged() { staging.removeAll() }

    /// Publishes what is staged, in order: it cannot fail. O(matching subscribers) for each event.
    func publishStaged(on channel: UInt32) -> Receipt {
        var receipt = Receipt()
        receipt.count = staging.events.count
        receipt.first = head + 1
        for event in staging.events { publish(event, on: channel, &receipt) }
        receipt.last = head
        staging.removeAll()
        return receipt
    }

    private func publish(_ event: StagedEvent, on index: UInt32, _ receipt: inout Receipt) {
        head += 1
        let channel = channels.channels + Int(index)
        channel.pointee.eventCount += 1
        channel.pointee.lastSeq = head
        receipt.subscribers = 0
        receipt.behind = 0
        let groupCount = channel.pointee.groups.count
        guard groupCount > 0 else { return }
        let bytes = staging.bytes(of: event)
        let stamp = Stamp(
            members: channel.pointee.rules.event.stamp, epoch: epoch, seq: head,
            timeMilliseconds: channel.pointee.rules.event.stamp.contains(.time)
                ? delivery.loop.wallClockMilliseconds : 0)
        var runs: InlineArray<3, OutboundRun?> = [nil, nil, nil]
        for place in 0..<groupCount {
            let group = subscriptions.groups + Int(channel.pointee.groups[place])
            guard group.pointee.types.isEmpty || isOfKind(event, bytes, group) else { continue }
            for format in 0..<3 where group.pointee.members[format].count > 0 {
                let run = runs[format] ?? encode(WireFormat(rawValue: UInt8(format))!, stamp, channel, bytes)
                runs[format] = run
                fanOut(run, to: group.pointee.members[format], limits: group.pointee.limits, &receipt)
            }
        }
    }

    /// Writes the frame once, for all who speak this format.
    private func encode(
        _ format: WireFormat, _ stamp: Stamp, _ channel: UnsafeMutablePointer<Channel>,
        _ bytes: UnsafeBufferPointer<UInt8>
    ) -> OutboundRun {
        let name = channel.pointee.name.bytes.span
        let byteCount = EventEncoder.byteCount(format, stamp: stamp, channel: name, event: bytes.span)
        let (run, target) = delivery.log.reserve(Chain(rawValue: format.rawValue)!, byteCount: byteCount)
        EventEncoder.encode(format, stamp: stamp, channel: name, event: bytes.span, into: target)
        delivery.log.commit(run, seq: stamp.seq, writtenAt: UInt32(truncatingIfNeeded: delivery.loop.now))
        return run
    }

    /// The hot loop: one run for each subscriber of a group.
    private func fanOut(
        _ run: OutboundRun, to members: SlotList, limits: Configuration.LagLimits, _ receipt: inout Receipt
    ) {
        let records = delivery.connections.records
        let now = UInt32(truncatingIfNeeded: delivery.loop.now)
        let eventsMax = UInt32(clamping: limits.events)
        let bytesMax = UInt32(clamping: limits.bytes)
        let slots = members.elements!
        var references: UInt32 = 0
        var behind = 0
        var skipped = 0
        for place in 0..<members.count {
            let slot = slots[place]
            let connection = records + Int(slot)
            if connection.pointee.flags.contains(.skipping) {
                connection.pointee.missed &+= 1
                skipped += 1
                continue
            }
            if connection.pointee.ring.isEmpty {
                connection.pointee.waitingSince = now
            } else if connection.pointee.waitingSince != now {
                behind += 1
            }
            if connection.pointee.ring.append(run, blocks: &delivery.blocks) { references += 1 }
            connection.pointee.pendingEvents += 1
            connection.pointee.queuedSeq = head
            if connection.pointee.pendingEvents > eventsMax || connection.pointee.ring.byteCount > bytesMax {
                suspect(slot)
            }
            delivery.queue.append(slot, in: records)
        }
        // Summed here and added once: the segment's record stays out of the loop.
        delivery.log.segments[run.segment].references += references
        receipt.subscribers += members.count
        receipt.behind += behind + skipped
        delivery.countDeliveries(members.count - skipped)
    }

    /// Whether an event is of a kind that a group asked for; one without a kind is of none.
    private func isOfKind(
        _ event: StagedEvent, _ bytes: UnsafeBufferPointer<UInt8>, _ group: UnsafeMutablePointer<SubscriberGroup>
    ) -> Bool {
        guard let range = event.record.kind else { return false }
        return group.pointee.accepts(bytes.span.extracting(range.range), isEscaped: event.record.kindIsEscaped)
    }

    // MARK: Laggards

    private func suspect(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        guard !connection.pointee.flags.contains(.suspected) else { return }
        connection.pointee.flags.insert(.suspected)
        suspects.append(slot)
    }

    /// Hands over the subscribers to judge. They keep their flag until they have been, so none is in the list twice.
    func moveSuspects(to list: inout [UInt32]) {
        if suspects.isEmpty { return }
        list.append(contentsOf: suspects)
        suspects.removeAll(keepingCapacity: true)
    }

    // MARK: Subscribing

    /// Puts a connection among the readers of what it asked for. It gets the next event that matches. O(1) when
    /// somebody asked for the same before.
    func attach(_ slot: UInt32, _ subscription: Subscription) {
        let common = rules.common(to: subscription.patterns)
        // Whoever wants no `$gap` cannot skip either.
        let onLag = subscription.failsOnGap ? .close : subscription.onLag ?? common.onLag ?? defaults.onLag
        let key = Self.key(subscription, onLag)
        let index = subscriptions.group(forKey: key) ?? makeGroup(key, subscription, common, onLag)
        let connection = delivery.connections.records + Int(slot)
        connection.pointee.group = index
        connection.pointee.member =
            subscriptions[index].members[Int(connection.pointee.transport.format.rawValue)].append(slot)
        // What the reader has is everything up to now: events of an earlier subscription that still wait go out before
        // this one's `$hello`, and what it missed of them was said.
        connection.pointee.queuedSeq = head
        connection.pointee.sentSeq = head
    }

    /// Takes a connection out: it gets no later event. O(1) while others asked for the same.
    func detach(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        let index = connection.pointee.group
        guard index != Connection.none else { return }
        let format = Int(connection.pointee.transport.format.rawValue)
        if let moved = subscriptions[index].members[format].remove(at: connection.pointee.member) {
            delivery.connections[moved].member = connection.pointee.member
        }
        connection.pointee.group = Connection.none
        if subscriptions[index].memberCount == 0 { removeGroup(index) }
    }

    /// The member that names the kind of a subscriber's `$` records.
    func discriminator(of slot: UInt32) -> [UInt8] {
        let group = delivery.connections[slot].group
        return group == Connection.none ? EventRules().discriminator : subscriptions[group].discriminator
    }

    private func makeGroup(
        _ key: [UInt8], _ subscription: Subscription, _ common: CompiledRules, _ onLag: Configuration.LagPolicy
    ) -> UInt32 {
        // Each pattern once: a group that stood twice in a channel's list would get its events twice.
        let patterns = subscription.patterns.contains { $0.isEverything } ? [] : Array(Set(subscription.patterns))
        let group = SubscriberGroup(
            key: key, patterns: patterns,
            types: subscription.types, discriminator: common.event.discriminator, onLag: onLag,
            limits: common.limits ?? defaults.limits)
        let index = subscriptions.insert(group)
        forEachChannel(read: group) { _ = channels[$0].groups.append(index) }
        return index
    }

    private func removeGroup(_ index: UInt32) {
        forEachChannel(read: subscriptions[index]) { channels[$0].groups.removeFirst(equalTo: index) }
        subscriptions.remove(index)
    }

    /// The channels of a group: a look-up for each literal pattern, or a walk where there is a wildcard.
    private func forEachChannel(read group: SubscriberGroup, _ body: (UInt32) -> Void) {
        if !group.patterns.isEmpty, group.patterns.allSatisfy({ $0.isLiteral }) {
            for pattern in group.patterns {
                if let name = pattern.name, let index = channels.index(of: name) { body(index) }
            }
        } else {
            for index in 0..<UInt32(channels.count) where group.reads(channels[index].name) { body(index) }
        }
    }

    private static func key(_ subscription: Subscription, _ onLag: Configuration.LagPolicy) -> [UInt8] {
        var key: [UInt8] = Array(onLag.rawValue.utf8)
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
