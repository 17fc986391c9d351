/// The part of Redis' protocol (RESP2) that publish and subscribe need.

import Wire

/// Frames of a Redis server's stream, and the commands that a client sends.
enum RedisFrames {
    /// The frame that begins at `start`; `start` is at most `bytes.count`.
    ///
    /// Unlike NATS' line, the header of an event (`*3`, `message`, the channel, the payload's length) is six lines, all
    /// of which must be read to know where the payload begins.
    static func next(_ bytes: Span<UInt8>, from start: Int) -> BrokerFrame {
        guard start < bytes.count else { return .other(.incomplete, next: start) }
        let end: Int
        switch BrokerLine.end(bytes, from: start) {
        case .at(let place): end = place
        case .notYet: return .other(.incomplete, next: start)
        case .tooLong: return .other(.fault, next: start)
        }
        switch bytes[start] {
        case UInt8(ascii: "*"): return array(bytes, start, end)
        // The answer to PUBLISH: how many subscribers it went to.
        case UInt8(ascii: ":"), UInt8(ascii: "+"): return .other(.notice, next: end + 2)
        default: return .other(.fault, next: start)
        }
    }

    /// `message`, channel, payload; or `subscribe`, channel, how many channels.
    private static func array(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> BrokerFrame {
        guard BrokerLine.number(bytes, (start + 1)..<end) == 3 else { return .other(.fault, next: start) }
        var place = end + 2
        if BrokerLine.begins(bytes, at: place, with: "$7\r\nmessage\r\n") {
            place += 13
            guard case .whole(_, let next) = bulk(bytes, place) else { return unfinished(bytes, place, start) }
            guard case .whole(let payload, let last) = bulk(bytes, next) else { return unfinished(bytes, next, start) }
            return .event(payload, next: last)
        }
        guard case .whole(let name, let channel) = bulk(bytes, place) else { return unfinished(bytes, place, start) }
        guard BrokerLine.begins(bytes, at: name.lowerBound, with: "subscribe"), name.count == 9 else {
            return .other(.fault, next: start)
        }
        guard case .whole(_, let count) = bulk(bytes, channel) else { return unfinished(bytes, channel, start) }
        guard count < bytes.count else { return .other(.incomplete, next: start) }
        guard bytes[count] == UInt8(ascii: ":") else { return .other(.fault, next: start) }
        switch BrokerLine.end(bytes, from: count) {
        case .at(let last): return .other(.subscribed, next: last + 2)
        case .notYet: return .other(.incomplete, next: start)
        case .tooLong: return .other(.fault, next: start)
        }
    }

    private enum Bulk {
        case whole(Range<Int>, next: Int)
        case notYet
        case broken
    }

    /// `$count`, then so many bytes and a line's end.
    @inline(__always)
    private static func bulk(_ bytes: Span<UInt8>, _ start: Int) -> Bulk {
        guard start < bytes.count else { return .notYet }
        guard bytes[start] == UInt8(ascii: "$") else { return .broken }
        switch BrokerLine.end(bytes, from: start) {
        case .notYet: return .notYet
        case .tooLong: return .broken
        case .at(let end):
            guard let count = BrokerLine.number(bytes, (start + 1)..<end) else { return .broken }
            let next = end + 2 + count + 2
            guard next <= bytes.count else { return .notYet }
            let hasEnd = bytes[next - 2] == UInt8(ascii: "\r") && bytes[next - 1] == UInt8(ascii: "\n")
            return hasEnd ? .whole((end + 2)..<(next - 2), next: next) : .broken
        }
    }

    /// Why the element at `place` is not whole.
    private static func unfinished(_ bytes: Span<UInt8>, _ place: Int, _ start: Int) -> BrokerFrame {
        if case .notYet = bulk(bytes, place) { return .other(.incomplete, next: start) }
        return .other(.fault, next: start)
    }

    /// Appends a subscription.
    static func appendSubscribe(_ channel: String, to output: inout [UInt8]) {
        output += Array("*2\r\n$9\r\nSUBSCRIBE\r\n$\(channel.utf8.count)\r\n\(channel)\r\n".utf8)
    }

    /// Appends what stands before a payload of `count` bytes that is published; behind it stands `publishTail`.
    static func appendPublishHead(_ channel: String, payloadBytes count: Int, to output: inout [UInt8]) {
        output += Array("*3\r\n$7\r\nPUBLISH\r\n$\(channel.utf8.count)\r\n\(channel)\r\n$\(count)\r\n".utf8)
    }

    /// What stands behind a published payload.
    static let publishTail = Array("\r\n".utf8)
}
