/// What happened in a simulated run, as one number that two runs can be compared by, with counts of what occurred.
package struct SimulatedTrace: Sendable {
    /// Covers the order and content of every completion, of every byte the server received and of every byte it sent.
    package private(set) var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    private var counts = [Int](repeating: 0, count: SimulatedFaults.Class.allCases.count)

    // "Sometimes" points that no rate decides: what a test must have met to have tested anything.
    /// Sends that found no room at all and had to wait.
    package internal(set) var sendsParked = 0
    /// Sends that took less than asked because the pipe was full.
    package internal(set) var sendsCutShort = 0
    /// Receives that ended because every receive buffer was in use.
    package internal(set) var buffersReallyExhausted = 0
    /// Bytes delivered although the receive had been cancelled.
    package internal(set) var receivesAfterCancel = 0
    /// Sends still in the kernel when the connection was shut down.
    package internal(set) var sendsEndedByShutdown = 0
    /// Connections closed with unread bytes, which resets them.
    package internal(set) var closesWithUnreadBytes = 0
    /// Descriptor numbers used again.
    package internal(set) var descriptorsReused = 0
    /// Completions reported in another order than they came about.
    package internal(set) var completionsReordered = 0
    /// Events of epoll that told of bytes and of a hang-up at once.
    package internal(set) var hangUpsWithInput = 0
    /// Completions reported in all.
    package internal(set) var completions = 0
    /// Bytes that the server took from its peers.
    package internal(set) var bytesReceived = 0
    /// Bytes that it gave to them.
    package internal(set) var bytesSent = 0

    /// How often a fault of this class really happened.
    package func count(of fault: SimulatedFaults.Class) -> Int { counts[fault.rawValue] }

    mutating func note(_ fault: SimulatedFaults.Class) { counts[fault.rawValue] += 1 }

    /// Notes the result of a system call on a descriptor.
    mutating func noteCall(_ descriptor: Int32, _ result: Int64, at time: UInt64) {
        completions += 1
        mix(UInt64(UInt32(bitPattern: descriptor)) << 32 | UInt64(UInt32(truncatingIfNeeded: result)))
        mix(time)
    }

    mutating func mix(_ word: UInt64) { hash = Self.mixed(hash, word) }

    /// A change of any one byte always changes the hash, since every step is invertible.
    mutating func mix(_ bytes: UnsafeRawBufferPointer) {
        var sum = Self.mixed(hash, UInt64(bytes.count))
        var offset = 0
        while offset + 8 <= bytes.count {
            sum = Self.mixed(sum, bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        while offset < bytes.count {
            sum = Self.mixed(sum, UInt64(bytes[offset]))
            offset += 1
        }
        hash = sum
    }

    private static func mixed(_ sum: UInt64, _ word: UInt64) -> UInt64 {
        let product = (sum ^ word) &* 0x9e37_79b9_7f4a_7c15
        return product ^ (product >> 29)
    }
}
