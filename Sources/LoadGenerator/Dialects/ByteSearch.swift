/// Looking for bytes in what a server sent, inside of its bounds.

import ClientSockets
import Glibc

extension Span where Element == UInt8 {
    /// Where `byte` first stands from `start` on; nil if nowhere. O(count), by memchr.
    func first(_ byte: UInt8, from start: Int) -> Int? {
        guard start < count else { return nil }
        return withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress, let found = memchr(base + start, Int32(byte), bytes.count - start)
            else { return nil }
            return UnsafeRawPointer(found) - UnsafeRawPointer(base)
        }
    }

    /// Whether `text` stands at `start`, ending not after `end`.
    func has(_ text: StaticString, at start: Int, before end: Int) -> Bool {
        let size = text.utf8CodeUnitCount
        guard start >= 0, end <= count, end - start >= size else { return false }
        return withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return size == 0 }
            return memcmp(base + start, text.utf8Start, size) == 0
        }
    }

    /// The number that the digits in `range` write: nil where there is none, another character, or more than 18 digits.
    func decimal(in range: Range<Int>) -> Int? {
        guard range.lowerBound >= 0, range.upperBound <= count, !range.isEmpty, range.count <= 18 else { return nil }
        var value = 0
        for index in range {
            guard self[index] >= 48, self[index] <= 57 else { return nil }
            value = value * 10 + Int(self[index] - 48)
        }
        return value
    }

    /// A short, printable piece for a message.
    var excerpt: String {
        withUnsafeBufferPointer { bytes in bytes.baseAddress.map { ClientSockets.excerpt($0, bytes.count) } ?? "" }
    }
}
