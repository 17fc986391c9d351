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
