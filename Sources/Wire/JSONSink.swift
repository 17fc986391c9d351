/// What the scanner's walk tells while it reads: nothing, or what compacting an event and its rules take.

/// What the walk tells. Implementations are structs and the walk is specialised for each: no call is dynamic.
protocol JSONSink {
    /// Insignificant white space was read, a byte or more.
    mutating func skipped(_ input: Span<UInt8>, _ space: Range<Int>)
    /// A member's name at depth 1 was read; `name` is its place between the quotes. True if it is the discriminator's.
    mutating func outermostName(_ input: Span<UInt8>, _ name: Range<Int>, escaped: Bool) -> Bool
    /// The discriminator's value was read; `value` is its place between the quotes.
    mutating func kindIsString(_ input: Span<UInt8>, _ value: Range<Int>, escaped: Bool)
    /// The discriminator's value begins at `offset`, and is not a string.
    mutating func kindIsNoString(at offset: Int)
}

/// For a check alone.
struct NoSink: JSONSink {
    @inline(__always) mutating func skipped(_ input: Span<UInt8>, _ space: Range<Int>) {}
    @inline(__always) mutating func outermostName(
        _ input: Span<UInt8>, _ name: Range<Int>, escaped: Bool
    ) -> Bool { false }
    @inline(__always) mutating func kindIsString(_ input: Span<UInt8>, _ value: Range<Int>, escaped: Bool) {}
    @inline(__always) mutating func kindIsNoString(at offset: Int) {}
}
