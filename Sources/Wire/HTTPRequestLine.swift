/// The request line: method, target, version (RFC 9112 section 3).
enum HTTPRequestLine {
    /// Reads the line that begins at `start` into `head` and returns the offset of the next line, and where an
    /// absolute-form target says it, the authority.
    static func parse(
        _ bytes: Span<UInt8>, from start: Int, limits: HTTPLimits, into head: inout HTTPRequestHead
    ) throws(HTTPFault) -> (next: Int, authority: ByteRange?) {
        let end = try HTTPFieldLines.lineEnd(bytes, from: start)
        guard end - start <= limits.requestLineBytesMax else { throw .targetTooLong }

        var index = start
        while index < end, ASCII.isToken(bytes[index]) { index += 1 }
        guard index > start, index < end, bytes[index] == ASCII.space else {
            throw .badRequest("the request line does not begin with a method and one space")
        }
        head.methodName = ASCII.range(start, index)
        head.method = method(bytes, head.methodName)

        let targetStart = index + 1
        index = targetStart
        while index < end, bytes[index] > 0x20, bytes[index] < 0x7F { index += 1 }
        guard index > targetStart, index < end, bytes[index] == ASCII.space else {
            throw .badRequest("the request line has no target of visible ASCII characters between two single spaces")
        }
        head.target = ASCII.range(targetStart, index)
        head.minorVersion = try minorVersion(bytes, index + 1, end)
        let authority = try target(bytes, targetStart, index, into: &head)
        return (end + 2, authority)
    }

    private static func method(_ bytes: Span<UInt8>, _ name: ByteRange) -> HTTPMethod {
        if ASCII.matches(bytes, name, "GET") { return .get }
        if ASCII.matches(bytes, name, "POST") { return .post }
        if ASCII.matches(bytes, name, "HEAD") { return .head }
        if ASCII.matches(bytes, name, "PUT") { return .put }
        if ASCII.matches(bytes, name, "DELETE") { return .delete }
        if ASCII.matches(bytes, name, "OPTIONS") { return .options }
        return .other
    }

    /// A well-formed version that is not ours is 505, anything else is 400: versions have one digit on each side of the
    /// dot and are case-sensitive.
    private static func minorVersion(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) throws(HTTPFault) -> UInt8 {
        guard end - start == 8, ASCII.matches(bytes, ASCII.range(start, start + 5), "HTTP/"),
            ASCII.isDigit(bytes[start + 5]), bytes[start + 6] == UInt8(ascii: "."), ASCII.isDigit(bytes[start + 7])
        else { throw .badRequest("the request line does not end with one space and HTTP/1.1") }
        let minor = bytes[start + 7] - UInt8(ascii: "0")
        guard bytes[start + 5] == UInt8(ascii: "1"), minor <= 1 else { throw .versionUnsupported }
        return minor
    }

    /// Splits the target at `start..<end` into path and query, and returns the authority of an absolute form.
    private static func target(
        _ bytes: Span<UInt8>, _ start: Int, _ end: Int, into head: inout HTTPRequestHead
    ) throws(HTTPFault) -> ByteRange? {
        if ASCII.matches(bytes, head.methodName, "CONNECT") { throw .badTarget("this server is not a proxy") }
        if bytes[start] == UInt8(ascii: "/") {
            try split(bytes, start, end, into: &head)
            return nil
        }
        if ASCII.matches(bytes, head.target, "*") {
            guard head.method == .options else { throw .badTarget("the target * is for OPTIONS only") }
            head.path = head.target
            return nil
        }
        guard end - start > 7, ASCII.matchesAnyCase(bytes, ASCII.range(start, start + 7), "http://") else {
            throw .badTarget("the target is neither a path nor an http:// URL")
        }
        var pathStart = start + 7
        while pathStart < end, bytes[pathStart] != UInt8(ascii: "/"), bytes[pathStart] != UInt8(ascii: "?"),
            bytes[pathStart] != UInt8(ascii: "#")
        { pathStart += 1 }
        let authority = ASCII.range(start + 7, pathStart)
        try split(bytes, pathStart, end, into: &head)
        // `http://host` means the path `/`; the second slash of `//` is one that can be pointed at.
        if head.path.isEmpty { head.path = ASCII.range(start + 6, start + 7) }
        return authority
    }

    private static func split(
        _ bytes: Span<UInt8>, _ start: Int, _ end: Int, into head: inout HTTPRequestHead
    ) throws(HTTPFault) {
        var mark = end
        for index in start..<end {
            if bytes[index] == UInt8(ascii: "#") { throw .badTarget("the target contains #") }
            if mark == end, bytes[index] == UInt8(ascii: "?") { mark = index }
        }
        head.path = ASCII.range(start, mark)
        head.query = mark < end ? ASCII.range(mark + 1, end) : ASCII.range(end, end)
    }
}
