/// How what is published changes the state of its channel, and what it may not.

import Wire

extension Hub {
    /// Whether a channel keeps state: by its rules, or because a producer has made one.
    func keepsState(_ channel: UInt32) -> Bool {
        channels[channel].state != States.none || channels[channel].rules.checks?.state != nil
    }

    /// Keys of a channel of which there is something to know.
    func stateRowCount(of channel: UInt32) -> Int {
        let number = channels[channel].state
        return number == States.none ? 0 : states[number].count
    }

    /// Of a state that is not that of the newest event: its place. nil for a state that always is.
    func producedPlace(of channel: UInt32) -> UInt64? {
        let number = channels[channel].state
        return number == States.none ? nil : states[number].asOf
    }

    /// An event is shown whose line was just written: what it does to the state is done.
    func changeState(_ change: StateChange, of channel: UInt32, _ line: OutboundRun, seq: UInt64) {
        let start = delivery.log.segments[line.segment].base + Int(line.start)
        // Without the newline.
        changeState(change, of: channel, UnsafeBufferPointer(start: start, count: Int(line.count) - 1), seq: seq)
    }

    private func changeState(
        _ change: StateChange, of channel: UInt32, _ line: UnsafeBufferPointer<UInt8>, seq: UInt64
    ) {
        if change == .none { return }
        defer { if shown != nil, let key = change.addedKey { states.show(key, in: channels[channel].state) } }
        // Rules may have been taken away while an event was held back: then it is nothing of a state.
        guard let isDerived = channels[channel].rules.checks?.state?.isDerived else { return }
        if channels[channel].state == States.none {
            if case .remove = change { return }
            channels[channel].state = states.makeTable()
        }
        states.apply(change, to: channels[channel].state, line, seq: seq, isDerived: isDerived)
    }

    /// An event has got a number and is held back: what it will add counts from now on.
    /// - Parameter lineBytes: the event's as readers will see it, without a newline.
    func holdState(_ change: StateChange, of channel: UInt32, lineBytes: Int, seq: UInt64) {
        guard let key = change.addedKey else { return }
        if channels[channel].state == States.none { channels[channel].state = states.makeTable() }
        states.hold(
            key, in: channels[channel].state,
            cost: StateRow.fixedBytes + StateRow.capacity(lineBytes, seq: seq))
    }

    // MARK: Limits

    /// Refuses what is staged if the state would become larger than it may be. What makes nothing larger is never
    /// refused. O(staged events).
    /// - Parameters:
    ///   - channel: where it is going to; nil if that does not exist yet.
    ///   - name: its name then.
    func checkStateFits(on channel: UInt32?, named name: ChannelName? = nil) throws(PublishFault) {
        guard staging.hasChanges else { return }
        let number = channel.map { channels[$0].state } ?? States.none
        let text = channel.map { channels[$0].name } ?? name ?? .standard
        let stampMembers = channel.map { channels[$0].rules.event.stamp } ?? rules[text].event.stamp
        var stamp = Stamp(members: stampMembers, epoch: epoch, seq: accepted, timeMilliseconds: 0)
        var growth = number == States.none ? StateTable.emptyBytes : 0
        // What the events before have made of a key, and whether they have replaced everything.
        var costs: [ContentDigest: Int] = [:]
        var isReset = false
        for event in staging.events {
            stamp.seq += 1
            guard let key = event.change.key else { continue }
            let before = costs[key] ?? (isReset ? 0 : states.cost(of: key, in: number))
            var cost = 0
            if event.change.addedKey != nil {
                let line = EventEncoder.byteCount(
                    .jsonl, stamp: stamp, channel: text.bytes.span, event: staging.bytes(of: event).span)
                cost = StateRow.fixedBytes + StateRow.capacity(line - 1, seq: stamp.seq)
            }
            if case .reset = event.change {
                growth = cost - states.replaceableBytes(of: number)
                costs = [:]
                isReset = true
            } else {
                growth += cost - before
            }
            costs[key] = cost
            guard cost <= before || states.hasRoom(for: growth) else { throw .stateFull(states.bytesMax) }
        }
    }

    // MARK: At the start, and when rules change

    /// Takes in a row that the database has, under the present rules; one that has no rule any more changes nothing.
    /// Rows come in rising order of their numbers.
    /// - Parameter line: the event as readers see it, without a newline.
    /// - Returns: what it is now.
    @discardableResult
    func restoreState(of channel: UInt32, _ line: UnsafeBufferPointer<UInt8>, seq: UInt64) -> StateChange {
        guard let change = channels[channel].rules.checks?.state?.change(line: line.span) else { return .none }
        // An event that would remove others is none of the rows.
        if case .remove = change { return .none }
        changeState(change, of: channel, line, seq: seq)
        return change
    }

    /// Begins a state that a producer made; see `addProducedRow`. What was there goes.
    func beginProducedState(of channel: UInt32, asOf place: UInt64) {
        if channels[channel].state == States.none { channels[channel].state = states.makeTable() }
        states.replaceAll(channels[channel].state, asOf: place)
        images.version &+= 1
    }

    /// Adds a row to what `beginProducedState` began.
    /// - Parameter line: an event as readers see it, stamped with the state's own number, without a newline.
    func addProducedRow(_ line: UnsafeBufferPointer<UInt8>, to channel: UInt32) {
        states.append(line, to: channels[channel].state)
    }

    /// Runs what is kept through the channel's rules, which have changed. O(rows).
    /// - Parameter rekeyed: is told of each row that gets another key, or goes: then of none. In rising order of the
    ///   rows' numbers: of two that get the same key the later one stays.
    func rederiveState(_ channel: UInt32, rekeyed: (ContentDigest, ContentDigest?) -> Void = { _, _ in }) {
        let number = channels[channel].state
        guard number != States.none else { return }
        let rules = channels[channel].rules.checks?.state
        if records { storeRederived(channel) }
        states.rederive(number, at: head, isDerived: rules?.isDerived ?? false, rekeyed: rekeyed) {
            rules?.change(line: $0) ?? .none
        }
        images.version &+= 1
    }

    /// The channel is gone, or another begins by its name: there is nothing to know of it.
    func forgetState(of channel: UInt32) {
        guard channels[channel].state != States.none else { return }
        states.removeAll(channels[channel].state, at: head)
        images.version &+= 1
    }
}
