/// Reads an escaped string piece by piece: what unescaping and comparing have in common.

struct JSONTextReader {
    /// One byte that stood there as it is, or the character that an escape stands for.
    enum Piece {
        case byte(UInt8)
        case scalar(Unicode.Scalar)
    }

    private var index = 0

    /// The next piece of `text`; nil at its end. Faulty escapes, which the scanner refuses, read as U+FFFD.
    mutating func next(_ text: Span<UInt8>) -> Piece? {
        guard index < text.count else { return nil }
        let byte = text[index]
        index += 1
        if byte != UInt8(ascii: "\\") { return .byte(byte) }
        guard index < text.count else { return .scalar("\u{FFFD}") }
        let kind = text[index]
        index += 1
        switch kind {
        case UInt8(ascii: "b"): return .byte(0x08)
        case UInt8(ascii: "t"): return .byte(0x09)
        case UInt8(ascii: "n"): return .byte(0x0A)
        case UInt8(ascii: "f"): return .byte(0x0C)
        case UInt8(ascii: "r"): return .byte(0x0D)
        case UInt8(ascii: "u"): return .scalar(unicodeEscape(text))
        default: return .byte(kind)
        }
    }

    /// The character of the escape whose four digits are at `index`, together with its partner if it is a surrogate.
    private mutating func unicodeEscape(_ text: Span<UInt8>) -> Unicode.Scalar {
        guard let unit = codeUnit(text, index) else { return "\u{FFFD}" }
        index += 4
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard unit <= 0xDBFF, index + 6 <= text.count,
            text[index] == UInt8(ascii: "\\"), text[index + 1] == UInt8(ascii: "u"),
            let low = codeUnit(text, index + 2), 0xDC00...0xDFFF ~= low
        else { return "\u{FFFD}" }
        index += 6
        let value = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
        return Unicode.Scalar(value) ?? "\u{FFFD}"
    }

    private func codeUnit(_ text: Span<UInt8>, _ start: Int) -> UInt16? {
        guard start + 4 <= text.count else { return nil }
        var unit: UInt16 = 0
        for offset in start..<start + 4 {
            guard let digit = JSONText.hexValue(text[offset]) else { return nil }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }
}
