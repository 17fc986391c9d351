/// An echo server run over many seeded worlds: what goes in comes out, whatever the kernel does.

import Foundation
import Testing

@testable import Reactor

/// One seeded world: a kernel, an echo server on it, and peers that do what the seed says.
struct SimulatedEchoWorld {
    struct Player {
        let peer: SimulatedPeer
        var sent: [UInt8] = []
        var received: [UInt8] = []
        /// What it still means to write.
        var unsent: ArraySlice<UInt8>
        /// Reads seldom, so that the server meets full pipes.
        let isLazy: Bool
        var hasFinished = false
        var isGone = false
    }

    let kernel: SimulatedKernel
    let server: SimulatedEchoServer
    let address = SocketAddress.loopback(port: 7575)
    /// What peers send slices of: making random bytes anew for each would take most of the time.
    static let noise: [UInt8] = {
        var random = SeededRandom(seed: 1)
        return (0..<65_536).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }()

    var random: SeededRandom
    var players: [Player] = []
    let playersMax: Int
    var faults: [String] = []

    init(seed: UInt64, faults: SimulatedFaults, on face: SimulatedFace) throws {
        random = SeededRandom(seed: seed &* 0x9e37_79b9)
        playersMax = random.magnitude(1...31)
        var limits = SimulatedKernel.Limits()
        limits.waitMillisecondsMax = 1_000
        limits.pipeBytes = random.magnitude(128...65_535)
        limits.receiveBufferBytes = random.magnitude(16...4096)
        limits.receiveBufferCount = random.magnitude(1...16)
        kernel = SimulatedKernel(seed: seed, faults: faults, limits: limits)
        var configuration = LoopConfiguration()
        configuration.backend = face.backend(on: kernel)
        configuration.receiveBufferBytes = limits.receiveBufferBytes
        configuration.socketsMax = 64
        server = try SimulatedEchoServer(EventLoop(configuration), at: address)
    }

    /// Random peers for a while, then a healed world in which everything must drain. Says what was wrong.
    mutating func run(steps: Int) -> [String] {
        for _ in 0..<steps {
            act()
            if random.chance(0.7) { server.turn(wait: random.chance(0.2)) }
        }
        kernel.heal()
        drain()
        return faults + server.strays
    }

    private mutating func act() {
        if players.isEmpty || (players.count < playersMax && random.chance(0.08)) {
            if let peer = kernel.connect(to: address) {
                let start = random.below(32_768)
                let bytes = Self.noise[start..<start + random.magnitude(1...32_767)]
                players.append(Player(peer: peer, unsent: bytes, isLazy: random.chance(0.4)))
            }
            return
        }
        let index = random.below(players.count)
        if players[index].isGone { return }
        switch random.below(100) {
        case 0..<45: write(index, max: random.magnitude(1...8192))
        case 45..<90:
            if !players[index].isLazy || random.chance(0.1) { read(index, max: random.magnitude(1...8192)) }
        case 90..<94: finish(index)
        case 94:
            kernel.peerReset(players[index].peer)
            players[index].isGone = true
        case 95:
            kernel.peerClose(players[index].peer)
            players[index].isGone = true
        default: kernel.advance(milliseconds: UInt64(random.magnitude(1...5_000)))
        }
    }

    private mutating func write(_ index: Int, max: Int) {
        guard !players[index].hasFinished else { return }
        let piece = players[index].unsent.prefix(max)
        let taken = kernel.peerWrite(players[index].peer, piece)
        guard taken > 0 else { return }
        players[index].sent += piece.prefix(taken)
        players[index].unsent = players[index].unsent.dropFirst(taken)
    }

    private mutating func read(_ index: Int, max: Int) {
        let bytes = kernel.peerRead(players[index].peer, max: max)
        let start = players[index].received.count
        players[index].received += bytes
        if start + bytes.count > players[index].sent.count
            || !players[index].sent[start..<start + bytes.count].elementsEqual(bytes)
        {
            faults.append("peer \(index) got other bytes than it sent, after \(start)")
        }
    }

    private mutating func finish(_ index: Int) {
        guard !players[index].hasFinished else { return }
        kernel.peerFinish(players[index].peer)
        players[index].hasFinished = true
    }

    private mutating func drain() {
        for _ in 0..<4_000 {
            var isBusy = false
            for index in players.indices where !players[index].isGone {
                write(index, max: .max)
                read(index, max: .max)
                if players[index].unsent.isEmpty || kernel.peerWasReset(players[index].peer) { finish(index) }
                if !kernel.peerAtEnd(players[index].peer) { isBusy = true }
            }
            server.turn(wait: true)
            if !isBusy && server.connectionCount == 0 && kernel.isQuiet { break }
        }
        for (index, player) in players.enumerated() where !player.isGone {
            if !kernel.peerAtEnd(player.peer) { faults.append("peer \(index) never came to its end") }
            if !kernel.peerWasReset(player.peer) && player.received != player.sent {
                faults.append("peer \(index) sent \(player.sent.count) bytes and got \(player.received.count)")
            }
        }
        if server.connectionCount > 0 { faults.append("\(server.connectionCount) connections never closed") }
        if kernel.openDescriptors != 1 { faults.append("\(kernel.openDescriptors) descriptors are open at the end") }
    }
}

@Suite("Echo server in the simulation")
struct SimulatedEchoTests {
    /// 300 unless the environment says otherwise, for longer runs by hand.
    static let seedCount = UInt64(ProcessInfo.processInfo.environment["FANOUT_SIMULATION_SEEDS"] ?? "") ?? 300

    @Test(
        "every byte comes back in order unless the connection was cut, over many seeds",
        arguments: SimulatedFace.allCases)
    func swarm(_ face: SimulatedFace) throws {
        for seed in 0..<Self.seedCount {
            var world = try SimulatedEchoWorld(seed: seed, faults: .swarm(seed: seed), on: face)
            let wrong = world.run(steps: 300)
            #expect(wrong.isEmpty, "seed \(seed)")
        }
    }

    @Test(
        "with faults that cut nothing, no peer is ever reset by the network or by the server",
        arguments: SimulatedFace.allCases)
    func nothingIsCut(_ face: SimulatedFace) throws {
        for seed in 0..<Self.seedCount / 3 {
            var world = try SimulatedEchoWorld(seed: seed, faults: .swarm(seed: seed, cuts: false), on: face)
            let wrong = world.run(steps: 300)
            #expect(wrong.isEmpty, "seed \(seed)")
            for player in world.players where !player.isGone {
                #expect(!world.kernel.peerWasReset(player.peer), "seed \(seed)")
            }
        }
    }

    @Test("the same seed gives the same run, other seeds give others", arguments: SimulatedFace.allCases)
    func determinism(_ face: SimulatedFace) throws {
        var hashes = Set<UInt64>()
        for seed in 0..<40 as Range<UInt64> {
            var first = try SimulatedEchoWorld(seed: seed, faults: .swarm(seed: seed), on: face)
            var second = try SimulatedEchoWorld(seed: seed, faults: .swarm(seed: seed), on: face)
            _ = first.run(steps: 200)
            _ = second.run(steps: 200)
            #expect(first.kernel.trace.hash == second.kernel.trace.hash, "seed \(seed)")
            #expect(first.kernel.now == second.kernel.now, "seed \(seed)")
            hashes.insert(first.kernel.trace.hash)
        }
        #expect(hashes.count == 40)
    }

    @Test(
        "each class of fault really happens when it is the only one", arguments: SimulatedFace.allCases,
        SimulatedFaults.Class.allCases)
    func eachFaultHappens(_ face: SimulatedFace, _ fault: SimulatedFaults.Class) throws {
        var count = 0
        for seed in 0..<40 as Range<UInt64> where seed < 5 || (count == 0 && face.has(fault)) {
            var world = try SimulatedEchoWorld(seed: seed, faults: .only(fault, 0.3), on: face)
            #expect(world.run(steps: 200).isEmpty, "seed \(seed)")
            count += world.kernel.trace.count(of: fault)
            for other in SimulatedFaults.Class.allCases where other != fault {
                #expect(world.kernel.trace.count(of: other) == 0)
            }
        }
        #expect((count > 0) == face.has(fault))
    }

    @Test("the situations that no rate decides occur as well", arguments: SimulatedFace.allCases)
    func sometimes(_ face: SimulatedFace) throws {
        let both: [(name: String, path: KeyPath<SimulatedTrace, Int>)] = [
            ("sends parked", \.sendsParked), ("sends cut short", \.sendsCutShort),
            ("descriptors used again", \.descriptorsReused), ("closes with unread bytes", \.closesWithUnreadBytes),
        ]
        let completions: [(name: String, path: KeyPath<SimulatedTrace, Int>)] = [
            ("sends ended by a shutdown", \.sendsEndedByShutdown), ("buffers exhausted", \.buffersReallyExhausted),
            ("bytes after a cancel", \.receivesAfterCancel), ("completions reordered", \.completionsReordered),
        ]
        let counters = both + (face == .completions ? completions : [("hang-ups with bytes", \.hangUpsWithInput)])
        var sums = [Int](repeating: 0, count: counters.count)
        for seed in 0..<100 as Range<UInt64> {
            var world = try SimulatedEchoWorld(seed: seed, faults: .swarm(seed: seed), on: face)
            _ = world.run(steps: 200)
            for index in counters.indices { sums[index] += world.kernel.trace[keyPath: counters[index].path] }
        }
        for index in counters.indices { #expect(sums[index] > 0, "\(counters[index].name)") }
    }
}
