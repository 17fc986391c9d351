/// What `EventLoop.next()` gives: one thing that has happened.

/// Something that happened, to be handled before the next one is taken.
package struct Completion: BitwiseCopyable, Sendable {
    /// What happened.
    package enum Kind: UInt8, BitwiseCopyable, Sendable {
        /// A listener has a new connection (`accepted`, `result` >= 0) or has stopped accepting (`result` = -errno: see
        /// `EventLoop.shed`). Where no slot was left, that is said once for each connection that found none.
        case accepted
        /// Bytes came in (`result` > 0, see `EventLoop.bytes(of:)`), the stream ended (0), or failed (-errno).
        /// After 0 and -errno the socket is not armed any more.
        case received
        /// A send is over: `result` bytes were taken, possibly fewer than asked for, possibly 0 (the socket can take
        /// bytes now: plan again); or -errno.
        case sent
        /// The socket is gone and its slot may be used again. Always the last completion of its socket, exactly one.
        case closed
        /// A timer's deadline has passed. For a socket's timer `socket` is that socket.
        case timer
        /// A watched signal came; `result` is its number.
        case signal
        /// `Wakeup.signal()` was called, once or several times.
        case woken
    }

    /// What happened.
    package let kind: Kind
    /// The socket concerned: the listener for `.accepted`, `SocketID.none` where no socket is.
    package let socket: SocketID
    /// The new socket of `.accepted`, else `SocketID.none`. Nothing is armed on it yet.
    package let accepted: SocketID
    /// The timer of `.timer`, else meaningless.
    package let timer: TimerID
    /// See `Kind`.
    package let result: Int32

    init(
        _ kind: Kind, _ socket: SocketID = .none, result: Int32 = 0, accepted: SocketID = .none,
        timer: TimerID = TimerID(.max)
    ) {
        self.kind = kind
        self.socket = socket
        self.accepted = accepted
        self.timer = timer
        self.result = result
    }
}

/// How a socket is closed.
package enum CloseMode: Sendable {
    /// What the kernel has already taken is still delivered, then the peer sees the end of the stream. (If the peer has
    /// sent bytes that nobody read, TCP answers them with a reset: read to the end first where that matters.)
    case graceful
    /// The connection is reset at once and unsent bytes are thrown away (on unix sockets: just closed).
    case reset
}
