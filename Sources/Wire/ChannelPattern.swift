/// Patterns that name several channels at once.

/// A channel name in which a segment may be `*` (any one segment) or, as the last one, `**` (one or more segments):
/// `a/**` matches `a/b` and `a/b/c` but not `a`, and `**` matches every channel.
package struct ChannelPattern: Hashable, Sendable, CustomStringConvertible {
    /// What a segment of a pattern is; more specific ones are greater.
    private enum Segment: UInt8, Comparable {
        case rest, any, literal

        static func < (left: Segment, right: Segment) -> Bool { left.rawValue < right.rawValue }

        init(_ text: Span<UInt8>, _ place: Range<Int>) {
            let stars = place.allSatisfy { text[$0] == UInt8(ascii: "*") }
            self = stars && place.count == 1 ? .any : stars && place.count == 2 ? .rest : .literal
        }
    }

    /// The pattern of every channel.
    package static let everything = ChannelPattern(checked: Array("**".utf8), isLiteral: false)

    /// The pattern's bytes, all ASCII.
    package let bytes: [UInt8]
    /// Whether it has no wildcard, so that it matches the one channel of the same name.
    package let isLiteral: Bool

    /// A pattern from bytes, 255 at most; nil where they are none.
    package init?(_ text: Span<UInt8>) {
        guard 1...ChannelName.byteCountMax ~= text.count else { return nil }
        var isLiteral = true
        var start = 0
        while start <= text.count {
            let end = ChannelSegment.end(text, start)
            switch start == end ? .literal : Segment(text, start..<end) {
            case .any: isLiteral = false
            case .rest:
                guard end == text.count else { return nil }
                isLiteral = false
            case .literal: guard ChannelSegment.isName(text, start..<end) else { return nil }
            }
            start = end + 1
        }
        self.init(checked: Array(bytes: text), isLiteral: isLiteral)
    }

    /// A pattern from text; nil where it is none.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        self.init(bytes.span)
    }

    /// The pattern that matches exactly this channel.
    package init(_ name: ChannelName) {
        self.init(checked: name.bytes, isLiteral: true)
    }

    private init(checked bytes: [UInt8], isLiteral: Bool) {
        self.bytes = bytes
        self.isLiteral = isLiteral
    }

    /// Whether this is `**`.
    package var isEverything: Bool { bytes.count == 2 && bytes[0] == UInt8(ascii: "*") }

    /// The one channel that it matches, if it has no wildcard.
    package var name: ChannelName? { isLiteral ? ChannelName(bytes.span) : nil }

    package var description: String { String(decoding: bytes, as: UTF8.self) }

    /// One segment of a pattern.
    package enum Part: Equatable, Sendable {
        /// `**`, the last one.
        case rest
        /// `*`.
        case any
        /// A name; its place in the pattern's bytes.
        case name(Range<Int>)
    }

    /// The segments, first to last.
    package struct Parts: IteratorProtocol {
        private let bytes: [UInt8]
        private var start = 0

        fileprivate init(_ bytes: [UInt8]) { self.bytes = bytes }

        /// The next segment, nil after the last.
        package mutating func next() -> Part? {
            guard start <= bytes.count else { return nil }
            let end = ChannelSegment.end(bytes.span, start)
            defer { start = end + 1 }
            switch Segment(bytes.span, start..<end) {
            case .rest: return .rest
            case .any: return .any
            case .literal: return .name(start..<end)
            }
        }
    }

    /// The segments, first to last.
    package var segments: Parts { Parts(bytes) }

    /// Whether the pattern names this channel. Linear in the length of both; does not allocate.
    package func matches(_ name: ChannelName) -> Bool {
        if isLiteral { return bytes == name.bytes }
        let pattern = bytes.span
        let text = name.bytes.span
        var place = 0
        var start = 0
        while place <= pattern.count {
            guard start <= text.count else { return false }
            let placeEnd = ChannelSegment.end(pattern, place)
            let end = ChannelSegment.end(text, start)
            switch Segment(pattern, place..<placeEnd) {
            case .rest: return true
            case .any: break
            case .literal:
                guard placeEnd - place == end - start else { return false }
                for offset in 0..<end - start where pattern[place + offset] != text[start + offset] { return false }
            }
            place = placeEnd + 1
            start = end + 1
        }
        return start > text.count
    }

    /// Whether this pattern wins over another one that matches the same channel: segment by segment from the left, a
    /// name wins over `*`, and `*` over `**`. Two different patterns that match one channel are never equally specific.
    package func isMoreSpecific(than other: ChannelPattern) -> Bool {
        let mine = bytes.span
        let others = other.bytes.span
        var place = 0
        var otherPlace = 0
        while place <= mine.count, otherPlace <= others.count {
            let end = ChannelSegment.end(mine, place)
            let otherEnd = ChannelSegment.end(others, otherPlace)
            let segment = Segment(mine, place..<end)
            let otherSegment = Segment(others, otherPlace..<otherEnd)
            if segment != otherSegment { return segment > otherSegment }
            place = end + 1
            otherPlace = otherEnd + 1
        }
        return place <= mine.count
    }
}
