/// Somebody who talks to a server with a database, over as many connections as it takes.

import Reactor

/// A client that outlives its connections, and the server's lives. Subclasses say what it writes and what it makes of
/// what it reads.
class StoredClient {
    unowned let world: StoredWorld
    let name: String
    var random: SeededRandom
    private(set) var peer: SimulatedPeer?
    var unsent: [UInt8] = []
    /// The life in which it connected.
    private(set) var life = 0
    private let pace: Pace
    private(set) var isSettled = false
    /// Whether it is done with everything and comes back no more.
    var isDone = false

    var kernel: SimulatedKernel { world.kernel }

    init(_ world: StoredWorld, _ name: String) {
        self.world = world
        self.name = name
        random = world.random.fork()
        pace = random.chance(0.6) ? .eager : random.pick([.slow, .crawling, .stalled])
    }

    // MARK: For subclasses

    /// Where it connects to; nil when it does not want to.
    func address() -> SocketAddress? { nil }
    /// It is connected: says what it has to say first.
    func connected() {}
    /// Uses bytes that came; throws if they are wrong.
    func take(_ bytes: [UInt8]) throws {}
    /// The connection is over, in order or not.
    func disconnected(isReset: Bool) throws {}
    /// Does something of its own.
    func perform() {}
    /// Whether it waits for something that must come.
    var isWaiting: Bool { false }

    // MARK: Common

    final func act() {
        attempt {
            if peer == nil { connect() }
            guard let peer else { return }
            perform()
            if self.peer == nil { return }
            let isEager = isSettled || pace == .eager
            write(isEager ? .max : random.length(upTo: max(1, unsent.count)))
            if isEager { return try read(peer, .max) }
            switch pace {
            case .crawling: try read(peer, random.magnitude(1...31))
            case .stalled: if random.chance(0.03) { try read(peer, .max) }
            default: if random.chance(0.4) { try read(peer, random.magnitude(1...2047)) }
            }
        }
    }

    private func connect() {
        guard !isDone, isSettled || random.chance(0.3), let address = address(), let peer = kernel.connect(to: address)
        else { return }
        self.peer = peer
        life = world.life.number
        unsent = []
        connected()
    }

    private func write(_ bytesMax: Int) {
        guard let peer, !unsent.isEmpty else { return }
        let taken = kernel.peerWrite(peer, unsent.prefix(bytesMax))
        if taken >= 0 { unsent.removeFirst(taken) } else { unsent = [] }
    }

    private func read(_ peer: SimulatedPeer, _ bytesMax: Int) throws {
        let bytes = kernel.peerRead(peer, max: bytesMax)
        if !bytes.isEmpty { try take(bytes) }
        guard self.peer == peer, kernel.peerAtEnd(peer) else { return }
        let isReset = kernel.peerWasReset(peer)
        kernel.peerClose(peer)
        self.peer = nil
        try disconnected(isReset: isReset)
    }

    /// Goes away by itself.
    final func leave() throws {
        guard let peer else { return }
        if random.chance(0.5) { kernel.peerReset(peer) } else { kernel.peerClose(peer) }
        self.peer = nil
        try disconnected(isReset: true)
    }

    /// From now on it reads and writes all it can.
    func settle() { isSettled = true }

    final func attempt(_ body: () throws -> Void) {
        do { try body() } catch { world.fail("\(name): \(error)") }
    }
}
