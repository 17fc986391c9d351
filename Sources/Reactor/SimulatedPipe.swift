/// One direction of a simulated connection: a bounded queue of bytes.
struct SimulatedPipe {
    /// How many bytes it holds at most; what does not fit stays with the writer.
    let capacity: Int
    private var bytes: [UInt8] = []
    private var head = 0
    /// Bytes that were ever written.
    private(set) var bytesWritten = 0
    /// Bytes that were ever read.
    private(set) var bytesRead = 0

    init(capacity: Int) {
        precondition(capacity > 0, "a pipe holds at least one byte")
        self.capacity = capacity
    }

    /// Bytes written and not yet read.
    var count: Int { bytes.count - head }

    /// How many more bytes fit.
    var room: Int { capacity - count }

    /// Takes as many of the bytes as fit and says how many.
    mutating func write(_ source: UnsafeRawBufferPointer) -> Int {
        let taken = min(source.count, room)
        guard taken > 0 else { return 0 }
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: source[..<taken]))
        bytesWritten += taken
        return taken
    }

    /// Moves the oldest bytes out; says how many.
    mutating func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        let moved = min(target.count, count)
        guard moved > 0 else { return 0 }
        bytes.withUnsafeBytes {
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[head..<head + moved]))
        }
        consume(moved)
        return moved
    }

    /// Moves up to `max` of the oldest bytes out.
    mutating func read(max: Int) -> [UInt8] {
        let moved = min(max, count)
        let result = Array(bytes[head..<head + moved])
        consume(moved)
        return result
    }

    /// Forgets the newest bytes: what a reset catches under way.
    mutating func dropTail(keeping kept: Int) {
        guard kept < count else { return }
        bytes.removeLast(count - kept)
    }

    private mutating func consume(_ moved: Int) {
        head += moved
        bytesRead += moved
        if head == bytes.count {
            bytes.removeAll(keepingCapacity: true)
            head = 0
        } else if head > bytes.count / 2 {  // moves each byte at most once on average
            bytes.removeFirst(head)
            head = 0
        }
    }
}

/// A connection between a peer (the test) and the server, or a byte source without a way back (standard input).
final class SimulatedConnection {
    /// The source address as the server sees it.
    let peerName: String
    let peerIdentity: PeerIdentity?
    let serverAddress: SocketAddress
    /// Unix sockets tell a writer at once that the reader is gone, and have no bytes under way.
    let isUnix: Bool
    /// True exactly when no fault may cut it.
    var isSpared = false
    /// `SimulatedKernel.Limits.writableWithAnyRoom`, as it was when the connection was made.
    var isWritableWithAnyRoom = false
    var toServer: SimulatedPipe
    var toPeer: SimulatedPipe

    /// True exactly when an urgent byte of TCP waits to be read, or read past.
    var hasUrgentByte = false

    // The server's end.
    /// True exactly when the server said that it will send no more.
    var serverFinished = false
    /// True exactly when the server shut the receiving side.
    var serverStoppedReading = false
    var serverClosed = false
    /// True exactly when closing is to reset it.
    var resetsOnClose = false

    // The peer's end.
    /// True exactly when the peer said that it will send no more.
    var peerFinished = false
    var peerClosed = false

    /// What the server's next operation is told once the bytes that arrived before it are read; 0 while all is well.
    var errorForServer: Int32 = 0
    /// True exactly when the peer was told that the connection is broken.
    var resetForPeer = false

    init(
        peerName: String, peerIdentity: PeerIdentity?, serverAddress: SocketAddress, isUnix: Bool,
        bytesToServerMax: Int, bytesToPeerMax: Int
    ) {
        self.peerName = peerName
        self.peerIdentity = peerIdentity
        self.serverAddress = serverAddress
        self.isUnix = isUnix
        toServer = SimulatedPipe(capacity: bytesToServerMax)
        toPeer = SimulatedPipe(capacity: bytesToPeerMax)
    }
}
