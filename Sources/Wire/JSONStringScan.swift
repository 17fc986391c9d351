/// The inside of JSON strings, where most bytes of an event are: plain bytes go by sixteen at a time.

import CVector

enum JSONStringScan {
    /// A string that was read.
    struct Scanned: BitwiseCopyable {
        /// The offset after the closing quote.
        var end: Int
        /// Whether there is an escape in it.
        var isEscaped: Bool
    }

    /// Bytes looked at together.
    private static let width = 16

    /// Reads the string whose opening quote is at `open`.
    @inline(__always)
    static func string(_ input: Span<UInt8>, _ open: Int) throws(EventFault) -> Scanned {
        // Most names and many values end within the first look.
        let start = open &+ 1
        if input.count &- start >= width {
            let marks = marks(input, start)
            let end = start &+ marks.trailingZeroBitCount
            if marks != 0, input[unchecked: end] == UInt8(ascii: "\"") {
                return Scanned(end: end &+ 1, isEscaped: false)
            }
        }
        return try rest(input, start)
    }

    /// Reads on in a string at `start`, which is inside of it.
    private static func rest(_ input: Span<UInt8>, _ start: Int) throws(EventFault) -> Scanned {
        var isEscaped = false
        var index = start
        while true {
            index = plainEnd(input, index)
            guard index < input.count else { throw EventFault(.invalidJSON, at: input.count) }
            switch input[unchecked: index] {
            case UInt8(ascii: "\""):
                return Scanned(end: index + 1, isEscaped: isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                index = try escape(input, index)
            case 0x80...:
                index = try characters(input, index)
            default:
                throw EventFault(.invalidJSON, at: index)
            }
        }
    }

    /// The offset of the first byte from `start` that is not plain; the length if there is none.
    @inline(__always)
    private static func plainEnd(_ input: Span<UInt8>, _ start: Int) -> Int {
        var index = start
        while input.count &- index >= width {
            let marks = marks(input, index)
            if marks != 0 { return index &+ marks.trailingZeroBitCount }
            index &+= width
        }
        let left = input.count &- index
        guard left > 0 else { return index }
        if input.count >= width {
            // The last bytes of the text, without those before `index`.
            let marks = marks(input, input.count &- width) &>> UInt32(width &- left)
            return marks == 0 ? input.count : index &+ marks.trailingZeroBitCount
        }
        while index < input.count, isPlain(input[unchecked: index]) { index &+= 1 }
        return index
    }

    /// Marks the bytes that need a closer look among the sixteen at `offset`, which lie inside of the text.
    @inline(__always)
    private static func marks(_ input: Span<UInt8>, _ offset: Int) -> UInt32 {
        input.withUnsafeBufferPointer { vector_string_marks($0.baseAddress.unsafelyUnwrapped + offset) }
    }

    @inline(__always)
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte < 0x80 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }

    /// Reads characters of several bytes, as many as follow one another; returns the offset after them.
    private static func characters(_ input: Span<UInt8>, _ start: Int) throws(EventFault) -> Int {
        var index = start
        repeat {
            let word = input.count &- index >= 4 ? WordScan.loadHalf(input, index) : 0
            let length = UTF8Check.lengthOfCharacter(word)
            if length > 0 {
                index &+= length
            } else if case .character(let length) = UTF8Check.step(input, index) {
                index &+= length
            } else {
                throw EventFault(.invalidUTF8, at: index)
            }
        } while index < input.count && input[unchecked: index] >= 0x80
        return index
    }

    /// Reads the escape whose backslash is at `start`; returns the offset after it.
    private static func escape(_ input: Span<UInt8>, _ start: Int) throws(EventFault) -> Int {
        guard start + 1 < input.count else { throw EventFault(.invalidJSON, at: input.count) }
        switch input[start + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return start + 2
        case UInt8(ascii: "u"):
            for index in start + 2..<start + 6 {
                guard index < input.count else { throw EventFault(.invalidJSON, at: input.count) }
                guard JSONText.hexValue(input[index]) != nil else { throw EventFault(.invalidJSON, at: index) }
            }
            return start + 6
        default:
            throw EventFault(.invalidJSON, at: start + 1)
        }
    }
}
