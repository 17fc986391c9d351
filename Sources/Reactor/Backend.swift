/// The seam between the loop and the kernel: what io_uring, epoll and the simulation each do in their own way.

/// A kernel as the loop sees it. The protocol is a reference for implementers and is checked by the compiler; the loop
/// calls through `BackendStorage`, a switch, never through an existential.
///
/// Rules between the loop and a backend:
///
/// 1. **Descriptors** are the backend's names for open sockets (≥ 0). The loop gets them from `openListener`, from
///    results of accepts, and from the caller of `adopt`, and gives each back once with `close` or `discard`. It does
///    nothing else with them.
/// 2. **Tokens** name operations: operation, slot and generation. `accept`, `receive` and `send` operations are begun
///    by the loop with the token that their results carry. At most one of {accept, receive} and at most one send per
///    socket exist at a time, so (slot, operation) is unambiguous.
/// 3. **Every operation begun ends with exactly one raw completion without `more`**; after that the backend has
///    forgotten it. (A send of one piece of which `send` says that all was taken was never begun.)
///    Accept and receive operations may give completions with `more` before (they stay armed). The loop closes a
///    descriptor only when every operation on it has ended, so nothing ever runs on a closed descriptor.
/// 4. **Nothing completes inside the call that begins it.** Results come out of `next()` only, after a later `enter`.
///    (Work may be done at once, its result is kept.)
/// 5. **A receive's bytes are lent**: a completion with a `buffer` keeps that buffer from being refilled until
///    `recycle`. The loop recycles each before it takes the next raw completion that it reports; it holds none when it
///    enters. When bytes wait and no buffer is free, a receive may end with -ENOBUFS: the loop begins it again in a
///    later turn, when all are back.
/// 6. **A send's bytes** stay valid and unchanged until the send's completion, if one comes; the list of pieces itself
///    may be reused as soon as `send` returns.
/// 7. One thread, no reentrance: a backend never calls the loop.
protocol LoopBackend: ~Copyable {
    /// What operators see: the interface, and the reason for it where there is one.
    var description: String { get }

    /// Counts `enters`, `submissions` and `completionQueueOverflows` (and stale events a backend drops by itself).
    var stats: LoopStats { get }

    // MARK: Clocks

    /// Milliseconds of a clock that never jumps. Called a few times per turn.
    func monotonicMilliseconds() -> UInt64

    /// Milliseconds since 1970, UTC.
    func wallClockMilliseconds() -> Int64

    // MARK: Opening and closing (each may be a system call; none waits)

    /// Makes a listening descriptor: socket, options, bind, listen. Accepted connections of a TCP listener inherit
    /// `TCP_NODELAY` and the send buffer. Nothing is armed.
    mutating func openListener(
        _ address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> Int32

    /// Takes over a descriptor that came from outside, of whatever kind: it is only read (`armRead`), never received
    /// from or sent to. Throws if there is no such descriptor or it cannot be read.
    mutating func adopt(_ descriptor: Int32) throws(SystemError)

    /// Tells which slot a descriptor got, before anything is begun on it; `plain` for adopted ones. 0, or -errno: then
    /// the loop discards it.
    mutating func attach(_ descriptor: Int32, _ socket: SocketID, plain: Bool) -> Int32

    /// Sets the send buffer of an accepted connection whose listener's is not inherited (unix). Failure is harmless.
    mutating func setSendBuffer(_ descriptor: Int32, bytes: Int)

    /// Sets how long the kernel waits for a TCP peer (`ListenOptions.userTimeoutMilliseconds`); 0 is its own patience.
    /// Failure is harmless.
    mutating func setUserTimeout(_ descriptor: Int32, milliseconds: Int)

    /// The address a socket is bound to, with the port that the kernel chose; nil where there is none.
    func localAddress(_ descriptor: Int32) -> SocketAddress?

    /// Who is at the other end, for people.
    func peerDescription(_ descriptor: Int32) -> String

    /// Who is at the other end, for limits; nil where the kernel does not say, as of a connection that is broken.
    func peer(_ descriptor: Int32) -> PeerIdentity?

    /// Whether the peer of a unix socket has closed it altogether, or a TCP connection was reset: nobody reads any
    /// more. A TCP peer that only ended its side may still read, so its end of stream says nothing.
    func hasHungUp(_ descriptor: Int32) -> Bool

    /// Bytes that were sent and that the peer's side has not taken: on TCP not acknowledged, on unix not read.
    func unsentBytes(_ descriptor: Int32) -> Int

    /// Ends the write direction (FIN after what was sent). No send is in flight.
    mutating func finishSending(_ descriptor: Int32)

    /// Begins the end of a connection: graceful shuts both directions down, `reset` makes it one that resets the peer
    /// and throws away unsent bytes. True if every operation on the descriptor will now end by itself; else the loop
    /// calls `cancel` for each. Not called for listeners and plain descriptors (their operations are cancelled).
    mutating func sever(_ descriptor: Int32, reset: Bool) -> Bool

    /// Closes a descriptor on which no operation is left, and forgets its slot. Cannot fail.
    mutating func close(_ descriptor: Int32, _ socket: SocketID)

    /// Closes a descriptor that never got a slot.
    mutating func discard(_ descriptor: Int32)

    // MARK: Turning away (a few system calls; none waits)

    /// A descriptor that stands for nothing: giving it back with `discard` makes room for another. -errno if none is
    /// left.
    mutating func openSpare() -> Int32

    /// Accepts a connection that waits already: its descriptor, -EAGAIN if nobody waits, or -errno. No accept is begun
    /// on the listener.
    mutating func acceptWaiting(_ descriptor: Int32) -> Int32

    /// Says some last words (or none) to a connection that never got a slot, and closes it.
    mutating func turnAway(_ descriptor: Int32, _ farewell: UnsafeRawBufferPointer)

    // MARK: Operations (rules 2-4)

    /// Accepts connections until cancelled: each completion's `result` is a new descriptor with `more`, or a last
    /// -errno.
    mutating func armAccept(_ descriptor: Int32, _ token: Token)

    /// Receives from a socket until cancelled: > 0 with a buffer, and `more` if still armed; last 0 (end of stream) or
    /// -errno. May end after any completion without `more`: the loop begins it again while it is wanted.
    mutating func armReceive(_ descriptor: Int32, _ token: Token)

    /// Like `armReceive`, for adopted descriptors; never makes the loop wait, whatever the descriptor is.
    mutating func armRead(_ descriptor: Int32, _ token: Token)

    /// Asks an operation to end; its last completion then has -ECANCELED, or what happened before the request was seen.
    /// Nothing happens for an operation that does not exist (any more).
    mutating func cancel(_ descriptor: Int32, _ token: Token)

    /// Sends the pieces as one operation. One completion: > 0 bytes taken (possibly fewer), 0 if nothing was taken but
    /// the socket can take bytes now, or -errno. A send that cannot begin waits until the socket can take bytes, is
    /// severed or cancelled.
    mutating func send(_ descriptor: Int32, _ token: Token, _ pieces: IOVectorBuffer)

    /// Sends one piece. True if the socket took all of it at once: then no completion comes. False: what `send` says
    /// holds.
    mutating func send(_ descriptor: Int32, _ token: Token, _ bytes: UnsafeRawPointer, count: Int) -> Bool

    // MARK: Other sources

    /// Signals (already blocked by the loop where they are real) that shall complete as `.signal` with their number.
    /// Called again, it replaces the set.
    mutating func watchSignals(_ signals: [Int32]) throws(SystemError)

    /// The channel whose signals shall complete as `.wakeup`: when `take()` on it is true. Called once, before any
    /// turn.
    mutating func watchWakeup(_ channel: WakeupChannel) throws(SystemError)

    // MARK: A turn

    /// Hands over everything begun since the last call and collects what has happened. Waits for something to happen,
    /// at most `timeoutMilliseconds`: 0 does not wait, negative waits without limit. May return early with nothing.
    /// Every raw completion of the previous turn has been taken.
    mutating func enter(timeoutMilliseconds: Int64)

    /// The turn's raw completions, one by one; nil when the turn has no more. What is begun between two calls completes
    /// in later turns, and a turn is bounded whatever the peers do.
    mutating func next() -> RawCompletion?

    /// The next raw completion, if it is one of a send; it stays the next until `skipSend()`.
    func peekSend() -> RawCompletion?

    /// Takes what `peekSend()` gave.
    mutating func skipSend()

    /// The start of a lent buffer.
    func bytes(of buffer: UInt16) -> UnsafeMutableRawPointer

    /// Takes a lent buffer back.
    mutating func recycle(_ buffer: UInt16)

    /// Whether a turn would find raw completions without entering the kernel anew (then the loop does not wait).
    var hasUnreported: Bool { get }
}

extension LoopBackend where Self: ~Copyable {
    /// Takes the next raw completions as long as they are of sends that took everything and of which nothing more is
    /// to be done: those sends are over. Writes their slots, at most `room`, and returns how many.
    mutating func takeWholeSends(
        in sockets: borrowing SocketTable, into slots: UnsafeMutablePointer<UInt32>, room: Int
    ) -> Int {
        var count = 0
        while count < room, let raw = peekSend(),
            let record = sockets.find(raw.token.slot, raw.token.generation),
            record.pointee.flags.isDisjoint(with: [.closing, .finishWanted]),
            raw.result == record.pointee.sendingBytes
        {
            skipSend()
            record.pointee.flags.remove(.sending)
            slots[count] = raw.token.slot
            count &+= 1  // below `room`
        }
        return count
    }
}

/// One result of an operation. 16 bytes, like the kernel's.
struct RawCompletion: BitwiseCopyable {
    let token: Token
    /// A count, a descriptor, a signal number, or -errno.
    let result: Int32
    /// The lent buffer of a receive, if `hasBuffer`.
    let buffer: UInt16
    let hasBuffer: Bool
    /// The operation goes on: further completions will come.
    let more: Bool

    init(_ token: Token, result: Int32, more: Bool = false) {
        self.token = token
        self.result = result
        buffer = 0
        hasBuffer = false
        self.more = more
    }

    init(_ token: Token, result: Int32, more: Bool, buffer: UInt16) {
        self.token = token
        self.result = result
        self.buffer = buffer
        hasBuffer = true
        self.more = more
    }
}

/// The backend of a loop. The payloads are plain pointers, so that switching over it costs no reference counting: the
/// two real ones are structs in memory of their own, as is epoll's over simulated system calls; the simulated kernel is
/// kept alive by the loop.
enum BackendStorage: BitwiseCopyable {
    case uring(UnsafeMutablePointer<UringBackend>)
    case epoll(UnsafeMutablePointer<EpollBackend<LinuxCalls>>)
    case simulatedEpoll(UnsafeMutablePointer<EpollBackend<SimulatedCalls>>)
    case simulated(Unmanaged<SimulatedKernel>)
}
