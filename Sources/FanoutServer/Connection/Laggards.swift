/// What happens to readers that fall behind.

import Planted
import Wire

/// How far behind a reader is.
struct Lag: Equatable {
    var events: Int
    var bytes: Int
    /// Age of its oldest unsent byte, and how long nothing of it was taken, in milliseconds.
    var ageMilliseconds: Int
    var stalledMilliseconds: Int
}

/// What to do with it.
enum LagDecision: Equatable {
    /// Within its limits, or over them for a moment while it is reading.
    case keep
    /// Over them for good; the limit that says so.
    case cut(LagReason)

    /// How long a reader that is over its limits may take nothing before it counts as stalled.
    static let patienceMilliseconds = 250
    /// How long beyond the age limit a reader is kept whose socket has yet to be offered what waits.
    static let trialMilliseconds = 1000

    /// Decides by the limits alone: a pure function.
    ///
    /// A burst may be larger than the ring. A reader that goes on taking bytes is kept up to twice the limits; one that
    /// has stalled is not kept beyond them. Age comes first, then events, then bytes.
    static func decide(_ lag: Lag, limits: Configuration.LagLimits) -> LagDecision {
        if lag.ageMilliseconds > limits.ageMilliseconds, !isPlanted("ageNotWatched") { return .cut(.age) }
        guard lag.events > limits.events || lag.bytes > limits.bytes else { return .keep }
        if lag.stalledMilliseconds >= patienceMilliseconds {
            return .cut(lag.events > limits.events ? .events : .bytes)
        }
        // Twice the limits, said without a product: limits may be as large as an Int.
        if lag.events - limits.events > limits.events { return .cut(.events) }
        return lag.bytes - limits.bytes > limits.bytes ? .cut(.bytes) : .keep
    }
}

extension Engine {
    /// Judges the subscribers that passed a limit in an earlier turn: since then their sockets have been tried.
    func judgeLaggards() {
        pause.noteTurn(now: loop.now)
        var place = 0
        while place < suspects.count {
            let connection = delivery.connections.records + Int(suspects[place])
            if connection.pointee.flags.contains(.suspected), connection.pointee.isLive, judge(suspects[place]) {
                place += 1
            } else {
                connection.pointee.flags.remove(.suspected)
                suspects.swapAt(place, suspects.count - 1)
                suspects.removeLast()
            }
        }
        hub.moveSuspects(to: &suspects)
    }

    /// Looks at every connection for bytes that are too old. True while there is a reason to look again.
    ///
    /// Whoever keeps up has no send in flight between two turns, and nothing left to send: while that is so of all,
    /// nobody is looked at.
    private func findLaggards() -> Bool {
        guard delivery.sendsInFlight > 0 || delivery.queue.count > 0 || !starved.isEmpty else { return false }
        var anyWaiting = false
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            guard connection.pointee.phase == .subscriber, !connection.pointee.ring.isEmpty else { continue }
            anyWaiting = true
            guard connection.pointee.isLive, judge(slot), !connection.pointee.flags.contains(.suspected) else {
                continue
            }
            connection.pointee.flags.insert(.suspected)
            suspects.append(slot)
        }
        return anyWaiting
    }

    /// Judges a subscriber, and deals with it if it is a laggard. True if it has to be judged again in the next turn.
    private func judge(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let group = connection.pointee.group
        guard group != Connection.none, !connection.pointee.ring.isEmpty, !connection.pointee.flags.contains(.skipping)
        else { return false }
        let limits = hub.subscriptions[group].limits
        if !connection.pointee.flags.isDisjoint(with: .withHistory) { return judgeReplaying(slot) }
        let oldest = delivery.oldestWaiting(slot)
        let isSending = connection.pointee.flags.contains(.sending)
        // All that waits came in this turn: the socket took everything before it and has not been offered this.
        if oldest == UInt32(truncatingIfNeeded: loop.now), !isSending, !isPlanted("judgedBeforeTried") { return true }
        // A socket that has yet to be offered what waits is tried before time is held against its reader: it has just
        // taken bytes, or it comes next. Not for ever: one that takes a few bytes in every turn always comes next.
        let age = pause.waited(since: oldest, now: loop.now)
        let isUntried =
            !isSending && connection.pointee.flags.contains(.queued)
            && age <= limits.ageMilliseconds + LagDecision.trialMilliseconds && !isPlanted("judgedBeforeTried")
        let lag = Lag(
            events: Int(connection.pointee.pendingEvents), bytes: Int(connection.pointee.ring.byteCount),
            ageMilliseconds: isUntried ? 0 : age,
            stalledMilliseconds: isUntried ? 0 : pause.waited(since: connection.pointee.waitingSince, now: loop.now))
        switch LagDecision.decide(lag, limits: limits) {
        case .keep:
            return isUntried || lag.events > limits.events || lag.bytes > limits.bytes
        case .cut(let reason):
            cut(slot, reason)
            return false
        }
    }

    /// Deals with a live subscriber that is a laggard as its subscription says: what waits is dropped, and it is ended
    /// or skips until it takes bytes again.
    func cut(_ slot: UInt32, _ reason: LagReason) {
        let connection = delivery.connections.records + Int(slot)
        let wasInImage = connection.pointee.flags.contains(.inImage)
        let hasPage = !wasInImage && connection.pointee.queuedSeq == connection.pointee.replaySeq
        // What waits for who has no row yet is of an earlier subscription.
        let isUnbegun = wasInImage && ImagePlace(packed: connection.pointee.replaySeq).segment == 0
        let had = connection.pointee.queuedSeq
        var dropped = delivery.dropBacklog(slot)
        // Nothing of the history is left that is still to be sent.
        if connection.pointee.ring.isEmpty { connection.pointee.flags.remove(.catchingUp) }
        if isUnbegun {
            dropped.lastKept = had
            connection.pointee.queuedSeq = had
        }
        metrics.laggards.add(reason, connection.pointee.transport)
        let wasReplaying = connection.pointee.flags.contains(.replaying)
        if wasReplaying, hasPage { connection.pointee.replaySeq = dropped.lastKept }
        if hub.subscriptions[connection.pointee.group].onLag != .close {
            if wasReplaying {
                // It goes on at the head like everybody who skips, and what it has not been sent was not counted.
                if wasInImage { leaveState(slot) }
                let place = wasInImage ? dropped.lastKept : connection.pointee.replaySeq
                hub.join(slot)
                connection.pointee.queuedSeq = place
                connection.pointee.sentSeq = min(connection.pointee.sentSeq, place)
            }
            connection.pointee.flags.insert(.skipping)
            connection.pointee.missed = wasReplaying ? .max : dropped.events
            if connection.pointee.ring.isEmpty { endSkipping(slot) }
        } else {
            // From here on the server's own thirty seconds decide, whenever the kernel began to count.
            setKernelPatience(slot, isEndless: true)
            bye(slot, .slow)
        }
    }

    /// A reader that skipped takes bytes again: one `$gap` covers everything it missed, and it goes on at the head; or,
    /// if it asked for that, it is brought up to date.
    /// - Parameter plainly: whether it goes on at the head whatever it asked for.
    func endSkipping(_ slot: UInt32, plainly: Bool = false) {
        let connection = delivery.connections.records + Int(slot)
        if !plainly, connection.pointee.missed > 0, let kind = catchUp(of: slot) {
            // It may have been told something meanwhile.
            if !connection.pointee.flags.contains(.awaitsImage) { awaitStateSkipping(slot, kind) }
            return
        }
        connection.pointee.flags.remove(.skipping)
        guard connection.pointee.missed > 0 else { return }
        let first = connection.pointee.queuedSeq + (isPlanted("gapFromOneTooLow") ? 0 : 1)
        let gap = ControlRecord.gap(
            why: .lagged, epoch: hub.epoch, from: first, to: hub.head,
            dropped: connection.pointee.missed == .max ? nil : UInt64(connection.pointee.missed))
        connection.pointee.missed = 0
        // Everything up to here is sent or said to be missing: a gap that follows before this one has gone out, or
        // before any event, begins behind it.
        connection.pointee.queuedSeq = hub.head
        connection.pointee.sentSeq = hub.head
        metrics.gaps &+= 1
        guard !connection.pointee.flags.contains(.controlOff) else { return }
        let discriminator = hub.discriminator(of: slot)
        scratch.removeAll(keepingCapacity: true)
        gap.append(
            to: &scratch, format: connection.pointee.transport.format, discriminator: discriminator.span,
            eventID: hub.headCursor)
        sayScratch(slot)
    }

    /// What a reader that skips is brought up to date by; nil if it goes on at the head, as everybody does where no
    /// channel keeps state.
    private func catchUp(of slot: UInt32) -> StateImage.Kind? {
        let group = delivery.connections[slot].group
        let onLag = hub.subscriptions[group].onLag
        if delivery.connections[slot].flags.contains(.needsState) { return .rows }
        guard onLag == .conflate || onLag == .resnapshot,
            hub.mayKeepState(hub.subscriptions[group].patterns)
        else { return nil }
        return onLag == .conflate ? .changes : .rows
    }

    /// What a reader needs next is not held any more: if it would be brought up to date as a laggard, it is now, and
    /// keeps what it knows of the state.
    func isCaughtUpInstead(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let place = connection.pointee.replaySeq
        let group = connection.pointee.group
        guard catchUp(of: slot) != nil,
            hub.newestGone(after: place, for: hub.subscriptions[group].patterns, in: group) != nil
        else { return false }
        hub.join(slot)
        connection.pointee.queuedSeq = place
        connection.pointee.sentSeq = min(connection.pointee.sentSeq, place)
        connection.pointee.flags.insert(.skipping)
        connection.pointee.missed = .max
        if connection.pointee.ring.isEmpty { endSkipping(slot) }
        return true
    }

    /// Looks for laggards now and then, as long as anything waits.
    func watchForLaggards() {
        guard !sweeping else { return }
        sweeping = true
        loop.setTimer(sweepTimer, at: loop.now + Limits.sweepMilliseconds)
    }

    /// The timer of `watchForLaggards` fired.
    func sweep() {
        sweeping = false
        pause.noteTurn(now: loop.now)
        if findLaggards() { watchForLaggards() }
    }
}
