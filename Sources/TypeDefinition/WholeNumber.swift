/// Whether a JSON number is a whole one, decided from its digits: no rounding, whatever it is written like.

import Wire

extension UInt8 {
    /// Whether it is one of `0` to `9`.
    var isDigit: Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= self }
}

enum WholeNumber {
    /// More digits than any type here has: a number with more of them that count fits none.
    private static let digitsMax = 10

    /// The value of a number that `JSONScanner` accepted, where it is whole and has `digitsMax` digits at most: `1.0`
    /// and `1e2` are whole. Nil for every other number. Linear in its length.
    static func value(of number: Span<UInt8>) -> Int64? {
        var index = 0
        let isNegative = number.count > 0 && number[0] == UInt8(ascii: "-")
        if isNegative { index = 1 }
        // Digits without leading zeros; those at the end count only once another digit follows.
        var value: Int64 = 0
        var digits = 0
        var zeros = 0
        var isFraction = false
        var scale = 0
        while index < number.count {
            let byte = number[index]
            if byte == UInt8(ascii: ".") {
                isFraction = true
            } else if byte.isDigit {
                if isFraction { scale -= 1 }
                if byte == UInt8(ascii: "0") {
                    if digits > 0 { zeros += 1 }
                } else {
                    digits += zeros + 1
                    guard digits <= digitsMax else { return nil }
                    for _ in 0..<zeros { value *= 10 }
                    value = value * 10 + Int64(byte - UInt8(ascii: "0"))
                    zeros = 0
                }
            } else {
                break
            }
            index += 1
        }
        if digits == 0 { return 0 }
        scale += zeros + exponent(number, after: index)
        guard scale >= 0, digits + scale <= digitsMax else { return nil }
        for _ in 0..<scale { value *= 10 }
        return isNegative ? -value : value
    }

    /// The exponent whose `e` stands at `index`, not beyond a billion either way: no event has as many digits.
    private static func exponent(_ number: Span<UInt8>, after index: Int) -> Int {
        var index = index + 1
        guard index < number.count else { return 0 }
        let isNegative = number[index] == UInt8(ascii: "-")
        if isNegative || number[index] == UInt8(ascii: "+") { index += 1 }
        var exponent = 0
        while index < number.count, number[index].isDigit {
            exponent = min(exponent * 10 + Int(number[index] - UInt8(ascii: "0")), 1_000_000_000)
            index += 1
        }
        return isNegative ? -exponent : exponent
    }
}
