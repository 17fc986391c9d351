/// What comes in on a connection: used where it lies, kept where it is not whole, held back where it is too much.

import Planted
import Reactor
import Wire

extension Engine {
    /// Bytes came in, or the end of them.
    func received(_ slot: UInt32, _ completion: Completion) {
        guard completion.result > 0 else {
            inputEnded(slot, error: completion.result)
            return
        }
        let bytes = loop.bytes(of: completion).bindMemory(to: UInt8.self)
        metrics.bytesReceived &+= UInt64(bytes.count)
        let connection = delivery.connections.records + Int(slot)
        switch connection.pointee.phase {
        case .draining:
            noteInput(slot, bytes.count)
        case .free, .listener, .closing:
            break
        default:
            if connection.pointee.input == Connection.none {
                consumeLent(slot, bytes)
            } else {
                consumeBehindKept(slot, bytes)
            }
        }
    }

    /// Uses bytes behind others that wait. Of lines the first is made whole among those and the rest is used where it
    /// lies: a publisher that streams leaves a part of a line in every buffer, and each next one would be copied whole.
    private func consumeBehindKept(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) {
        let connection = delivery.connections.records + Int(slot)
        var first = bytes.count
        if connection.pointee.phase == .ingest,
            let end = ByteSearch.firstIndex(of: UInt8(ascii: "\n"), in: bytes.span, 0..<bytes.count)
        {
            first = end + 1
        }
        guard keep(slot, UnsafeMutableBufferPointer(rebasing: bytes[..<first])) else { return }
        consumeKept(slot)
        guard first < bytes.count, takesInput(slot) else { return }
        let rest = UnsafeMutableBufferPointer(rebasing: bytes[first...])
        if connection.pointee.input == Connection.none {
            consumeLent(slot, rest)
        } else {
            _ = keep(slot, rest)
        }
    }

    /// Adds bytes to the connection's input buffer. False where memory is short: then their sender has been told.
    private func keep(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) -> Bool {
        let buffer = inputBuffer(of: slot)
        guard mayKeep(slot, inputs[buffer].growth(adding: bytes.count)) else { return false }
        inputs.append(bytes, to: buffer)
        return true
    }

    /// Uses bytes where the reactor has them, as far as that is possible now, and keeps the rest. The phases bound how
    /// much that is.
    private func consumeLent(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) {
        var used = 0
        while used < bytes.count, isReady(slot) {
            let count = consume(slot, UnsafeMutableBufferPointer(rebasing: bytes[used...]))
            if count == 0 { break }
            used += count
        }
        guard used < bytes.count, takesInput(slot) else { return }
        _ = keep(slot, UnsafeMutableBufferPointer(rebasing: bytes[used...]))
    }

    private func takesInput(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        switch connection.pointee.phase {
        case .request, .ingest, .subscriber: return !connection.pointee.flags.contains(.endsWhenSent)
        case .free, .listener, .draining, .closing: return false
        }
    }

    /// The connection's input buffer, made if it has none.
    func inputBuffer(of slot: UInt32) -> UInt32 {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.input == Connection.none { connection.pointee.input = inputs.take() }
        return connection.pointee.input
    }

    /// Uses what waits in the connection's input buffer, as far as that is possible now.
    func consumeKept(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        while connection.pointee.input != Connection.none, inputs[connection.pointee.input].count > 0, isReady(slot) {
            let used = consume(slot, inputs[connection.pointee.input].waiting)
            guard used > 0, connection.pointee.input != Connection.none else { break }
            inputs[connection.pointee.input].remove(used)
        }
        dropIdleInput(slot)
    }

    /// Gives the input buffer back if nothing is in it.
    func dropIdleInput(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.input != Connection.none, inputs[connection.pointee.input].isIdle else { return }
        inputs.release(connection.pointee.input)
        connection.pointee.input = Connection.none
    }

    /// Hands bytes to whoever speaks on this connection; returns how many were used. What is left stays.
    private func consume(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let connection = delivery.connections.records + Int(slot)
        switch connection.pointee.phase {
        case .request: return consumeRequests(slot, bytes)
        case .ingest: return consumeLines(slot, bytes)
        case .subscriber:
            return connection.pointee.transport == .webSocket
                ? consumeFrames(slot, bytes) : consumeFromReader(slot, bytes)
        case .draining, .free, .listener, .closing: return bytes.count
        }
    }

    /// What this turn has cost so far: subscribers reached, subscriptions asked, channels and connections walked over.
    var turnWork: UInt64 { delivery.counters.deliveries &+ hub.extraWork &- turnWorkBefore }

    /// Whether input may be used now: not while its answers pile up, nor when the turn's share is used up or publishers
    /// rest.
    func isReady(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        switch connection.pointee.phase {
        case .request, .ingest: break
        case .subscriber:
            // What a reader says costs nothing, but for a `$subscribe`, which may walk over all channels.
            guard !connection.pointee.flags.contains(.firstSeen), turnWork > shares.turnWork else { return true }
            deferInput(slot, to: &deferred)
            return false
        case .draining, .free, .listener, .closing: return true
        }
        let awaitedMost = connection.pointee.phase == .ingest ? WaitingAnswers.perWriterMax : 1
        if connection.pointee.ring.byteCount > shares.answersPendingBytes
            || connection.pointee.waitingAnswers >= awaitedMost
            || slot == standardInput && isStorageRefusing
        {
            pauseInput(slot)
            return false
        }
        if writersWait, connection.pointee.phase == .ingest {
            deferInput(slot, to: &waitingWriters)
            return false
        }
        if isPlanted("turnShareIgnored") { return true }
        if !hasShareLeft { deferInput(slot, to: &deferred) }
        return hasShareLeft
    }

    /// Whether this turn may take more from publishers.
    private var hasShareLeft: Bool {
        !rest.isResting && turnInputBytes <= shares.turnInputBytes && turnWork <= shares.turnWork
            && metrics.eventsIn &- turnEventsBefore < Limits.turnEvents
    }

    func pauseInput(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        guard !connection.pointee.flags.contains(.inputPaused) else { return }
        connection.pointee.flags.insert(.inputPaused)
        loop.pauseReceiving(delivery.connections.socket(slot))
    }

    private func deferInput(_ slot: UInt32, to list: inout [UInt32]) {
        let connection = delivery.connections.records + Int(slot)
        pauseInput(slot)
        guard !connection.pointee.flags.contains(.inputDeferred) else { return }
        connection.pointee.flags.insert(.inputDeferred)
        list.append(slot)
    }

    /// At the end of a turn: whether writers of lines wait until the database has done more. HTTP clients do not: their
    /// connections may be readers', and those that publish are told when there is no room.
    func updateWritersWait() {
        guard hub.records, let storage else { return }
        let isPressed = storage.isPressed(accepted: hub.accepted)
        defer { writersWait = isPressed }
        guard writersWait, !isPressed else { return }
        deferred.append(contentsOf: waitingWriters)
        waitingWriters.removeAll(keepingCapacity: true)
        if inboxWaits {
            inboxWaits = false
            loop.wakeup.signal()
        }
    }

    /// Goes on with input that was put off, in turn: who gets a share of this turn and has more than that comes behind
    /// those who got nothing.
    func resumeDeferred() {
        guard !deferred.isEmpty else { return }
        let slots = deferred
        deferred.removeAll(keepingCapacity: true)
        var served = 0
        for slot in slots where delivery.connections[slot].flags.contains(.inputDeferred) {
            let isServed = hasShareLeft
            delivery.connections[slot].flags.remove(.inputDeferred)
            resumeInput(slot)
            if isServed { served = deferred.count }
        }
        guard served > 0, served < deferred.count else { return }
        deferred = Array(deferred[served...] + deferred[..<served])
    }

    /// Goes on reading from a connection whose input was paused.
    func resumeInput(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.flags.contains(.inputPaused),
            connection.pointee.phase != .request || connection.pointee.waitingAnswers == 0
        else { return }
        connection.pointee.flags.remove(.inputPaused)
        consumeKept(slot)
        guard !connection.pointee.flags.contains(.inputPaused), connection.pointee.phase != .closing,
            connection.pointee.phase != .free
        else { return }
        if connection.pointee.flags.contains(.peerEnded) {
            finishInput(slot)
        } else if !isPlanted("noReceiveAfterPause") {
            loop.receive(delivery.connections.socket(slot))
        }
    }

    /// The peer has ended its side, or the connection broke.
    private func inputEnded(_ slot: UInt32, error: Int32) {
        let connection = delivery.connections.records + Int(slot)
        connection.pointee.flags.insert(.peerEnded)
        switch connection.pointee.phase {
        case .free, .listener, .closing: return
        case .draining: close(slot, .graceful, .ended)
        default:
            if error < 0 {
                close(slot, .reset, .peerGone)
            } else if connection.pointee.flags.contains(.inputPaused) {
                // What it said before is still to be used.
            } else if slot == standardInput, isStorageRefusing {
                // Its last line may still wait for a line feed that does not come.
                connection.pointee.flags.insert(.inputPaused)
            } else {
                finishInput(slot)
            }
        }
    }

    /// Everything the peer will ever say has been used.
    private func finishInput(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        switch connection.pointee.phase {
        case .ingest: finishLines(slot)
        case .request: endWhenSent(slot)
        // A raw reader that shuts its write side, as `nc -N` does after `$subscribe`, still reads.
        case .subscriber where connection.pointee.transport == .jsonlUnix || connection.pointee.transport == .jsonlTCP:
            if loop.hasHungUp(delivery.connections.socket(slot)) { close(slot, .graceful, .peerGone) }
        default: close(slot, .graceful, .peerGone)
        }
    }
}
