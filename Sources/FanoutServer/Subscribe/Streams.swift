/// How a stream begins: `$hello`, what is missing, then the events.

import Planted
import Reactor
import Wire

extension Engine {
    /// `server` in `$hello`.
    static let serverName: StaticString = "fanout/0.1.0"

    /// What a subscriber that begins at some place cannot have.
    struct Missing: Equatable {
        var why: ControlRecord.GapReason
        var from: UInt64?
        var to: UInt64?
        var dropped: UInt64?
    }

    /// Starts a stream on a connection whose transport is set, behind what is queued for it already and, `afterHead`,
    /// what lies in `scratch`.
    ///
    /// What `$hello` says, what the `$gap` covers and the registration are one step: no event is lost in between and
    /// none comes twice.
    func startStream(_ slot: UInt32, _ subscription: Subscription, afterHead: Bool = false) {
        let connection = delivery.connections.records + Int(slot)
        let common = hub.rules.common(to: subscription.patterns)
        let start = subscription.start ?? common.start
        let missing = missing(start, subscription)
        connection.pointee.phase = .subscriber
        if subscription.control ?? common.control {
            connection.pointee.flags.remove(.controlOff)
        } else {
            connection.pointee.flags.insert(.controlOff)
        }
        hub.attach(slot, subscription)
        updateKernelPatience(slot)
        if !afterHead { scratch.removeAll(keepingCapacity: true) }
        if !connection.pointee.flags.contains(.controlOff) {
            appendOpening(slot, start, missing, saysGap: !subscription.failsOnGap)
        }
        sayScratch(slot)
        if missing != nil, subscription.failsOnGap { return bye(slot, .cursorGone, last: place(start)) }
        if missing != nil { metrics.gaps &+= 1 }
        if hub.hasEnded(subscription.patterns) { return bye(slot, .ended) }
        scheduleKeepAlive(slot)
    }

    /// The cursor that a start stands for; nil where it is none of ours, or the present.
    private func place(_ start: Subscription.Start) -> Cursor? {
        switch start {
        case .after(let cursor): cursor
        case .start: Cursor(epoch: hub.epoch, seq: 0)
        case .now, .unknown: nil
        }
    }

    private func appendOpening(_ slot: UInt32, _ start: Subscription.Start, _ missing: Missing?, saysGap: Bool) {
        let format = delivery.connections[slot].transport.format
        let discriminator = hub.discriminator(of: slot)
        guard let missing else {
            return openingTexts.appendHello(
                format, head: hub.headCursor, heartbeatSeconds: configuration.heartbeatSeconds,
                discriminator: discriminator, to: &scratch)
        }
        // A reader that is cut between `$hello` and `$gap` comes back to where it was, so that the gap is said again.
        let helloID = place(start) ?? hub.headCursor
        ControlRecord.hello(
            epoch: hub.epoch, seq: hub.head, server: Self.serverName, heartbeatSeconds: configuration.heartbeatSeconds
        ).append(to: &scratch, format: format, discriminator: discriminator.span, eventID: helloID)
        guard saysGap else { return }
        ControlRecord.gap(
            why: missing.why, epoch: hub.epoch, from: missing.from, to: missing.to, dropped: missing.dropped
        ).append(to: &scratch, format: format, discriminator: discriminator.span, eventID: hub.headCursor)
    }

    /// What a stream that begins at `start` cannot have. Nothing is held of the past yet, so everything after a place
    /// is missing, unless none of it was for this reader.
    func missing(_ start: Subscription.Start, _ subscription: Subscription) -> Missing? {
        let after: UInt64
        switch start {
        case .now: return nil
        case .unknown: return Missing(why: .unknownEpoch)
        case .start: after = 0
        case .after(let cursor):
            guard cursor.epoch == hub.epoch else { return Missing(why: .unknownEpoch) }
            guard cursor.seq <= hub.head else { return Missing(why: .ahead) }
            after = cursor.seq
        }
        let newest = hub.newest(for: subscription)
        guard newest > after || isPlanted("resumeWithItsOwnPlace") && newest == after else { return nil }
        return Missing(
            why: .pruned, from: after + 1, to: hub.head, dropped: subscription.isEverything ? hub.head - after : nil)
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
