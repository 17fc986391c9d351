/// What a connection has to say: bytes on their way, and behind them bytes that may still grow.
///
/// At most one send is in flight, and what it reads must not move. So there are two buffers that change places: one
/// that the kernel reads, one that is appended to.
struct Outbox: ~Copyable {
    private var flying = ByteBuffer()
    private var filling = ByteBuffer()

    /// Bytes that the kernel has not taken.
    var pendingBytes: Int { flying.count + filling.count }

    mutating func append(_ bytes: [UInt8]) {
        filling.append(bytes)
    }

    mutating func append(_ bytes: UnsafeMutableBufferPointer<UInt8>) {
        filling.append(UnsafeBufferPointer(bytes))
    }

    /// What the next send should carry, which stays where it is until `didSend`; empty when all is said. Only to be
    /// called while no send is in flight.
    mutating func nextBytes() -> UnsafeMutableBufferPointer<UInt8> {
        if flying.isEmpty { swap(&flying, &filling) }
        return flying.bytes
    }

    /// The kernel has taken `count` bytes of what `nextBytes` gave, perhaps not all.
    mutating func didSend(_ count: Int) {
        flying.removeFirst(count)
    }
}
