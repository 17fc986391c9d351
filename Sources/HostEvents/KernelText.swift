/// Reading the kernel's text files, and walking over what they say.

import Glibc

/// A buffer that each file is read into in turn.
struct KernelText: Sendable {
    /// What the longest file here may have: `/proc/stat` of a machine with thousands of interrupts.
    static let fileBytesMax = 4 << 20

    /// The file last loaded; what lies behind `count` is left over from others.
    private(set) var bytes = [UInt8](repeating: 0, count: 16_384)
    /// Bytes of the file last loaded.
    private(set) var count = 0

    /// Loads a whole file. False, with nothing loaded, where it cannot be read: a process that has ended takes its
    /// files along, even between open(2) and read(2).
    mutating func load(_ path: String) -> Bool {
        count = 0
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { return false }
        defer { close(file) }
        while true {
            if count == bytes.count {
                guard bytes.count < Self.fileBytesMax else { return true }
                bytes.append(contentsOf: repeatElement(0, count: bytes.count))
            }
            let start = count
            let taken = bytes.withUnsafeMutableBytes { buffer in
                read(file, buffer.baseAddress.map { $0 + start }, buffer.count - start)
            }
            if taken > 0 {
                count += taken
            } else if taken == 0 {
                return true
            } else if errno != EINTR {
                count = 0
                return false
            }
        }
    }
}

/// A place in a kernel text, moved on by reading words, numbers and lines. Every method takes the same text; none reads
/// beyond its end.
struct TextCursor {
    /// The next byte to be read.
    var position = 0

    /// Moves to the first byte of the next line; false at the end of the text.
    mutating func nextLine(_ text: Span<UInt8>) -> Bool {
        while position < text.count, text[position] != UInt8(ascii: "\n") { position += 1 }
        position += 1
        return position < text.count
    }

    /// The next word of this line, or nil where the line ends.
    mutating func word(_ text: Span<UInt8>) -> Range<Int>? {
        skipBlanks(text)
        let start = position
        while position < text.count, text[position] > UInt8(ascii: " ") { position += 1 }
        return position > start ? start..<position : nil
    }

    /// The next word's leading digits as a number, saturated; nil where there are none. Goes to the word's end.
    mutating func number(_ text: Span<UInt8>) -> UInt64? {
        guard let word = word(text) else { return nil }
        return decimal(text, word)
    }

    /// The next word as a number with digits after a point, such as `0.31`.
    mutating func fraction(_ text: Span<UInt8>) -> Double? {
        guard let word = word(text), let whole = decimal(text, word) else { return nil }
        var value = Double(whole)
        var unit = 1.0
        guard let point = word.first(where: { text[$0] == UInt8(ascii: ".") }) else { return value }
        for index in point + 1..<word.upperBound {
            guard let digit = digit(text[index]) else { break }
            unit /= 10
            value += Double(digit) * unit
        }
        return value
    }

    /// Skips this many words of the line.
    mutating func skip(_ words: Int, _ text: Span<UInt8>) {
        for _ in 0..<words { _ = word(text) }
    }

    /// Whether the text goes on with `prefix` here; if so, moves behind it.
    mutating func take(_ prefix: StaticString, _ text: Span<UInt8>) -> Bool {
        let matched = prefix.withUTF8Buffer { wanted in
            guard wanted.count <= text.count - position else { return false }
            for index in wanted.indices where text[position + index] != wanted[index] { return false }
            return true
        }
        if matched { position += prefix.utf8CodeUnitCount }
        return matched
    }

    private mutating func skipBlanks(_ text: Span<UInt8>) {
        while position < text.count, text[position] == UInt8(ascii: " ") || text[position] == UInt8(ascii: "\t") {
            position += 1
        }
    }
}

/// The digits that `range` begins with as a number, saturated at `UInt64.max`; nil where there are none.
func decimal(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
    guard !range.isEmpty, digit(text[range.lowerBound]) != nil else { return nil }
    var value: UInt64 = 0
    for index in range {
        guard let digit = digit(text[index]) else { break }
        let (shifted, overflowed) = value.multipliedReportingOverflow(by: 10)
        let (sum, carried) = shifted.addingReportingOverflow(digit)
        if overflowed || carried { return .max }
        value = sum
    }
    return value
}

/// A copy of a range's bytes.
func copy(_ text: Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
    range.map { text[$0] }
}

private func digit(_ byte: UInt8) -> UInt64? {
    let value = byte &- UInt8(ascii: "0")
    return value <= 9 ? UInt64(value) : nil
}
