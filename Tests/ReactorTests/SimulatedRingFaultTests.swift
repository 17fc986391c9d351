/// What a ring does now and then, in the simulation: results of former sockets, results that come late.

import Testing

@testable import Reactor

@Suite("Faults of the ring in the simulation")
struct SimulatedRingFaultTests {
    private let address = SocketAddress.loopback(port: 7575)

    /// A loop with this many connections, all receiving, whose slots have been used before.
    private func connected(
        _ count: Int, _ kernel: SimulatedKernel
    ) throws -> (loop: EventLoop, pairs: [(socket: SocketID, peer: SimulatedPeer)]) {
        var configuration = LoopConfiguration()
        configuration.backend = .simulated(kernel)
        configuration.socketsMax = 64
        let loop = try EventLoop(configuration)
        let listener = try loop.listen(address, ListenOptions())
        loop.accept(listener)
        var pairs: [(socket: SocketID, peer: SimulatedPeer)] = []
        for round in 0..<2 {
            pairs = []
            for _ in 0..<count {
                let peer = try #require(kernel.connect(to: address))
                var accepted: SocketID?
                while accepted == nil { take(loop) { if $0.kind == .accepted { accepted = $0.accepted } } }
                pairs.append((try #require(accepted), peer))
            }
            for pair in pairs { if round == 0 { loop.close(pair.socket, .reset) } else { loop.receive(pair.socket) } }
            while round == 0, loop.socketCount > 1 { take(loop) }
        }
        return (loop, pairs)
    }

    private func take(_ loop: EventLoop, wait: Bool = false, _ handle: (Completion) -> Void = { _ in }) {
        loop.turn(wait: wait)
        while let completion = loop.next() { handle(completion) }
    }

    @Test("a result for the socket that had the slot before is counted, and nothing else comes of it")
    func stale() throws {
        let kernel = SimulatedKernel(seed: 3)
        let (loop, pairs) = try connected(4, kernel)
        kernel.faults = .only(.staleCompletion, 1)
        for _ in 0..<100 { take(loop) { Issue.record("\($0.kind) came of it") } }
        #expect(kernel.trace.count(of: .staleCompletion) == 100)
        #expect(loop.stats.staleCompletions == 100)
        // Nobody was disarmed, and no buffer is missing.
        for pair in pairs { kernel.peerWrite(pair.peer, [7]) }
        var got: Set<SocketID> = []
        for _ in 0..<100 { take(loop) { if $0.kind == .received { got.insert($0.socket) } } }
        #expect(got == Set(pairs.map(\.socket)))
    }

    @Test("what finds no place in the completion queue comes later, all of it, in order for each socket")
    func overflow() throws {
        // Buffers for all that may be kept aside.
        var limits = SimulatedKernel.Limits()
        limits.receiveBufferCount = 1000
        limits.receiveBufferBytes = 64
        let kernel = SimulatedKernel(seed: 5, limits: limits)
        let (loop, pairs) = try connected(10, kernel)
        kernel.faults = .only(.completionQueueOverflow, 0.7)
        let began = kernel.now
        var got: [SocketID: [UInt8]] = [:]
        let collect: (Completion) -> Void = {
            if $0.kind == .received { got[$0.socket, default: []] += loop.bytes(of: $0) }
        }
        for round in 0..<30 as Range<UInt8> {
            for pair in pairs { kernel.peerWrite(pair.peer, [round]) }
            take(loop, collect)
        }
        for _ in 0..<2000 where got.values.reduce(0, { $0 + $1.count }) < 300 { take(loop, wait: true, collect) }
        for pair in pairs { #expect(got[pair.socket] == Array(0..<30)) }
        #expect(loop.stats.completionQueueOverflows > 0)
        #expect(Int(loop.stats.completionQueueOverflows) == kernel.trace.count(of: .completionQueueOverflow))
        #expect(kernel.now > began)
    }

    @Test("a result behind a late one of its own operation does not make the clock stand still")
    func lateOrder() throws {
        let kernel = SimulatedKernel(seed: 9)
        let (loop, pairs) = try connected(1, kernel)
        kernel.faults = .only(.delayedCompletion, 0.5)
        var got: [UInt8] = []
        let collect: (Completion) -> Void = { if $0.kind == .received { got += loop.bytes(of: $0) } }
        for round in 0..<50 as Range<UInt8> {
            kernel.peerWrite(pairs[0].peer, [round])
            take(loop, collect)
        }
        for _ in 0..<300 where got.count < 50 { take(loop, wait: true, collect) }
        #expect(got == Array(0..<50))
    }

    @Test("an accept that is forbidden stops accepting, and the connection is there when it is allowed")
    func forbidden() throws {
        let kernel = SimulatedKernel(seed: 1)
        var configuration = LoopConfiguration()
        configuration.backend = .simulated(kernel)
        let loop = try EventLoop(configuration)
        let listener = try loop.listen(address, ListenOptions())
        loop.accept(listener)
        kernel.faults = .only(.acceptNotPermitted, 1)
        _ = try #require(kernel.connect(to: address))
        var results: [Int32] = []
        for _ in 0..<5 { take(loop) { results.append($0.result) } }
        #expect(results == [-1])
        #expect(!loop.isReceiving(listener))
        kernel.faults = .none
        loop.accept(listener)
        for _ in 0..<5 { take(loop) { results.append($0.result) } }
        #expect(results == [-1, 0])
    }
}
