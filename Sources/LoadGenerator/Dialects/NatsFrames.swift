/// The part of NATS' client protocol that a run needs: plain text lines, payloads counted.

import Wire

/// Frames of nats-server's stream, and what a client sends to it. The same over TCP and inside of WebSocket frames.
enum NatsFrames {
    /// The frame that begins at `start`; `start` is at most `bytes.count`. O(header), never the payload.
    static func next(_ bytes: Span<UInt8>, from start: Int) -> BrokerFrame {
        let end: Int
        switch BrokerLine.end(bytes, from: start) {
        case .at(let place): end = place
        case .notYet: return .other(.incomplete, next: start)
        case .tooLong: return .other(.fault, next: start)
        }
        if BrokerLine.begins(bytes, at: start, with: "MSG ") { return message(bytes, start, end) }
        let next = end + 2
        if BrokerLine.begins(bytes, at: start, with: "PING\r\n") { return .other(.ping, next: next) }
        // The server takes commands in order, so the answer to the PING behind the SUB says that the SUB was taken.
        if BrokerLine.begins(bytes, at: start, with: "PONG\r\n") { return .other(.subscribed, next: next) }
        if BrokerLine.begins(bytes, at: start, with: "INFO ") { return .other(.notice, next: next) }
        if BrokerLine.begins(bytes, at: start, with: "+OK\r\n") { return .other(.notice, next: next) }
        return .other(.fault, next: start)
    }

    /// `MSG subject sid [reply-to] bytes`, then the payload and a line's end.
    @inline(__always)
    private static func message(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> BrokerFrame {
        var digits = end
        while digits > start, bytes[digits - 1] != UInt8(ascii: " ") { digits -= 1 }
        guard let count = BrokerLine.number(bytes, digits..<end) else { return .other(.fault, next: start) }
        let payload = end + 2
        let next = payload + count + 2
        guard next <= bytes.count else { return .other(.incomplete, next: start) }
        guard bytes[next - 2] == UInt8(ascii: "\r"), bytes[next - 1] == UInt8(ascii: "\n") else {
            return .other(.fault, next: start)
        }
        return .event(payload..<(payload + count), next: next)
    }

    /// Appends what a client says first. `verbose` off: the server does not answer each command.
    static func appendConnect(to output: inout [UInt8]) {
        output += Array("CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"fanout\",\"version\":\"1\"}\r\n".utf8)
    }

    /// Appends a subscription, and the question whose answer shows that it stands.
    static func appendSubscribe(_ subject: String, to output: inout [UInt8]) {
        output += Array("SUB \(subject) 1\r\nPING\r\n".utf8)
    }

    /// Appends what stands before a payload of `count` bytes that is published, and what stands behind it.
    static func appendPublishHead(_ subject: String, payloadBytes count: Int, to output: inout [UInt8]) {
        output += Array("PUB \(subject) \(count)\r\n".utf8)
    }

    /// What stands behind a published payload.
    static let publishTail = Array("\r\n".utf8)

    /// The answer to a ping, and the question to which a `PONG` is the answer.
    static let pong = Array("PONG\r\n".utf8)
    static let ping = Array("PING\r\n".utf8)
}
