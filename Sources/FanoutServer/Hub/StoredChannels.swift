/// What the database says of channels: as they were at the start, and what retention has removed since.

import EventStore
import Wire

/// What retention has removed from the database; a channel's own are its `prunedSeq`.
struct RemovedEvents {
    /// The newest event of all that are gone; 0 is none.
    fileprivate(set) var newest: UInt64 = 0
    /// The newest of those whose channels were forgotten with them before the start.
    fileprivate(set) var newestForgotten: UInt64 = 0
    /// Changes whenever something is removed; never 0.
    fileprivate(set) var version: UInt64 = 1
}

extension Hub {
    /// Makes a channel that the database knows, at the start.
    func restore(_ stored: StoredChannel) throws(StartError) {
        guard let name = ChannelName(stored.name) else {
            throw StartError("the database has a channel '\(stored.name)', which is no channel's name", exitCode: .io)
        }
        guard let index = channel(name) else {
            throw StartError(
                "the database has more channels than --max-memory has room for: allow more", exitCode: .configuration)
        }
        channels[index].hasEnded = stored.isEnded
        channels[index].isOver = stored.isEnded
        channels[index].acceptedSeq = stored.lastSeq
        channels[index].eventCount = UInt64(stored.events)
        channels[index].lastSeq = stored.lastSeq
        notePruned(stored)
    }

    /// Channels were removed with their last event before the start, the newest of these with this number: what they
    /// were called is not known any more.
    func noteForgotten(_ seq: UInt64) {
        removed.newestForgotten = seq
        removed.newest = max(removed.newest, seq)
    }

    /// Retention has removed events of a channel.
    func notePruned(_ stored: StoredChannel) {
        guard let name = ChannelName(stored.name), let index = channels.index(of: name) else { return }
        channels[index].prunedSeq = max(channels[index].prunedSeq, stored.prunedSeq)
        removed.newest = max(removed.newest, stored.prunedSeq)
        removed.version &+= 1
    }

    /// The last event of a channel that had ended was removed, after `notePruned`: its name is free again.
    func noteRemoved(_ text: String) {
        guard let name = ChannelName(text), let index = channels.index(of: name) else { return }
        // It may have begun anew, and ended again, since.
        guard channels[index].hasEnded, channels[index].acceptedSeq <= channels[index].prunedSeq else { return }
        channels[index].hasEnded = false
        channels[index].isOver = false
        forgetState(of: index)
    }
}
