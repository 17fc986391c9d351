/// What every simulated client does: writes in pieces, reads at its own pace, notices its end.

import Reactor

/// How eagerly a client reads.
enum Pace {
    /// Everything, in every step of the world.
    case eager
    /// Something, when it is its turn.
    case slow
    /// One byte, when it is its turn.
    case crawling
    /// Nothing, once its stream has begun.
    case stalled
}

/// One connection's far end. Subclasses say what it writes and what it makes of what it reads.
class Client {
    /// How the connection ended.
    enum End {
        /// The server ended the stream in order.
        case clean
        /// The connection broke.
        case reset
        /// The client went away itself.
        case own
    }

    unowned let world: World
    let peer: SimulatedPeer
    let name: String
    var random: SeededRandom
    var pace: Pace
    private let firstPace: Pace
    /// Where it came in, for one that goes on in its place.
    var address: SocketAddress?
    /// On a unix socket a reset looks like an end.
    var isUnix = false
    var unsent: [UInt8] = []
    var hasFinished = false
    /// Whether it broke a rule on purpose, so that the server may end it in any way.
    var hasMisbehaved = false
    private(set) var end: End?

    var kernel: SimulatedKernel { world.kernel }
    var isGone: Bool { end != nil }
    /// Whether nothing waits to be written or read.
    var isIdle: Bool {
        !isAwaitingAnswer && unsent.isEmpty && kernel.peerUnread(peer) == 0 && !kernel.peerAtEnd(peer)
    }

    init(_ world: World, _ peer: SimulatedPeer, _ name: String, pace: Pace) {
        self.world = world
        self.peer = peer
        self.name = name
        self.pace = pace
        firstPace = pace
        random = world.random.fork()
    }

    // MARK: For subclasses

    /// Uses bytes that came; throws if they are wrong.
    func take(_ bytes: [UInt8]) throws {}
    /// Whether the stream may end where it stands: not in the middle of something.
    func ended(_ end: End) throws {}
    /// Whether the server has yet to say something.
    var isAwaitingAnswer: Bool { false }
    /// Does something of its own, when it is its turn.
    func perform() {}
    /// Stops doing anything of its own, except what lets it come to an end: the world is healed.
    func settle() {}
    /// What can be said when all is over and the truth is known.
    func judge(_ truth: Truth) throws {}

    // MARK: Common

    final func act() {
        guard !isGone else { return }
        perform()
        guard !isGone else { return }
        write(pace == .crawling ? 1 : random.length(upTo: max(1, unsent.count)))
        switch pace {
        case .eager: break
        case .slow: read(random.magnitude(1...511))
        case .crawling: read(1)
        case .stalled: break
        }
    }

    /// What it does in every step, whether it is its turn or not.
    final func attend() {
        guard !isGone, pace == .eager else { return }
        if random.chance(0.5) { write(unsent.count) }
        read(.max)
    }

    final func write(_ bytesMax: Int) {
        guard !unsent.isEmpty, !hasFinished, !isGone else { return }
        let taken = kernel.peerWrite(peer, unsent.prefix(bytesMax))
        if taken >= 0 { unsent.removeFirst(taken) } else { unsent = [] }
    }

    final func read(_ bytesMax: Int) {
        guard !isGone else { return }
        let bytes = kernel.peerRead(peer, max: bytesMax)
        attempt { if !bytes.isEmpty { try take(bytes) } }
        guard !isGone, kernel.peerAtEnd(peer) else { return }
        let how: End = kernel.peerWasReset(peer) ? .reset : .clean
        end = how
        kernel.peerClose(peer)
        attempt { try ended(how) }
    }

    final func finish() {
        guard !hasFinished, !isGone else { return }
        hasFinished = true
        kernel.peerFinish(peer)
    }

    final func leave(reset: Bool) {
        guard !isGone else { return }
        end = .own
        if reset { kernel.peerReset(peer) } else { kernel.peerClose(peer) }
    }

    /// Whether the server may have broken the connection off although the client sees an orderly end: a unix socket
    /// tells no difference, and who was turned away for want of a descriptor may be closed without a word.
    func mayBeBrokenOff(isSilent: Bool) -> Bool {
        if isSilent, world.plan.isTight { return true }
        return isUnix && (!(world.plan.isCalm && pace == .eager) || world.plan.memoryMax != nil && firstPace != .eager)
    }

    private func attempt(_ body: () throws -> Void) {
        do { try body() } catch {
            world.fail("\(name): \(error)")
            leave(reset: true)
        }
    }
}
