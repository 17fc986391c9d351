/// Redis' pub/sub in a run, over TCP.

enum RedisDialect {
    static func appendOpening(channel: String?, to output: inout [UInt8]) {
        RedisFrames.appendSubscribe(channel ?? brokerChannel, to: &output)
    }

    static func handshake(_ bytes: Span<UInt8>) -> HandshakeStep {
        RedisFrames.next(bytes, from: 0).step(bytes)
    }

    static func find(_ bytes: Span<UInt8>) -> Finding {
        RedisFrames.next(bytes, from: 0).finding()
    }

    static func appendEvent(_ event: UnsafeBufferPointer<UInt8>, channel: String?, to output: inout [UInt8]) {
        RedisFrames.appendPublishHead(channel ?? brokerChannel, payloadBytes: event.count, to: &output)
        output.append(contentsOf: event)
        output += RedisFrames.publishTail
    }

    /// What is said to a publisher: one number for each PUBLISH, how many subscribers it went to.
    static func findAnswer(_ bytes: Span<UInt8>) -> Finding {
        let finding = find(bytes)
        if case .skip(let frame) = finding, bytes[0] == UInt8(ascii: ":") { return .taken(frame: frame) }
        return finding
    }
}
