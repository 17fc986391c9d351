/// The event loop: what the layers above hold.

import CLinux
import Glibc

/// One thread's sockets, timers and signals, with a completion API: operations are requested, what became of them comes
/// out of `next()`. Nothing calls back.
///
/// ```
/// while running {
///     loop.turn(wait: true)
///     while let completion = loop.next() { handle(completion) }
/// }
/// ```
///
/// Made and driven by one thread, which must live as long as the loop (the kernel ties a ring to it). Identifiers that
/// do not name an open socket are programmer errors and trap, except where a method says otherwise.
package final class EventLoop {
    /// All state, in memory of its own: methods of a class would check exclusivity at run time on every access.
    private let core: UnsafeMutablePointer<LoopCore>
    /// Keeps the simulated kernel alive, if that is the backend.
    private let simulated: SimulatedKernel?

    /// The I/O interface in use and why: `io_uring (single issuer, deferred task run)`, `epoll (asked for)`,
    /// `epoll (io_uring refused: …)`.
    package let backendDescription: String

    /// - Throws: `SystemError` if memory or descriptors are missing, or if io_uring was demanded and is refused; the
    ///   advice then names the likely cause.
    package init(_ configuration: LoopConfiguration) throws(SystemError) {
        simulated = configuration.backend.simulatedKernel
        let core = try LoopCore(configuration)
        backendDescription = core.backend.description
        self.core = .allocate(capacity: 1)
        self.core.initialize(to: core)
    }

    deinit {
        core.deinitialize(count: 1)
        core.deallocate()
    }

    /// The I/O interface in use, without the reason: `io_uring`, `epoll` or `simulation`.
    package var backendName: String { String(backendDescription.prefix { $0 != " " }) }

    // MARK: Clocks

    /// Milliseconds of a clock that never jumps, as of the last `turn`.
    package var now: UInt64 { core.pointee.now }

    /// The same clock at this moment: never behind `now`.
    package var clock: UInt64 { max(now, core.pointee.backend.monotonicMilliseconds()) }

    /// Milliseconds since 1970, UTC, at this moment. It may jump; nothing but time stamps should depend on it.
    package var wallClockMilliseconds: Int64 { core.pointee.backend.wallClockMilliseconds() }

    // MARK: Opening and closing

    /// Opens a listener. Nothing is accepted before `accept(_:)`. Port 0 lets the kernel choose: see
    /// `localAddress(of:)`.
    package func listen(
        _ address: SocketAddress, _ options: ListenOptions = ListenOptions()
    ) throws(SystemError) -> SocketID {
        try core.pointee.listen(address, options)
    }

    /// Takes over a byte source such as standard input: a pipe, terminal, file or socket. `receive` works on it, `send`
    /// does not. Its flags are left alone, since other processes may share them, and a blocking one never makes the
    /// loop wait. Closed by `close` (0, 1 and 2 are replaced by /dev/null).
    package func adopt(descriptor: Int32) throws(SystemError) -> SocketID {
        try core.pointee.adopt(descriptor)
    }

    /// The address a socket is bound to.
    package func localAddress(of socket: SocketID) -> SocketAddress {
        core.pointee.backend.localAddress(core.pointee.sockets.record(socket).pointee.descriptor) ?? .unix(path: "")
    }

    /// Who is at the other end, for people: `127.0.0.1:40312`, `unix (process 123, user 0)`.
    package func peerDescription(of socket: SocketID) -> String {
        core.pointee.backend.peerDescription(core.pointee.sockets.record(socket).pointee.descriptor)
    }

    /// Who is at the other end, for limits; nil where the kernel does not say. One or two system calls.
    package func peer(of socket: SocketID) -> PeerIdentity? {
        core.pointee.backend.peer(core.pointee.sockets.record(socket).pointee.descriptor)
    }

    /// Bytes that were sent and that the peer's side has not taken: on TCP not acknowledged, on unix not read. A system
    /// call; for a socket on which nothing is sent any more.
    package func unsentBytes(_ socket: SocketID) -> Int {
        core.pointee.backend.unsentBytes(core.pointee.sockets.record(socket).pointee.descriptor)
    }

    /// Whether nobody reads at the other end any more, as far as the kernel can tell: a unix peer that closed, a TCP
    /// peer that reset. A system call; for a socket whose stream has ended.
    package func hasHungUp(_ socket: SocketID) -> Bool {
        core.pointee.backend.hasHungUp(core.pointee.sockets.record(socket).pointee.descriptor)
    }

    /// Sets how long the kernel waits for a TCP connection's peer, as `ListenOptions.userTimeoutMilliseconds` does for
    /// all of a listener's; 0 is the system's own patience. A system call.
    package func setUserTimeout(_ socket: SocketID, milliseconds: Int) {
        core.pointee.backend.setUserTimeout(
            core.pointee.sockets.record(socket).pointee.descriptor, milliseconds: milliseconds)
    }

    /// The descriptor behind a socket, for tests of its options.
    func descriptor(of socket: SocketID) -> Int32 {
        core.pointee.sockets.record(socket).pointee.descriptor
    }

    /// Whether an identifier names a socket that has not given its `.closed`.
    package func isOpen(_ socket: SocketID) -> Bool {
        core.pointee.sockets.find(socket.slot, socket.generation) != nil
    }

    /// How many sockets may be open at once: every slot is below this.
    package var capacity: Int { core.pointee.socketsMax }

    /// The slots that have been used so far are those below this: the bound for a walk over tables by slot.
    package var slotsUsed: Int { core.pointee.sockets.slotsUsed }

    /// Sockets that have not given their `.closed`, listeners included.
    package var socketCount: Int { core.pointee.sockets.count }

    /// Ends a socket: its operations are ended, then it is closed, then exactly one `.closed` comes, and nothing else
    /// is reported for it from now on. Bytes being sent must stay valid until then. Its timer is cleared. Closing twice
    /// does nothing, except that `.reset` makes a graceful close still under way a reset.
    package func close(_ socket: SocketID, _ how: CloseMode) {
        core.pointee.close(socket, how)
    }

    /// Ends the write direction, once the send in flight, if any, is over: the peer reads to the end of the stream. To
    /// be called when nothing is left to send; `send` traps afterwards.
    package func finishSending(_ socket: SocketID) {
        core.pointee.finishSending(socket)
    }

    // MARK: Arming

    /// Accepts connections until `pauseAccepting`, an `.accepted` with an error, or `close`.
    package func accept(_ listener: SocketID) {
        core.pointee.arm(listener, listening: true)
    }

    /// Stops accepting; connections accepted by then still come.
    package func pauseAccepting(_ listener: SocketID) {
        core.pointee.disarm(listener, listening: true)
    }

    /// Turns one connection away after an `.accepted` with an error, before the next completion is taken: it is
    /// accepted with a descriptor that the loop keeps for this, told `farewell` (which may be empty) as far as its
    /// socket takes it at once, and closed. False if nobody waits, or there is nothing to accept with even so. What was
    /// accepted already and found no slot is turned away in this place; left alone, it is closed without a word.
    ///
    /// A handful of system calls, none of which waits. Works for a listener that has stopped accepting.
    package func shed(_ listener: SocketID, farewell: Span<UInt8>) -> Bool {
        farewell.withUnsafeBytes { core.pointee.shed(listener, $0) }
    }

    /// Receives until `pauseReceiving`, the end of the stream, an error, or `close`. Already receiving: does nothing.
    package func receive(_ socket: SocketID) {
        core.pointee.arm(socket, listening: false)
    }

    /// Stops receiving. Completions already begun still come: the caller keeps those bytes.
    package func pauseReceiving(_ socket: SocketID) {
        core.pointee.disarm(socket, listening: false)
    }

    /// True exactly when `receive` (`accept` for a listener) is in force.
    package func isReceiving(_ socket: SocketID) -> Bool {
        core.pointee.sockets.record(socket).pointee.flags.contains(.wanted)
    }

    /// True exactly when a send is in flight: its `.sent` (or `.closed`) is still to come.
    package func isSending(_ socket: SocketID) -> Bool {
        core.pointee.sockets.record(socket).pointee.flags.contains(.sending)
    }

    // MARK: Sending

    /// Where the pieces of the next send are gathered.
    package var gather: IOVectorBuffer { core.pointee.gather }

    /// Sends what is in `gather`, at least one byte, as one operation. At most one send per socket is in flight. The
    /// bytes must stay valid and unchanged until the socket's `.sent` or `.closed`; `gather` may be refilled at once.
    package func send(_ socket: SocketID) {
        core.pointee.send(socket)
    }

    /// Says how many sends of one piece come before the next turn: io_uring makes few of them without its queue.
    package func expectSends(_ count: Int) {
        core.pointee.backend.expectSends(count)
    }

    /// Sends one piece of at least one byte. True if the socket took all of it at once: no `.sent` comes, and the bytes
    /// are the caller's again. Else as after `send`. (epoll knows at once; io_uring only where it makes no entry.)
    package func send(_ socket: SocketID, _ bytes: UnsafeRawPointer, count: Int) -> Bool {
        core.pointee.send(socket, bytes, count: count)
    }

    // MARK: Timers

    /// A timer besides the sockets' own. They are not given back.
    package func makeTimer() -> TimerID {
        core.pointee.makeTimer()
    }

    /// Sets a timer, or sets it anew: one `.timer` comes when `now` has reached the deadline, up to one tick later.
    /// - Parameter deadline: milliseconds on `now`'s scale; one that has passed fires in a following turn.
    package func setTimer(_ timer: TimerID, at deadline: UInt64) {
        core.pointee.setTimer(timer, at: deadline)
    }

    /// Clears a timer: no `.timer` comes, even if it was due already.
    package func clearTimer(_ timer: TimerID) {
        core.pointee.timers.clear(timer.rawValue)
    }

    // MARK: Other sources

    /// Makes signals come as `.signal` completions. They are blocked for this thread and those it starts later; a
    /// program with other threads calls this first. Called again, it replaces the set.
    package func watchSignals(_ signals: [Int32]) throws(SystemError) {
        try core.pointee.backend.watchSignals(signals)
    }

    /// The way in from other threads.
    package var wakeup: Wakeup { core.pointee.wakeup }

    // MARK: A turn

    /// Submits what was requested, enters the kernel, and collects what has happened.
    ///
    /// All completions of the previous turn must have been taken.
    /// - Parameter wait: if nothing has happened yet, wait for something, until the next timer at the latest. The
    ///   turn may still come out empty.
    package func turn(wait: Bool) {
        core.pointee.turn(wait: wait)
    }

    /// The turn's completions, one by one; nil ends the turn. What is requested between two calls is submitted by the
    /// next turn. Received bytes are lent until the next call.
    package func next() -> Completion? {
        core.pointee.next()
    }

    /// The turn's next completions, as long as they are `.sent` and everything was taken, many at once: their slots.
    /// Those sockets have been told so; `next()` goes on behind them. Empty where the next completion is another.
    /// The list is lent until the next call.
    package func wholeSends() -> UnsafeBufferPointer<UInt32> {
        core.pointee.wholeSends()
    }

    /// The bytes of a `.received` completion: the last one that `next()` gave, lent until `next()` or `turn` is called
    /// again. They may be changed in place. Empty for every other completion.
    package func bytes(of completion: Completion) -> UnsafeMutableRawBufferPointer {
        core.pointee.bytes(of: completion)
    }

    /// What was counted since the loop was made.
    package var stats: LoopStats { core.pointee.allStats }
}

@available(*, unavailable)
extension EventLoop: Sendable {}
