/// The seam under the epoll backend: the system calls that it makes, Linux's or a simulation's.

import CLinux
import Glibc

/// What `EpollBackend` asks of a kernel. Each call answers what the kernel answers: a result (≥ 0), or -errno. The
/// backend is generic over this and specialised for each: no call goes through an existential.
///
/// Descriptors are never waited for: a socket that has nothing, or takes nothing, answers -EAGAIN. `read` alone may
/// wait, on a descriptor that was adopted and not made nonblocking; the backend reads those when epoll says that they
/// are ready.
protocol EpollCalls {
    // MARK: Clocks

    /// Milliseconds of a clock that never jumps.
    func monotonicMilliseconds() -> UInt64

    /// Milliseconds since 1970, UTC.
    func wallClockMilliseconds() -> Int64

    // MARK: Epoll

    /// epoll_create1(2).
    func epollCreate() -> Int32

    /// epoll_ctl(2).
    func epollControl(
        _ epoll: Int32, _ operation: Int32, _ descriptor: Int32, _ events: UInt32, _ data: UInt64
    ) -> Int32

    /// epoll_wait(2): how many events were written to `into`.
    func epollWait(
        _ epoll: Int32, _ into: UnsafeMutablePointer<epoll_event>, _ capacity: Int32, _ timeoutMilliseconds: Int32
    ) -> Int32

    // MARK: Sockets

    /// A nonblocking listening descriptor, as `LoopBackend.openListener` describes it.
    func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32

    /// accept4(2): a nonblocking descriptor.
    func accept(_ listener: Int32) -> Int64

    /// recv(2): bytes, or 0 at the end of the stream.
    func receive(_ socket: Int32, _ into: UnsafeMutableRawPointer, _ count: Int) -> Int64

    /// recvmsg(2) without room for what comes beside the bytes. `endsEarly`: something did, so that the bytes end
    /// here although more may be there. (It is thrown away.)
    func receiveMessage(
        _ socket: Int32, _ into: UnsafeMutableRawPointer, _ count: Int, _ endsEarly: inout Bool
    ) -> Int64

    /// read(2), for what is not a socket.
    func read(_ descriptor: Int32, _ into: UnsafeMutableRawPointer, _ count: Int) -> Int64

    /// send(2) or sendmsg(2), without SIGPIPE.
    func send(_ socket: Int32, _ pieces: IOVectorBuffer) -> Int64

    /// send(2), without SIGPIPE.
    func send(_ socket: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int64

    /// shutdown(2) with `SHUT_WR` or `SHUT_RDWR`.
    func shutdown(_ socket: Int32, _ how: Int32)

    /// From now on `close` resets the connection (`SO_LINGER` with 0 seconds; unix sockets have no reset).
    func resetOnClose(_ socket: Int32)

    /// As `LoopBackend.openSpare`, `acceptWaiting` and `turnAway` have it.
    func openSpare() -> Int32
    func acceptWaiting(_ listener: Int32) -> Int32
    func turnAway(_ socket: Int32, _ farewell: UnsafeRawBufferPointer)

    /// close(2); the standard descriptors are replaced by /dev/null.
    func close(_ descriptor: Int32)

    /// `SO_SNDBUF`.
    func setSendBuffer(_ socket: Int32, bytes: Int)
    func setUserTimeout(_ socket: Int32, milliseconds: Int)

    /// getsockname(2); nil where there is no address.
    func localAddress(_ socket: Int32) -> SocketAddress?

    /// Who is at the other end, for people.
    func peerDescription(_ socket: Int32) -> String
    func peer(_ socket: Int32) -> PeerIdentity?

    /// `SIOCOUTQ`: bytes that the peer's side has not taken.
    func unsentBytes(_ socket: Int32) -> Int

    /// poll(2) without waiting: `POLLHUP` or `POLLERR`.
    func hasHungUp(_ socket: Int32) -> Bool

    /// Throws unless the descriptor is open for reading.
    func checkReadable(_ descriptor: Int32) throws(SystemError)

    // MARK: Signals and wake-ups

    /// signalfd(2) for a set of signals, new or (`existing` ≥ 0) with its set replaced.
    func signalDescriptor(_ signals: [Int32], existing: Int32) throws(SystemError) -> Int32

    /// The next pending signal's number, or -EAGAIN.
    func nextSignal(_ descriptor: Int32) -> Int32

    /// The descriptor that becomes readable when the channel is signalled.
    func descriptor(of channel: WakeupChannel) -> Int32

    /// Makes that descriptor unreadable again.
    func drain(_ channel: WakeupChannel)
}

/// Linux itself.
struct LinuxCalls: EpollCalls {
    func monotonicMilliseconds() -> UInt64 { linux_monotonic_ms() }
    func wallClockMilliseconds() -> Int64 { linux_wall_clock_ms() }

    func epollCreate() -> Int32 { linux_epoll_create() }

    func epollControl(
        _ epoll: Int32, _ operation: Int32, _ descriptor: Int32, _ events: UInt32, _ data: UInt64
    ) -> Int32 {
        linux_epoll_control(epoll, operation, descriptor, events, data)
    }

    func epollWait(
        _ epoll: Int32, _ into: UnsafeMutablePointer<epoll_event>, _ capacity: Int32, _ timeoutMilliseconds: Int32
    ) -> Int32 {
        linux_epoll_wait(epoll, into, capacity, timeoutMilliseconds)
    }

    func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32 {
        let descriptor = try LinuxSockets.openListener(address, options)
        _ = linux_set_nonblocking(descriptor, 1)
        return descriptor
    }

    func accept(_ listener: Int32) -> Int64 { linux_accept(listener) }

    func receive(_ socket: Int32, _ into: UnsafeMutableRawPointer, _ count: Int) -> Int64 {
        linux_receive(socket, into, count)
    }

    func receiveMessage(
        _ socket: Int32, _ into: UnsafeMutableRawPointer, _ count: Int, _ endsEarly: inout Bool
    ) -> Int64 {
        var isEarly: Int32 = 0
        let outcome = linux_receive_message(socket, into, count, &isEarly)
        endsEarly = isEarly != 0
        return outcome
    }

    func read(_ descriptor: Int32, _ into: UnsafeMutableRawPointer, _ count: Int) -> Int64 {
        linux_read(descriptor, into, count)
    }

    func send(_ socket: Int32, _ pieces: IOVectorBuffer) -> Int64 {
        pieces.count == 1
            ? linux_send(socket, pieces.pieces[0].iov_base, pieces.pieces[0].iov_len)
            : linux_send_pieces(socket, pieces.pieces, pieces.count)
    }

    @inline(__always)
    func send(_ socket: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int64 { linux_send(socket, bytes, count) }

    func shutdown(_ socket: Int32, _ how: Int32) { _ = linux_shutdown(socket, how) }
    func resetOnClose(_ socket: Int32) { _ = linux_reset_on_close(socket) }
    func close(_ descriptor: Int32) { LinuxSockets.close(descriptor) }
    func setSendBuffer(_ socket: Int32, bytes: Int) { LinuxSockets.setSendBuffer(socket, bytes: bytes) }
    func setUserTimeout(_ socket: Int32, milliseconds: Int) {
        LinuxSockets.setUserTimeout(socket, milliseconds: milliseconds)
    }
    func localAddress(_ socket: Int32) -> SocketAddress? { LinuxSockets.localAddress(socket) }
    func peerDescription(_ socket: Int32) -> String { LinuxSockets.peerDescription(socket) }
    func peer(_ socket: Int32) -> PeerIdentity? { LinuxSockets.peer(socket) }
    func unsentBytes(_ socket: Int32) -> Int { Int(linux_unsent_bytes(socket)) }
    func hasHungUp(_ socket: Int32) -> Bool { linux_has_hung_up(socket) != 0 }

    func checkReadable(_ descriptor: Int32) throws(SystemError) { try LinuxSockets.checkReadable(descriptor) }

    func signalDescriptor(_ signals: [Int32], existing: Int32) throws(SystemError) -> Int32 {
        try LinuxSockets.signalDescriptor(signals, existing: existing)
    }

    func nextSignal(_ descriptor: Int32) -> Int32 { linux_next_signal(descriptor) }
    func descriptor(of channel: WakeupChannel) -> Int32 { channel.descriptor }
    func drain(_ channel: WakeupChannel) { channel.drain() }
}
