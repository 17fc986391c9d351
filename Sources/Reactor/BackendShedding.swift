/// Each backend's part in turning connections away: a spare descriptor, an accept that never waits, the last words.

import CLinux
import Glibc

/// What io_uring and epoll have in common here: plain system calls, a few for each connection that is turned away.
extension LinuxSockets {
    /// A descriptor that is good for nothing but to be given up, or -errno.
    static func openSpare() -> Int32 { linux_event_descriptor() }

    /// Closes a connection that nobody knows yet, with some last words. What came in is read and thrown away first:
    /// closing with unread bytes resets the connection, and the words would be lost (RFC 2525, section 2.17). Nothing
    /// waits: a new connection's send buffer is empty, and a peer that writes without end is cut off.
    static func turnAway(_ descriptor: Int32, _ farewell: UnsafeRawBufferPointer) {
        if farewell.count > 0 {
            withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 8) { space in
                for _ in 0..<4 where linux_receive(descriptor, space.baseAddress, space.count) <= 0 { break }
            }
            _ = linux_send(descriptor, farewell.baseAddress, farewell.count)
            _ = linux_shutdown(descriptor, Int32(SHUT_WR))
        }
        _ = linux_close(descriptor)
    }
}

extension UringBackend {
    mutating func openSpare() -> Int32 { LinuxSockets.openSpare() }

    /// The listener is a blocking descriptor, and being readable is a promise that another can take away.
    mutating func acceptWaiting(_ descriptor: Int32) -> Int32 { Int32(clamping: linux_accept_waiting(descriptor)) }

    mutating func turnAway(_ descriptor: Int32, _ farewell: UnsafeRawBufferPointer) {
        LinuxSockets.turnAway(descriptor, farewell)
    }
}

extension EpollBackend {
    mutating func openSpare() -> Int32 { calls.openSpare() }

    mutating func acceptWaiting(_ descriptor: Int32) -> Int32 { calls.acceptWaiting(descriptor) }

    mutating func turnAway(_ descriptor: Int32, _ farewell: UnsafeRawBufferPointer) {
        calls.turnAway(descriptor, farewell)
    }
}

extension LinuxCalls {
    func openSpare() -> Int32 { LinuxSockets.openSpare() }

    func acceptWaiting(_ listener: Int32) -> Int32 { Int32(clamping: linux_accept_waiting(listener)) }

    func turnAway(_ socket: Int32, _ farewell: UnsafeRawBufferPointer) {
        LinuxSockets.turnAway(socket, farewell)
    }
}

extension SimulatedCalls {
    func openSpare() -> Int32 { kernel.openSpare() }

    func acceptWaiting(_ listener: Int32) -> Int32 { kernel.acceptWaiting(listener) }

    func turnAway(_ socket: Int32, _ farewell: UnsafeRawBufferPointer) { kernel.turnAway(socket, farewell) }
}

extension SimulatedKernel {
    /// One of the process's descriptors, like any other; checks for leaks do not count it.
    func openSpare() -> Int32 {
        var spare = SimulatedDescriptor(
            .source(
                SimulatedConnection(
                    peerName: "spare", peerIdentity: nil, serverAddress: .unix(path: "spare"), isUnix: true,
                    bytesToServerMax: 1, bytesToPeerMax: 1)))
        spare.isSpare = true
        return allocate(spare)
    }

    /// Faults that say "no descriptor" are over once one was given up; a real limit still holds.
    func acceptWaiting(_ descriptor: Int32) -> Int32 {
        guard let open = open(descriptor, "accepted on"), case .listener(let listener) = open.kind else {
            violation("an accept on \(descriptor), which does not listen")
            return -EINVAL
        }
        // On a real kernel the two would race for the connection, and the loser would wait for the next one.
        if open.accept.phase != .idle { violation("two accepts on descriptor \(descriptor)") }
        guard let connection = listener.queue.first else { return -EAGAIN }
        let accepted = allocate(SimulatedDescriptor(.connection(connection)))
        if accepted >= 0 { listener.queue.removeFirst() }
        return accepted
    }

    func turnAway(_ descriptor: Int32, _ farewell: UnsafeRawBufferPointer) {
        guard let open = open(descriptor, "turned away"), let connection = open.connection else { return }
        if farewell.count > 0 {
            _ = connection.toServer.read(max: 65_536)
            // A peer that is gone takes nothing, and nobody is told.
            if connection.errorForServer == 0, !connection.peerClosed { _ = connection.toPeer.write(farewell) }
        }
        discard(descriptor)
    }
}

extension BackendStorage {
    func openSpare() -> Int32 {
        switch self {
        case .uring(let it): it.pointee.openSpare()
        case .epoll(let it): it.pointee.openSpare()
        case .simulatedEpoll(let it): it.pointee.openSpare()
        case .simulated(let it): it.takeUnretainedValue().openSpare()
        }
    }

    func acceptWaiting(_ descriptor: Int32) -> Int32 {
        switch self {
        case .uring(let it): it.pointee.acceptWaiting(descriptor)
        case .epoll(let it): it.pointee.acceptWaiting(descriptor)
        case .simulatedEpoll(let it): it.pointee.acceptWaiting(descriptor)
        case .simulated(let it): it.takeUnretainedValue().acceptWaiting(descriptor)
        }
    }

    func turnAway(_ descriptor: Int32, _ farewell: UnsafeRawBufferPointer) {
        switch self {
        case .uring(let it): it.pointee.turnAway(descriptor, farewell)
        case .epoll(let it): it.pointee.turnAway(descriptor, farewell)
        case .simulatedEpoll(let it): it.pointee.turnAway(descriptor, farewell)
        case .simulated(let it): it.takeUnretainedValue().turnAway(descriptor, farewell)
        }
    }
}
