/// How an event of a terminal kind ends its channel.

import EventStore

extension Hub {
    /// Publishes what is staged, the last of which is the channel's last event: nothing follows it from here on. Its
    /// writers and readers are told at the end of the turn.
    func publishLast(on channel: UInt32, _ level: StoreLevel) -> Receipt {
        let receipt = publishAll(on: channel, level)
        _ = end(channel)
        endedByEvent.append(channel)
        return receipt
    }
}

extension Engine {
    /// Once in a turn: channels that events have ended are closed to writers, and readers of nothing else are told, but
    /// for those whose last event is held back: when that is shown.
    func closeEndedChannels() {
        let ended = hub.endedByEvent
        hub.endedByEvent.removeAll(keepingCapacity: true)
        // One may have been declared anew since.
        for channel in ended where hub.channels[channel].hasEnded {
            closeIngest(of: channel)
            if hub.channels[channel].isOver { sayEnded() }
        }
    }
}
