/// Lines of the text protocols, NATS' and Redis'.

/// Lines end with CR LF; numbers in them are decimal.
enum BrokerLine {
    /// The longest line that is waited for. The greeting of nats-server, which is JSON, is the longest of them all.
    static let bytesMax = 4096
    /// The largest payload believed: a length beyond it is a fault, not something to wait for.
    static let payloadBytesMax = UInt64(frameBytesMax - bytesMax)

    /// What was found where a line should end.
    enum End: Equatable {
        /// The offset of the line's CR, with its LF behind it.
        case at(Int)
        case notYet
        case tooLong
    }

    /// Looks for the end of the line that begins at `start`.
    @inline(__always)
    static func end(_ bytes: Span<UInt8>, from start: Int) -> End {
        var index = start
        let until = min(bytes.count, start + bytesMax)
        while index < until {
            if bytes[index] == UInt8(ascii: "\n") {
                return index > start && bytes[index - 1] == UInt8(ascii: "\r") ? .at(index - 1) : .tooLong
            }
            index += 1
        }
        return bytes.count - start >= bytesMax ? .tooLong : .notYet
    }

    /// The decimal number that the bytes of `range` are; nil if they are anything else or larger than a payload may be.
    @inline(__always)
    static func number(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int? {
        guard (1...8).contains(range.count) else { return nil }
        var value: UInt64 = 0
        for index in range {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            value = value &* 10 &+ UInt64(digit)
        }
        return value <= payloadBytesMax ? Int(value) : nil
    }

    /// Whether the bytes at `start` are `text`. Looking beyond the end is no fault: then they are not.
    @inline(__always)
    static func begins(_ bytes: Span<UInt8>, at start: Int, with text: StaticString) -> Bool {
        guard bytes.count - start >= text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { expected in
            for index in expected.indices where bytes[start + index] != expected[index] { return false }
            return true
        }
    }
}
