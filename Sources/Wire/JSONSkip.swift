/// Finds where values end in text that the scanner accepted: counting brackets is enough then.

/// Finds ends without judging. In text that the scanner did not accept the answers are some offsets of it, and nothing
/// traps.
package enum JSONSkip {
    /// The value that begins at `start`; nil where none does. White space before it is the caller's to skip.
    package static func value(_ text: Span<UInt8>, _ start: Int) -> JSONValuePlace? {
        guard start < text.count, let kind = JSONKind(firstByte: text[start]) else { return nil }
        var isEscaped = false
        let end: Int
        switch kind {
        case .string: (end, isEscaped) = stringEnd(text, start)
        case .object, .array: end = containerEnd(text, start)
        case .number, .true, .false, .null: end = plainEnd(text, start)
        }
        return JSONValuePlace(place: ByteRange(start..<end), kind: kind, isEscaped: isEscaped)
    }

    /// Where the next item of a container begins, seen from the container's opening bracket or from the end of the item
    /// before; nil when none follows.
    static func nextItem(_ text: Span<UInt8>, _ from: Int, opening: UInt8) -> Int? {
        let mark = space(text, from)
        guard mark < text.count, text[mark] == opening || text[mark] == UInt8(ascii: ",") else { return nil }
        return space(text, mark + 1)
    }

    /// The first offset from `start` that is not white space.
    package static func space(_ text: Span<UInt8>, _ start: Int) -> Int {
        var index = start
        while index < text.count, text[index] <= 0x20 { index += 1 }
        return index
    }

    private static func stringEnd(_ text: Span<UInt8>, _ start: Int) -> (end: Int, isEscaped: Bool) {
        var isEscaped = false
        var index = start + 1
        while index < text.count, text[index] != UInt8(ascii: "\"") {
            if text[index] == UInt8(ascii: "\\") {
                isEscaped = true
                index += 1
            }
            index += 1
        }
        return (min(index + 1, text.count), isEscaped)
    }

    private static func containerEnd(_ text: Span<UInt8>, _ start: Int) -> Int {
        var depth = 0
        var index = start
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""):
                index = stringEnd(text, index).end
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            default: break
            }
            index += 1
            if depth == 0 { break }
        }
        return index
    }

    private static func plainEnd(_ text: Span<UInt8>, _ start: Int) -> Int {
        var index = start
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"), 0...0x20: return index
            default: index += 1
            }
        }
        return index
    }
}
