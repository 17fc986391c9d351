// Takes values from the front of an input, for targets whose input is more than text.

struct InputReader {
    private let input: Input
    private var at = 0

    init(_ input: Input) { self.input = input }

    /// The next byte; 0 behind the end.
    mutating func byte() -> UInt8 {
        guard at < input.count else { return 0 }
        at += 1
        return input[at - 1]
    }

    /// A number that is small as often as large: how many bytes it has is a choice of the input's.
    mutating func number() -> UInt64 {
        var value: UInt64 = 0
        for _ in 0..<Int(byte() % 9) { value = value << 8 | UInt64(byte()) }
        return value
    }

    /// Bytes with their count in front.
    mutating func bytes() -> [UInt8] {
        let count = min(Int(byte()), input.count - at)
        at += count
        return Array(input[(at - count)..<at])
    }

    /// Everything that is left.
    mutating func rest() -> [UInt8] {
        defer { at = input.count }
        return Array(input[at...])
    }
}
