/// Media types in `Content-Type` and `Accept` (RFC 9110 sections 8.3 and 12.5.1).
package enum MediaType {
    /// True exactly when the type at `value`, its parameters left aside, is `lowercase` in any mixture of cases.
    package static func isType(_ bytes: Span<UInt8>, _ value: ByteRange, _ lowercase: StaticString) -> Bool {
        var end = Int(value.start)
        while end < value.end, bytes[end] != UInt8(ascii: ";") { end += 1 }
        return ASCII.matchesAnyCase(bytes, ASCII.trimmed(bytes, Int(value.start), end), lowercase)
    }

    /// True exactly when the `Accept` list at `list` names `lowercase` itself (wild cards do not count) with a weight
    /// above 0.
    package static func isAccepted(_ bytes: Span<UInt8>, _ list: ByteRange, _ lowercase: StaticString) -> Bool {
        // What most clients say.
        if ASCII.matches(bytes, list, lowercase) { return true }
        var start = Int(list.start)
        while start < list.end {
            var end = start
            while end < list.end, bytes[end] != UInt8(ascii: ",") { end += 1 }
            let element = ASCII.trimmed(bytes, start, end)
            if isType(bytes, element, lowercase) { return !hasZeroWeight(bytes, element) }
            start = end + 1
        }
        return false
    }

    private static func hasZeroWeight(_ bytes: Span<UInt8>, _ element: ByteRange) -> Bool {
        var start = Int(element.start)
        while start < element.end {
            var end = start
            while end < element.end, bytes[end] != UInt8(ascii: ";") { end += 1 }
            let part = ASCII.trimmed(bytes, start, end)
            if part.count >= 3, ASCII.matchesAnyCase(bytes, ASCII.range(Int(part.start), Int(part.start) + 2), "q=") {
                for index in (Int(part.start) + 2)..<part.end
                where bytes[index] != UInt8(ascii: "0") && bytes[index] != UInt8(ascii: ".") { return false }
                return true
            }
            start = end + 1
        }
        return false
    }
}
