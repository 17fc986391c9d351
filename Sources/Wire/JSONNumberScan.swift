/// Numbers as RFC 8259 spells them: checked, never converted.

enum JSONNumberScan {
    /// Reads the number at `start`, where its first byte was seen; returns the offset after it.
    @inline(__always)
    static func number(_ input: Span<UInt8>, _ start: Int) throws(EventFault) -> Int {
        // Most are a few digits and nothing else, which one look tells.
        if input.count &- start > 8 {
            let digits = WordScan.countOfDigits(WordScan.load(input, start))
            let end = start &+ digits
            let isWhole = digits == 1 || digits > 1 && digits < 8 && input[unchecked: start] != UInt8(ascii: "0")
            let next = input[unchecked: end]
            if isWhole, next != UInt8(ascii: "."), next | 0x20 != UInt8(ascii: "e") { return end }
        }
        return try anyNumber(input, start)
    }

    private static func anyNumber(_ input: Span<UInt8>, _ start: Int) throws(EventFault) -> Int {
        var index = start
        if input[index] == UInt8(ascii: "-") { index &+= 1 }
        index = try JSONScanner.require(input, index) == UInt8(ascii: "0") ? index &+ 1 : digits(input, index)
        if index < input.count, input[unchecked: index] == UInt8(ascii: ".") { index = try digits(input, index &+ 1) }
        if index < input.count, input[unchecked: index] | 0x20 == UInt8(ascii: "e") {
            index &+= 1
            let sign = try JSONScanner.require(input, index)
            if sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { index &+= 1 }
            index = try digits(input, index)
        }
        return index
    }

    /// Reads one digit or more; returns the offset after them.
    @inline(__always)
    private static func digits(_ input: Span<UInt8>, _ start: Int) throws(EventFault) -> Int {
        guard ASCII.isDigit(try JSONScanner.require(input, start)) else { throw EventFault(.invalidJSON, at: start) }
        var index = start
        while input.count &- index >= 8 {
            let count = WordScan.countOfDigits(WordScan.load(input, index))
            index &+= count
            if count < 8 { return index }
        }
        while index < input.count, ASCII.isDigit(input[unchecked: index]) { index &+= 1 }
        return index
    }
}
