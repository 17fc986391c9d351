/// The inside of JSON strings, where most bytes of an event are: plain bytes go by eight at a time.

enum JSONStringScan {
    /// A string that was read.
    struct Scanned: BitwiseCopyable {
        /// The offset after the closing quote.
        var end: Int
        /// Whether there is an escape in it.
        var isEscaped: Bool
    }

    /// Reads the string whose opening quote is at `open`.
    @inline(__always)
    static func string<Sink: JSONSink>(
        _ input: Span<UInt8>, _ open: Int, _ sink: inout Sink
    ) throws(EventFault) -> Scanned {
        let raw = input.bytes
        var isEscaped = false
        var index = open + 1
        sink.put(UInt8(ascii: "\""))
        while true {
            while input.count - index >= 8 {
                let word = WordScan.load(raw, index)
                let marks = specialMarks(word)
                let plain = marks == 0 ? 8 : WordScan.countBeforeFirst(marks)
                sink.put(word, count: plain)
                index += plain
                if marks != 0 { break }
            }
            guard index < input.count else { throw EventFault(.invalidJSON, at: input.count) }
            let byte = input[index]
            switch byte {
            case UInt8(ascii: "\""):
                sink.put(byte)
                return Scanned(end: index + 1, isEscaped: isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                index = try escape(input, index, &sink)
            case 0x80...:
                index = try characters(input, index, &sink)
            case 0x20...:
                sink.put(byte)
                index += 1
            default:
                throw EventFault(.invalidJSON, at: index)
            }
        }
    }

    /// Marks the bytes that need a closer look: quotes, backslashes, control characters and parts of longer characters.
    @inline(__always)
    private static func specialMarks(_ word: UInt64) -> UInt64 {
        WordScan.marks(word, equalTo: UInt8(ascii: "\""))
            | WordScan.marks(word, equalTo: UInt8(ascii: "\\"))
            | WordScan.marks(word, below: 0x20)
            | word & WordScan.highs
    }

    /// Reads characters of several bytes, as many as follow one another; returns the offset after them.
    @inline(__always)
    private static func characters<Sink: JSONSink>(
        _ input: Span<UInt8>, _ start: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        var index = start
        repeat {
            guard case .character(let length) = UTF8Check.step(input, index) else {
                throw EventFault(.invalidUTF8, at: index)
            }
            for offset in index..<index + length { sink.put(input[offset]) }
            index += length
        } while index < input.count && input[index] >= 0x80
        return index
    }

    /// Reads the escape whose backslash is at `start`; returns the offset after it.
    @inline(__always)
    private static func escape<Sink: JSONSink>(
        _ input: Span<UInt8>, _ start: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        guard start + 1 < input.count else { throw EventFault(.invalidJSON, at: input.count) }
        let kind = input[start + 1]
        sink.put(UInt8(ascii: "\\"))
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            sink.put(kind)
            return start + 2
        case UInt8(ascii: "u"):
            sink.put(kind)
            for index in start + 2..<start + 6 {
                guard index < input.count else { throw EventFault(.invalidJSON, at: input.count) }
                guard JSONText.hexValue(input[index]) != nil else { throw EventFault(.invalidJSON, at: index) }
                sink.put(input[index])
            }
            return start + 6
        default:
            throw EventFault(.invalidJSON, at: start + 1)
        }
    }
}
