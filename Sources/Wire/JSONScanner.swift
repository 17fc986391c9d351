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

    /// The containers that are open, innermost in bit 0: 1 for an object, 0 for an array.
    private struct Nesting {
        var bits: UInt128 = 0
        /// The levels that do not fit `bits`: the two outermost.
        private var outermost: UInt8 = 0
        var depth = 0

        var isInObject: Bool { bits & 1 == 1 }

        mutating func push(object: Bool) {
            outermost = outermost << 1 | UInt8(truncatingIfNeeded: bits >> 127)
            bits = bits << 1 | (object ? 1 : 0)
            depth += 1
        }

        mutating func pop() {
            bits = bits >> 1 | UInt128(outermost & 1) << 127
            outermost >>= 1
            depth -= 1
        }
    }

    /// Walks one value and returns where it begins.
    private static func walk<Sink: JSONSink>(
        _ input: Span<UInt8>, depthMax: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        precondition(1...depthLimit ~= depthMax, "nesting can be checked up to 130 levels")
        var nesting = Nesting()
        let root = skipSpace(input, 0)
        var index = root
        value: while true {
            let byte = try require(input, index)
            if sink.awaitsKind && byte != UInt8(ascii: "\"") { sink.kindIsNoString(at: index) }
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                if nesting.depth == depthMax { throw EventFault(.tooDeep, at: index) }
                let isObject = byte == UInt8(ascii: "{")
                nesting.push(object: isObject)
                sink.put(byte)
                index = skipSpace(input, index + 1)
                // An empty one ('{' + 2 is '}', '[' + 2 is ']') is closed below, like every other container.
                if try require(input, index) != byte + 2 {
                    if isObject { index = try name(input, index, nesting.depth, &sink) }
                    continue value
                }
            case UInt8(ascii: "\""):
                let text = try JSONStringScan.string(input, index, &sink)
                if sink.awaitsKind { sink.kindIsString(input, index + 1..<text.end - 1, escaped: text.isEscaped) }
                index = text.end
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                index = try number(input, index, &sink)
            case UInt8(ascii: "t"): index = try literal("true", input, index, &sink)
            case UInt8(ascii: "f"): index = try literal("false", input, index, &sink)
            case UInt8(ascii: "n"): index = try literal("null", input, index, &sink)
            default: throw EventFault(.invalidJSON, at: index)
            }
            while nesting.depth > 0 {
                index = skipSpace(input, index)
                let isObject = nesting.isInObject
                switch try require(input, index) {
                case UInt8(ascii: ","):
                    sink.put(UInt8(ascii: ","))
                    index = skipSpace(input, index + 1)
                    if isObject { index = try name(input, index, nesting.depth, &sink) }
                    continue value
                case isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"):
                    sink.put(input[index])
                    nesting.pop()
                    index += 1
                default: throw EventFault(.invalidJSON, at: index)
                }
            }
            index = skipSpace(input, index)
            if index < input.count { throw EventFault(.invalidJSON, at: index) }
            return root
        }
    }

    /// Reads a member's name and its colon; returns where the value begins.
    @inline(__always)
    private static func name<Sink: JSONSink>(
        _ input: Span<UInt8>, _ start: Int, _ depth: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        guard try require(input, start) == UInt8(ascii: "\"") else { throw EventFault(.invalidJSON, at: start) }
        let text = try JSONStringScan.string(input, start, &sink)
        if depth == 1 { sink.outermostName(input, start + 1..<text.end - 1, escaped: text.isEscaped) }
        let colon = skipSpace(input, text.end)
        guard try require(input, colon) == UInt8(ascii: ":") else { throw EventFault(.invalidJSON, at: colon) }
        sink.put(UInt8(ascii: ":"))
        return skipSpace(input, colon + 1)
    }

    /// Reads a number; returns the offset after it.
    @inline(__always)
    private static func number<Sink: JSONSink>(
        _ input: Span<UInt8>, _ start: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        var index = start
        if input[index] == UInt8(ascii: "-") {
            sink.put(UInt8(ascii: "-"))
            index += 1
        }
        if try require(input, index) == UInt8(ascii: "0") {
            sink.put(UInt8(ascii: "0"))
            index += 1
        } else {
            index = try digits(input, index, &sink)
        }
        if index < input.count, input[index] == UInt8(ascii: ".") {
            sink.put(UInt8(ascii: "."))
            index = try digits(input, index + 1, &sink)
        }
        if index < input.count, input[index] | 0x20 == UInt8(ascii: "e") {
            sink.put(input[index])
            index += 1
            let sign = try require(input, index)
            if sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
                sink.put(sign)
                index += 1
            }
            index = try digits(input, index, &sink)
        }
        return index
    }

    /// Reads one digit or more; returns the offset after them.
    @inline(__always)
    private static func digits<Sink: JSONSink>(
        _ input: Span<UInt8>, _ start: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        guard try require(input, start) &- UInt8(ascii: "0") <= 9 else { throw EventFault(.invalidJSON, at: start) }
        var index = start
        while index < input.count, input[index] &- UInt8(ascii: "0") <= 9 {
            sink.put(input[index])
            index += 1
        }
        return index
    }

    /// Reads one of the three literal names; returns the offset after it.
    @inline(__always)
    private static func literal<Sink: JSONSink>(
        _ word: StaticString, _ input: Span<UInt8>, _ start: Int, _ sink: inout Sink
    ) throws(EventFault) -> Int {
        var index = start
        while index - start < word.utf8CodeUnitCount {
            guard try require(input, index) == word.utf8Start[index - start] else {
                throw EventFault(.invalidJSON, at: index)
            }
            sink.put(input[index])
            index += 1
        }
        return index
    }

    /// The offset of the first byte from `start` that is no insignificant white space; the length if there is none.
    @inline(__always)
    private static func skipSpace(_ input: Span<UInt8>, _ start: Int) -> Int {
        var index = start
        while index < input.count, isSpace(input[index]) { index += 1 }
        return index
    }

    @inline(__always)
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte <= 0x20 && (byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09)
    }

    /// The byte at `index`, without which the text would be cut short.
    @inline(__always)
    private static func require(_ input: Span<UInt8>, _ index: Int) throws(EventFault) -> UInt8 {
        guard index < input.count else { throw EventFault(.invalidJSON, at: input.count) }
        return input[index]
    }
}
