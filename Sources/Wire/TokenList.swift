/// Comma-separated lists of tokens, as in `Connection` and `Upgrade` (RFC 9110 section 5.6.1).
package enum TokenList {
    /// True exactly when one element of the list at `list` is `lowercase`, in any mixture of cases. Empty elements are
    /// skipped.
    package static func contains(_ bytes: Span<UInt8>, _ list: ByteRange, _ lowercase: StaticString) -> Bool {
        var start = Int(list.start)
        while start < list.end {
            var end = start
            while end < list.end, bytes[end] != UInt8(ascii: ",") { end += 1 }
            if ASCII.matchesAnyCase(bytes, ASCII.trimmed(bytes, start, end), lowercase) { return true }
            start = end + 1
        }
        return false
    }
}
