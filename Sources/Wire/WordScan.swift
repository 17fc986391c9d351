/// Looking at eight bytes, or four, at once.
///
/// A word is read little-endian, so the first byte of the text is the lowest.

enum WordScan {
    static let highs: UInt64 = 0x8080_8080_8080_8080
    private static let highNibbles: UInt64 = 0xF0F0_F0F0_F0F0_F0F0
    private static let sixes: UInt64 = 0x0606_0606_0606_0606
    private static let threes: UInt64 = 0x3333_3333_3333_3333

    /// The eight bytes from `offset`, the first one lowest. Traps outside of the text.
    @inline(__always)
    static func load(_ text: Span<UInt8>, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: text.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// The four bytes from `offset`, the first one lowest. Traps outside of the text.
    @inline(__always)
    static func loadHalf(_ text: Span<UInt8>, _ offset: Int) -> UInt32 {
        UInt32(littleEndian: text.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    /// How many digits the word begins with.
    ///
    /// A digit's high nibble is 3, and stays 3 when 6 is added. The sum can carry from a byte that is no digit into the
    /// ones above it, never below: the first one that is no digit is right.
    @inline(__always)
    static func countOfDigits(_ word: UInt64) -> Int {
        let nibbles = word & highNibbles | ((word &+ sixes) & highNibbles) &>> 4
        return (nibbles ^ threes).trailingZeroBitCount &>> 3
    }
}
