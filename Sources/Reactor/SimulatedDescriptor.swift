/// What the simulated kernel keeps per descriptor.

import Glibc

/// What a descriptor of the simulated process stands for, with the operations that are in the kernel for it.
struct SimulatedDescriptor {
    enum Kind {
        case listener(SimulatedListener)
        case connection(SimulatedConnection)
        /// Something to read that is not a socket.
        case source(SimulatedConnection)
    }

    /// An operation that goes on until it is cancelled or fails.
    struct Multishot {
        enum Phase: Equatable {
            case idle
            case armed
            /// A cancellation is under way and takes effect at this time.
            case cancelling(at: UInt64)
            /// Its last result is there but has not been reported.
            case ended
        }

        var phase = Phase.idle
        var token = Token(rawValue: 0)

        var isRunning: Bool {
            switch phase {
            case .armed, .cancelling: true
            case .idle, .ended: false
            }
        }
    }

    /// A send from the call until its result is reported; all the while the bytes must not change.
    struct Send {
        let token: Token
        let pieces: [UnsafeRawBufferPointer]
        /// The bytes as they were when the send began. A copy rather than a checksum: it cannot be fooled, and
        /// comparing memory is fast even in a debug build.
        let original: [UInt8]
        /// Not tried before this time.
        var begins: UInt64
        /// True exactly when it found no room and waits.
        var isParked = false
        /// True exactly when the loop asked it to end.
        var isCancelled = false
        /// True exactly when its result is there but has not been reported.
        var isDone = false

        init(token: Token, pieces: [UnsafeRawBufferPointer], begins: UInt64) {
            self.token = token
            self.pieces = pieces
            self.begins = begins
            var original: [UInt8] = []
            original.reserveCapacity(pieces.reduce(0) { $0 + $1.count })
            for piece in pieces { original += piece }
            self.original = original
        }

        var byteCount: Int { original.count }

        /// True exactly when every byte is still what it was.
        var isUnchanged: Bool {
            original.withUnsafeBytes { original in
                var start = 0
                for piece in pieces {
                    if memcmp(piece.baseAddress!, original.baseAddress! + start, piece.count) != 0 { return false }
                    start += piece.count
                }
                return true
            }
        }
    }

    let kind: Kind
    /// The socket that the loop made of it; nil before `attach`.
    var socket: SocketID?
    var accept = Multishot()
    var receive = Multishot()
    var send: Send?
    /// True exactly when it is held only to be given up, and no part of any count.
    var isSpare = false

    init(_ kind: Kind) { self.kind = kind }

    /// True exactly when the kernel holds nothing for it: only then may it be closed.
    var isIdle: Bool { accept.phase == .idle && receive.phase == .idle && send == nil }

    /// The connection that it can receive from, if any.
    var connection: SimulatedConnection? {
        switch kind {
        case .connection(let connection), .source(let connection): connection
        case .listener: nil
        }
    }

    /// The times at which an operation begins or a cancellation takes effect.
    var startTimes: [UInt64] {
        var times: [UInt64] = []
        if case .cancelling(let time) = accept.phase { times.append(time) }
        if case .cancelling(let time) = receive.phase { times.append(time) }
        if let send, !send.isDone { times.append(send.begins) }
        return times
    }

    mutating func hurryCancellations() {
        if case .cancelling = accept.phase { accept.phase = .cancelling(at: 0) }
        if case .cancelling = receive.phase { receive.phase = .cancelling(at: 0) }
    }
}

/// What listens at an address, with the connections that stand but are not accepted yet.
final class SimulatedListener {
    let address: SocketAddress
    let backlog: Int
    var queue: [SimulatedConnection] = []
    /// Connections that ever came.
    var arrivals = 0

    init(address: SocketAddress, backlog: Int) {
        self.address = address
        self.backlog = backlog
    }
}

/// A result on its way to the backend.
struct PendingResult {
    /// What the backend will be told.
    var completion: RawCompletion
    /// The descriptor that it concerns; -1 for signals and wake-ups.
    var descriptor: Int32
    /// Not reported before this time.
    var due: UInt64

    /// Results with the same key keep their order.
    var orderKey: UInt64 {
        UInt64(completion.token.operation?.rawValue ?? 0) << 32 | UInt64(UInt32(bitPattern: descriptor))
    }
}
