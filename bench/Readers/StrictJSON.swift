// A strict reader of JSON text (RFC 8259), written for this checker alone: the server's own parser proves nothing here.

import Glibc

/// Walks JSON text from front to back and refuses whatever the grammar does not allow, white space included: what the
/// server sends is compact.
struct StrictJSON {
    let base: UnsafePointer<UInt8>
    let count: Int
    var at = 0

    init(_ base: UnsafePointer<UInt8>, _ count: Int) {
        self.base = base
        self.count = count
    }

    /// Whether the whole text is one compact object.
    static func isObject(_ base: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var text = StrictJSON(base, count)
        return text.peek == UInt8(ascii: "{") && text.value(depth: 0) && text.at == count
    }

    var peek: UInt8 { at < count ? base[at] : 0 }

    /// Takes exactly these bytes, or nothing.
    mutating func take(_ literal: StaticString) -> Bool {
        let size = literal.utf8CodeUnitCount
        guard count - at >= size, memcmp(base + at, literal.utf8Start, size) == 0 else { return false }
        at += size
        return true
    }

    /// Skips one value of any kind.
    mutating func value(depth: Int) -> Bool {
        guard depth <= 130 else { return false }
        switch peek {
        case UInt8(ascii: "{"):
            at += 1
            if take("}") { return true }
            repeat {
                guard string() != nil, take(":"), value(depth: depth + 1) else { return false }
            } while take(",")
            return take("}")
        case UInt8(ascii: "["):
            at += 1
            if take("]") { return true }
            repeat {
                guard value(depth: depth + 1) else { return false }
            } while take(",")
            return take("]")
        case UInt8(ascii: "\""): return string() != nil
        case UInt8(ascii: "t"): return take("true")
        case UInt8(ascii: "f"): return take("false")
        case UInt8(ascii: "n"): return take("null")
        default: return number()
        }
    }

    /// Takes a string; its inside, quotes excluded, as written.
    mutating func string() -> Range<Int>? {
        guard take("\"") else { return nil }
        let start = at
        while at < count {
            let byte = base[at]
            switch byte {
            case UInt8(ascii: "\""):
                at += 1
                return start..<(at - 1)
            case UInt8(ascii: "\\"):
                guard escape() else { return nil }
            case 0..<0x20: return nil
            case 0x20..<0x80: at += 1
            default:
                guard scalar(byte) else { return nil }
            }
        }
        return nil
    }

    private mutating func escape() -> Bool {
        at += 1
        guard at < count else { return false }
        switch base[at] {
        case UInt8(ascii: "u"):
            guard count - at > 4 else { return false }
            for place in 1...4 where isxdigit(Int32(base[at + place])) == 0 { return false }
            at += 5
            return true
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            at += 1
            return true
        default: return false
        }
    }

    /// One character of two to four bytes (RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF).
    private mutating func scalar(_ first: UInt8) -> Bool {
        let size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        guard first >= 0xC2, first <= 0xF4, count - at >= size else { return false }
        for place in 1..<size where base[at + place] & 0xC0 != 0x80 { return false }
        let second = base[at + 1]
        if first == 0xE0, second < 0xA0 { return false }
        if first == 0xED, second > 0x9F { return false }
        if first == 0xF0, second < 0x90 { return false }
        if first == 0xF4, second > 0x8F { return false }
        at += size
        return true
    }

    private mutating func number() -> Bool {
        _ = take("-")
        if !take("0") {
            guard digits() else { return false }
        }
        if take("."), !digits() { return false }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            return digits()
        }
        return true
    }

    private mutating func digits() -> Bool {
        let start = at
        while at < count, base[at] &- 48 < 10 { at += 1 }
        return at > start
    }

    /// Takes a whole number without sign or leading zero that fits in 64 bits.
    mutating func unsigned() -> UInt64? {
        let start = at
        var sum: UInt64 = 0
        while at < count, base[at] &- 48 < 10 {
            let (tenfold, over) = sum.multipliedReportingOverflow(by: 10)
            let (next, above) = tenfold.addingReportingOverflow(UInt64(base[at] - 48))
            if over || above { return nil }
            sum = next
            at += 1
        }
        let size = at - start
        return size == 0 || (size > 1 && base[start] == 48) ? nil : sum
    }

    /// Takes exactly sixteen lowercase hex digits.
    mutating func hex16() -> UInt64? {
        guard count - at >= 16 else { return nil }
        var sum: UInt64 = 0
        for _ in 0..<16 {
            let byte = base[at]
            switch byte {
            case 48...57: sum = sum << 4 | UInt64(byte - 48)
            case 97...102: sum = sum << 4 | UInt64(byte - 87)
            default: return nil
            }
            at += 1
        }
        return sum
    }

    /// Takes a cursor, `<epoch>-<seq>`.
    mutating func cursor() -> (epoch: UInt64, seq: UInt64)? {
        guard let epoch = hex16(), take("-"), let seq = unsigned() else { return nil }
        return (epoch, seq)
    }
}

/// Where `bytes` first occur in a text.
func find(_ bytes: [UInt8], in base: UnsafePointer<UInt8>, _ count: Int) -> Int? {
    var at = 0
    while count - at >= bytes.count, let first = memchr(base + at, Int32(bytes[0]), count - at - bytes.count + 1) {
        at = UnsafeRawPointer(first) - UnsafeRawPointer(base)
        if memcmp(base + at, bytes, bytes.count) == 0 { return at }
        at += 1
    }
    return nil
}
