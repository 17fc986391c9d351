/// MQTT at QoS 0 in a run, inside of WebSocket frames.

enum MQTTDialect {
    static let requestFields = WebSocketDialect.requestFields + "Sec-WebSocket-Protocol: mqtt\r\n"

    /// Up to the answer that grants the subscription. A client need not wait for the one before (section 3.1.4).
    static func handshake(
        _ bytes: Span<UInt8>, channel: String?, _ state: inout OpeningState, say: inout [UInt8]
    ) -> HandshakeStep {
        guard state.stage == 0 else { return MQTTFrames.next(bytes, from: 0).step(bytes) }
        var words: [UInt8] = []
        let step = HTTPOpening.takeUpgrade(bytes, &state) {
            MQTTFrames.appendConnect(to: &words)
            MQTTFrames.appendSubscribe(channel ?? brokerChannel, to: &words)
        }
        if !words.isEmpty { WebSocketDialect.append(opcode: 2, words.span, to: &say) }
        return step
    }

    static func find(_ bytes: Span<UInt8>) -> Finding {
        MQTTFrames.next(bytes, from: 0).finding()
    }

    /// Up to the answer to CONNECT.
    static func publisherHandshake(
        _ bytes: Span<UInt8>, _ state: inout OpeningState, say: inout [UInt8]
    ) -> HandshakeStep {
        if state.stage == 0 {
            var words: [UInt8] = []
            let step = HTTPOpening.takeUpgrade(bytes, &state) { MQTTFrames.appendConnect(to: &words) }
            if !words.isEmpty { WebSocketDialect.append(opcode: 2, words.span, to: &say) }
            return step
        }
        switch WebSocketDialect.header(bytes) {
        case .failure(let fault): return .refused(fault.text)
        case .success(nil): return .incomplete
        case .success(let header?):
            let packet = bytes.extracting(header.payload)
            let isWelcome = header.opcode == 2 && MQTTFrames.next(packet, from: 0).kind == .notice
            return isWelcome ? .done(used: header.payload.upperBound) : .refused("refused: \(bytes.excerpt)")
        }
    }

    /// What is said to a publisher: at QoS 0 nothing but WebSocket's own.
    static func findAnswer(_ bytes: Span<UInt8>) -> Finding {
        let finding = WebSocketDialect.find(bytes)
        if case .event(let frame, _) = finding { return .skip(frame: frame) }
        return finding
    }

    /// One packet in one frame, as clients send it.
    static func appendEvent(_ event: UnsafeBufferPointer<UInt8>, channel: String?, to output: inout [UInt8]) {
        var packet: [UInt8] = []
        MQTTFrames.appendPublishHead(channel ?? brokerChannel, payloadBytes: event.count, to: &packet)
        packet.append(contentsOf: event)
        WebSocketDialect.append(opcode: 2, packet.span, to: &output)
    }
}
