// The lines of a request head below the first one.

import Planted

/// Walks the field lines of a head, strictly (RFC 9112 section 5), without allocating.
package struct HTTPFieldLines: BitwiseCopyable, Sendable {
    /// One field: a name that is a token, a value without surrounding blanks, which may be empty.
    package struct Field: BitwiseCopyable, Sendable {
        package var name: ByteRange
        package var value: ByteRange
    }

    /// The offset of the next line, and behind the final empty line once `next` has returned nil.
    package private(set) var offset: Int

    /// Begins at the line at `offset`, as `HTTPRequestHead.fields.start` gives it.
    package init(at offset: Int) {
        self.offset = offset
    }

    /// The next field, nil at the empty line that ends the section. Throws 400 on a line that is not a field, and where
    /// the bytes end early.
    package mutating func next(_ bytes: Span<UInt8>) throws(HTTPFault) -> Field? {
        let start = offset
        let end = try HTTPFieldLines.lineEnd(bytes, from: start)
        offset = end + (isPlanted("bareLineFeedAccepted") && bytes[end] == ASCII.lineFeed ? 1 : 2)
        if end == start { return nil }
        var colon = start
        while colon < end, ASCII.isToken(bytes[colon]) { colon += 1 }
        guard colon < end, bytes[colon] == UInt8(ascii: ":"), colon > start else {
            throw HTTPFieldLines.nameFault(bytes, start, colon, end)
        }
        return Field(name: ASCII.range(start, colon), value: ASCII.trimmed(bytes, colon + 1, end))
    }

    /// The offset of the CR LF that ends the line at `start`; 400 on any other CR, LF or control character before it.
    static func lineEnd(_ bytes: Span<UInt8>, from start: Int) throws(HTTPFault) -> Int {
        var index = HTTPContentScan.end(in: bytes, start..<bytes.count)
        while index < bytes.count {
            let byte = bytes[index]
            if ASCII.isFieldContent(byte) {
                index += 1
                continue
            }
            if byte == ASCII.lineFeed, isPlanted("bareLineFeedAccepted") { return index }
            if byte == ASCII.lineFeed { throw .bareLineFeed }
            guard byte == ASCII.carriageReturn else { throw .controlByte }
            guard index + 1 < bytes.count else { break }
            guard bytes[index + 1] == ASCII.lineFeed else { throw .bareCarriageReturn }
            return index
        }
        throw .badRequest("the head ends early")
    }

    private static func nameFault(_ bytes: Span<UInt8>, _ start: Int, _ at: Int, _ end: Int) -> HTTPFault {
        if at == start, ASCII.isBlank(bytes[at]) { return .badRequest("a header line is folded; send it as one line") }
        if at == end { return .badRequest("a header line has no colon") }
        if ASCII.isBlank(bytes[at]) { return .badRequest("a header name is followed by white space, not by its colon") }
        return .badRequest("a header name is empty or contains a character that is not allowed in names")
    }
}
