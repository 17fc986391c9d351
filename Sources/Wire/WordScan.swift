/// Looking at eight bytes at once: finds the next byte that matters in text, several times faster than byte by byte.
///
/// A word is read little-endian, so the first byte of the text is the lowest. `(x - 0x01…) & ~x & 0x80…` marks bytes
/// that are zero; a borrow can also mark bytes above a marked one, never below, so the lowest mark is always right.

enum WordScan {
    static let ones: UInt64 = 0x0101_0101_0101_0101
    static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The eight bytes from `offset`, the first one lowest. Traps outside of the text.
    @inline(__always)
    static func load(_ text: RawSpan, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: text.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Marks bytes that equal `byte`.
    @inline(__always)
    static func marks(_ word: UInt64, equalTo byte: UInt8) -> UInt64 {
        let difference = word ^ (ones &* UInt64(byte))
        return (difference &- ones) & ~difference & highs
    }

    /// Marks bytes below `bound`, which is at most 0x80.
    @inline(__always)
    static func marks(_ word: UInt64, below bound: UInt8) -> UInt64 {
        (word &- ones &* UInt64(bound)) & ~word & highs
    }

    /// How many bytes lie before the first mark; 8 without marks.
    @inline(__always)
    static func countBeforeFirst(_ marks: UInt64) -> Int {
        marks.trailingZeroBitCount &>> 3
    }

    /// The offset of the first `byte` in `range` of the text; nil if there is none. Traps when the range lies outside.
    static func firstIndex(of byte: UInt8, in text: Span<UInt8>, _ range: Range<Int>) -> Int? {
        precondition(range.lowerBound >= 0 && range.upperBound <= text.count, "a search outside of the text")
        let raw = text.bytes
        var index = range.lowerBound
        while range.upperBound - index >= 8 {
            let found = marks(load(raw, index), equalTo: byte)
            if found != 0 { return index + countBeforeFirst(found) }
            index += 8
        }
        while index < range.upperBound {
            if text[index] == byte { return index }
            index += 1
        }
        return nil
    }
}
