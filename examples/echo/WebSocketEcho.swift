// WebSocket: each message goes back as it came, in one frame with the same opcode; pings are answered.

import Wire

extension Session {
    mutating func openWebSocket(key: Span<UInt8>) {
        var response: [UInt8] = []
        HTTPResponse.appendWebSocketUpgrade(key: key, to: &response)
        outbox.append(response)
        phase = .webSocket
    }

    mutating func webSocketStep(_ rest: UnsafeMutableBufferPointer<UInt8>) -> Int? {
        var limits = WebSocketLimits()
        limits.messageBytesMax = Session.messageBytesMax
        limits.fragmentsMax = Session.fragmentsMax
        var consumed = 0
        do throws(WebSocketFault) {
            guard let event = try decoder.next(rest, consumed: &consumed, limits: limits) else {
                return consumed > 0 ? consumed : nil
            }
            handle(event, rest)
        } catch {
            var frame: [UInt8] = []
            WebSocketFrame.appendClose(error, to: &frame)
            say(frame)
            end()
        }
        return consumed
    }

    private mutating func handle(_ event: WebSocketEvent, _ input: UnsafeMutableBufferPointer<UInt8>) {
        var frame: [UInt8] = []
        switch event {
        case .data(let range, let opcode, _, let last):
            let piece = UnsafeMutableBufferPointer(rebasing: input[range.range])
            if last, message.isEmpty {
                // A message that came in one piece is not gathered first.
                WebSocketFrame.appendHeader(opcode, payload: piece.count, to: &frame)
                say(frame)
                outbox.append(piece)
                return
            }
            message.append(UnsafeBufferPointer(piece))
            guard last else { return }
            WebSocketFrame.appendHeader(opcode, payload: message.count, to: &frame)
            say(frame)
            outbox.append(message.bytes)
            message.removeAll()
        case .ping:
            decoder.withControlPayload { WebSocketFrame.append(.pong, $0, to: &frame) }
            say(frame)
        case .pong:
            break
        case .close(let code):
            if let code {
                decoder.withControlPayload { WebSocketFrame.appendClose(code: code, reason: $0, to: &frame) }
            } else {
                WebSocketFrame.appendHeader(.close, payload: 0, to: &frame)
            }
            say(frame)
            end()
        }
    }

    private mutating func say(_ frame: [UInt8]) {
        outbox.append(frame)
    }

    private mutating func end() {
        message.removeAll()
        phase = .over
    }
}
