/// The simulated kernel as the loop sees it.

import Glibc

/// Results are as in Linux. The kernel is strict about the seam's rules: an operation on a descriptor that is closed,
/// that was never attached, or in the name of another socket, is a violation.
extension SimulatedKernel: LoopBackend {
    var description: String { "simulation (seed \(seed))" }

    func monotonicMilliseconds() -> UInt64 { now }

    // MARK: Opening and closing

    func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32 {
        let bound = address.port == 0 ? withEphemeralPort(address) : address
        if listener(at: bound) != nil {
            throw SystemError(errno: EADDRINUSE, operation: "bind", subject: address.description)
        }
        let listener = SimulatedListener(address: bound, backlog: Int(options.backlog))
        let number = allocate(SimulatedDescriptor(.listener(listener)))
        if number < 0 { throw SystemError(errno: -number, operation: "socket", subject: address.description) }
        return number
    }

    func adopt(_ descriptor: Int32) throws(SystemError) {
        guard descriptors.indices.contains(Int(descriptor)), case .source = descriptors[Int(descriptor)]?.kind else {
            throw SystemError(errno: EBADF, operation: "fstat", subject: "descriptor \(descriptor)")
        }
    }

    func attach(_ descriptor: Int32, _ socket: SocketID, plain: Bool) -> Int32 {
        guard let open = open(descriptor, "attached") else { return -EBADF }
        if open.socket != nil { violation("descriptor \(descriptor) was attached twice") }
        if case .connection = open.kind, occurs(.attachRefused) { return -ENOMEM }
        descriptors[Int(descriptor)]?.socket = socket
        return 0
    }

    /// Nothing: the pipe's size is the test's choice (`Limits.pipeBytes`).
    func setSendBuffer(_ descriptor: Int32, bytes: Int) {}

    /// Nothing: a peer that is gone is a fault of its own (`SimulatedFaults`).
    func setUserTimeout(_ descriptor: Int32, milliseconds: Int) {}

    func localAddress(_ descriptor: Int32) -> SocketAddress? {
        switch open(descriptor, "asked for the address of")?.kind {
        case .listener(let listener): listener.address
        case .connection(let connection): connection.serverAddress
        case .source, nil: nil
        }
    }

    func peerDescription(_ descriptor: Int32) -> String {
        open(descriptor, "asked for the peer of")?.connection?.peerName ?? "unknown"
    }

    /// A TCP connection that was reset has no peer any more, as getpeername(2) has it.
    func peer(_ descriptor: Int32) -> PeerIdentity? {
        guard let connection = open(descriptor, "asked for the peer of")?.connection else { return nil }
        return connection.errorForServer != 0 && !connection.isUnix ? nil : connection.peerIdentity
    }

    /// A TCP peer that closed is not known to be gone before it has answered something with a reset.
    func hasHungUp(_ descriptor: Int32) -> Bool {
        guard let connection = open(descriptor, "asked about the peer of")?.connection else { return false }
        return connection.errorForServer != 0 || (connection.isUnix && connection.peerClosed)
    }

    func unsentBytes(_ descriptor: Int32) -> Int {
        open(descriptor, "asked about the send buffer of")?.connection?.toPeer.count ?? 0
    }

    func finishSending(_ descriptor: Int32) {
        guard let open = open(descriptor, "finished sending on") else { return }
        guard case .connection(let connection) = open.kind else {
            return violation("descriptor \(descriptor) is no connection and cannot finish sending")
        }
        if open.send != nil { violation("descriptor \(descriptor) finished sending with a send in flight") }
        connection.serverFinished = true
    }

    /// Answers at random whether the operations end by themselves, as the real backends differ in it.
    func sever(_ descriptor: Int32, reset: Bool) -> Bool {
        guard let open = open(descriptor, "severed") else { return true }
        guard case .connection(let connection) = open.kind else {
            violation("descriptor \(descriptor) is no connection and cannot be severed")
            return false
        }
        connection.serverFinished = true
        connection.serverStoppedReading = true
        descriptors[Int(descriptor)]?.send?.begins = now
        if reset && !connection.isUnix { resetFromServer(connection) }  // unix sockets have no reset to ask for
        return random.chance(0.5)
    }

    func close(_ descriptor: Int32, _ socket: SocketID) {
        guard let open = open(descriptor, "closed") else { return }
        if open.socket != socket { violation("descriptor \(descriptor) was closed in the name of another socket") }
        release(descriptor, open)
    }

    func discard(_ descriptor: Int32) {
        guard let open = open(descriptor, "discarded") else { return }
        if open.socket != nil { violation("descriptor \(descriptor) was discarded although it is attached") }
        release(descriptor, open)
    }

    // MARK: Operations

    func armAccept(_ descriptor: Int32, _ token: Token) {
        guard let open = permitted(descriptor, token, .accept) else { return }
        guard case .listener = open.kind else {
            return violation("an accept on \(descriptor), which does not listen")
        }
        if open.accept.phase != .idle { return violation("a second accept on descriptor \(descriptor)") }
        descriptors[Int(descriptor)]?.accept = .init(phase: .armed, token: token)
    }

    func armReceive(_ descriptor: Int32, _ token: Token) {
        guard let open = permitted(descriptor, token, .receive) else { return }
        guard case .connection = open.kind else {
            return violation("a receive on \(descriptor), which is no connection")
        }
        arm(open, descriptor, token)
    }

    func armRead(_ descriptor: Int32, _ token: Token) {
        guard let open = permitted(descriptor, token, .receive) else { return }
        guard case .source = open.kind else {
            return violation("a read on \(descriptor), which is no byte source")
        }
        arm(open, descriptor, token)
    }

    private func arm(_ open: SimulatedDescriptor, _ descriptor: Int32, _ token: Token) {
        if open.receive.phase != .idle { return violation("a second receive on descriptor \(descriptor)") }
        descriptors[Int(descriptor)]?.receive = .init(phase: .armed, token: token)
    }

    /// A cancellation is an attempt: the operation ends with its own last result, -ECANCELED if nothing else came.
    func cancel(_ descriptor: Int32, _ token: Token) {
        guard let open = open(descriptor, "cancelled on") else { return }
        stats.submissions += 1
        let time = occurs(.completionAfterCancel) ? now + UInt64(random.within(0...1000)) : now
        switch token.operation {
        case .accept where open.accept.phase == .armed:
            descriptors[Int(descriptor)]?.accept.phase = .cancelling(at: time)
        case .receive where open.receive.phase == .armed:
            descriptors[Int(descriptor)]?.receive.phase = .cancelling(at: time)
        case .send:
            descriptors[Int(descriptor)]?.send?.isCancelled = true
            descriptors[Int(descriptor)]?.send?.begins = time
        default:
            break
        }
    }

    func send(_ descriptor: Int32, _ token: Token, _ pieces: IOVectorBuffer) {
        send(descriptor, token, pieces.all)
    }

    func send(_ descriptor: Int32, _ token: Token, _ bytes: UnsafeRawPointer, count: Int) -> Bool {
        send(descriptor, token, [UnsafeRawBufferPointer(start: bytes, count: count)])
        return false
    }

    private func send(_ descriptor: Int32, _ token: Token, _ pieces: [UnsafeRawBufferPointer]) {
        guard let open = permitted(descriptor, token, .send) else { return }
        guard case .connection = open.kind else {
            return violation("a send on \(descriptor), which is no connection")
        }
        if open.send != nil { return violation("a second send on descriptor \(descriptor)") }
        if pieces.allSatisfy(\.isEmpty) { violation("a send of no bytes on descriptor \(descriptor)") }
        var send = SimulatedDescriptor.Send(token: token, pieces: pieces, begins: now)
        if occurs(.delayedCompletion) { send.begins = now + delay() }
        descriptors[Int(descriptor)]?.send = send
    }

    // MARK: Other sources

    func watchSignals(_ signals: [Int32]) throws(SystemError) { watchedSignals = signals }

    /// A new loop begins with this: what an earlier one left behind is its process's, which is gone.
    func watchWakeup(_ channel: WakeupChannel) throws(SystemError) {
        if wakeupChannel != nil { endProcess() }
        wakeupChannel = channel
    }

    // MARK: Receive buffers

    func bytes(of buffer: UInt16) -> UnsafeMutableRawPointer { receiveBuffers.bytes(of: buffer).baseAddress! }

    func recycle(_ buffer: UInt16) {
        if !receiveBuffers.giveBack(buffer) { violation("receive buffer \(buffer) was given back twice") }
    }

    // MARK: Checks

    /// The descriptor, or a violation: whoever names a closed descriptor may hit the next owner of its number.
    func open(_ descriptor: Int32, _ action: String) -> SimulatedDescriptor? {
        guard descriptors.indices.contains(Int(descriptor)), let open = descriptors[Int(descriptor)] else {
            violation("the loop \(action) descriptor \(descriptor), which is not open")
            return nil
        }
        return open
    }

    private func permitted(_ descriptor: Int32, _ token: Token, _ operation: Operation) -> SimulatedDescriptor? {
        stats.submissions += 1
        guard let open = open(descriptor, "began an operation on") else { return nil }
        if token.operation != operation { violation("a token of another operation on descriptor \(descriptor)") }
        if open.socket != SocketID(slot: token.slot, generation: token.generation) {
            violation("an operation on descriptor \(descriptor) in the name of another socket")
        }
        return open
    }
}
