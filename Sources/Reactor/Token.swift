/// The 64 bits that travel through the kernel with each operation and come back with its results.

/// What an operation does; the top byte of its `Token`.
enum Operation: UInt8, BitwiseCopyable {
    case accept = 1
    /// Also a read from something that is not a socket.
    case receive = 2
    case send = 3
    /// The backend's own business (a cancellation's own result): never reaches the loop.
    case internalToBackend = 4
    /// A watched signal.
    case signal = 5
    /// The wake-up channel.
    case wakeup = 6
}

/// `operation:8 | generation:24 | slot:32`. A value, not an address: a late result is recognized by its generation, and
/// nothing is retained on its account.
struct Token: BitwiseCopyable, Equatable {
    let rawValue: UInt64

    init(_ operation: Operation, slot: UInt32, generation: UInt32) {
        rawValue = UInt64(operation.rawValue) << 56 | UInt64(generation & Token.generationMask) << 32 | UInt64(slot)
    }

    init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    static let generationMask: UInt32 = 0xFF_FFFF

    /// Nil for bits that no `Token` has.
    var operation: Operation? { Operation(rawValue: UInt8(truncatingIfNeeded: rawValue >> 56)) }
    /// Whether `operation` is `.send`, in one comparison.
    var isSend: Bool { rawValue >> 56 == UInt64(Operation.send.rawValue) }
    var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) & Token.generationMask }
    var slot: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

    /// The same socket's token for another operation.
    func with(_ operation: Operation) -> Token {
        Token(operation, slot: slot, generation: generation)
    }
}
