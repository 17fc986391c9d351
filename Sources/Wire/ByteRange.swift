/// A place in some buffer: parsers answer with places, because a span cannot be stored.

/// `count` bytes from `start` of a buffer that the context names. 8 bytes; the buffer is at most 4 GiB.
package struct ByteRange: BitwiseCopyable, Hashable, Sendable {
    /// Offset of the first byte.
    package var start: UInt32
    /// How many bytes.
    package var count: UInt32

    /// A range from its two parts.
    package init(start: UInt32, count: UInt32) {
        self.start = start
        self.count = count
    }

    /// The same place as a Swift range. Traps beyond 4 GiB: every buffer here is bounded far below that.
    package init(_ range: Range<Int>) {
        self.init(start: UInt32(range.lowerBound), count: UInt32(range.count))
    }

    /// The offset after the last byte.
    package var end: Int { Int(start) + Int(count) }

    /// Whether there are no bytes in it.
    package var isEmpty: Bool { count == 0 }

    /// The same place as offsets.
    package var range: Range<Int> { Int(start)..<end }
}
