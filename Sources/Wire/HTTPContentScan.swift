/// Passing over what a head mostly consists of, eight bytes at once.

/// Finds the next byte that ends a line or should not be there. The first byte of the text is a word's lowest.
enum HTTPContentScan {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The offset of the first byte in `range` that is below a space or DEL, as far as whole words tell: in the last
    /// seven bytes nothing is found. All before it are field content (so is a tab, which is found too). Traps when the
    /// range lies outside.
    static func end(in text: Span<UInt8>, _ range: Range<Int>) -> Int {
        precondition(range.lowerBound >= 0 && range.upperBound <= text.count, "a search outside of the text")
        let bytes = text.bytes
        var index = range.lowerBound
        while range.upperBound - index >= 8 {
            let word = UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
            // `(x - 0x01…) & ~x & 0x80…` marks bytes that are zero, with 0x20 for 1 those below it; a borrow can also
            // mark bytes above a marked one, never below, so the lowest mark is always right.
            let controls = (word &- ones &* 0x20) & ~word
            let deletes = word ^ (ones &* 0x7F)
            let marks = (controls | (deletes &- ones) & ~deletes) & highs
            if marks != 0 { return index + marks.trailingZeroBitCount &>> 3 }
            index &+= 8
        }
        return index
    }
}
