/// A host with an optional port, as in `Host`, in an absolute-form target and in an origin (RFC 3986 section 3.2).
package struct HostPort: BitwiseCopyable, Sendable {
    /// The host without the port; an IPv6 address keeps its brackets.
    package var name: ByteRange
    /// Nil where none is said, not the usual one of a scheme.
    package var port: UInt16?

    /// Reads `range` as a whole: a bracketed address or a registered name of at least one character, then nothing or a
    /// colon and a port of 1 to 5 digits up to 65535. User information, empty ports and everything else are nil.
    package static func parse(_ bytes: Span<UInt8>, _ range: ByteRange) -> HostPort? {
        guard !range.isEmpty else { return nil }
        let start = Int(range.start)
        let nameEnd =
            bytes[start] == UInt8(ascii: "[")
            ? bracketedEnd(bytes, start, range.end) : registeredEnd(bytes, start, range.end)
        guard let nameEnd, nameEnd > start else { return nil }
        let name = ASCII.range(start, nameEnd)
        if nameEnd == range.end { return HostPort(name: name, port: nil) }
        guard bytes[nameEnd] == UInt8(ascii: ":"),
            let port = port(bytes, nameEnd + 1, range.end)
        else { return nil }
        return HostPort(name: name, port: port)
    }

    private static func bracketedEnd(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int? {
        var index = start + 1
        while index < end, bytes[index] != UInt8(ascii: "]") {
            let byte = bytes[index]
            guard ASCII.hexValue(byte) != nil || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".")
            else { return nil }
            index += 1
        }
        return index < end && index > start + 1 ? index + 1 : nil
    }

    private static func registeredEnd(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int? {
        var index = start
        while index < end, bytes[index] != UInt8(ascii: ":") {
            if bytes[index] == UInt8(ascii: "%") {
                guard index + 2 < end, ASCII.hexValue(bytes[index + 1]) != nil, ASCII.hexValue(bytes[index + 2]) != nil
                else { return nil }
                index += 3
            } else {
                guard isRegistered(bytes[index]) else { return nil }
                index += 1
            }
        }
        return index
    }

    /// `unreserved` or `sub-delims`.
    private static func isRegistered(_ byte: UInt8) -> Bool {
        switch byte {
        case _ where ASCII.isLetter(byte) || ASCII.isDigit(byte): true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "!"),
            UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "("), UInt8(ascii: ")"),
            UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "="):
            true
        default: false
        }
    }

    static func port(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> UInt16? {
        guard end > start, end - start <= 5 else { return nil }
        var value: UInt32 = 0
        for index in start..<end {
            guard ASCII.isDigit(bytes[index]) else { return nil }
            value = value * 10 + UInt32(bytes[index] - UInt8(ascii: "0"))
        }
        return UInt16(exactly: value)
    }
}
