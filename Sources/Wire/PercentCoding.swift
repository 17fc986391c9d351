/// Percent-encoding of targets (RFC 3986 section 2.1), undone strictly.
package enum PercentCoding {
    /// Whether `decode` would return these very bytes, as it does for nearly every target: visible ASCII without an
    /// escape. Who asks this first need not make an array.
    package static func isPlain(_ text: Span<UInt8>) -> Bool {
        for index in text.indices {
            let byte = text[index]
            if byte == UInt8(ascii: "%") || byte <= 0x20 || byte >= 0x7F { return false }
        }
        return true
    }

    /// `text` with every `%XX` replaced by its byte. An escape that is not two hexadecimal digits is 400, and so is a
    /// result that is not UTF-8. `+` stays `+`: it means a space in form bodies only.
    package static func decode(_ text: Span<UInt8>) throws(HTTPFault) -> [UInt8] {
        if isPlain(text) { return [UInt8](bytes: text) }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            guard text[index] == UInt8(ascii: "%") else {
                decoded.append(text[index])
                index += 1
                continue
            }
            guard index + 2 < text.count, let high = ASCII.hexValue(text[index + 1]),
                let low = ASCII.hexValue(text[index + 2])
            else { throw .badTarget("a % in the target is not followed by two hexadecimal digits") }
            decoded.append(high << 4 | low)
            index += 3
        }
        var validator = UTF8Validator()
        guard validator.feed(decoded.span), validator.isComplete else {
            throw .badTarget("the target does not decode to UTF-8")
        }
        return decoded
    }
}

/// The path of a target, decoded once.
package enum RequestPath {
    /// `path` decoded, ready to be compared with routes segment by segment.
    ///
    /// Refused with 400: an invalid escape, what is not UTF-8, an encoded slash (`%2F`: it would make one segment look
    /// like two, here or in a proxy), and encoded or plain control characters. Segments `.` and `..` are not resolved,
    /// so they match no route.
    package static func decode(_ path: Span<UInt8>) throws(HTTPFault) -> [UInt8] {
        var slashes = 0
        for index in path.indices where path[index] == UInt8(ascii: "/") { slashes += 1 }
        let decoded = try PercentCoding.decode(path)
        for byte in decoded {
            if byte == UInt8(ascii: "/") { slashes -= 1 }
            guard byte >= 0x20, byte != 0x7F else { throw .badTarget("the path contains a control character") }
        }
        guard slashes == 0 else { throw .badTarget("the path contains an encoded slash (%2F)") }
        return decoded
    }
}
