/// From a checked event to a published one, however it came in.

import Wire

extension Engine {
    /// The rules for events that go there.
    func eventRules(of destination: Destination) -> CompiledRules {
        switch destination {
        case .channel(let index): hub.channels[index].rules
        case .name(let name): hub.eventRules(of: name)
        }
    }

    /// Checks one event for a channel that exists, stages it and counts it: it will be published.
    func stage(_ text: Span<UInt8>, on channel: UInt32) throws(PublishFault) {
        guard !hub.channels[channel].hasEnded else { throw .channelEnded }
        if hub.records { try checkStorage(for: hub.stagedCount + 1) }
        let isTight = hub.channels[channel].rules.checks != nil && hub.states.isNearlyFull
        // Then each line is looked at by itself, and those before it have to be in the state.
        if isTight, hub.stagedCount > 0 { _ = hub.publishStaged(on: channel) }
        try hub.stage(text, for: channel)
        if isTight { try checkStagedState(on: channel) }
        metrics.eventsIn &+= 1
    }

    private func checkStagedState(on channel: UInt32) throws(PublishFault) {
        do throws(PublishFault) {
            try hub.checkStateFits(on: channel)
        } catch {
            hub.discardStaged()
            throw error
        }
    }

    /// How many events on a channel may be staged until what they cost has to be looked at: that is when they could
    /// pass the turn's share.
    func stagedMost(on channel: UInt32) -> Int {
        // Which may have to look up who reads the channel: that is work too.
        let work = hub.workMax(ofEventOn: channel)
        guard turnWork < shares.turnWork else { return 1 }
        return work == 0 ? .max : Int(shares.turnWork - turnWork) / work + 1
    }

    /// The level that a publisher is answered at: what it asked for, if this server can give that, or the highest.
    func level(_ asked: AckLevel?) throws(PublishFault) -> AckLevel {
        let highest: AckLevel = hub.records ? .synced : .accepted
        guard let asked else { return highest }
        switch asked {
        case .none, .accepted: return asked
        case .committed, .synced: if hub.records { return asked }
        case .replicated: break
        }
        throw .levelUnavailable(highest: highest)
    }

    /// Refuses what the database could not take: so many events, before they have numbers, or a change of a channel.
    func checkStorage(for events: Int = 0) throws(PublishFault) {
        guard ending == nil else { throw PublishFault(.shuttingDown) }
        try storage?.checkTakes(events, after: hub.accepted)
    }

    /// Publishes what is staged as its publisher asked for.
    func publishStaged(_ options: PublishOptions) throws(PublishFault) -> Hub.Receipt {
        if let conditions = options.conditions {
            return try publishStaged(to: options.destination, level: options.level, if: conditions)
        }
        return try publishStaged(to: options.destination, level: options.level)
    }

    /// Publishes what is staged and counts it, unless the channel has ended, its level cannot be given, the database
    /// cannot store it or memory is short. The channel is made if need be: only now, so that what is refused makes
    /// none.
    /// - Parameters:
    ///   - asked: the level of the answer; nil for the highest there is.
    ///   - marks: remembered with the numbers that it got.
    func publishStaged(
        to destination: Destination, level asked: AckLevel?, remembering marks: consuming Remembered? = nil
    ) throws(PublishFault) -> Hub.Receipt {
        if case .channel(let index) = destination, hub.channels[index].hasEnded { throw .channelEnded }
        let level = try level(asked)
        if hub.records { try checkStorage(for: hub.stagedCount) }
        try checkBatchFits(destination)
        if hub.staging.hasChanges, hub.states.isNearlyFull {
            switch destination {
            case .channel(let index): try hub.checkStateFits(on: index)
            case .name(let name): try hub.checkStateFits(on: hub.channels.index(of: name), named: name)
            }
        }
        let channel: UInt32
        switch destination {
        case .channel(let index): channel = index
        case .name(let name):
            guard let index = hub.channel(name) else { throw .tooManyChannels }
            guard !hub.channels[index].hasEnded else { throw .channelEnded }
            channel = index
        }
        metrics.eventsIn &+= UInt64(hub.stagedCount)
        let receipt = hub.publishStaged(on: channel, level: level == .synced ? .synced : .committed)
        marks?.enter(receipt)
        if let marks { remember(marks) }
        return receipt
    }
}
