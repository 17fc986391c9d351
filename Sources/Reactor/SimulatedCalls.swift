/// Linux's calls on sockets, played by the simulated kernel for the epoll backend.

import CLinux
import Glibc

/// The system calls of the process that a simulated kernel runs.
struct SimulatedCalls: EpollCalls {
    let kernel: SimulatedKernel

    init(_ kernel: SimulatedKernel) { self.kernel = kernel }

    func monotonicMilliseconds() -> UInt64 { kernel.now }
    func wallClockMilliseconds() -> Int64 { kernel.wallClockMilliseconds() }

    func epollCreate() -> Int32 { kernel.epollCreate() }

    func epollControl(
        _ epoll: Int32, _ operation: Int32, _ descriptor: Int32, _ events: UInt32, _ data: UInt64
    ) -> Int32 {
        kernel.epollControl(epoll, operation, descriptor, events, data)
    }

    func epollWait(
        _ epoll: Int32, _ into: UnsafeMutablePointer<epoll_event>, _ capacity: Int32, _ timeoutMilliseconds: Int32
    ) -> Int32 {
        kernel.epollWait(epoll, into, capacity, timeoutMilliseconds)
    }

    func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32 {
        try kernel.openListener(address, options)
    }

    func accept(_ listener: Int32) -> Int64 { kernel.traced(listener, Int64(kernel.acceptNow(listener))) }

    func receive(_ socket: Int32, _ into: UnsafeMutableRawPointer, _ count: Int) -> Int64 {
        var endsEarly = false
        return receiveMessage(socket, into, count, &endsEarly)
    }

    func receiveMessage(
        _ socket: Int32, _ into: UnsafeMutableRawPointer, _ count: Int, _ endsEarly: inout Bool
    ) -> Int64 {
        let space = UnsafeMutableRawBufferPointer(start: into, count: count)
        return kernel.traced(socket, Int64(kernel.receiveNow(socket, into: space, &endsEarly)), space)
    }

    func read(_ descriptor: Int32, _ into: UnsafeMutableRawPointer, _ count: Int) -> Int64 {
        let space = UnsafeMutableRawBufferPointer(start: into, count: count)
        return kernel.traced(descriptor, Int64(kernel.readNow(descriptor, into: space)), space)
    }

    func send(_ socket: Int32, _ pieces: IOVectorBuffer) -> Int64 {
        kernel.traced(socket, Int64(kernel.sendNow(socket, pieces.all)))
    }

    func send(_ socket: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int64 {
        let outcome = kernel.sendNow(socket, [UnsafeRawBufferPointer(start: bytes, count: count)])
        // What was taken whole is the caller's again at once.
        if outcome == count { kernel.epoll?.sent.removeLast() }
        return kernel.traced(socket, Int64(outcome))
    }

    func shutdown(_ socket: Int32, _ how: Int32) {
        guard case .connection(let connection) = kernel.open(socket, "shut down")?.kind else {
            return kernel.violation("a shutdown of \(socket), which is no connection")
        }
        connection.serverFinished = true
        if how == Int32(SHUT_RDWR) { connection.serverStoppedReading = true }
    }

    func resetOnClose(_ socket: Int32) {
        guard case .connection(let connection) = kernel.open(socket, "set an option of")?.kind else {
            return kernel.violation("a reset of \(socket), which is no connection")
        }
        connection.resetsOnClose = true
    }

    func close(_ descriptor: Int32) { kernel.closeNow(descriptor) }

    /// Nothing: the pipe's size is the test's choice (`Limits.pipeBytes`).
    func setSendBuffer(_ socket: Int32, bytes: Int) {}
    func setUserTimeout(_ socket: Int32, milliseconds: Int) {}
    func localAddress(_ socket: Int32) -> SocketAddress? { kernel.localAddress(socket) }
    func peerDescription(_ socket: Int32) -> String { kernel.peerDescription(socket) }
    func peer(_ socket: Int32) -> PeerIdentity? { kernel.peer(socket) }
    func unsentBytes(_ socket: Int32) -> Int { kernel.unsentBytes(socket) }
    func hasHungUp(_ socket: Int32) -> Bool { kernel.hasHungUp(socket) }
    func checkReadable(_ descriptor: Int32) throws(SystemError) { try kernel.adopt(descriptor) }

    func signalDescriptor(_ signals: [Int32], existing: Int32) throws(SystemError) -> Int32 {
        kernel.watchedSignals = signals
        return SimulatedEpoll.signalDescriptor
    }

    func nextSignal(_ descriptor: Int32) -> Int32 {
        guard let first = kernel.epoll?.pendingSignals.first else { return -EAGAIN }
        kernel.epoll?.pendingSignals.removeFirst()
        return first
    }

    func descriptor(of channel: WakeupChannel) -> Int32 {
        kernel.wakeupChannel = channel
        return SimulatedEpoll.wakeupDescriptor
    }

    /// Nothing to empty: epoll looks at the channel itself.
    func drain(_ channel: WakeupChannel) {}
}

extension SimulatedKernel {
    // MARK: Accepting

    fileprivate func acceptNow(_ number: Int32) -> Int32 {
        guard case .listener(let listener) = open(number, "accepted on")?.kind else {
            violation("an accept on \(number), which does not listen")
            return -EINVAL
        }
        guard let connection = listener.queue.first else { return -EAGAIN }
        if occurs(.interruptedOperation) { return -EINTR }
        if occurs(.acceptOutOfDescriptors) { return random.chance(0.5) ? -EMFILE : -ENFILE }
        if occurs(.acceptNotPermitted) { return -EPERM }
        if occurs(.acceptNoMemory) { return random.chance(0.5) ? -ENOBUFS : -ENOMEM }
        if occurs(.acceptAborted) {
            listener.queue.removeFirst()
            connection.resetForPeer = true
            return -ECONNABORTED
        }
        let accepted = allocate(SimulatedDescriptor(.connection(connection)))
        if accepted < 0 { return accepted }
        listener.queue.removeFirst()
        if occurs(.acceptedPeerGone) { cut(connection, error: ECONNRESET) }
        return accepted
    }

    // MARK: Receiving

    /// A short read leaves bytes behind of which no event will tell, if the loop can know: on TCP it ended before an
    /// urgent byte, of which an event told, or will if it came after the last one; on a unix socket behind a passed
    /// descriptor, which is told by `endsEarly`.
    fileprivate func receiveNow(
        _ number: Int32, into space: UnsafeMutableRawBufferPointer, _ endsEarly: inout Bool
    ) -> Int {
        guard case .connection(let connection) = open(number, "received on")?.kind else {
            violation("a receive on \(number), which is no connection")
            return Int(-ENOTSOCK)
        }
        if connection.errorForServer == 0, !connection.isSpared {
            if occurs(.receiveReset) { cut(connection, error: ECONNRESET) }
            if occurs(.receiveTimedOut) { cut(connection, error: ETIMEDOUT) }
        }
        guard connection.toServer.count > 0 else {
            if connection.errorForServer != 0 { return Int(-connection.errorForServer) }
            return connection.isReadable ? 0 : Int(-EAGAIN)
        }
        if occurs(.interruptedOperation) { return Int(-EINTR) }
        let there = connection.toServer.count
        let count = fill(space, from: connection)
        let isPartial = count < min(space.count, there)
        if connection.isUnix {
            endsEarly = isPartial
        } else if isPartial != connection.hasUrgentByte {
            connection.hasUrgentByte = isPartial
            if isPartial { owe(number) }
        }
        return count
    }

    /// A read of a source that has nothing would stop the process until it has.
    fileprivate func readNow(_ number: Int32, into space: UnsafeMutableRawBufferPointer) -> Int {
        guard case .source(let connection) = open(number, "read from")?.kind else {
            violation("a read on \(number), which is no byte source")
            return Int(-EINVAL)
        }
        guard connection.toServer.count > 0 else {
            if !connection.peerFinished { violation("a read of \(number), which has nothing, and waits for ever") }
            return 0
        }
        if occurs(.interruptedOperation) { return Int(-EINTR) }
        return fill(space, from: connection)
    }

    private func fill(
        _ space: UnsafeMutableRawBufferPointer, from connection: SimulatedConnection
    ) -> Int {
        epoll?.poisonLent()
        var count = min(space.count, connection.toServer.count)
        if count > 1 && occurs(.partialReceive) { count = random.length(upTo: count - 1) }
        memset(space.baseAddress!, Int32(SimulatedReceiveBuffers.poison), space.count)
        let moved = connection.toServer.read(into: UnsafeMutableRawBufferPointer(rebasing: space[..<count]))
        epoll?.lent = UnsafeMutableRawBufferPointer(rebasing: space[..<moved])
        return moved
    }

    // MARK: Sending

    fileprivate func sendNow(_ number: Int32, _ pieces: [UnsafeRawBufferPointer]) -> Int {
        guard case .connection(let connection) = open(number, "sent on")?.kind else {
            violation("a send on \(number), which is no connection")
            return Int(-ENOTSOCK)
        }
        if pieces.allSatisfy(\.isEmpty) { violation("a send of no bytes on descriptor \(number)") }
        let send = SimulatedDescriptor.Send(
            token: Token(rawValue: UInt64(UInt32(bitPattern: number))),
            pieces: pieces, begins: now)
        epoll?.sent.append(send)
        if !connection.serverFinished && connection.errorForServer == 0 && !connection.isSpared
            && occurs(.sendReset)
        {
            cut(connection, error: ECONNRESET)
        }
        if let error = errorForSend(send, connection) { return Int(-error) }
        if connection.peerClosed {
            // TCP takes the bytes; the answer to them is a reset.
            connection.errorForServer = ECONNRESET
            return send.byteCount
        }
        if !connection.isSpared && occurs(.sendNoMemory) { return Int(random.chance(0.5) ? -ENOBUFS : -ENOMEM) }
        if occurs(.interruptedOperation) { return Int(-EINTR) }
        if connection.toPeer.room == 0 {
            trace.sendsParked += 1
            return Int(-EAGAIN)
        }
        if occurs(.sendTakesNothing) {
            // The kernel had no memory for it, and says so when it has.
            owe(number)
            return Int(-EAGAIN)
        }
        return take(send, into: connection)
    }

    // MARK: Closing

    fileprivate func closeNow(_ number: Int32) {
        if number >= SimulatedEpoll.wakeupDescriptor {
            if epoll?.descriptor == number { epoll = nil }
            return
        }
        guard let open = open(number, "closed") else { return }
        forgetInterest(number, open)
        if case .connection(let connection) = open.kind, connection.resetsOnClose, !connection.isUnix {
            resetFromServer(connection)
        }
        release(number, open)
    }

    // MARK: The trace

    /// Notes what a call gave; for receives, which bytes.
    fileprivate func traced(_ number: Int32, _ result: Int64, _ space: UnsafeMutableRawBufferPointer? = nil) -> Int64 {
        epoll?.callsSinceWait += 1
        trace.noteCall(number, result, at: now)
        if let space, result > 0 {
            trace.mix(UnsafeRawBufferPointer(rebasing: space[..<Int(result)]))
            trace.bytesReceived += Int(result)
        }
        return result
    }
}
