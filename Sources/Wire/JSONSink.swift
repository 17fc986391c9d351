/// Where the scanner's walk puts what it reads: nowhere, or into a compacted event with its rules checked.

/// What the walk tells. Implementations are structs and the walk is specialised for each: no call is dynamic.
protocol JSONSink {
    /// A significant byte was read.
    mutating func put(_ byte: UInt8)
    /// The `count` lowest bytes of `word`, the first one lowest, were read; at least eight bytes were left to read
    /// then.
    mutating func put(_ word: UInt64, count: Int)
    /// A member's name at depth 1 was read; `name` is its place between the quotes.
    mutating func outermostName(_ input: Span<UInt8>, _ name: Range<Int>, escaped: Bool)
    /// True exactly when the value that comes next belongs to the discriminator.
    var awaitsKind: Bool { get }
    /// The discriminator's value was read; `value` is its place between the quotes.
    mutating func kindIsString(_ input: Span<UInt8>, _ value: Range<Int>, escaped: Bool)
    /// The discriminator's value begins at `offset`, and is not a string.
    mutating func kindIsNoString(at offset: Int)
}

/// For a check alone.
struct NoSink: JSONSink {
    @inline(__always) mutating func put(_ byte: UInt8) {}
    @inline(__always) mutating func put(_ word: UInt64, count: Int) {}
    @inline(__always) mutating func outermostName(_ input: Span<UInt8>, _ name: Range<Int>, escaped: Bool) {}
    @inline(__always) var awaitsKind: Bool { false }
    @inline(__always) mutating func kindIsString(_ input: Span<UInt8>, _ value: Range<Int>, escaped: Bool) {}
    @inline(__always) mutating func kindIsNoString(at offset: Int) {}
}

/// For an event: writes what is significant, and remembers the discriminator and the first broken rule.
struct EventSink: JSONSink {
    /// Room for as many bytes as are read.
    private let output: UnsafeMutablePointer<UInt8>
    private let rules: EventRules
    /// Bytes written, never more than have been read.
    private(set) var count = 0
    private(set) var kind: ByteRange?
    private(set) var kindIsEscaped = false
    private(set) var awaitsKind = false
    /// The first broken rule.
    private(set) var fault: EventFault?

    init(output: UnsafeMutablePointer<UInt8>, rules: EventRules) {
        self.output = output
        self.rules = rules
    }

    @inline(__always)
    mutating func put(_ byte: UInt8) {
        output[count] = byte
        count &+= 1
    }

    /// Stores all eight bytes: those beyond `count` are overwritten by what follows. They lie inside of the output
    /// because at least eight bytes were left to read, and no more were written than read.
    @inline(__always)
    mutating func put(_ word: UInt64, count plain: Int) {
        UnsafeMutableRawPointer(output + count).storeBytes(of: word.littleEndian, as: UInt64.self)
        count &+= plain
    }

    @inline(__always)
    mutating func outermostName(_ input: Span<UInt8>, _ name: Range<Int>, escaped: Bool) {
        let text = input.extracting(name)
        if JSONText.matches(text, escaped: escaped, rules.discriminator.span) {
            // Where the first one was no string, that is the fault.
            if kind != nil { note(.badDiscriminator, at: name.lowerBound - 1) }
            awaitsKind = true
        }
        if isStamped(text, escaped: escaped) { note(.reservedMember, at: name.lowerBound - 1) }
    }

    /// Whether a member has a name that the server puts in front itself.
    @inline(__always)
    private func isStamped(_ name: Span<UInt8>, escaped: Bool) -> Bool {
        rules.stamp.contains(.seq) && JSONText.matches(name, escaped: escaped, "seq")
            || rules.stamp.contains(.channel) && JSONText.matches(name, escaped: escaped, "channel")
            || rules.stamp.contains(.time) && JSONText.matches(name, escaped: escaped, "time")
    }

    @inline(__always)
    mutating func kindIsString(_ input: Span<UInt8>, _ value: Range<Int>, escaped: Bool) {
        awaitsKind = false
        kind = ByteRange(count - 1 - value.count..<count - 1)
        kindIsEscaped = escaped
        if JSONText.first(input.extracting(value)) == "$" { note(.reservedKind, at: value.lowerBound) }
    }

    mutating func kindIsNoString(at offset: Int) {
        awaitsKind = false
        note(.badDiscriminator, at: offset)
    }

    private mutating func note(_ code: EventFault.Code, at offset: Int) {
        if fault == nil { fault = EventFault(code, at: offset) }
    }
}
