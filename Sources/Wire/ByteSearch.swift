/// Finds one byte in text, as the C library does: with the widest vectors that the processor has.

import Glibc

package enum ByteSearch {
    /// The offset of the first `byte` in `range` of the text; nil if there is none. Traps when the range lies outside.
    /// O(range).
    package static func firstIndex(of byte: UInt8, in text: Span<UInt8>, _ range: Range<Int>) -> Int? {
        text.extracting(range).withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress, let found = memchr(base, Int32(byte), bytes.count) else { return nil }
            return range.lowerBound + (UnsafeRawPointer(found) - UnsafeRawPointer(base))
        }
    }
}
