/// What a loop is told when it is made, and a listener when it is opened.

/// Which I/O interface a loop uses.
package enum BackendChoice {
    /// io_uring, or epoll where the kernel refuses it (`EventLoop.backendDescription` says why).
    case automatic
    /// io_uring or an error.
    case uring
    /// epoll.
    case epoll
    /// A kernel played by a test, which completes operations as io_uring does.
    case simulated(SimulatedKernel)
    /// The epoll backend, over a kernel played by a test.
    case simulatedEpoll(SimulatedKernel)

    /// The kernel that a test plays, if it does.
    var simulatedKernel: SimulatedKernel? {
        switch self {
        case .simulated(let kernel), .simulatedEpoll(let kernel): kernel
        case .automatic, .uring, .epoll: nil
        }
    }
}

/// A loop's limits: every number with its unit, default and reason.
package struct LoopConfiguration {
    /// The kernel interface; asking for a certain one is for tests and comparisons.
    package var backend = BackendChoice.automatic
    /// Sockets open at once, listeners included. Tables of this size are reserved as untouched memory, so a large value
    /// costs address space, not memory. At most 16,777,216.
    package var socketsMax = 65_536
    /// Timers besides the sockets' own. 1,024: the layers above make a handful each.
    package var timersMax = 1024
    /// Bytes of one receive buffer. 16 KiB: a request head always fits, and one read empties a common socket buffer.
    package var receiveBufferBytes = 16_384
    /// Receive buffers lent to the kernel (io_uring), a power of two up to 32,768; rounded up to one. 128: 2 MiB in
    /// all, touched as far as used; when all are filled, receiving goes on in the next turn.
    package var receiveBufferCount = 128
    /// Entries of the submission queue (io_uring); completions get four times as many. 1,024: the system call is spread
    /// over enough sends to cost nothing, and what it left to do is done while caches still hold it. 4,096 cost a fifth
    /// more for each send at 15,000 readers, 256 as much at 1,000 (bench/NOTES.md).
    package var submissionEntries = 1024
    /// The coarseness of timers: they fire up to this much late, never early. 16 ms: nothing here is finer than
    /// seconds.
    package var timerTickMilliseconds = 16
    /// Reads and accepts that epoll does in one turn before it looks at the kernel again. 64: the cost of epoll_wait is
    /// spread, and one flooding socket delays others by at most 64 reads.
    package var readsPerTurnMax = 64
    /// How many of io_uring's set-ups, best first, are passed over, as an older kernel would: for tests.
    var uringModesSkipped = 0
    /// An operation of io_uring that the kernel is taken not to have, as an older one: for tests.
    var uringOperationHidden: Int32?

    package init() {}
}

/// How a listener is opened.
package struct ListenOptions: Sendable {
    /// Connections that the kernel completes before they are accepted; the kernel's `somaxconn` caps it.
    package var backlog: Int32 = 4096
    /// `SO_SNDBUF` of accepted connections (the kernel doubles it); nil leaves the kernel's choice.
    package var sendBufferBytes: Int?
    /// `SO_RCVBUF` of accepted connections (the kernel doubles it); nil lets the kernel decide, up to several MiB.
    package var receiveBufferBytes: Int?
    /// On TCP, after how many seconds of silence the kernel asks whether the peer is still there (`SO_KEEPALIVE`; three
    /// questions, a third of it apart); nil never asks. It finds peers that closed while nothing is sent to them.
    package var keepAliveSeconds: Int?
    /// On TCP, for how many milliseconds sent bytes may stay unacknowledged, or find no room at the peer, before the
    /// kernel gives the connection up (`TCP_USER_TIMEOUT`, RFC 5482); nil or 0 is the system's own patience: some 15
    /// minutes for a peer that is gone, no end for one that is there and has no room. Accepted connections inherit it.
    package var userTimeoutMilliseconds: Int?
    /// Permissions of a unix socket's path, in force from the moment it appears.
    package var mode: UInt32 = 0o600
    /// `SO_REUSEADDR`: a restarted server need not wait for old connections to time out.
    package var reuseAddress = true
    /// A unix socket's path where nobody listens any more (a server was killed) is taken over; one where somebody
    /// answers never is.
    package var replaceStale = true

    package init() {}
}
