/// What happens to readers that fall behind.

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
    /// Over them for good.
    case cut

    /// How long a reader that is over its limits may take nothing before it counts as stalled.
    static let patienceMilliseconds = 250

    /// Decides by the limits alone: a pure function.
    ///
    /// A burst may be larger than the ring. A reader that goes on taking bytes is kept up to twice the limits; one that
    /// has stalled is not kept beyond them.
    static func decide(_ lag: Lag, limits: Configuration.LagLimits) -> LagDecision {
        if lag.ageMilliseconds > limits.ageMilliseconds { return .cut }
        guard lag.events > limits.events || lag.bytes > limits.bytes else { return .keep }
        if lag.stalledMilliseconds >= patienceMilliseconds { return .cut }
        // Twice the limits, said without a product: limits may be as large as an Int.
        return lag.events - limits.events > limits.events || lag.bytes - limits.bytes > limits.bytes ? .cut : .keep
    }
}

extension Engine {
    /// Judges the subscribers that passed a limit in an earlier turn: since then their sockets have been tried.
    func judgeLaggards() {
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
    /// Whoever keeps up has no send in flight between two turns: while that is so of all, nobody is looked at.
    private func findLaggards() -> Bool {
        guard delivery.sendsInFlight > 0 || !starved.isEmpty else { return false }
        var anyWaiting = false
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            guard connection.pointee.phase == .subscriber, !connection.pointee.ring.isEmpty else { continue }
            anyWaiting = true
            if connection.pointee.isLive { _ = judge(slot) }
        }
        return anyWaiting
    }

    /// Deals with a laggard as its subscription says. True if it is over a limit and kept for now.
    private func judge(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let group = connection.pointee.group
        guard group != Connection.none, !connection.pointee.ring.isEmpty, !connection.pointee.flags.contains(.skipping)
        else { return false }
        let limits = hub.subscriptions[group].limits
        let now = UInt32(truncatingIfNeeded: loop.now)
        let oldest = delivery.oldestWaiting(slot)
        // All that waits came in this turn: the socket took everything before it and has not been offered this.
        if oldest == now, !connection.pointee.flags.contains(.sending) { return true }
        if connection.pointee.pendingEvents > UInt32(clamping: limits.events) { _ = delivery.recountPending(slot) }
        let lag = Lag(
            events: Int(connection.pointee.pendingEvents), bytes: Int(connection.pointee.ring.byteCount),
            ageMilliseconds: Int(now &- oldest),
            stalledMilliseconds: Int(now &- connection.pointee.waitingSince))
        switch LagDecision.decide(lag, limits: limits) {
        case .keep:
            return lag.events > limits.events || lag.bytes > limits.bytes
        case .cut:
            let dropped = delivery.dropBacklog(slot)
            metrics.lagged &+= 1
            if hub.subscriptions[group].onLag == .gap {
                connection.pointee.flags.insert(.skipping)
                connection.pointee.missed = dropped.events
                if connection.pointee.ring.isEmpty { endSkipping(slot) }
            } else {
                bye(slot, .slow)
            }
            return false
        }
    }

    /// A reader that skipped takes bytes again: one `$gap` covers everything it missed, and it goes on at the head.
    func endSkipping(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        connection.pointee.flags.remove(.skipping)
        guard connection.pointee.missed > 0 else { return }
        let gap = ControlRecord.gap(
            why: .lagged, epoch: hub.epoch, from: connection.pointee.queuedSeq + 1, to: hub.head,
            dropped: UInt64(connection.pointee.missed))
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

    /// Looks for laggards now and then, as long as anything waits.
    func watchForLaggards() {
        guard !sweeping else { return }
        sweeping = true
        loop.setTimer(sweepTimer, at: loop.now + Limits.sweepMilliseconds)
    }

    /// The timer of `watchForLaggards` fired.
    func sweep() {
        sweeping = false
        if findLaggards() { watchForLaggards() }
    }
}
