/// Descriptor numbers, addresses, and what ends do to a simulated connection.

import Glibc

extension SimulatedKernel {
    // MARK: Descriptors

    /// The lowest free number, used again at once, as POSIX wants it: this is what makes stale descriptors dangerous.
    /// -EMFILE if there is none.
    func allocate(_ descriptor: SimulatedDescriptor) -> Int32 {
        let number = descriptors.indices.dropFirst(3).first { descriptors[$0] == nil } ?? descriptors.count
        guard number < limits.descriptorsMax else { return -EMFILE }
        if number == descriptors.count { descriptors.append(nil) }
        if number < descriptorsEverUsed { trace.descriptorsReused += 1 }
        descriptorsEverUsed = max(descriptorsEverUsed, number + 1)
        descriptors[number] = descriptor
        return Int32(number)
    }

    /// close(2): ends nothing that is in the kernel, so nothing may be.
    func release(_ number: Int32, _ descriptor: SimulatedDescriptor) {
        if !descriptor.isIdle {
            violation("descriptor \(number) was closed with an operation in the kernel")
            for pending in results where pending.descriptor == number && pending.completion.hasBuffer {
                recycle(pending.completion.buffer)
            }
            results.removeAll { $0.descriptor == number }
        }
        descriptors[Int(number)] = nil
        switch descriptor.kind {
        case .listener(let listener):
            for connection in listener.queue { resetFromServer(connection) }
        case .connection(let connection):
            connection.serverClosed = true
            connection.serverFinished = true
            if connection.toServer.count > 0 && !connection.resetForPeer {
                trace.closesWithUnreadBytes += 1
                resetFromServer(connection)  // RFC 2525 section 2.17: unread bytes turn the FIN into a reset
            }
        case .source(let connection):
            connection.serverClosed = true
            connection.resetForPeer = true
        }
    }

    /// The process ends, killed or not: the kernel forgets its operations and closes its descriptors, as for any
    /// process. Peers see the end of their streams, or a reset where bytes were unread. What the process was sending
    /// and the kernel had not taken is lost. The loop is not to be used any more; a new one may be made on this kernel.
    /// (Making a new one does this by itself for what the last one left, sources opened before included.)
    package func endProcess() {
        results.removeAll()
        reported.removeAll()
        reportedTaken = 0
        receiveBuffers.giveBackAll()
        for index in descriptors.indices where index > 2 {
            guard var descriptor = descriptors[index] else { continue }
            descriptor.accept.phase = .idle
            descriptor.receive.phase = .idle
            descriptor.send = nil
            release(Int32(index), descriptor)
        }
        watchedSignals.removeAll()
        epoll = nil
        wakeupChannel = nil
        loopDeadline = nil
    }

    // MARK: Resets

    /// The server breaks the connection. What the peer's socket buffer already holds can still be read there.
    func resetFromServer(_ connection: SimulatedConnection) {
        connection.resetForPeer = true
        connection.errorForServer = ECONNRESET
        if !connection.isUnix { loseBytesUnderWay(&connection.toPeer) }
    }

    /// The network breaks the connection: bytes on the way are lost in both directions, both ends are told.
    func cut(_ connection: SimulatedConnection, error: Int32) {
        connection.errorForServer = error
        connection.resetForPeer = true
        connection.toServer.dropTail(keeping: random.within(0...connection.toServer.count))
        connection.toPeer.dropTail(keeping: random.within(0...connection.toPeer.count))
    }

    /// The part of a pipe that had not reached the other end's socket buffer is lost with a reset.
    func loseBytesUnderWay(_ pipe: inout SimulatedPipe) {
        let arrived = pipe.capacity / 2
        if pipe.count > arrived { pipe.dropTail(keeping: random.within(arrived...pipe.count)) }
    }

    // MARK: Addresses

    /// The listener that a connection to this address reaches: the exact address first, then a wildcard on its port.
    func listener(at address: SocketAddress) -> SimulatedListener? {
        func find(_ matches: (SocketAddress) -> Bool) -> SimulatedListener? {
            for descriptor in descriptors {
                if case .listener(let listener) = descriptor?.kind, matches(listener.address) { return listener }
            }
            return nil
        }
        return find { $0 == address } ?? find { Self.isWildcard($0, covering: address) }
    }

    private static func isWildcard(_ bound: SocketAddress, covering address: SocketAddress) -> Bool {
        switch (bound, address) {
        case (.ipv4(0, let port), .ipv4(_, let wanted)): port == wanted
        case (.ipv6(let host, let port), .ipv6(_, let wanted)): host.high == 0 && host.low == 0 && port == wanted
        default: false
        }
    }

    /// The address with the next free port in place of 0.
    func withEphemeralPort(_ address: SocketAddress) -> SocketAddress {
        while true {
            let port = nextEphemeralPort
            nextEphemeralPort = port == .max ? 49_152 : port + 1
            let candidate: SocketAddress =
                switch address {
                case .ipv4(let host, _): .ipv4(host, port: port)
                case .ipv6(let host, _): .ipv6(host, port: port)
                case .unix: address
                }
            if listener(at: candidate) == nil { return candidate }
        }
    }

    // MARK: The wall clock

    /// One second to one year, forward or back.
    func jumpWallClockAtRandom() {
        let seconds = Int64(random.magnitude(1...31_536_000))
        jumpWallClock(milliseconds: random.chance(0.5) ? seconds * 1000 : -seconds * 1000)
    }

    /// Up to 60 s, about as often milliseconds as seconds.
    func delay() -> UInt64 { UInt64(random.magnitude(1...60_000)) }
}
