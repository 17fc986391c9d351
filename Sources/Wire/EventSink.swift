/// Makes a compacted event of what the scanner reads, and remembers the discriminator and the first broken rule.

/// Bytes are copied a stretch at a time, from one piece of white space to the next: an event that came compact, as most
/// do, is one copy.
struct EventSink: JSONSink {
    /// Room for as many bytes as are read.
    private let output: UnsafeMutablePointer<UInt8>
    private let rules: EventRules
    /// A bit for each length that a name of meaning to the rules has.
    private let lengths: UInt64
    /// Bytes written.
    private(set) var count = 0
    /// Where in the input the stretch begins that is not copied yet.
    private var pending = 0
    private(set) var kind: ByteRange?
    private(set) var kindIsEscaped = false
    /// The first broken rule.
    private(set) var fault: EventFault?

    init(output: UnsafeMutablePointer<UInt8>, rules: EventRules) {
        self.output = output
        self.rules = rules
        var lengths = Self.bit(ofLength: rules.discriminator.count)
        if rules.stamp.contains(.seq) { lengths |= Self.bit(ofLength: Self.seq.utf8CodeUnitCount) }
        if rules.stamp.contains(.channel) { lengths |= Self.bit(ofLength: Self.channel.utf8CodeUnitCount) }
        if rules.stamp.contains(.time) { lengths |= Self.bit(ofLength: Self.time.utf8CodeUnitCount) }
        self.lengths = lengths
    }

    private static let seq: StaticString = "seq"
    private static let channel: StaticString = "channel"
    private static let time: StaticString = "time"

    /// The last bit stands for every length from 63 on.
    @inline(__always)
    private static func bit(ofLength length: Int) -> UInt64 { 1 &<< UInt64(min(length, 63)) }

    @inline(__always)
    mutating func skipped(_ input: Span<UInt8>, _ space: Range<Int>) {
        copyPending(input, until: space.lowerBound)
        pending = space.upperBound
    }

    /// Copies what is left when all has been read.
    @inline(__always)
    mutating func finish(_ input: Span<UInt8>) { copyPending(input, until: input.count) }

    /// No more bytes are written than have been read, so they lie inside of the output.
    @inline(__always)
    private mutating func copyPending(_ input: Span<UInt8>, until end: Int) {
        guard end > pending else { return }
        let length = end &- pending
        input.extracting(pending..<end).withUnsafeBufferPointer { stretch in
            (output + count).update(from: stretch.baseAddress!, count: length)
        }
        count &+= length
    }

    @inline(__always)
    mutating func outermostName(_ input: Span<UInt8>, _ name: Range<Int>, escaped: Bool) -> Bool {
        // Most names mean nothing here, and their length says so.
        let isRelevant = escaped || Self.bit(ofLength: name.count) & lengths != 0
        return isRelevant ? judge(input, name, escaped: escaped) : false
    }

    private mutating func judge(_ input: Span<UInt8>, _ name: Range<Int>, escaped: Bool) -> Bool {
        let text = input.extracting(name)
        let isDiscriminator = JSONText.matches(text, escaped: escaped, rules.discriminator.span)
        // Where the first one was no string, that is the fault.
        if isDiscriminator, kind != nil { note(.badDiscriminator, at: name.lowerBound - 1) }
        if isStamped(text, escaped: escaped) { note(.reservedMember, at: name.lowerBound - 1) }
        return isDiscriminator
    }

    /// Whether a member has a name that the server puts in front itself.
    @inline(__always)
    private func isStamped(_ name: Span<UInt8>, escaped: Bool) -> Bool {
        rules.stamp.contains(.seq) && JSONText.matches(name, escaped: escaped, Self.seq)
            || rules.stamp.contains(.channel) && JSONText.matches(name, escaped: escaped, Self.channel)
            || rules.stamp.contains(.time) && JSONText.matches(name, escaped: escaped, Self.time)
    }

    mutating func kindIsString(_ input: Span<UInt8>, _ value: Range<Int>, escaped: Bool) {
        let start = count &+ (value.lowerBound &- pending)
        kind = ByteRange(start..<start + value.count)
        kindIsEscaped = escaped
        if JSONText.first(input.extracting(value)) == "$" { note(.reservedKind, at: value.lowerBound) }
    }

    mutating func kindIsNoString(at offset: Int) {
        note(.badDiscriminator, at: offset)
    }

    private mutating func note(_ code: EventFault.Code, at offset: Int) {
        if fault == nil { fault = EventFault(code, at: offset) }
    }
}
