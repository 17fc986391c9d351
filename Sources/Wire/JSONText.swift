/// The text inside of JSON strings: escaping, unescaping, and comparing without either.

/// Works on what lies between the quotes of a string that `JSONScanner` accepted. Text that it did not accept gives
/// some result, and never traps.
package enum JSONText {
    /// The UTF-8 text that an escaped string stands for. Surrogate pairs become one character; a surrogate without its
    /// partner stands for no character and becomes U+FFFD.
    package static func unescape(_ text: Span<UInt8>) -> [UInt8] {
        var plain: [UInt8] = []
        plain.reserveCapacity(text.count)
        var reader = JSONTextReader()
        while let piece = reader.next(text) {
            switch piece {
            case .byte(let byte): plain.append(byte)
            case .scalar(let scalar): plain.append(contentsOf: UTF8.encode(scalar).unsafelyUnwrapped)
            }
        }
        return plain
    }

    /// Hands over the bytes that `unescape` would give, one by one. Does not allocate.
    package static func forEachUnescapedByte(_ text: Span<UInt8>, _ body: (UInt8) -> Void) {
        var reader = JSONTextReader()
        while let piece = reader.next(text) {
            switch piece {
            case .byte(let byte): body(byte)
            case .scalar(let scalar): for byte in UTF8.encode(scalar).unsafelyUnwrapped { body(byte) }
            }
        }
    }

    /// The string that an escaped string stands for.
    package static func string(_ text: Span<UInt8>) -> String {
        String(decoding: unescape(text), as: UTF8.self)
    }

    /// Appends `utf8` as it must look between quotes: `"`, `\` and control characters below 0x20 escaped, in the
    /// shortest form there is; everything else as it is. `utf8` must be well-formed (see `UTF8Check.repair`).
    package static func appendEscaped(_ utf8: Span<UInt8>, to output: inout [UInt8]) {
        var start = 0
        for index in utf8.indices {
            let byte = utf8[index]
            if byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") { continue }
            output.append(bytes: utf8.extracting(start..<index))
            start = index + 1
            switch byte {
            case UInt8(ascii: "\""): output.append(text: "\\\"")
            case UInt8(ascii: "\\"): output.append(text: "\\\\")
            case 0x08: output.append(text: "\\b")
            case 0x09: output.append(text: "\\t")
            case 0x0A: output.append(text: "\\n")
            case 0x0C: output.append(text: "\\f")
            case 0x0D: output.append(text: "\\r")
            default:
                output.append(text: "\\u00")
                output.append(UInt8(ascii: "0") + byte >> 4)
                output.append(hexDigit(byte & 0xF))
            }
        }
        output.append(bytes: utf8.extracting(start...))
    }

    /// Appends `text` as a JSON string, quotes included.
    package static func appendQuoted(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        let bytes = Array(text.utf8)
        appendEscaped(bytes.span, to: &output)
        output.append(UInt8(ascii: "\""))
    }

    /// Whether an escaped string stands for exactly `plain` (UTF-8). Does not allocate.
    @inline(__always)
    package static func matches(_ text: Span<UInt8>, escaped: Bool, _ plain: Span<UInt8>) -> Bool {
        if escaped { return unescapedMatches(text, plain) }
        guard text.count == plain.count else { return false }
        var index = 0
        while index < plain.count {
            if text[index] != plain[index] { return false }
            index += 1
        }
        return true
    }

    /// Whether an escaped string stands for exactly `plain`. Does not allocate.
    @inline(__always)
    package static func matches(_ text: Span<UInt8>, escaped: Bool, _ plain: StaticString) -> Bool {
        if !escaped && text.count != plain.utf8CodeUnitCount { return false }
        let bytes = UnsafeBufferPointer(start: plain.utf8Start, count: plain.utf8CodeUnitCount)
        return matches(text, escaped: escaped, bytes.span)
    }

    /// The first character that an escaped string stands for; nil for an empty one and where it is no ASCII.
    static func first(_ text: Span<UInt8>) -> Unicode.Scalar? {
        var reader = JSONTextReader()
        switch reader.next(text) {
        case .byte(let byte): return byte < 0x80 ? Unicode.Scalar(byte) : nil
        case .scalar(let scalar): return scalar
        case nil: return nil
        }
    }

    /// Compares character by character, so that `s\u0065q` is `seq`.
    @inline(never)
    private static func unescapedMatches(_ text: Span<UInt8>, _ plain: Span<UInt8>) -> Bool {
        var reader = JSONTextReader()
        var index = 0
        while let piece = reader.next(text) {
            switch piece {
            case .byte(let byte):
                guard index < plain.count, plain[index] == byte else { return false }
                index += 1
            case .scalar(let scalar):
                for byte in UTF8.encode(scalar).unsafelyUnwrapped {
                    guard index < plain.count, plain[index] == byte else { return false }
                    index += 1
                }
            }
        }
        return index == plain.count
    }

    /// The value of a hex digit of either case.
    @inline(__always)
    static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte &- UInt8(ascii: "A") &+ 10
        default: nil
        }
    }

    private static func hexDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + (nibble - 10)
    }
}
