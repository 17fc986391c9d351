/// From a checked event to a published one, however it came in.

import Wire

extension Engine {
    /// The rules for events that go there. Refused where the channel has ended.
    func eventRules(of destination: Destination) throws(PublishFault) -> EventRules {
        switch destination {
        case .channel(let index):
            guard !hub.channels[index].hasEnded else { throw .channelEnded }
            return hub.channels[index].rules.event
        case .name(let name):
            if let index = hub.channels.index(of: name) { return try eventRules(of: .channel(index)) }
            return hub.eventRules(of: name)
        }
    }

    /// Checks one event and stages it.
    func stage(_ text: Span<UInt8>, rules: EventRules) throws(PublishFault) {
        do throws(EventFault) {
            try hub.stage(text, rules: rules)
        } catch {
            throw PublishFault(error, line: nil)
        }
    }

    /// Checks one event for a channel that exists, stages it and counts it: it will be published.
    func stage(_ text: Span<UInt8>, on channel: UInt32) throws(PublishFault) {
        guard !hub.channels[channel].hasEnded else { throw .channelEnded }
        do throws(EventFault) {
            try hub.stage(text, for: channel)
        } catch {
            throw PublishFault(error, line: nil)
        }
        metrics.eventsIn &+= 1
    }

    /// How many events on a channel may be staged until what they cost has to be looked at: that is when they could
    /// pass the turn's share.
    func stagedMost(on channel: UInt32) -> Int {
        // Which may have to look up who reads the channel: that is work too.
        let work = hub.workMax(ofEventOn: channel)
        guard turnWork < shares.turnWork else { return 1 }
        return work == 0 ? .max : Int(shares.turnWork - turnWork) / work + 1
    }

    /// Publishes what is staged and counts it. The channel is made if need be: only now, so that what is refused makes
    /// none.
    func publishStaged(to destination: Destination) throws(PublishFault) -> Hub.Receipt {
        try checkBatchFits(destination)
        let channel: UInt32
        switch destination {
        case .channel(let index): channel = index
        case .name(let name):
            guard let index = hub.channel(name) else { throw .tooManyChannels }
            channel = index
        }
        metrics.eventsIn &+= UInt64(hub.stagedCount)
        return hub.publishStaged(on: channel)
    }
}
