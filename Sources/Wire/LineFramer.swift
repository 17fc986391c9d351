/// Cuts a stream of bytes into lines, with a limit.

/// Lines end with `\n`, which does not belong to them; a `\r` before it does (it is white space to JSON).
package enum LineFramer {
    /// What the bytes begin with.
    package enum Step: Equatable, Sendable {
        /// A line; the next one begins at `next`.
        case line(ByteRange, next: Int)
        /// No end of a line yet: come again with more bytes.
        case incomplete
        /// More than the limit without an end: the rest of the stream cannot be trusted to be lines.
        case tooLong
    }

    /// The line that begins at `start`.
    /// - Parameters:
    ///   - start: where the line begins, at most `bytes.count`.
    ///   - searched: how many bytes from `start` on are known to hold no `\n`: 0 for a new line, then what the last
    ///     call
    ///     left there, also when the bytes have been moved meanwhile. It makes byte-by-byte arrival cost no more than
    ///     one piece.
    ///   - lineBytesMax: the longest line, without its `\n`; this many are accepted.
    package static func next(
        _ bytes: Span<UInt8>, from start: Int, searched: inout Int, lineBytesMax: Int
    ) -> Step {
        precondition(0...bytes.count ~= start && searched >= 0, "a line begins inside of the bytes")
        let from = min(start + searched, bytes.count)
        // One byte more than a line may have, for its end: whatever lies behind cannot help.
        let until = bytes.count - start > lineBytesMax ? start + lineBytesMax + 1 : bytes.count
        if from < until, let end = ByteSearch.firstIndex(of: UInt8(ascii: "\n"), in: bytes, from..<until) {
            searched = 0
            return .line(ByteRange(start..<end), next: end + 1)
        }
        searched = until - start
        return searched > lineBytesMax ? .tooLong : .incomplete
    }

    /// Whether a line holds nothing but white space: such lines are skipped everywhere.
    package static func isBlank(_ line: Span<UInt8>) -> Bool {
        for index in line.indices {
            switch line[index] {
            case 0x20, 0x09, 0x0D, 0x0A: continue
            default: return false
            }
        }
        return true
    }
}
