/// Which limit a laggard passed, and how often that happened on which transport.

/// The limit that decided about a laggard: the label of `fanout_laggards_total`.
enum LagReason: UInt8, CaseIterable {
    /// Events not sent yet.
    case events
    /// Bytes not sent yet.
    case bytes
    /// Age of the oldest unsent byte.
    case age
    /// The memory of all together.
    case memory

    /// The label in `/metrics`.
    var label: StaticString {
        switch self {
        case .events: "events"
        case .bytes: "bytes"
        case .age: "age"
        case .memory: "memory"
        }
    }
}

/// Counters by reason and transport.
struct LagCounts {
    private var counts: InlineArray<32, UInt64> = InlineArray(repeating: 0)

    /// Counts one laggard.
    mutating func add(_ reason: LagReason, _ transport: Transport) { counts[Self.place(reason, transport)] &+= 1 }

    subscript(reason: LagReason, transport: Transport) -> UInt64 { counts[Self.place(reason, transport)] }

    /// All laggards there were.
    var total: UInt64 {
        var sum: UInt64 = 0
        for place in counts.indices { sum &+= counts[place] }
        return sum
    }

    private static func place(_ reason: LagReason, _ transport: Transport) -> Int {
        Int(reason.rawValue) * Transport.allCases.count + Int(transport.rawValue)
    }
}
