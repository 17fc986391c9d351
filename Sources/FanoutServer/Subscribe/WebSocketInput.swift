/// What WebSocket readers send: control frames, and `$subscribe` as the first message.

import Wire

extension Engine {
    static let webSocketLimits = WebSocketLimits()

    /// Uses a WebSocket reader's frames.
    func consumeFrames(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.isLive else { return bytes.count }
        let input = connection.pointee.input
        var decoder = input == Connection.none ? WebSocketDecoder() : inputs[input].frames
        var consumed = 0
        do throws(WebSocketFault) {
            while connection.pointee.isLive,
                let event = try decoder.next(bytes, consumed: &consumed, limits: Self.webSocketLimits)
            {
                handle(slot, event, decoder, bytes)
            }
        } catch {
            failWebSocket(slot, error)
        }
        guard connection.pointee.isLive else { return bytes.count }
        if !decoder.isIdle || connection.pointee.input != Connection.none {
            inputs[inputBuffer(of: slot)].frames = decoder
            dropIdleInput(slot)
        }
        return consumed
    }

    private func handle(
        _ slot: UInt32, _ event: WebSocketEvent, _ decoder: borrowing WebSocketDecoder,
        _ bytes: UnsafeMutableBufferPointer<UInt8>
    ) {
        let connection = delivery.connections.records + Int(slot)
        switch event {
        case .data(let range, let opcode, let first, let last):
            // Payload counts, so that a message of exactly the limit passes; an empty one counts as a byte.
            if opcode == .binary { return bye(slot, .binary) }
            guard noteInput(slot, max(1, Int(range.count))) else { return }
            takeText(slot, bytes.span.extracting(range.range), first: first, last: last)
        case .ping:
            guard countControl(slot), hasRoomForPong(slot) else { return }
            scratch.removeAll(keepingCapacity: true)
            decoder.withControlPayload { WebSocketFrame.append(.pong, $0, to: &scratch) }
            sayScratch(slot)
        case .pong:
            connection.pointee.flags.remove(.awaitsPong)
            _ = countControl(slot)
        case .close(let code):
            // The peer's close is answered with its own code; nothing follows a close frame.
            scratch.removeAll(keepingCapacity: true)
            appendCloseFrame(slot, code: code, "")
            sayScratch(slot)
            metrics.closed(.peerGone, .webSocket)
            endWhenSent(slot)
        }
    }

    /// Gathers the first message if it may be `$subscribe`; later ones are ignored.
    private func takeText(_ slot: UInt32, _ piece: Span<UInt8>, first: Bool, last: Bool) {
        let connection = delivery.connections.records + Int(slot)
        guard !connection.pointee.flags.contains(.firstSeen) else { return }
        if first, last {
            connection.pointee.flags.insert(.firstSeen)
            return resubscribe(slot, piece)
        }
        let buffer = inputBuffer(of: slot)
        guard mayKeep(slot, inputs.bodyGrowth(adding: piece.count, to: buffer)) else { return }
        inputs.appendBody(piece, to: buffer)
        guard last else { return }
        connection.pointee.flags.insert(.firstSeen)
        let message = inputs.takeBody(buffer)
        resubscribe(slot, message.span)
    }

    /// Counts a control frame. False if it was one too many in a second and the reader has been told to go.
    private func countControl(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        let second = UInt32(truncatingIfNeeded: loop.now / 1000)
        if connection.pointee.controlSecond != second {
            connection.pointee.controlSecond = second
            connection.pointee.controlCount = 0
        }
        connection.pointee.controlCount += 1
        guard connection.pointee.controlCount > Limits.controlFramesPerSecond else { return true }
        bye(slot, .policy)
        return false
    }

    /// While a reader is behind, its limits bound what waits for it, pongs included. No event is queued for one that
    /// skips, so it has no limits: if it goes on asking and takes no answer, it is told to go. O(runs that wait).
    private func hasRoomForPong(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.flags.contains(.skipping) else { return true }
        var waiting: UInt32 = 0
        connection.pointee.ring.forEachFirst(runsMax: .max, bytesMax: .max, blocks: delivery.blocks) { run in
            if delivery.log.segments[run.segment].chain == .control { waiting += run.count }
        }
        if waiting > shares.answersPendingBytes { bye(slot, .policy) }
        return connection.pointee.isLive
    }

    /// A client that broke the protocol gets the close frame and nothing else.
    private func failWebSocket(_ slot: UInt32, _ fault: WebSocketFault) {
        let reason: EndReason =
            switch fault.closeCode {
            case 1007: .badUTF8
            case 1008: .policy
            case 1009: .tooBig
            default: .protocolError
            }
        scratch.removeAll(keepingCapacity: true)
        appendCloseFrame(slot, code: fault.closeCode, fault.reason)
        hub.detach(slot)
        sayScratch(slot)
        metrics.closed(reason, .webSocket)
        endWhenSent(slot)
    }
}
