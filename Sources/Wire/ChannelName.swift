/// Names of channels.

/// Segments of `[A-Za-z0-9._~-]` joined by `/`, 255 bytes at most. `.` and `..` are no segments, because a channel's
/// name becomes part of a socket's path.
package struct ChannelName: Hashable, Sendable, CustomStringConvertible {
    /// The longest name.
    package static let byteCountMax = 255

    /// The channel of publishers that name none: `events`.
    package static let standard = ChannelName(checked: Array("events".utf8))

    /// The name's bytes, all ASCII.
    package let bytes: [UInt8]

    /// A name from bytes; nil where they are none.
    package init?(_ text: Span<UInt8>) {
        guard 1...Self.byteCountMax ~= text.count else { return nil }
        var start = 0
        while start <= text.count {
            let end = ChannelSegment.end(text, start)
            guard ChannelSegment.isName(text, start..<end) else { return nil }
            start = end + 1
        }
        self.init(checked: Array(bytes: text))
    }

    /// A name from text; nil where it is none.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        self.init(bytes.span)
    }

    private init(checked bytes: [UInt8]) {
        self.bytes = bytes
    }

    package var description: String { String(decoding: bytes, as: UTF8.self) }
}

/// The parts between the slashes of a name or pattern.
enum ChannelSegment {
    /// The end of the segment that begins at `start`: the next slash or the end of the text.
    static func end(_ text: Span<UInt8>, _ start: Int) -> Int {
        ByteSearch.firstIndex(of: UInt8(ascii: "/"), in: text, start..<text.count) ?? text.count
    }

    /// Whether a segment may stand in a name.
    static func isName(_ text: Span<UInt8>, _ segment: Range<Int>) -> Bool {
        if segment.isEmpty { return false }
        for index in segment {
            switch text[index] {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"),
                UInt8(ascii: "-"):
                continue
            default: return false
            }
        }
        let isOnlyDots = segment.allSatisfy { text[$0] == UInt8(ascii: ".") }
        return !(isOnlyDots && segment.count <= 2)
    }
}
