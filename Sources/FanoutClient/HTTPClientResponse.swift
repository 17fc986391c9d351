/// The head of an HTTP/1.1 response, read strictly and bounded (RFC 9112).

/// A status, and how long the body is.
package struct HTTPClientResponse: Equatable {
    /// How the body ends.
    package enum Framing: Equatable {
        case length(Int)
        case chunked
        case untilClose
    }

    /// The largest head accepted.
    package static let headBytesMax = 16_384

    /// The status code, 100 to 599.
    package let status: Int
    /// How long the body is.
    package let framing: Framing
    /// Whether the server closes the connection after this response.
    package let closes: Bool
    /// The media type in lower case, without parameters; empty where none is said.
    package let mediaType: String
    /// How long the server asks to stay away, in seconds; nil where it does not, or names a date.
    package let retryAfterSeconds: Int?

    /// The head at the beginning of `bytes` and its length; nil when it is not complete. Interim responses (1xx) are
    /// heads of their own with an empty body.
    package static func parse(_ bytes: ArraySlice<UInt8>) throws(ClientError) -> (head: HTTPClientResponse, bytes: Int)?
    {
        guard let end = endOfHead(bytes) else {
            if bytes.count > headBytesMax { throw fault("its response head has more than \(headBytesMax) bytes") }
            // What is not HTTP at all is said at once rather than after a timeout.
            if !bytes.isEmpty, !bytes.starts(with: "HTTP/1.".utf8.prefix(bytes.count)) {
                throw fault("that is not HTTP")
            }
            return nil
        }
        var lines = bytes[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
        let (status, minor) = try statusLine(lines.removeFirst())
        var fields = Fields()
        for line in lines where !line.isEmpty { try fields.take(line) }
        let hasBody = status >= 200 && status != 204 && status != 304
        let framing: Framing =
            if !hasBody { .length(0) } else if fields.isChunked { .chunked } else if let length = fields.length {
                .length(length)
            } else { .untilClose }
        let head = HTTPClientResponse(
            status: status, framing: framing,
            closes: fields.saysClose || framing == .untilClose || (minor == 0 && !fields.saysKeepAlive),
            mediaType: fields.mediaType, retryAfterSeconds: fields.retryAfter)
        return (head, end - bytes.startIndex)
    }

    /// The index after the empty line.
    private static func endOfHead(_ bytes: ArraySlice<UInt8>) -> Int? {
        var index = bytes.startIndex
        let limit = bytes.startIndex + min(bytes.count, headBytesMax)
        while index + 3 < limit {
            if bytes[index + 3] == 0x0A, bytes[index + 2] == 0x0D, bytes[index + 1] == 0x0A, bytes[index] == 0x0D {
                return index + 4
            }
            index += 1
        }
        return nil
    }

    private static func statusLine(_ line: String) throws(ClientError) -> (status: Int, minor: Int) {
        let parts = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count >= 2, parts[0] == "HTTP/1.1" || parts[0] == "HTTP/1.0", parts[1].utf8.count == 3,
            let status = Int(parts[1]), (100...599).contains(status)
        else { throw fault("that is not an HTTP/1.1 response") }
        return (status, parts[0] == "HTTP/1.1" ? 1 : 0)
    }

    static func fault(_ why: String) -> ClientError {
        ClientError(.protocolFault, "the other end is not a fanout server: \(why)")
    }

    /// The fields that decide about the body.
    private struct Fields {
        var length: Int?
        var isChunked = false
        var saysClose = false
        var saysKeepAlive = false
        var mediaType = ""
        var retryAfter: Int?

        mutating func take(_ line: String) throws(ClientError) {
            guard let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
                line.first != " ", line.first != "\t"
            else { throw fault("its response has a malformed field") }
            let value = String(line[line.index(after: colon)...].drop(while: Self.isBlank))
            switch line[..<colon].lowercased() {
            case "content-length":
                let digits = value.prefix { !Self.isBlank($0) }
                guard digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(digits),
                    length == nil || length == number
                else { throw fault("its Content-Length is not a number") }
                length = number
            case "transfer-encoding":
                guard value.lowercased() == "chunked", !isChunked else {
                    throw fault("its Transfer-Encoding is unknown")
                }
                isChunked = true
            case "connection":
                let tokens = value.lowercased().split { $0 == "," || Self.isBlank($0) }
                saysClose = saysClose || tokens.contains("close")
                saysKeepAlive = saysKeepAlive || tokens.contains("keep-alive")
            case "content-type":
                mediaType = value.prefix { $0 != ";" && !Self.isBlank($0) }.lowercased()
            case "retry-after":
                let digits = value.prefix { !Self.isBlank($0) }
                retryAfter = digits.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 } ? Int(digits) : nil
            default:
                break
            }
        }

        static func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }
    }
}
