/// Walks the `name=value` pairs of a query, in order, without allocating; `PercentCoding.decode` makes their text.
///
/// Pairs are separated by `&` only; empty ones are skipped; a pair without `=` has an empty value. Names may repeat.
package struct QueryString: BitwiseCopyable, Sendable {
    /// One pair, as ranges of the bytes given to `next`, still percent-encoded.
    package struct Pair: BitwiseCopyable, Sendable {
        package var name: ByteRange
        package var value: ByteRange
    }

    private var offset: Int
    private let end: Int

    /// Walks the query at `range`, such as `HTTPRequestHead.query`.
    package init(_ range: ByteRange) {
        offset = Int(range.start)
        end = range.end
    }

    /// The next pair of the query in `bytes`, nil behind the last.
    package mutating func next(_ bytes: Span<UInt8>) -> Pair? {
        while offset < end {
            let start = offset
            var equals = -1
            while offset < end, bytes[offset] != UInt8(ascii: "&") {
                if equals < 0, bytes[offset] == UInt8(ascii: "=") { equals = offset }
                offset += 1
            }
            let pairEnd = offset
            offset += 1
            if pairEnd == start { continue }
            if equals < 0 { return Pair(name: ASCII.range(start, pairEnd), value: ASCII.range(pairEnd, pairEnd)) }
            return Pair(name: ASCII.range(start, equals), value: ASCII.range(equals + 1, pairEnd))
        }
        return nil
    }

    /// All pairs of the query at `range`, decoded. Throws 400 on an invalid escape and on what is not UTF-8.
    package static func decodedPairs(
        _ bytes: Span<UInt8>, _ range: ByteRange
    ) throws(HTTPFault) -> [(name: [UInt8], value: [UInt8])] {
        var pairs: [(name: [UInt8], value: [UInt8])] = []
        var query = QueryString(range)
        while let pair = query.next(bytes) {
            let name = try PercentCoding.decode(bytes.extracting(pair.name.range))
            let value = try PercentCoding.decode(bytes.extracting(pair.value.range))
            pairs.append((name, value))
        }
        return pairs
    }
}
