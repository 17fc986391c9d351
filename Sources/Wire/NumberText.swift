/// Numbers as ASCII digits, both ways, without building a String.

/// Unsigned decimal: no sign, no leading zeros.
package enum DecimalText {
    /// The digits of `UInt64.max`.
    package static let byteCountMax = 20

    /// How many digits `value` has: 1 to 20.
    package static func byteCount(_ value: UInt64) -> Int {
        var count = 1
        var rest = value
        while rest >= 10_000 {
            rest /= 10_000
            count += 4
        }
        if rest >= 1000 { return count + 3 }
        if rest >= 100 { return count + 2 }
        return rest >= 10 ? count + 1 : count
    }

    /// Writes the digits of `value` and returns how many there are. `output` has room for `byteCount(value)` bytes.
    @discardableResult
    package static func write(_ value: UInt64, into output: UnsafeMutablePointer<UInt8>) -> Int {
        let count = byteCount(value)
        var rest = value
        var index = count
        repeat {
            index -= 1
            output[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while index > 0
        return count
    }

    /// The number that `text` is: 1 to 20 digits, no sign, no leading zero except `0` itself, at most `UInt64.max`.
    package static func parse(_ text: Span<UInt8>) -> UInt64? {
        guard (1...byteCountMax).contains(text.count) else { return nil }
        if text[0] == UInt8(ascii: "0") && text.count > 1 { return nil }
        var value: UInt64 = 0
        for index in text.indices {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (shifted, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = shifted.addingReportingOverflow(UInt64(digit))
            if overflowed || carried { return nil }
            value = sum
        }
        return value
    }
}

/// 64 bits as exactly 16 lowercase hex digits.
package enum HexText {
    /// Digits in a 64-bit number.
    package static let byteCount = 16

    /// Writes exactly 16 digits, the most significant first.
    package static func write(_ value: UInt64, into output: UnsafeMutablePointer<UInt8>) {
        for index in 0..<byteCount {
            let nibble = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * index)) & 0xF
            output[index] = nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + (nibble - 10)
        }
    }

    /// The number that `text` is: exactly 16 digits, lowercase only, so that every number has one spelling.
    package static func parse(_ text: Span<UInt8>) -> UInt64? {
        guard text.count == byteCount else { return nil }
        var value: UInt64 = 0
        for index in text.indices {
            let byte = text[index]
            let nibble: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            value = value << 4 | UInt64(nibble)
        }
        return value
    }
}
