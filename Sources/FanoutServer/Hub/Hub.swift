/// The one total order: gives each event its number and hands it to everyone who asked for it.

import EventStore
import Planted
import Wire

/// Publishes events and keeps who reads what. Loop thread only.
///
/// An event costs one encoding for each wire format that a matching subscriber speaks. Events that are published
/// together cost each matching subscriber one run; subscribers that do not match cost nothing.
final class Hub {
    /// What a publisher is told.
    struct Receipt: Equatable {
        var first: UInt64 = 0
        var last: UInt64 = 0
        var count = 0
        /// Subscribers that the last event was handed to, and those of them that had not yet taken what came before.
        var subscribers = 0
        var behind = 0
        /// Whether it had been published before; then whether it is known under which numbers.
        var isDuplicate = false
        var isPlaceKnown = true
    }

    let delivery: Delivery
    let epoch: Epoch
    // What is marked is used without run-time checks of exclusivity, which would cost each event several calls: no
    // access to one of these lasts while another to the same one begins, since nothing that works on one calls back.
    @exclusivity(unchecked) private(set) var head: UInt64 = 0
    @exclusivity(unchecked) var channels = ChannelTable()
    @exclusivity(unchecked) var staging = Staging()
    /// The groups that get the stretch of events being published, by wire format of their members.
    @exclusivity(unchecked) private var reached: InlineArray<3, SlotList> = InlineArray(repeating: SlotList())
    /// The newest events, and what was made of them for those who come back.
    @exclusivity(unchecked) private(set) var window: HistoryWindow
    @exclusivity(unchecked) var pages = ReplayPages()
    /// Readers that are sent what was published before.
    var replayingCount = 0
    /// Whether there is a database: every event is recorded for it, and what the window does not hold is read there.
    let records: Bool
    /// What was read there for readers who come back.
    @exclusivity(unchecked) var stretches = StoredStretches()
    /// The newest event that the database is known to have.
    private(set) var storedSeq: UInt64
    /// States that are encoded for readers.
    @exclusivity(unchecked) var images = StateImages()
    /// What is on its way to the database in this turn.
    @exclusivity(unchecked) var outgoing = StoreBatch()
    /// Channels with a retention of their own, of which the database has not been told.
    var retentionUntold: [UInt32] = []
    /// Events that have numbers and that nobody has seen yet; and the publication among them that is being shown.
    @exclusivity(unchecked) var held = HeldEvents()
    @exclusivity(unchecked) var shown: HeldEvents.Entry?
    /// What the publication that is being made leaves in the database beside its events.
    @exclusivity(unchecked) var rows = StoreRows()
    /// What there is to know of each key, channel by channel.
    @exclusivity(unchecked) var states: States
    /// Channels that an event has ended in this turn.
    @exclusivity(unchecked) var endedByEvent: [UInt32] = []
    /// What retention has removed from the database.
    var removed = RemovedEvents()
    /// Events that did not fit their channel's schema, and who is told of one that was published all the same.
    var misfits = MisfitCounts()
    var whenMisfit: (String) -> Void = { _ in }
    /// The newest time stamp, in milliseconds since 1970.
    private var newestTime = Int64.min
    @exclusivity(unchecked) var rules: RuleBook
    @exclusivity(unchecked) var defaults:
        (
            onLag: Configuration.LagPolicy, limits: Configuration.LagLimits, listeners: Configuration.ListenerLimits
        )
    @exclusivity(unchecked) var subscriptions = SubscriptionTable()
    /// What channels, and subscriptions, may cost.
    var channelBytesMax = Int.max
    var subscriptionBytesMax = Int.max
    /// The group of those who asked for nothing in particular, by listener, and the table's version in which it was so.
    var plainGroups: InlineArray<5, (index: UInt32, version: UInt64)> = InlineArray(repeating: (0, 0))
    /// Subscribers that passed a limit in this turn: judged when the socket has been tried.
    @exclusivity(unchecked) private var suspects: [UInt32] = []
    /// Bytes of the channels' lists of groups: what is remembered of look-ups.
    private(set) var listBytes = 0
    /// How many those may be: beyond it all are forgotten and looked up again when needed.
    static let listBytesMax = 4 << 20
    /// What a turn has to share out beside deliveries, in the same unit, since the start: channels and connections
    /// walked over to answer somebody, subscriptions looked up or asked about an event, and what else takes as long.
    var extraWork: UInt64 = 0

    /// - Parameters:
    ///   - historyBytes: how much of the past is held.
    ///   - head: the newest event of the database.
    ///   - records: whether there is one.
    init(
        delivery: Delivery, epoch: Epoch, configuration: Configuration, historyBytes: Int = 0, head: UInt64 = 0,
        records: Bool = false
    ) throws(StartError) {
        self.delivery = delivery
        self.epoch = epoch
        self.head = head
        self.records = records
        storedSeq = head
        states = States(head: head)
        rules = try RuleBook(configuration)
        try rules.checkLimits(configuration)
        defaults = (configuration.onLag, configuration.limits, configuration.listenerLimits)
        window = HistoryWindow(
            bytesMax: historyBytes, segmentBytes: delivery.log.segments.segmentBytes,
            unstoredBytesMax: records ? StoreQueue.bytesMax : 0)
    }

    deinit {
        for format in 0..<3 { reached[format].deallocate() }
    }

    /// The place after the newest event.
    var headCursor: Cursor { Cursor(epoch: epoch, seq: head) }

    /// The newest number that was given to an event. Beyond `head` are those that nobody has seen yet.
    var accepted: UInt64 { held.isEmpty ? head : held.last }

    // MARK: Channels

    /// The channel of this name, made if need be; nil when there are too many.
    func channel(_ name: ChannelName) -> UInt32? {
        if let index = channels.index(of: name) { return index }
        guard channels.bytesHeld + MemoryFormula.channelBytes(name) <= channelBytesMax else { return nil }
        guard let index = channels.insert(Channel(name: name, rules: rules[name])) else { return nil }
        if records, channels[index].rules.retention != nil { retentionUntold.append(index) }
        return index
    }

    /// The groups that read a channel. Free while no group has come or gone since the last time; else a look-up.
    func groups(of channel: UInt32) -> SlotList {
        if channels[channel].groupsVersion != subscriptions.version { lookUpGroups(of: channel) }
        return channels[channel].groups
    }

    private func lookUpGroups(of index: UInt32) {
        if listBytes > Self.listBytesMax {
            channels.forgetGroups()
            listBytes = 0
        }
        let channel = channels.channels + Int(index)
        listBytes -= channel.pointee.groups.bytesHeld
        channel.pointee.groups.removeAll()
        subscriptions.forEachGroup(reading: channel.pointee.name) { _ = channel.pointee.groups.append($0) }
        channel.pointee.groupsVersion = subscriptions.version
        listBytes += channel.pointee.groups.bytesHeld
        extraWork &+= UInt64(channel.pointee.groups.count)
    }

    // MARK: Publishing

    /// Publishes what is staged, in order: it cannot fail. O(matching subscribers) for each stretch of events that go
    /// to the same subscribers, and for each segment that a stretch lies in.
    func publishStaged(on channel: UInt32, level: StoreLevel = .committed) -> Receipt {
        guard !staging.endsChannel else { return publishLast(on: channel, level) }
        return publishAll(on: channel, level)
    }

    /// The same for events whose last is no channel's last.
    func publishAll(on channel: UInt32, _ level: StoreLevel) -> Receipt {
        if records, !held.isEmpty || channels[channel].rules.isHeldBack { return holdStaged(on: channel, level) }
        let receipt = showStaged(on: channel)
        if records, receipt.count > 0 {
            channels[channel].acceptedSeq = head
            outgoing.finish(
                Publication(
                    channel: channels[channel].text, firstSeq: receipt.first,
                    timeMs: delivery.loop.wallClockMilliseconds, level: level, rows: rows))
        }
        return receipt
    }

    /// Gives the staged events to their readers and to the history.
    func showStaged(on channel: UInt32) -> Receipt {
        var receipt = Receipt()
        receipt.count = staging.events.count
        receipt.first = head + 1
        var place = 0
        while place < receipt.count {
            let end = stretchEnd(from: place, groups(of: channel))
            publish(place..<end, on: channel, &receipt)
            place = end
        }
        receipt.last = head
        staging.removeAll()
        return receipt
    }

    /// Where the stretch that begins with an event ends: with the last one, or where the kind changes and a group asks
    /// for kinds.
    private func stretchEnd(from first: Int, _ groups: SlotList) -> Int {
        let events = staging.events
        var end = first + 1
        guard end < events.count else { return end }
        let table = subscriptions.groups
        guard (0..<groups.count).contains(where: { !table[Int(groups[$0])].types.isEmpty }) else { return events.count }
        while end < events.count, staging.areOfOneKind(events[first], events[end]) { end += 1 }
        return end
    }

    /// Publishes staged events that the same groups get.
    private func publish(_ stretch: Range<Int>, on index: UInt32, _ receipt: inout Receipt) {
        let before = head
        head += UInt64(stretch.count)
        let channel = channels.channels + Int(index)
        channel.pointee.eventCount += UInt64(stretch.count)
        channel.pointee.lastSeq = head
        receipt.subscribers = 0
        receipt.behind = 0
        let groupCount = channel.pointee.groups.count
        guard groupCount > 0 || window.isOn || records || staging.hasChanges else { return }
        for format in 0..<3 { reached[format].removeAll() }
        let table = subscriptions.groups
        let first = staging.events[stretch.lowerBound]
        var replaying = 0
        for place in 0..<groupCount {
            let group = table + Int(channel.pointee.groups[place])
            if !group.pointee.types.isEmpty {
                extraWork &+= UInt64(group.pointee.types.count)
                guard isOfKind(first, staging.bytes(of: first), group) else { continue }
            }
            for format in 0..<3 where group.pointee.members[format].count > 0 {
                _ = reached[format].append(channel.pointee.groups[place])
            }
            replaying += group.pointee.members[SubscriberGroup.replaying].count
        }
        var stamp = Stamp(
            members: shown?.stamp ?? channel.pointee.rules.event.stamp, epoch: epoch, seq: before, timeMilliseconds: 0)
        if stamp.members.contains(.time) { stamp.timeMilliseconds = shown?.time ?? nextTime() }
        // Lines are the history and the state too: they are written whoever reads.
        if window.isOn || records || staging.hasChanges || reached[0].count > 0 {
            publish(stretch, 0, stamp, index, &receipt)
        }
        for format in 1..<3 where reached[format].count > 0 { publish(stretch, format, stamp, index, &receipt) }
        // They will come to it.
        receipt.subscribers += replaying
        receipt.behind += replaying
    }

    /// Writes a stretch's frames in one format, and hands them over whenever they have come to a segment's end.
    /// `stamp` is that of the event before them.
    private func publish(
        _ stretch: Range<Int>, _ format: Int, _ stamp: Stamp, _ index: UInt32, _ receipt: inout Receipt
    ) {
        let channel = channels.channels + Int(index)
        let changes = format == 0 && staging.hasChanges
        var stamp = stamp
        var batch = Batch(run: OutboundRun(segment: .max, start: 0, count: 0), events: 0)
        for place in stretch {
            stamp.seq += 1
            let bytes = staging.bytes(of: staging.events[place])
            let frame = encode(WireFormat(rawValue: UInt8(format))!, stamp, channel, bytes)
            if format == 0 {
                let (event, change) = (staging.events[place].record, staging.events[place].change)
                if window.isOn { hold(event, index, seq: stamp.seq, frame) }
                // What was held back was recorded when it got its number.
                if records, shown == nil { record(event, bytes, frame, change) }
                if changes { changeState(change, of: index, frame, seq: stamp.seq) }
            }
            if batch.run.segment == frame.segment, batch.run.end == frame.start {
                batch.run.count += frame.count
            } else {
                // The receipt is about the last event.
                var unasked = Receipt()
                if batch.events > 0 { handOver(batch, format, &unasked) }
                batch = Batch(run: frame, events: 0)
                // Until readers have it: a segment that nothing refers to is written from its beginning.
                delivery.log.segments[frame.segment].references += 1
            }
            batch.events += 1
        }
        handOver(batch, format, &receipt)
    }

    /// Makes an event whose line was just written part of the history.
    private func hold(_ record: EventRecord, _ channel: UInt32, seq: UInt64, _ line: OutboundRun) {
        var event = HeldEvent(channel: channel, kindStart: 0, kindCount: HeldEvent.noKind)
        if let kind = record.kind {
            // The event's own bytes are the last ones of the line, before its newline.
            event.kindStart = line.end - 1 - UInt32(record.length) + kind.start
            event.kindCount = kind.count | (record.kindIsEscaped ? HeldEvent.kindIsEscaped : 0)
        }
        let blocksBefore = window.blockCount
        window.append(event, seq: seq, line: line, &delivery.log.segments)
        // What the newest block grows by is allowed on top: it is looked at when another begins.
        if window.blockCount != blocksBefore { trimWindow() }
    }

    /// Forgets blocks of the window that are more than it may hold. With a database nothing is gone by that: what it
    /// does not have yet stays.
    private func trimWindow() {
        while let block = window.surplus(
            delivery.log.segments, stored: records && !isPlanted("windowDropsUnstored") ? storedSeq : .max)
        {
            if !records {
                for place in 0..<Int(block.count) where !isPlanted("prunedSeqForgotten") {
                    channels[block.events[place].channel].prunedSeq = block.firstSeq + UInt64(place)
                }
            }
            window.removeOldest(&delivery.log.segments)
        }
    }

    /// The database has every event up to this one.
    func noteStored(_ seq: UInt64) {
        guard seq > storedSeq else { return }
        storedSeq = seq
        trimWindow()
    }

    private func handOver(_ batch: Batch, _ format: Int, _ receipt: inout Receipt) {
        let table = subscriptions.groups
        let groups = reached[format]
        for place in 0..<groups.count {
            let group = table + Int(groups[place])
            fanOut(batch, to: group.pointee.members[format], limits: group.pointee.limits, &receipt)
        }
        delivery.log.segments.release(batch.run.segment)
    }

    /// The time for a stamp. It never goes back, whatever the clock does: a later event is not an earlier one.
    func nextTime() -> Int64 {
        newestTime = max(newestTime, delivery.loop.wallClockMilliseconds)
        return newestTime
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

    /// Frames of one format that lie side by side.
    private struct Batch {
        var run: OutboundRun
        var events: UInt32
    }

    /// The hot loop: one run for each subscriber of a group.
    private func fanOut(
        _ batch: Batch, to members: SlotList, limits: Configuration.LagLimits, _ receipt: inout Receipt
    ) {
        let records = delivery.connections.records
        let now = UInt32(truncatingIfNeeded: delivery.loop.now)
        let run = batch.run
        let events = batch.events
        // The stretch's last event: it comes to the same readers before anybody looks.
        let head = head
        let eventsMax = UInt32(clamping: limits.events)
        let bytesMax = UInt32(clamping: limits.bytes)
        let slots = members.elements!
        let count = members.count
        let queuePlaces = delivery.queue.reserve(count)
        // All of these are at most `count`.
        var queued = 0
        var references: UInt32 = 0
        var behind = 0
        var skipped = 0
        for place in 0..<count {
            let ahead = place &+ Prefetch.distance  // both are small
            if ahead < count { Prefetch.record(records + Int(slots[ahead])) }
            let slot = slots[place]
            let connection = records + Int(slot)
            let flags = connection.pointee.flags
            if flags.contains(.skipping) {
                // Where the count ends it stays: at nought nothing would be said to be missing.
                let missed = connection.pointee.missed
                connection.pointee.missed = missed > .max - events ? .max : missed + events
                skipped &+= 1
                continue
            }
            if !flags.contains(.queued) {
                connection.pointee.flags = flags.union(.queued)
                queuePlaces[queued] = slot
                queued &+= 1
            }
            if connection.pointee.ring.isEmpty {
                connection.pointee.waitingSince = now
            } else if connection.pointee.waitingSince != now {
                behind &+= 1
            }
            if connection.pointee.ring.append(run, blocks: &delivery.blocks) { references &+= 1 }
            connection.pointee.pendingEvents += events
            connection.pointee.queuedSeq = head
            if connection.pointee.pendingEvents > eventsMax || connection.pointee.ring.byteCount > bytesMax {
                suspect(slot)
            }
        }
        delivery.queue.commit(queued)
        // Summed here and added once: the segment's record stays out of the loop.
        delivery.log.segments[run.segment].references += references
        receipt.subscribers += members.count
        receipt.behind += behind + skipped
        delivery.countDeliveries((members.count - skipped) * Int(events))
    }

    /// Whether an event is of a kind that a group asked for; one without a kind is of none.
    func isOfKind(
        _ event: StagedEvent, _ bytes: UnsafeBufferPointer<UInt8>, _ group: UnsafeMutablePointer<SubscriberGroup>
    ) -> Bool {
        guard let range = event.record.kind else { return false }
        return group.pointee.accepts(bytes.span.extracting(range.range), isEscaped: event.record.kindIsEscaped)
    }

    // MARK: Laggards

    // Out of line: it is rare, and the loop that calls it is not.
    @inline(never)
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
}
