/// NATS in a run, over TCP or inside of WebSocket frames.

enum NatsDialect {
    static let requestFields = WebSocketDialect.requestFields

    /// What a reader says over TCP as soon as it is connected: the greeting need not be waited for.
    static func appendOpening(channel: String?, to output: inout [UInt8]) {
        NatsFrames.appendConnect(to: &output)
        NatsFrames.appendSubscribe(channel ?? brokerChannel, to: &output)
    }

    /// Up to the answer that shows that the subscription stands.
    static func handshake(_ bytes: Span<UInt8>, say: inout [UInt8]) -> HandshakeStep {
        let frame = NatsFrames.next(bytes, from: 0)
        if frame.kind == .ping { say += NatsFrames.pong }
        return frame.step(bytes)
    }

    /// The same behind the upgrade: nats-server takes nothing of NATS before it has answered that, and all of it in
    /// frames, which do not end where commands end.
    static func handshakeInFrames(
        _ bytes: Span<UInt8>, channel: String?, _ state: inout OpeningState, say: inout [UInt8]
    ) -> HandshakeStep {
        var words: [UInt8] = []
        defer { if !words.isEmpty { WebSocketDialect.append(opcode: 2, words.span, to: &say) } }
        if state.stage == 0 {
            return HTTPOpening.takeUpgrade(bytes, &state) { appendOpening(channel: channel, to: &words) }
        }
        return handshake(bytes, say: &words)
    }

    static func find(_ bytes: Span<UInt8>) -> Finding {
        NatsFrames.next(bytes, from: 0).finding()
    }

    /// A server that asks three times in vain ends the connection.
    static func appendReply(into output: inout [UInt8]) {
        output += NatsFrames.pong
    }

    static func appendReplyInFrame(into output: inout [UInt8]) {
        let pong = NatsFrames.pong
        WebSocketDialect.append(opcode: 2, pong.span, to: &output)
    }

    /// What a publisher says: the answer to its question shows that it is welcome.
    static func appendPublisherOpening(to output: inout [UInt8]) {
        NatsFrames.appendConnect(to: &output)
        output += NatsFrames.ping
    }

    static func appendEvent(_ event: UnsafeBufferPointer<UInt8>, channel: String?, to output: inout [UInt8]) {
        NatsFrames.appendPublishHead(channel ?? brokerChannel, payloadBytes: event.count, to: &output)
        output.append(contentsOf: event)
        output += NatsFrames.publishTail
    }
}
