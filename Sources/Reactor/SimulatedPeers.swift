/// The simulated kernel as the test sees it.

import Glibc

/// The other end of a simulated connection, in the test's hands. Numbers are not used again.
package struct SimulatedPeer: Hashable, BitwiseCopyable, Sendable {
    /// Counts from 0 in the order in which connections were made.
    package let index: Int
}

/// What the test does: it plays all peers. Every call takes effect at once; the loop hears of it in its turns.
extension SimulatedKernel {
    /// Connects to the listener at `address`; nil if there is none or its backlog is full (ECONNREFUSED, EAGAIN). The
    /// peer may write at once: like in Linux, the connection stands before the server accepts it.
    ///
    /// It comes from 127.0.0.1 or from user 0, unless `identity` says otherwise; `sourceLabel` is for people.
    package func connect(
        to address: SocketAddress, sourceLabel: String = "", from identity: PeerIdentity? = nil
    ) -> SimulatedPeer? {
        guard let listener = listener(at: address), listener.queue.count < listener.backlog else { return nil }
        var isUnix = false
        if case .unix = listener.address { isUnix = true }
        let peer = SimulatedPeer(index: connections.count)
        let name = sourceLabel.isEmpty ? identity?.description ?? "peer \(peer.index)" : sourceLabel
        let port = UInt16(32_768 + peer.index % 28_232)  // where Linux takes a client's port from
        let usual = isUnix ? PeerIdentity.process(Int32(peer.index), user: 0) : .address(.loopback(port: port))
        listener.queue.append(
            makeConnection(
                name: name, identity: identity ?? usual, serverAddress: listener.address, isUnix: isUnix))
        listener.arrivals += 1
        return peer
    }

    /// A byte source such as standard input: a descriptor for `EventLoop.adopt`, and the end to write to.
    package func openSource(label: String = "standard input") -> (descriptor: Int32, peer: SimulatedPeer) {
        let peer = SimulatedPeer(index: connections.count)
        let connection = makeConnection(
            name: label, identity: nil, serverAddress: .unix(path: label), isUnix: true)
        let number = allocate(SimulatedDescriptor(.source(connection)))
        precondition(number >= 0, "the simulated process has no descriptor left")
        return (number, peer)
    }

    private func makeConnection(
        name: String, identity: PeerIdentity?, serverAddress: SocketAddress, isUnix: Bool
    ) -> SimulatedConnection {
        var sizes = (limits.pipeBytes, limits.pipeBytes)
        if occurs(.tinyPipe) { sizes = (random.within(64...512), random.within(64...512)) }
        let connection = SimulatedConnection(
            peerName: name, peerIdentity: identity, serverAddress: serverAddress, isUnix: isUnix,
            bytesToServerMax: sizes.0, bytesToPeerMax: sizes.1)
        connection.isWritableWithAnyRoom = limits.writableWithAnyRoom
        connections.append(connection)
        return connection
    }

    /// From now on no fault cuts this connection or refuses its sends: for a peer whose account of what happened the
    /// test relies on. Delays, short sends and the rest go on.
    package func spare(_ peer: SimulatedPeer) { connections[peer.index].isSpared = true }

    /// Writes as many of the bytes as fit: 0 if none do. -ECONNRESET or -EPIPE if the connection is broken or the
    /// server has closed it.
    @discardableResult
    package func peerWrite(_ peer: SimulatedPeer, _ bytes: some Collection<UInt8>) -> Int {
        let connection = connections[peer.index]
        precondition(!connection.peerFinished && !connection.peerClosed, "the peer has finished and cannot write")
        if connection.resetForPeer { return Int(-ECONNRESET) }
        if connection.serverClosed {  // TCP answers bytes to a closed socket with a reset
            connection.resetForPeer = true
            return Int(-EPIPE)
        }
        return Array(bytes).withUnsafeBytes { connection.toServer.write($0) }
    }

    /// How many bytes `peerWrite` would take now.
    package func peerRoom(_ peer: SimulatedPeer) -> Int { connections[peer.index].toServer.room }

    /// Up to `max` of the bytes that have come from the server. What arrived before a reset can still be read.
    package func peerRead(_ peer: SimulatedPeer, max: Int = .max) -> [UInt8] {
        let connection = connections[peer.index]
        precondition(!connection.peerClosed, "the peer has closed and cannot read")
        return connection.toPeer.read(max: max)
    }

    /// How many bytes `peerRead` could give now.
    package func peerUnread(_ peer: SimulatedPeer) -> Int { connections[peer.index].toPeer.count }

    /// True exactly when the peer has read everything and nothing will follow, whether by FIN or by reset.
    package func peerAtEnd(_ peer: SimulatedPeer) -> Bool {
        let connection = connections[peer.index]
        return connection.toPeer.count == 0 && (connection.serverFinished || connection.resetForPeer)
    }

    /// True exactly when the connection broke, from the peer's point of view.
    package func peerWasReset(_ peer: SimulatedPeer) -> Bool { connections[peer.index].resetForPeer }

    /// True exactly when the server has closed its descriptor.
    package func serverHasClosed(_ peer: SimulatedPeer) -> Bool { connections[peer.index].serverClosed }

    /// The peer will write no more (FIN); it still reads.
    package func peerFinish(_ peer: SimulatedPeer) { connections[peer.index].peerFinished = true }

    /// The peer breaks the connection (RST).
    package func peerReset(_ peer: SimulatedPeer) {
        let connection = connections[peer.index]
        connection.peerClosed = true
        connection.peerFinished = true
        connection.resetForPeer = true
        if connection.errorForServer == 0 { connection.errorForServer = ECONNRESET }
        if !connection.isUnix { loseBytesUnderWay(&connection.toServer) }
        connection.toPeer.dropTail(keeping: 0)
    }

    /// The peer closes. With bytes it has not read this is a reset; else the server sees the end of the stream, and
    /// what it sends then is answered with a reset.
    package func peerClose(_ peer: SimulatedPeer) {
        let connection = connections[peer.index]
        guard !connection.peerClosed else { return }
        if connection.toPeer.count > 0 { return peerReset(peer) }
        connection.peerClosed = true
        connection.peerFinished = true
    }
}
