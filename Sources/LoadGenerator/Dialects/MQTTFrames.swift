/// The part of MQTT 3.1.1 that messages at QoS 0 need.

import Wire

/// Control packets of a broker's stream, and those that a client sends. Over WebSocket a packet may lie across frames.
enum MQTTFrames {
    private static let connack: UInt8 = 0x20
    private static let suback: UInt8 = 0x90
    private static let pingresp: UInt8 = 0xD0

    /// The packet that begins at `start`; `start` is at most `bytes.count`. O(1).
    static func next(_ bytes: Span<UInt8>, from start: Int) -> BrokerFrame {
        guard bytes.count - start >= 2 else { return .other(.incomplete, next: start) }
        var body = start + 1
        var count = 0
        var shift = 0
        while true {
            guard shift < 28 else { return .other(.fault, next: start) }
            guard body < bytes.count else { return .other(.incomplete, next: start) }
            let byte = bytes[body]
            body += 1
            count |= Int(byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 { break }
        }
        guard count <= BrokerLine.payloadBytesMax else { return .other(.fault, next: start) }
        let next = body + count
        guard next <= bytes.count else { return .other(.incomplete, next: start) }
        let first = bytes[start]
        if first & 0xF6 == 0x30 { return publish(bytes, start, body, next) }
        switch first {
        case connack:
            // A return code other than 0 is a refusal.
            let isAccepted = count == 2 && bytes[body + 1] == 0
            return .other(isAccepted ? .notice : .fault, next: isAccepted ? next : start)
        case suback:
            let isGranted = count == 3 && bytes[body + 2] == 0
            return .other(isGranted ? .subscribed : .fault, next: isGranted ? next : start)
        case pingresp:
            return .other(count == 0 ? .notice : .fault, next: count == 0 ? next : start)
        default:
            return .other(.fault, next: start)
        }
    }

    /// A message at QoS 0: the topic's length and the topic, then the payload up to the packet's end. `DUP` cannot be
    /// set and there is no packet identifier; a retained message would be an old one.
    @inline(__always)
    private static func publish(_ bytes: Span<UInt8>, _ start: Int, _ body: Int, _ next: Int) -> BrokerFrame {
        guard bytes[start] == 0x30, next - body >= 2 else { return .other(.fault, next: start) }
        let payload = body + 2 + (Int(bytes[body]) << 8 | Int(bytes[body + 1]))
        guard payload <= next else { return .other(.fault, next: start) }
        return .event(payload..<next, next: next)
    }

    /// Appends a CONNECT: clean session, no name (the broker makes one), and no keep-alive, so nothing must be said
    /// while nothing happens.
    static func appendConnect(to output: inout [UInt8]) {
        output += [0x10, 12, 0, 4]
        output += Array("MQTT".utf8)
        output += [4, 0x02, 0, 0, 0, 0]
    }

    /// Appends a SUBSCRIBE to one topic at QoS 0. The topic has at most 65,535 bytes.
    static func appendSubscribe(_ topic: String, to output: inout [UInt8]) {
        output.append(0x82)
        appendLength(2 + 2 + topic.utf8.count + 1, to: &output)
        output += [0, 1]
        appendText(topic, to: &output)
        output.append(0)
    }

    /// Appends what stands before a payload of `count` bytes that is published at QoS 0; nothing stands behind it.
    static func appendPublishHead(_ topic: String, payloadBytes count: Int, to output: inout [UInt8]) {
        output.append(0x30)
        appendLength(2 + topic.utf8.count + count, to: &output)
        appendText(topic, to: &output)
    }

    /// The remaining length, seven bits a byte, the lowest first. At most 268,435,455, which is asserted.
    private static func appendLength(_ count: Int, to output: inout [UInt8]) {
        assert(0..<(1 << 28) ~= count, "MQTT has no longer packets")
        var rest = count
        while rest >= 128 {
            output.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        output.append(UInt8(rest))
    }

    private static func appendText(_ text: String, to output: inout [UInt8]) {
        output += [UInt8(truncatingIfNeeded: text.utf8.count >> 8), UInt8(truncatingIfNeeded: text.utf8.count)]
        output += Array(text.utf8)
    }
}
