/// Readers that come back: the history is sent to them a page at a time, until they are at the head.

import Planted
import Wire

// ```
//  startStream --replayingAfter--> replaying --everything queued--> catchingUp --ring empty--> live
//                                   ^      |                        (a member: gets each event)
//                                   +------+ ring empty: the next page
// ```
extension Engine {
    /// The ring of a reader with history in it is empty.
    func replaySent(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        if !isPlanted("catchingUpForEver") { connection.pointee.flags.remove(.catchingUp) }
        if connection.pointee.flags.contains(.replaying) { awaitReplay(slot) }
    }

    /// A reader may be sent more when its turn comes.
    func awaitReplay(_ slot: UInt32) {
        guard delivery.connections[slot].flags.isDisjoint(with: [.awaitsReplay, .awaitsStore, .awaitsImage]) else {
            return
        }
        delivery.connections[slot].flags.insert(.awaitsReplay)
        replays.append(slot)
    }

    /// A connection is gone, whatever it waited for.
    func forgetReplay(_ slot: UInt32) {
        guard delivery.connections[slot].flags.contains(.awaitsReplay) else { return }
        delivery.connections[slot].flags.remove(.awaitsReplay)
        replays.removeAll { $0 == slot }
        replayTurns &+= 1
    }

    /// Gives readers their next pages, first come first served, each once, as far as the turn's share goes.
    func continueReplays() {
        if hub.images.isEmpty {
            if !replays.isEmpty { giveTurns(bytesTaken: 0) }
        } else {
            let bytes = hub.images.hasWork ? continueImages() : 0
            if !replays.isEmpty { giveTurns(bytesTaken: bytes) }
            hub.images.trim(keepsSome: true, &delivery.log.segments)
        }
        if hub.records, !storedReplay.waiting.isEmpty { askForWaiting() }
    }

    /// - Parameter bytesTaken: what of the turn's share is gone.
    private func giveTurns(bytesTaken: Int) {
        var bytes = 0
        let bytesMax = max(1, shares.replayBytes - bytesTaken)
        var looked = 0
        var taken = 0
        let waiting = replays.count
        while taken < waiting, bytes < bytesMax, looked < shares.replayLooked {
            let slot = replays[taken]
            taken += 1
            let connection = delivery.connections.records + Int(slot)
            connection.pointee.flags.remove(.awaitsReplay)
            // Who has been told something meanwhile comes again when that has gone out.
            guard connection.pointee.isLive, connection.pointee.flags.contains(.replaying),
                !connection.pointee.flags.contains(.awaitsImage), connection.pointee.ring.isEmpty
            else { continue }
            if connection.pointee.flags.contains(.inImage) {
                bytes += continueImage(slot)
                looked += 1
                continue
            }
            let step = continueReplay(slot)
            bytes += step.bytes
            looked += step.looked
        }
        replays.removeFirst(taken)
        replayTurns &+= UInt64(taken)
        metrics.replayedBytes &+= UInt64(bytes)
    }

    /// Queues what comes next for one reader; makes it a member when that was all.
    private func continueReplay(_ slot: UInt32) -> (bytes: Int, looked: Int) {
        let connection = delivery.connections.records + Int(slot)
        let last = connection.pointee.replaySeq
        let mayBeGone = hub.records ? last < hub.removed.newest : last + 1 < hub.oldestHeld
        if mayBeGone, isCaughtUpInstead(slot) || !skipPruned(slot) { return (0, 0) }
        if hub.records, !skipLost(slot) { return (0, 0) }
        let place = connection.pointee.replaySeq
        // Everything up to here is sent or said to be missing.
        connection.pointee.sentSeq = place
        connection.pointee.queuedSeq = place
        if place >= hub.head {
            joinLive(slot)
            return (0, 0)
        }
        guard let step = hub.replayStep(after: place, connection.pointee.transport.format, connection.pointee.group)
        else {
            awaitStored(slot)
            return (0, 1)
        }
        connection.pointee.replaySeq = step.through
        connection.pointee.queuedSeq = step.through
        let isLast = step.through == hub.head
        if let run = step.run, !(isPlanted("memberBeforeLastPage") && isLast) {
            delivery.queueHistory(run, events: step.events, through: step.through, for: slot)
        }
        if isLast {
            joinLive(slot)
        } else if connection.pointee.ring.isEmpty {
            awaitReplay(slot)
        }
        return (Int(step.run?.count ?? 0), step.looked + 1)
    }

    /// Makes a reader that has all there was a member.
    func joinLive(_ slot: UInt32) {
        let patterns = hub.subscriptions[delivery.connections[slot].group].patterns
        hub.join(slot)
        if hub.hasEnded(patterns) { bye(slot, .ended) }
    }

    /// What a reader needs next is not held any more: says so, and goes on with what is. False if its stream ends.
    private func skipPruned(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let group = connection.pointee.group
        let place = connection.pointee.replaySeq
        if let pruned = hub.newestGone(after: place, for: hub.subscriptions[group].patterns, in: group) {
            let dropped = hub.subscriptions[group].isEverything ? eventCount(after: place, through: pruned) : nil
            guard skip(slot, .pruned, hub.epoch, place + 1...pruned, dropped: dropped) else { return false }
        }
        if !hub.records { connection.pointee.replaySeq = hub.oldestHeld - 1 }
        return true
    }

    /// What a reader needs next was lost when an earlier numbering ended: says so, and goes on behind it. The one after
    /// that may have lost what comes then. False if its stream ends.
    private func skipLost(_ slot: UInt32) -> Bool {
        let isEverything = hub.subscriptions[delivery.connections[slot].group].isEverything
        while true {
            let place = delivery.connections[slot].replaySeq
            guard let ended = storage?.epochs.nextLoss(after: place), place >= ended.lastSeq else { return true }
            let dropped = isEverything ? ended.usedSeq - place : nil
            guard skip(slot, .rewound, ended.epoch, place + 1...ended.usedSeq, dropped: dropped) else { return false }
        }
    }

    /// Says that a reader cannot have what comes next, and goes on behind that. False if its stream ends.
    private func skip(
        _ slot: UInt32, _ why: ControlRecord.GapReason, _ epoch: Epoch, _ gone: ClosedRange<UInt64>, dropped: UInt64?
    ) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.failsOnGap) {
            bye(slot, .cursorGone, last: Cursor(epoch: hub.epoch, seq: gone.lowerBound - 1))
            return false
        }
        metrics.gaps &+= 1
        if !connection.pointee.flags.contains(.controlOff) {
            let discriminator = hub.discriminator(of: slot)
            scratch.removeAll(keepingCapacity: true)
            ControlRecord.gap(why: why, epoch: epoch, from: gone.lowerBound, to: gone.upperBound, dropped: dropped)
                .append(
                    to: &scratch, format: connection.pointee.transport.format, discriminator: discriminator.span,
                    eventID: Cursor(epoch: hub.epoch, seq: gone.upperBound))
            sayScratch(slot)
        }
        connection.pointee.replaySeq = gone.upperBound
        return true
    }

    /// How many events have the numbers after a place up to another; nil where that is not known.
    func eventCount(after place: UInt64, through last: UInt64) -> UInt64? {
        place + 1 >= storage?.epochs.firstSeq ?? 1 ? last - place : nil
    }

    /// Judges a reader with history in its ring. How much waits for it was decided here, so that only time in which its
    /// socket took nothing is held against it; once it is a member also what live events have added. Who wants to skip
    /// what it cannot take is left alone while it replays, since it holds one page; but not while it is sent a state,
    /// all of which it holds. True if it has to be judged again in the next turn.
    func judgeReplaying(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let limits = hub.subscriptions[connection.pointee.group].limits
        let isReplaying = connection.pointee.flags.contains(.replaying)
        if isReplaying, !connection.pointee.flags.contains(.inImage),
            hub.subscriptions[connection.pointee.group].onLag != .close
        {
            return false
        }
        let waited = pause.waited(since: connection.pointee.waitingSince, now: loop.now)
        let isUntried =
            connection.pointee.flags.intersection([.sending, .queued]) == .queued
            && waited <= limits.ageMilliseconds + LagDecision.trialMilliseconds
        var lag = Lag(
            events: 0, bytes: 0, ageMilliseconds: isUntried ? 0 : waited, stalledMilliseconds: isUntried ? 0 : waited)
        if !isReplaying {
            lag.events = max(0, Int(connection.pointee.pendingEvents) - SegmentStore.marksMax)
            lag.bytes = max(0, Int(connection.pointee.ring.byteCount) - Self.replayStepBytesMax)
        }
        switch LagDecision.decide(lag, limits: limits) {
        case .keep:
            // Who is given a page in every turn is always about to be tried: nobody rests for that.
            let isLate = isUntried && waited > limits.ageMilliseconds
            return isLate || lag.events > limits.events || lag.bytes > limits.bytes
        case .cut(let reason):
            cut(slot, reason)
            return false
        }
    }

    /// What one step can give a reader: a segment, or one large event.
    private static let replayStepBytesMax = 512 << 10
}
