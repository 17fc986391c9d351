/// The choice of a loop's backend, and the calls to it, by a switch.

import Planted

extension BackendStorage {
    /// Makes the backend that a configuration asks for.
    /// - Throws: `SystemError` where it is refused and there is no other to fall back to.
    static func make(_ configuration: LoopConfiguration) throws(SystemError) -> BackendStorage {
        switch configuration.backend {
        case .simulated(let kernel):
            return .simulated(Unmanaged.passUnretained(kernel))
        case .simulatedEpoll(let kernel):
            let made = try EpollBackend(
                SimulatedCalls(kernel), configuration, description: "simulation of epoll (seed \(kernel.seed))")
            let pointer = UnsafeMutablePointer<EpollBackend<SimulatedCalls>>.allocate(capacity: 1)
            pointer.initialize(to: made)
            return .simulatedEpoll(pointer)
        case .epoll:
            return try makeEpoll(configuration, "epoll (asked for)")
        case .uring:
            return try makeUring(configuration)
        case .automatic:
            do {
                return try makeUring(configuration)
            } catch {
                if !UringSetup.mayFallBack(error.errno) { throw error }
                return try makeEpoll(configuration, "epoll (io_uring refused: \(error))")
            }
        }
    }

    private static func makeUring(_ configuration: LoopConfiguration) throws(SystemError) -> BackendStorage {
        let made = try UringBackend(configuration)
        let pointer = UnsafeMutablePointer<UringBackend>.allocate(capacity: 1)
        pointer.initialize(to: made)
        return .uring(pointer)
    }

    private static func makeEpoll(
        _ configuration: LoopConfiguration, _ description: String
    ) throws(SystemError) -> BackendStorage {
        let made = try EpollBackend(LinuxCalls(), configuration, description: description)
        let pointer = UnsafeMutablePointer<EpollBackend<LinuxCalls>>.allocate(capacity: 1)
        pointer.initialize(to: made)
        return .epoll(pointer)
    }
}

extension BackendStorage: LoopBackend {
    var description: String {
        switch self {
        case .uring(let it): it.pointee.description
        case .epoll(let it): it.pointee.description
        case .simulatedEpoll(let it): it.pointee.description
        case .simulated(let it): it.takeUnretainedValue().description
        }
    }

    var stats: LoopStats {
        switch self {
        case .uring(let it): it.pointee.stats
        case .epoll(let it): it.pointee.stats
        case .simulatedEpoll(let it): it.pointee.stats
        case .simulated(let it): it.takeUnretainedValue().stats
        }
    }

    var hasUnreported: Bool {
        switch self {
        case .uring(let it): it.pointee.hasUnreported
        case .epoll(let it): it.pointee.hasUnreported
        case .simulatedEpoll(let it): it.pointee.hasUnreported
        case .simulated(let it): it.takeUnretainedValue().hasUnreported
        }
    }

    func monotonicMilliseconds() -> UInt64 {
        if isPlanted("wallClockInTimer") { return UInt64(clamping: wallClockMilliseconds()) }
        return switch self {
        case .uring(let it): it.pointee.monotonicMilliseconds()
        case .epoll(let it): it.pointee.monotonicMilliseconds()
        case .simulatedEpoll(let it): it.pointee.monotonicMilliseconds()
        case .simulated(let it): it.takeUnretainedValue().monotonicMilliseconds()
        }
    }

    func wallClockMilliseconds() -> Int64 {
        switch self {
        case .uring(let it): it.pointee.wallClockMilliseconds()
        case .epoll(let it): it.pointee.wallClockMilliseconds()
        case .simulatedEpoll(let it): it.pointee.wallClockMilliseconds()
        case .simulated(let it): it.takeUnretainedValue().wallClockMilliseconds()
        }
    }

    func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32 {
        switch self {
        case .uring(let it): try it.pointee.openListener(address, options)
        case .epoll(let it): try it.pointee.openListener(address, options)
        case .simulatedEpoll(let it): try it.pointee.openListener(address, options)
        case .simulated(let it): try it.takeUnretainedValue().openListener(address, options)
        }
    }

    func unsentBytes(_ descriptor: Int32) -> Int {
        switch self {
        case .uring(let it): it.pointee.unsentBytes(descriptor)
        case .epoll(let it): it.pointee.unsentBytes(descriptor)
        case .simulatedEpoll(let it): it.pointee.unsentBytes(descriptor)
        case .simulated(let it): it.takeUnretainedValue().unsentBytes(descriptor)
        }
    }

    func hasHungUp(_ descriptor: Int32) -> Bool {
        switch self {
        case .uring(let it): it.pointee.hasHungUp(descriptor)
        case .epoll(let it): it.pointee.hasHungUp(descriptor)
        case .simulatedEpoll(let it): it.pointee.hasHungUp(descriptor)
        case .simulated(let it): it.takeUnretainedValue().hasHungUp(descriptor)
        }
    }

    func adopt(_ descriptor: Int32) throws(SystemError) {
        switch self {
        case .uring(let it): try it.pointee.adopt(descriptor)
        case .epoll(let it): try it.pointee.adopt(descriptor)
        case .simulatedEpoll(let it): try it.pointee.adopt(descriptor)
        case .simulated(let it): try it.takeUnretainedValue().adopt(descriptor)
        }
    }

    func attach(_ descriptor: Int32, _ socket: SocketID, plain: Bool) -> Int32 {
        switch self {
        case .uring(let it): it.pointee.attach(descriptor, socket, plain: plain)
        case .epoll(let it): it.pointee.attach(descriptor, socket, plain: plain)
        case .simulatedEpoll(let it): it.pointee.attach(descriptor, socket, plain: plain)
        case .simulated(let it): it.takeUnretainedValue().attach(descriptor, socket, plain: plain)
        }
    }

    func setSendBuffer(_ descriptor: Int32, bytes: Int) {
        switch self {
        case .uring(let it): it.pointee.setSendBuffer(descriptor, bytes: bytes)
        case .epoll(let it): it.pointee.setSendBuffer(descriptor, bytes: bytes)
        case .simulatedEpoll(let it): it.pointee.setSendBuffer(descriptor, bytes: bytes)
        case .simulated(let it): it.takeUnretainedValue().setSendBuffer(descriptor, bytes: bytes)
        }
    }

    func setUserTimeout(_ descriptor: Int32, milliseconds: Int) {
        switch self {
        case .uring(let it): it.pointee.setUserTimeout(descriptor, milliseconds: milliseconds)
        case .epoll(let it): it.pointee.setUserTimeout(descriptor, milliseconds: milliseconds)
        case .simulatedEpoll(let it): it.pointee.setUserTimeout(descriptor, milliseconds: milliseconds)
        case .simulated(let it): it.takeUnretainedValue().setUserTimeout(descriptor, milliseconds: milliseconds)
        }
    }

    func localAddress(_ descriptor: Int32) -> SocketAddress? {
        switch self {
        case .uring(let it): it.pointee.localAddress(descriptor)
        case .epoll(let it): it.pointee.localAddress(descriptor)
        case .simulatedEpoll(let it): it.pointee.localAddress(descriptor)
        case .simulated(let it): it.takeUnretainedValue().localAddress(descriptor)
        }
    }

    func peerDescription(_ descriptor: Int32) -> String {
        switch self {
        case .uring(let it): it.pointee.peerDescription(descriptor)
        case .epoll(let it): it.pointee.peerDescription(descriptor)
        case .simulatedEpoll(let it): it.pointee.peerDescription(descriptor)
        case .simulated(let it): it.takeUnretainedValue().peerDescription(descriptor)
        }
    }

    func peer(_ descriptor: Int32) -> PeerIdentity? {
        switch self {
        case .uring(let it): it.pointee.peer(descriptor)
        case .epoll(let it): it.pointee.peer(descriptor)
        case .simulatedEpoll(let it): it.pointee.peer(descriptor)
        case .simulated(let it): it.takeUnretainedValue().peer(descriptor)
        }
    }

    func finishSending(_ descriptor: Int32) {
        switch self {
        case .uring(let it): it.pointee.finishSending(descriptor)
        case .epoll(let it): it.pointee.finishSending(descriptor)
        case .simulatedEpoll(let it): it.pointee.finishSending(descriptor)
        case .simulated(let it): it.takeUnretainedValue().finishSending(descriptor)
        }
    }

    func sever(_ descriptor: Int32, reset: Bool) -> Bool {
        switch self {
        case .uring(let it): it.pointee.sever(descriptor, reset: reset)
        case .epoll(let it): it.pointee.sever(descriptor, reset: reset)
        case .simulatedEpoll(let it): it.pointee.sever(descriptor, reset: reset)
        case .simulated(let it): it.takeUnretainedValue().sever(descriptor, reset: reset)
        }
    }

    func close(_ descriptor: Int32, _ socket: SocketID) {
        switch self {
        case .uring(let it): it.pointee.close(descriptor, socket)
        case .epoll(let it): it.pointee.close(descriptor, socket)
        case .simulatedEpoll(let it): it.pointee.close(descriptor, socket)
        case .simulated(let it): it.takeUnretainedValue().close(descriptor, socket)
        }
    }

    func discard(_ descriptor: Int32) {
        switch self {
        case .uring(let it): it.pointee.discard(descriptor)
        case .epoll(let it): it.pointee.discard(descriptor)
        case .simulatedEpoll(let it): it.pointee.discard(descriptor)
        case .simulated(let it): it.takeUnretainedValue().discard(descriptor)
        }
    }

    func armAccept(_ descriptor: Int32, _ token: Token) {
        switch self {
        case .uring(let it): it.pointee.armAccept(descriptor, token)
        case .epoll(let it): it.pointee.armAccept(descriptor, token)
        case .simulatedEpoll(let it): it.pointee.armAccept(descriptor, token)
        case .simulated(let it): it.takeUnretainedValue().armAccept(descriptor, token)
        }
    }

    func armReceive(_ descriptor: Int32, _ token: Token) {
        switch self {
        case .uring(let it): it.pointee.armReceive(descriptor, token)
        case .epoll(let it): it.pointee.armReceive(descriptor, token)
        case .simulatedEpoll(let it): it.pointee.armReceive(descriptor, token)
        case .simulated(let it): it.takeUnretainedValue().armReceive(descriptor, token)
        }
    }

    func armRead(_ descriptor: Int32, _ token: Token) {
        switch self {
        case .uring(let it): it.pointee.armRead(descriptor, token)
        case .epoll(let it): it.pointee.armRead(descriptor, token)
        case .simulatedEpoll(let it): it.pointee.armRead(descriptor, token)
        case .simulated(let it): it.takeUnretainedValue().armRead(descriptor, token)
        }
    }

    func cancel(_ descriptor: Int32, _ token: Token) {
        switch self {
        case .uring(let it): it.pointee.cancel(descriptor, token)
        case .epoll(let it): it.pointee.cancel(descriptor, token)
        case .simulatedEpoll(let it): it.pointee.cancel(descriptor, token)
        case .simulated(let it): it.takeUnretainedValue().cancel(descriptor, token)
        }
    }

    func send(_ descriptor: Int32, _ token: Token, _ pieces: IOVectorBuffer) {
        switch self {
        case .uring(let it): it.pointee.send(descriptor, token, pieces)
        case .epoll(let it): it.pointee.send(descriptor, token, pieces)
        case .simulatedEpoll(let it): it.pointee.send(descriptor, token, pieces)
        case .simulated(let it): it.takeUnretainedValue().send(descriptor, token, pieces)
        }
    }

    func expectSends(_ count: Int) {
        if case .uring(let it) = self { it.pointee.expectSends(count) }
    }

    // Once for each delivery, as are what it calls: calls of their own would cost.
    @inline(__always)
    func send(_ descriptor: Int32, _ token: Token, _ bytes: UnsafeRawPointer, count: Int) -> Bool {
        switch self {
        case .uring(let it): it.pointee.send(descriptor, token, bytes, count: count)
        case .epoll(let it): it.pointee.send(descriptor, token, bytes, count: count)
        case .simulatedEpoll, .simulated: sendInSimulation(descriptor, token, bytes, count)
        }
    }

    @inline(never)
    private func sendInSimulation(
        _ descriptor: Int32, _ token: Token, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Bool {
        switch self {
        case .simulatedEpoll(let it): it.pointee.send(descriptor, token, bytes, count: count)
        case .simulated(let it): it.takeUnretainedValue().send(descriptor, token, bytes, count: count)
        case .uring, .epoll: false
        }
    }

    func watchSignals(_ signals: [Int32]) throws(SystemError) {
        switch self {
        case .uring(let it): try it.pointee.watchSignals(signals)
        case .epoll(let it): try it.pointee.watchSignals(signals)
        case .simulatedEpoll(let it): try it.pointee.watchSignals(signals)
        case .simulated(let it): try it.takeUnretainedValue().watchSignals(signals)
        }
    }

    func watchWakeup(_ channel: WakeupChannel) throws(SystemError) {
        switch self {
        case .uring(let it): try it.pointee.watchWakeup(channel)
        case .epoll(let it): try it.pointee.watchWakeup(channel)
        case .simulatedEpoll(let it): try it.pointee.watchWakeup(channel)
        case .simulated(let it): try it.takeUnretainedValue().watchWakeup(channel)
        }
    }

    func enter(timeoutMilliseconds: Int64) {
        switch self {
        case .uring(let it): it.pointee.enter(timeoutMilliseconds: timeoutMilliseconds)
        case .epoll(let it): it.pointee.enter(timeoutMilliseconds: timeoutMilliseconds)
        case .simulatedEpoll(let it): it.pointee.enter(timeoutMilliseconds: timeoutMilliseconds)
        case .simulated(let it): it.takeUnretainedValue().enter(timeoutMilliseconds: timeoutMilliseconds)
        }
    }

    func next() -> RawCompletion? {
        switch self {
        case .uring(let it): it.pointee.next()
        case .epoll(let it): it.pointee.next()
        case .simulatedEpoll(let it): it.pointee.next()
        case .simulated(let it): it.takeUnretainedValue().next()
        }
    }

    func peekSend() -> RawCompletion? {
        switch self {
        case .uring(let it): it.pointee.peekSend()
        case .epoll(let it): it.pointee.peekSend()
        case .simulatedEpoll(let it): it.pointee.peekSend()
        case .simulated(let it): it.takeUnretainedValue().peekSend()
        }
    }

    func skipSend() {
        switch self {
        case .uring(let it): it.pointee.skipSend()
        case .epoll(let it): it.pointee.skipSend()
        case .simulatedEpoll(let it): it.pointee.skipSend()
        case .simulated(let it): it.takeUnretainedValue().skipSend()
        }
    }

    // Of the protocol's extension, in one switch for all sends.
    func takeWholeSends(
        in sockets: borrowing SocketTable, into slots: UnsafeMutablePointer<UInt32>, room: Int
    ) -> Int {
        switch self {
        case .uring(let it): return it.pointee.takeWholeSends(in: sockets, into: slots, room: room)
        case .epoll(let it): return it.pointee.takeWholeSends(in: sockets, into: slots, room: room)
        case .simulatedEpoll(let it): return it.pointee.takeWholeSends(in: sockets, into: slots, room: room)
        case .simulated(let it):
            var kernel = it.takeUnretainedValue()
            return kernel.takeWholeSends(in: sockets, into: slots, room: room)
        }
    }

    func bytes(of buffer: UInt16) -> UnsafeMutableRawPointer {
        switch self {
        case .uring(let it): it.pointee.bytes(of: buffer)
        case .epoll(let it): it.pointee.bytes(of: buffer)
        case .simulatedEpoll(let it): it.pointee.bytes(of: buffer)
        case .simulated(let it): it.takeUnretainedValue().bytes(of: buffer)
        }
    }

    func recycle(_ buffer: UInt16) {
        switch self {
        case .uring(let it): it.pointee.recycle(buffer)
        case .epoll(let it): it.pointee.recycle(buffer)
        case .simulatedEpoll(let it): it.pointee.recycle(buffer)
        case .simulated(let it): it.takeUnretainedValue().recycle(buffer)
        }
    }

    /// True exactly when the sockets are a test's, which outlive the loop: descriptors are not the process's.
    var isSimulated: Bool {
        switch self {
        case .uring, .epoll: false
        case .simulatedEpoll, .simulated: true
        }
    }

    /// Frees the backend; a simulated kernel belongs to the test.
    func destroy() {
        switch self {
        case .uring(let it):
            it.deinitialize(count: 1)
            it.deallocate()
        case .epoll(let it):
            it.deinitialize(count: 1)
            it.deallocate()
        case .simulatedEpoll(let it):
            it.deinitialize(count: 1)
            it.deallocate()
        case .simulated:
            break
        }
    }
}
