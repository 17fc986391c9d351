/// Classes of bytes that HTTP distinguishes (RFC 9110 section 5.6), and comparison without regard to ASCII case.
enum ASCII {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20

    /// A bit per byte from 0 to 127: digits, letters and !#$%&'*+-.^_`|~
    private static let tokenLow: UInt64 = 0x03FF_6CFA_0000_0000
    private static let tokenHigh: UInt64 = 0x57FF_FFFF_C7FF_FFFE

    /// `tchar`: what methods, field names and list tokens consist of.
    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        let half = byte < 64 ? tokenLow : byte < 128 ? tokenHigh : 0
        return (half >> UInt64(byte & 63)) & 1 == 1
    }

    /// What a field value may contain: visible ASCII, space, tab and bytes above ASCII (`obs-text`).
    @inline(__always)
    static func isFieldContent(_ byte: UInt8) -> Bool {
        (byte >= 0x20 && byte != 0x7F) || byte == tab
    }

    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    @inline(__always)
    static func isLetter(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")
    }

    /// The value of a hexadecimal digit, either case.
    @inline(__always)
    static func hexValue(_ byte: UInt8) -> UInt8? {
        if isDigit(byte) { return byte - UInt8(ascii: "0") }
        let lower = byte | 0x20
        guard lower >= UInt8(ascii: "a"), lower <= UInt8(ascii: "f") else { return nil }
        return lower - UInt8(ascii: "a") + 10
    }

    @inline(__always)
    static func lowercase(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }

    /// True exactly when the bytes at `range` are `text`, byte for byte.
    static func matches(_ bytes: Span<UInt8>, _ range: ByteRange, _ text: StaticString) -> Bool {
        guard Int(range.count) == text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { expected in
            for index in expected.indices where bytes[Int(range.start) + index] != expected[index] { return false }
            return true
        }
    }

    /// True exactly when the bytes at `range` are `lowercase` in any mixture of cases.
    static func matchesAnyCase(_ bytes: Span<UInt8>, _ range: ByteRange, _ lowercase: StaticString) -> Bool {
        guard Int(range.count) == lowercase.utf8CodeUnitCount else { return false }
        return lowercase.withUTF8Buffer { expected in
            for index in expected.indices
            where ASCII.lowercase(bytes[Int(range.start) + index]) != expected[index] { return false }
            return true
        }
    }

    /// True exactly when two ranges, each in its own buffer, differ in nothing but ASCII case.
    static func equalAnyCase(
        _ left: Span<UInt8>, _ leftRange: ByteRange, _ right: Span<UInt8>, _ rightRange: ByteRange
    ) -> Bool {
        guard leftRange.count == rightRange.count else { return false }
        for index in 0..<Int(leftRange.count)
        where lowercase(left[Int(leftRange.start) + index]) != lowercase(right[Int(rightRange.start) + index]) {
            return false
        }
        return true
    }

    /// `bytes[start..<end]` as a range; both must be offsets into a buffer of less than 4 GiB.
    @inline(__always)
    static func range(_ start: Int, _ end: Int) -> ByteRange {
        ByteRange(start..<end)
    }

    /// `range` without the blanks at its two ends.
    static func trimmed(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> ByteRange {
        var (start, end) = (start, end)
        while start < end, isBlank(bytes[start]) { start += 1 }
        while end > start, isBlank(bytes[end - 1]) { end -= 1 }
        return range(start, end)
    }
}
