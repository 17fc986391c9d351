/// Strict RFC 8259 in one pass: checks, compacts and finds the discriminator, without recursion or allocation.

/// The check that every byte from a producer goes through. What it accepts, every JSON parser accepts.
package enum JSONScanner {
    /// The deepest nesting that can be asked for: an event of 128 levels inside the two of a `$publish` envelope.
    package static let depthLimit = 130

    /// Checks that `input` is one event under `rules`, and writes it compacted: without insignificant white space,
    /// every other byte as it was.
    ///
    /// Syntax is judged before rules: what is not JSON is refused as such, whatever its members are called. Of several
    /// broken rules the first is reported. A repeated member is legal JSON and passes, except the discriminator.
    /// - Parameter output: room for at least `input.count` bytes, not overlapping `input`. After a fault its contents
    ///   mean nothing.
    /// - Throws: the fault and the offset, in `input`, of the offending byte; for ill-formed UTF-8 that of the first
    ///   byte of the ill-formed character, and where something is missing at the end, `input.count`.
    /// - Complexity: linear in `input.count`.
    package static func compact(
        _ input: Span<UInt8>, rules: EventRules, into output: UnsafeMutablePointer<UInt8>
    ) throws(EventFault) -> EventRecord {
        if input.count > rules.eventBytesMax { throw EventFault(.tooLarge, at: rules.eventBytesMax) }
        var sink = EventSink(output: output, rules: rules)
        let root = try walk(input, depthMax: rules.depthMax, &sink)
        if input[root] != UInt8(ascii: "{") { throw EventFault(.notAnObject, at: root) }
        if let fault = sink.fault { throw fault }
        sink.finish(input)
        return EventRecord(
            length: sink.count, kind: sink.kind, kindIsEscaped: sink.kindIsEscaped, isEmptyObject: sink.count == 2)
    }

    /// Checks that `input` is one JSON value of any type, white space around it allowed. Escapes of lone surrogates
    /// (`\ud800`) are legal by the grammar and pass.
    /// - Throws: `invalidJSON`, `invalidUTF8` or `tooDeep`, with offsets as `compact` gives them.
    package static func validate(_ input: Span<UInt8>, depthMax: Int) throws(EventFault) {
        var sink = NoSink()
        _ = try walk(input, depthMax: depthMax, &sink)
    }

    /// The containers that are open: a bit for each, 1 for an object, the outermost in the first word's bit 0.
    private struct Nesting {
        private var levels = InlineArray<3, UInt64>(repeating: 0)
        private(set) var depth = 0
        private(set) var isInObject = false

        mutating func push(object: Bool) {
            let bit: UInt64 = 1 &<< UInt64(depth & 63)
            if object { levels[depth >> 6] |= bit } else { levels[depth >> 6] &= ~bit }
            depth &+= 1
            isInObject = object
        }

        mutating func pop() {
            depth &-= 1
            guard depth > 0 else {
                isInObject = false
                return
            }
            let level = depth &- 1
            isInObject = levels[level >> 6] &>> UInt64(level & 63) & 1 == 1
        }
    }

    /// Walks one value and returns where it begins.
    private static func walk<Sink: JSONSink>(
        _ input: Span<UInt8>, depthMax: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        precondition(1...depthLimit ~= depthMax, "nesting can be checked up to 130 levels")
        var nesting = Nesting()
        let root = skipSpace(input, 0, &sink)
        var index = root
        item: while true {
            let isKind = nesting.isInObject ? try name(input, &index, nesting.depth, &sink) : false
            let byte = try require(input, index)
            if isKind && byte != UInt8(ascii: "\"") { sink.kindIsNoString(at: index) }
            switch byte {
            case UInt8(ascii: "\""):
                let text = try JSONStringScan.string(input, index)
                if isKind { sink.kindIsString(input, index &+ 1..<text.end &- 1, escaped: text.isEscaped) }
                index = text.end
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                if nesting.depth == depthMax { throw EventFault(.tooDeep, at: index) }
                nesting.push(object: byte == UInt8(ascii: "{"))
                index = skipSpace(input, index &+ 1, &sink)
                // An empty one ('{' + 2 is '}', '[' + 2 is ']') is closed below, like every other container.
                if try require(input, index) != byte &+ 2 { continue item }
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                index = try JSONNumberScan.number(input, index)
            case UInt8(ascii: "t"): index = try literal("true", input, index)
            case UInt8(ascii: "f"): index = try literal("false", input, index)
            case UInt8(ascii: "n"): index = try literal("null", input, index)
            default: throw EventFault(.invalidJSON, at: index)
            }
            while nesting.depth > 0 {
                index = skipSpace(input, index, &sink)
                switch try require(input, index) {
                case UInt8(ascii: ","):
                    index = skipSpace(input, index &+ 1, &sink)
                    continue item
                case nesting.isInObject ? UInt8(ascii: "}") : UInt8(ascii: "]"):
                    nesting.pop()
                    index &+= 1
                default: throw EventFault(.invalidJSON, at: index)
                }
            }
            index = skipSpace(input, index, &sink)
            if index < input.count { throw EventFault(.invalidJSON, at: index) }
            return root
        }
    }

    /// Reads the member's name at `index` and its colon, and moves on to where the value begins. True if the value is
    /// the discriminator's.
    @inline(__always)
    private static func name<Sink: JSONSink>(
        _ input: Span<UInt8>, _ index: inout Int, _ depth: Int, _ sink: inout Sink
    ) throws(EventFault) -> Bool {
        guard try require(input, index) == UInt8(ascii: "\"") else { throw EventFault(.invalidJSON, at: index) }
        let text = try JSONStringScan.string(input, index)
        let isKind =
            depth == 1 ? sink.outermostName(input, index &+ 1..<text.end &- 1, escaped: text.isEscaped) : false
        let colon = skipSpace(input, text.end, &sink)
        guard try require(input, colon) == UInt8(ascii: ":") else { throw EventFault(.invalidJSON, at: colon) }
        index = skipSpace(input, colon &+ 1, &sink)
        return isKind
    }

    /// Reads one of the three literal names; returns the offset after it.
    private static func literal(
        _ word: StaticString, _ input: Span<UInt8>, _ start: Int
    ) throws(EventFault) -> Int {
        for offset in 0..<word.utf8CodeUnitCount {
            guard try require(input, start &+ offset) == word.utf8Start[offset] else {
                throw EventFault(.invalidJSON, at: start &+ offset)
            }
        }
        return start &+ word.utf8CodeUnitCount
    }

    /// The offset of the first byte from `start` that is no insignificant white space; the length if there is none.
    @inline(__always)
    private static func skipSpace<Sink: JSONSink>(_ input: Span<UInt8>, _ start: Int, _ sink: inout Sink) -> Int {
        start >= input.count || input[unchecked: start] > 0x20 ? start : spaceEnd(input, start, &sink)
    }

    @inline(never)
    private static func spaceEnd<Sink: JSONSink>(_ input: Span<UInt8>, _ start: Int, _ sink: inout Sink) -> Int {
        var index = start
        while index < input.count, isSpace(input[unchecked: index]) { index &+= 1 }
        if index > start { sink.skipped(input, start..<index) }
        return index
    }

    @inline(__always)
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte <= 0x20 && (byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09)
    }

    /// The byte at `index`, without which the text would be cut short.
    @inline(__always)
    static func require(_ input: Span<UInt8>, _ index: Int) throws(EventFault) -> UInt8 {
        guard index < input.count else { throw EventFault(.invalidJSON, at: input.count) }
        return input[unchecked: index]
    }
}
