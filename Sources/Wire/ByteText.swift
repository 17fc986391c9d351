/// Small ways to put text at the end of a byte array: answers and control records are built with them.

extension Array where Element == UInt8 {
    /// Appends fixed text as it is.
    package mutating func append(text: StaticString) {
        text.withUTF8Buffer { append(contentsOf: $0) }
    }

    /// A copy of a span's bytes.
    package init(bytes: Span<UInt8>) {
        self = bytes.withUnsafeBufferPointer { Array($0) }
    }

    /// Appends the bytes of a span.
    package mutating func append(bytes: Span<UInt8>) {
        bytes.withUnsafeBufferPointer { append(contentsOf: $0) }
    }

    /// Appends a number in decimal, without a sign or leading zeros.
    package mutating func append(decimal value: UInt64) {
        reserveCapacity(count + DecimalText.byteCountMax)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: DecimalText.byteCountMax) { digits in
            guard let base = digits.baseAddress else { return }
            let count = DecimalText.write(value, into: base)
            append(contentsOf: UnsafeMutableBufferPointer(start: base, count: count))
        }
    }

    /// Appends a number in decimal, with `-` in front where it is negative.
    package mutating func append(decimal value: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(decimal: UInt64(value.magnitude))
    }

    /// Appends a number as exactly 16 lowercase hex digits.
    package mutating func append(hex16 value: UInt64) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HexText.byteCount) { digits in
            guard let base = digits.baseAddress else { return }
            HexText.write(value, into: base)
            append(contentsOf: digits)
        }
    }
}
