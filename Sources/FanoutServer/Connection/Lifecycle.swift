/// How connections end: said goodbye to, flushed, drained, closed, freed.

import Planted
import Reactor
import Wire

// ```
//  subscriber --bye--> (flush) --> draining --peer ends, or 30 s--> closing --.closed--> free
//  request  --endWhenSent--^          any --close--------------------^
// ```
extension Engine {
    /// Ends a stream deliberately: `$bye`, a close frame on WebSocket, then the end when all is sent.
    ///
    /// `why` says more than the reason's own word where there is more to say. From here on it gets no event. A reader
    /// that does not take its last bytes is reset after 30 s.
    /// - Parameter last: the place to resume from, where it is not the last event queued.
    func bye(
        _ slot: UInt32, _ reason: EndReason, why: StaticString? = nil, last: Cursor? = nil,
        retryMilliseconds: Int? = nil
    ) {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.phase == .subscriber, !connection.pointee.flags.contains(.endsWhenSent) else { return }
        let discriminator = hub.discriminator(of: slot)
        // Who never got a place in the hub was sent nothing: an id would make a browser forget where it was.
        let wasAttached = connection.pointee.group != Connection.none
        let wasInImage = connection.pointee.flags.contains(.inImage)
        let wasReplaying = connection.pointee.flags.contains(.replaying) && !wasInImage
        if !isPlanted("eventAfterLagClose") || reason != .slow { hub.detach(slot) }
        guard let code = reason.code else {
            close(slot, .reset, reason)
            return
        }
        let format = connection.pointee.transport.format
        let queued = wasReplaying ? connection.pointee.replaySeq : connection.pointee.queuedSeq
        let newest = isPlanted("byeNamesHead") ? hub.head : queued
        // Nor was who has no row of the state yet.
        let hasPlace = wasAttached && !(wasInImage && newest == 0)
        let last = last ?? (hasPlace ? Cursor(epoch: hub.epoch, seq: newest) : nil)
        let retry = reason.invitesBack ? retryMilliseconds ?? defaultRetry(reason) : nil
        scratch.removeAll(keepingCapacity: true)
        if !connection.pointee.flags.contains(.controlOff) {
            // A browser's EventSource obeys `retry:`, whatever the page does with `$bye`.
            if format == .sse, let retry {
                scratch.append(text: "retry: ")
                scratch.append(decimal: retry)
                scratch.append(text: "\n")
            }
            ControlRecord.bye(code: code, why: why ?? reason.why, last: last, retryMilliseconds: retry)
                .append(to: &scratch, format: format, discriminator: discriminator.span, eventID: last)
        }
        if format == .webSocket { appendCloseFrame(slot, code: UInt16(code), why ?? reason.why) }
        sayScratch(slot)
        metrics.closed(reason, connection.pointee.transport)
        if isPlanted("closeCountedTwice") { metrics.closed(reason, connection.pointee.transport) }
        endWhenSent(slot)
    }

    /// When a reader should come back: soon after a stall of its own, spread over seconds otherwise.
    private func defaultRetry(_ reason: EndReason) -> Int {
        reason == .slow || reason == .noPong || reason == .cursorGone
            ? 100 + random.below(900) : 1000 + random.below(14_000)
    }

    /// Appends a WebSocket close frame to `scratch`, once per connection.
    func appendCloseFrame(_ slot: UInt32, code: UInt16?, _ why: StaticString) {
        let connection = delivery.connections.records + Int(slot)
        guard !connection.pointee.flags.contains(.closeFrameSent) else { return }
        connection.pointee.flags.insert(.closeFrameSent)
        guard let code else { return WebSocketFrame.appendHeader(.close, payload: 0, to: &scratch) }
        why.withUTF8Buffer { WebSocketFrame.appendClose(code: code, reason: $0.span, to: &scratch) }
    }

    /// Ends the connection as soon as everything queued is sent. What still comes in is thrown away.
    func endWhenSent(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        guard !connection.pointee.flags.contains(.endsWhenSent) else { return }
        connection.pointee.flags.insert(.endsWhenSent)
        if connection.pointee.phase == .subscriber, !isPlanted("eventAfterLagClose") { hub.detach(slot) }
        releaseInput(slot)
        // The answers that it waits for go first.
        if connection.pointee.isAwaiting { return }
        if connection.pointee.ring.isEmpty {
            finishEnding(slot)
        } else {
            setDeadline(slot, in: Limits.byeMilliseconds)
        }
    }

    /// All is said: shuts the write side and waits for the peer to do the same. Closing at once would reset the
    /// connection if anything unread had come in, and the peer could lose the last bytes.
    func finishEnding(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.phase != .closing, connection.pointee.phase != .draining,
            !connection.pointee.isAwaiting
        else { return }
        // Standard input has no write side to shut. Who was turned away as it came in, without having said anything,
        // must not keep the place it was told so in.
        let isTurnedAway = connection.pointee.flags.contains(.inReservedPlace) && isRaw(slot)
        if isTurnedAway || !connection.pointee.flags.isDisjoint(with: [.peerEnded, .standardInput]) {
            close(slot, .graceful, .ended)
            return
        }
        connection.pointee.phase = .draining
        connection.pointee.windowStart = UInt32(truncatingIfNeeded: loop.now)
        connection.pointee.windowBytes = 0
        connection.pointee.waitingSince = UInt32(truncatingIfNeeded: loop.now)
        loop.finishSending(delivery.connections.socket(slot))
        if connection.pointee.flags.contains(.inputPaused) {
            connection.pointee.flags.remove(.inputPaused)
            loop.receive(delivery.connections.socket(slot))
        }
        setDeadline(slot, in: Limits.drainMilliseconds)
    }

    /// Whether this reader came by `events.socket` or `--jsonl`, where the stream begins before anything is asked.
    private func isRaw(_ slot: UInt32) -> Bool {
        let transport = delivery.connections[slot].transport
        return transport == .jsonlUnix || transport == .jsonlTCP
    }

    /// Closes now. The record lives on until the reactor says that nothing touches its bytes any more.
    func close(_ slot: UInt32, _ how: CloseMode, _ reason: EndReason) {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.phase != .closing, connection.pointee.phase != .free else { return }
        if connection.pointee.phase == .subscriber {
            hub.detach(slot)
            if !connection.pointee.flags.contains(.endsWhenSent) {
                metrics.closed(reason, connection.pointee.transport)
            }
        }
        connection.pointee.phase = .closing
        peers.forget(slot)
        releaseInput(slot)
        if isPlanted("freedAtCancel") { delivery.release(slot) }
        if isPlanted("descriptorLeakedOnReset"), how == .reset { return }
        loop.close(delivery.connections.socket(slot), how)
    }

    /// The reactor is done with a socket: its slot is free for another.
    func closed(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        precondition(connection.pointee.phase != .free, "a free slot was closed")
        delivery.release(slot)
        releaseInput(slot)
        forgetReplay(slot)
        if slot == standardInput { standardInput = Connection.none }
        delivery.connections.free(slot)
    }

    private func releaseInput(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.inputDeferred) {
            connection.pointee.flags.remove(.inputDeferred)
            deferred.removeAll { $0 == slot }
            waitingWriters.removeAll { $0 == slot }
        }
        guard connection.pointee.input != Connection.none else { return }
        inputs.release(connection.pointee.input)
        connection.pointee.input = Connection.none
    }

    // MARK: Deadlines

    func setDeadline(_ slot: UInt32, in milliseconds: UInt64) {
        loop.setTimer(TimerID(delivery.connections.socket(slot)), at: loop.now + milliseconds)
    }

    /// A connection's own timer fired: what that means follows from its phase.
    func deadlineReached(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        // Whose answer waits for the database is neither idle nor slow.
        if connection.pointee.isAwaiting { return }
        if connection.pointee.flags.contains(.endsWhenSent), connection.pointee.phase != .draining {
            // It never took its last bytes.
            close(slot, .reset, .slow)
            return
        }
        switch connection.pointee.phase {
        case .subscriber: keepAlive(slot)
        case .request: requestTimedOut(slot)
        case .draining: drainingTakesLong(slot)
        case .free, .listener, .ingest, .closing: break
        }
    }

    /// A peer has not ended its side in time. While it is still taking its last bytes, `$bye` among them, it is waited
    /// for, 30 s altogether: a reset would throw away what the kernel holds for it.
    private func drainingTakesLong(_ slot: UInt32) {
        let waited = UInt32(truncatingIfNeeded: loop.now) &- delivery.connections[slot].waitingSince
        if waited < Limits.byeMilliseconds, loop.unsentBytes(delivery.connections.socket(slot)) > 0 {
            setDeadline(slot, in: Limits.drainMilliseconds)
        } else {
            close(slot, .reset, .ended)
        }
    }

    /// Counts what a reader writes; ends it when that is too much. Returns false if it was ended.
    @discardableResult
    func noteInput(_ slot: UInt32, _ byteCount: Int, controls: UInt32 = 0) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let now = UInt32(truncatingIfNeeded: loop.now)
        if now &- connection.pointee.windowStart >= Limits.inputWindowMilliseconds {
            connection.pointee.windowStart = now
            connection.pointee.windowBytes = 0
        }
        connection.pointee.windowBytes &+= UInt32(clamping: byteCount)
        let isDraining = connection.pointee.phase == .draining
        guard connection.pointee.windowBytes > (isDraining ? Limits.drainBytes : Limits.inputWindowBytes) else {
            return true
        }
        if isDraining { close(slot, .reset, .policy) } else { bye(slot, .policy) }
        return false
    }
}
