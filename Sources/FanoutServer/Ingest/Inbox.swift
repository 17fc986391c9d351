/// Events from other threads on their way to the loop.

import Reactor
import Synchronization
import Wire

/// A bounded queue that any thread may add to and the loop empties once per turn.
final class Inbox: Sendable {
    /// Events and bytes that may wait: a producer that is faster than the loop is told so.
    static let eventsMax = 65_536
    static let bytesMax = 16 << 20

    struct Entry {
        var channel: ChannelName
        var event: [UInt8]
    }

    private struct State {
        var entries: [Entry] = []
        /// Entries at the front that were taken already.
        var taken = 0
        var bytes = 0
        var wakeup: Wakeup?
        var isClosed = false
    }

    private let state = Mutex(State())

    /// Connects the inbox to the loop that empties it.
    func attach(_ wakeup: Wakeup) {
        state.withLock { $0.wakeup = wakeup }
    }

    /// Adds an event. False if the inbox is full or the server has ended.
    func add(_ entry: consuming Entry) -> Bool {
        let entry = entry
        return state.withLock { state in
            guard !state.isClosed, state.entries.count - state.taken < Self.eventsMax,
                state.bytes + entry.event.count <= Self.bytesMax
            else { return false }
            let wasEmpty = state.entries.isEmpty
            state.entries.append(entry)
            state.bytes += entry.event.count
            if wasEmpty { state.wakeup?.signal() }
            return true
        }
    }

    /// Takes the oldest entries: so many, or as many as have so many bytes, and one in any case. If any are left, the
    /// loop is woken again.
    func take(atMost countMax: Int, bytesMax: Int) -> [Entry] {
        state.withLock { state in
            var bytes = 0
            let taken = Array(
                state.entries[state.taken...].prefix(countMax).prefix {
                    bytes += $0.event.count
                    return bytes <= bytesMax || bytes == $0.event.count
                })
            state.taken += taken.count
            for entry in taken { state.bytes -= entry.event.count }
            // What was taken goes when it is the larger part: each entry is moved once on average.
            if state.taken * 2 >= state.entries.count {
                state.entries.removeFirst(state.taken)
                state.taken = 0
            }
            if !state.entries.isEmpty { state.wakeup?.signal() }
            return taken
        }
    }

    /// Refuses everything from now on.
    func close() {
        state.withLock { state in
            state.isClosed = true
            state.entries = []
            state.taken = 0
            state.wakeup = nil
        }
    }
}

/// Publishes from any thread of the program that embeds a server.
public struct Publisher: Sendable {
    let inbox: Inbox

    /// Hands an event to the server.
    ///
    /// The event is one JSON object of at most 262,144 bytes; it is checked on the loop thread, where a bad one is
    /// counted and logged. Returns false if the channel's name is not one, the queue is full (65,536 events or 16 MiB)
    /// or the server has ended. Any thread; does not block; O(1).
    public func publish(channel: String, event: [UInt8]) -> Bool {
        guard let name = ChannelName(channel) else { return false }
        return inbox.add(Inbox.Entry(channel: name, event: event))
    }
}

extension Engine {
    /// Publishes what other threads have handed over.
    func publishInbox() {
        guard let inbox else { return }
        // What the database has no space for waits here: who hands it over is told when that is full.
        guard !rest.isResting, !writersWait, !isStorageRefusing else {
            inboxWaits = true
            return
        }
        // A share of its own: others who use up every turn do not keep it out.
        let workBefore = turnWork
        var events: UInt64 = 0
        var bytes = 0
        repeat {
            let entries = inbox.take(atMost: Self.inboxPortion, bytesMax: shares.turnInputBytes - bytes)
            if entries.isEmpty { return }
            for entry in entries {
                publish(entry)
                bytes += entry.event.count
            }
            events += UInt64(entries.count)
        } while events < Limits.turnEvents && bytes < shares.turnInputBytes
            && turnWork &- workBefore <= shares.turnWork
    }

    /// Events taken from the inbox at once: few enough that, for 19,000 readers, they are little beside a turn's work.
    private static let inboxPortion = 4

    private func publish(_ entry: Inbox.Entry) {
        do throws(PublishFault) {
            defer { hub.discardStaged() }
            try hub.stage(entry.event.span, rules: eventRules(of: .name(entry.channel)))
            _ = try publishStaged(to: .name(entry.channel), level: .accepted)
        } catch {
            metrics.refusedEvents &+= 1
            log.warning("an event for \(entry.channel) was refused: \(error.code): \(error.message)")
        }
    }
}
