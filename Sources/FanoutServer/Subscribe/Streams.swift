/// How a stream begins: `$hello`, what is missing, then the events.

import EventStore
import Planted
import Reactor
import Wire

extension Engine {
    /// `server` in `$hello`.
    static let serverName: StaticString = "fanout/0.1.0"

    /// What a subscriber that begins at some place cannot have.
    struct Missing: Equatable {
        var why: ControlRecord.GapReason
        /// The numbering that `from` and `to` are of; nil is the present one.
        var epoch: Epoch?
        var from: UInt64?
        var to: UInt64?
        var dropped: UInt64?
    }

    /// How a stream begins.
    struct Opening: Equatable {
        /// The place that was asked for, where it is one; nil for the present.
        var asked: Cursor?
        /// Where it goes on: behind this number, with what is held. nil: with the next event.
        var replayAfter: UInt64?
        var missing: Missing?
        /// Whether it is sent the present state first.
        var wantsState = false
    }

    /// Starts a stream on a connection whose transport is set, behind what is queued for it already and, `afterHead`,
    /// what lies in `scratch`.
    ///
    /// What `$hello` says, what the `$gap` covers and the registration are one step: no event is lost in between and
    /// none comes twice.
    /// - Parameter opening: what `opening` says of the subscription.
    func startStream(_ slot: UInt32, _ subscription: Subscription, _ opening: Opening, afterHead: Bool = false) {
        let connection = delivery.connections.records + Int(slot)
        connection.pointee.phase = .subscriber
        if subscription.control ?? hub.rules.hasControl(for: subscription.patterns) {
            connection.pointee.flags.remove(.controlOff)
        } else {
            connection.pointee.flags.insert(.controlOff)
        }
        if subscription.failsOnGap {
            connection.pointee.flags.insert(.failsOnGap)
        } else {
            connection.pointee.flags.remove(.failsOnGap)
        }
        let isRefused = opening.missing != nil && subscription.failsOnGap
        let place = opening.wantsState ? hub.head : opening.replayAfter
        hub.attach(slot, subscription, replayingAfter: isRefused ? nil : place)
        if opening.wantsState {
            // It has nothing yet.
            connection.pointee.queuedSeq = 0
            connection.pointee.sentSeq = 0
        }
        updateKernelPatience(slot)
        if !afterHead { scratch.removeAll(keepingCapacity: true) }
        if !connection.pointee.flags.contains(.controlOff) {
            appendOpening(slot, opening, saysGap: !subscription.failsOnGap)
        }
        sayScratch(slot)
        if opening.wantsState {
            awaitState(slot)
            return scheduleKeepAlive(slot)
        }
        if isRefused { return bye(slot, .cursorGone, last: opening.asked) }
        if opening.missing != nil { metrics.gaps &+= 1 }
        if opening.replayAfter == nil, hub.hasEnded(subscription.patterns) { return bye(slot, .ended) }
        if connection.pointee.ring.isEmpty { replaySent(slot) }
        scheduleKeepAlive(slot)
    }

    private func appendOpening(_ slot: UInt32, _ opening: Opening, saysGap: Bool) {
        let format = delivery.connections[slot].transport.format
        let discriminator = hub.discriminator(of: slot)
        let schema = hub.schema(of: slot)
        guard opening.missing != nil || opening.replayAfter != nil || opening.wantsState else {
            return openingTexts.appendHello(
                format, head: hub.headCursor, heartbeatSeconds: configuration.heartbeatSeconds,
                discriminator: discriminator, schema: schema, to: &scratch)
        }
        // A reader that is cut before it has more than `$hello` comes back to where it was, and everything is said
        // again. One whose place means nothing here keeps it.
        ControlRecord.hello(
            epoch: hub.epoch, seq: hub.head, server: Self.serverName,
            heartbeatSeconds: configuration.heartbeatSeconds, schema: schema
        ).append(to: &scratch, format: format, discriminator: discriminator.span, eventID: opening.asked)
        guard let missing = opening.missing, saysGap else { return }
        ControlRecord.gap(
            why: missing.why, epoch: missing.epoch ?? hub.epoch, from: missing.from, to: missing.to,
            dropped: missing.dropped
        ).append(
            to: &scratch, format: format, discriminator: discriminator.span,
            eventID: Cursor(epoch: hub.epoch, seq: place(behind: missing) ?? opening.replayAfter ?? hub.head))
    }

    /// Where a reader goes on that was told what it cannot have, and was cut then: behind that, as far as that has
    /// numbers which mean the same now.
    private func place(behind missing: Missing) -> UInt64? {
        guard let epoch = missing.epoch, let epochs = storage?.epochs, let from = missing.from, let to = missing.to,
            let lost = epochs.past.lastIndex(where: { $0.epoch == epoch })
        else { return missing.to }
        // Where the file that says which numbers were used was lost, too, later events may have the same ones.
        let next = lost + 1 < epochs.past.count ? epochs.past[lost + 1].firstSeq : epochs.firstSeq
        return to < next ? to : max(from - 1, epochs.past[lost].usedSeq)
    }

    /// Where a subscription begins, and what it cannot have.
    func opening(_ subscription: Subscription) -> Opening {
        let patterns = subscription.patterns
        var opening = Opening()
        // Everything up to here it has, or was lost with its numbering.
        var had: UInt64?
        switch subscription.start ?? (hub.rules.allStartNow ? .now : hub.rules.common(to: patterns).start) {
        case .now: return opening
        case .snapshot:
            // Where nothing keeps state it is the present; of what has ended with no state there is nothing to say.
            opening.wantsState = hub.mayKeepState(patterns) && !(hub.hasEnded(patterns) && !hub.hasRows(patterns))
            return opening
        case .unknown: opening.missing = Missing(why: .unknownEpoch)
        case .start:
            opening.asked = Cursor(epoch: hub.epoch, seq: 0)
            had = 0
        case .after(let cursor):
            opening.asked = cursor
            switch meaning(of: cursor) {
            case .after(let seq): had = seq
            case .ahead: opening.missing = Missing(why: .ahead)
            case .unknownEpoch: opening.missing = Missing(why: .unknownEpoch)
            case .rewound(let from, let to):
                let missing = Missing(
                    why: .rewound, epoch: cursor.epoch, from: from, to: to,
                    // Who has some of it does not miss that.
                    dropped: cursor.seq < from && subscription.isEverything ? to - from + 1 : nil)
                opening.missing = missing
                had = place(behind: missing)
            }
        }
        let oldest = hub.records && had != nil ? 0 : hub.placeOfOldest(for: patterns)
        var place = oldest
        if let had {
            // What retention has removed behind what was lost is said in its place.
            let isRewound = opening.missing != nil
            // From the start on is what is kept of each channel.
            var gone: UInt64?
            if !isRewound {
                gone = had > 0 ? hub.newestGone(after: had, for: patterns) : hub.newestPruned(for: patterns)
            }
            place = hub.records ? max(had, gone ?? 0) : max(had, oldest)
            if let gone, gone > had {
                opening.missing = Missing(
                    why: .pruned, from: had + 1, to: gone,
                    dropped: subscription.isEverything ? eventCount(after: had, through: gone) : nil)
            }
        }
        let newest = hub.newest(for: patterns)
        if newest > place || isPlanted("resumeWithItsOwnPlace") && newest == place, place < hub.head {
            opening.replayAfter = isPlanted("resumeWithItsOwnPlace") && place > oldest ? place - 1 : place
        } else if let ended = storage?.epochs.nextLoss(after: place), !hub.hasEnded(patterns) {
            // Nobody knows whether that was for this reader.
            opening.replayAfter = max(place, ended.lastSeq)
        }
        return opening
    }

    /// What a cursor means here.
    func meaning(of cursor: Cursor) -> CursorPlace {
        if let storage { return storage.epochs.place(of: cursor, head: hub.head) }
        guard cursor.epoch == hub.epoch else { return .unknownEpoch }
        return cursor.seq <= hub.head ? .after(cursor.seq) : .ahead
    }

    // MARK: Keep-alives

    /// Sets the time of the next keep-alive of a reader that got its last bytes so long ago.
    func scheduleKeepAlive(_ slot: UInt32, quietMilliseconds: UInt64 = 0) {
        let time = keepAliveTimes.next(slot, now: loop.now, quiet: quietMilliseconds, &random)
        loop.setTimer(TimerID(delivery.connections.socket(slot)), at: time)
    }

    /// A reader's keep-alive is due. Whoever got bytes meanwhile needs it later: what counts is the silence. A
    /// WebSocket is pinged all the same, because only its pong tells that the peer is there.
    func keepAlive(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.peerEnded), loop.hasHungUp(delivery.connections.socket(slot)) {
            return close(slot, .graceful, .peerGone)
        }
        let transport = connection.pointee.transport
        let quiet = UInt64(UInt32(truncatingIfNeeded: loop.now) &- connection.pointee.waitingSince)
        if !connection.pointee.ring.isEmpty {
            // Something waits already: the lag limits decide about this reader, and a ping would only wait behind it.
        } else if transport == .webSocket {
            if connection.pointee.flags.contains(.awaitsPong) { return bye(slot, .noPong) }
            connection.pointee.flags.insert(.awaitsPong)
            delivery.queueRun(constants.webSocketPing, for: slot)
        } else if quiet < keepAliveTimes.period - keepAliveTimes.early {
            return scheduleKeepAlive(slot, quietMilliseconds: quiet)
        } else if transport == .sse {
            delivery.queueRun(constants.sseComment, for: slot)
        } else if transport == .jsonlTCP || transport == .jsonlHTTP, !connection.pointee.flags.contains(.controlOff) {
            sayPing(slot)
        }
        scheduleKeepAlive(slot)
    }

    /// `$ping` for JSONL readers; its first member is named as the channel says.
    private func sayPing(_ slot: UInt32) {
        let discriminator = hub.discriminator(of: slot)
        if discriminator == EventRules().discriminator {
            delivery.queueRun(constants.jsonlPing, for: slot)
        } else {
            scratch.removeAll(keepingCapacity: true)
            ControlRecord.ping.append(to: &scratch, format: .jsonl, discriminator: discriminator.span, eventID: nil)
            sayScratch(slot)
        }
    }
}
