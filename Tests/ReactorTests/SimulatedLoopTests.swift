/// EventLoop on the simulated kernel: clocks, other sources, ends of connections and of the process.

import Glibc
import Testing

@testable import Reactor

@Suite("Event loop in the simulation")
struct SimulatedLoopTests {
    let address = SocketAddress.loopback(port: 7575)

    func makeLoop(_ kernel: SimulatedKernel, _ face: SimulatedFace) throws -> EventLoop {
        var configuration = LoopConfiguration()
        configuration.backend = face.backend(on: kernel)
        configuration.socketsMax = 16
        return try EventLoop(configuration)
    }

    /// Turns without moving the clock until nothing happens; the completions, bytes beside them.
    func settle(_ loop: EventLoop, _ kernel: SimulatedKernel) -> [(completion: Completion, bytes: [UInt8])] {
        var all: [(completion: Completion, bytes: [UInt8])] = []
        repeat {
            loop.turn(wait: false)
            while let completion = loop.next() { all.append((completion, Array(loop.bytes(of: completion)))) }
        } while !kernel.isQuiet
        return all
    }

    func connect(
        _ loop: EventLoop, _ kernel: SimulatedKernel
    ) throws -> (socket: SocketID, peer: SimulatedPeer) {
        let listener = try loop.listen(address, ListenOptions())
        loop.accept(listener)
        let peer = try #require(kernel.connect(to: address, sourceLabel: "127.0.0.1:40000"))
        let accepted = try #require(settle(loop, kernel).first).completion
        #expect(accepted.kind == .accepted)
        return (accepted.accepted, peer)
    }

    @Test("the loop says that it is simulated, and with which seed")
    func description() throws {
        let loops = try SimulatedFace.allCases.map { try makeLoop(SimulatedKernel(seed: 42), $0) }
        #expect(loops.map(\.backendDescription) == ["simulation (seed 42)", "simulation of epoll (seed 42)"])
        #expect(loops.map(\.backendName) == ["simulation", "simulation"])
    }

    @Test("a day passes in no time, and timers fire in order and never early", arguments: SimulatedFace.allCases)
    func virtualTime(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1)
        let loop = try makeLoop(kernel, face)
        let start = loop.now
        let deadlines: [UInt64] = [86_400_000, 15_000, 3_600_000]
        var timers: [TimerID: UInt64] = [:]
        for deadline in deadlines {
            let timer = loop.makeTimer()
            timers[timer] = start + deadline
            loop.setTimer(timer, at: start + deadline)
        }
        var fired: [UInt64] = []
        for _ in 0..<20_000 where fired.count < 3 {
            loop.turn(wait: true)
            while let completion = loop.next() {
                let deadline = try #require(timers[completion.timer])
                #expect(loop.now >= deadline && loop.now < deadline + 32)
                fired.append(deadline - start)
            }
        }
        #expect(fired == deadlines.sorted())
    }

    @Test("a late timer is late by one tick", arguments: SimulatedFace.allCases)
    func lateTimer(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1, faults: .only(.lateTimer, 1))
        let loop = try makeLoop(kernel, face)
        let timer = loop.makeTimer()
        loop.setTimer(timer, at: loop.now + 1_000)
        let start = loop.now
        loop.turn(wait: true)
        #expect(loop.next()?.kind == .timer)
        #expect(loop.now >= start + 1_016)
        #expect(kernel.trace.count(of: .lateTimer) == 1)
    }

    @Test("signals and wake-ups come as completions, several wake-ups as one", arguments: SimulatedFace.allCases)
    func otherSources(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1)
        let loop = try makeLoop(kernel, face)
        try loop.watchSignals([SIGTERM, SIGHUP])
        kernel.raiseSignal(SIGHUP)
        loop.wakeup.signal()
        loop.wakeup.signal()
        let completions = settle(loop, kernel).map(\.completion)
        #expect(completions.count == 2)
        #expect(completions.contains { $0.kind == .signal && $0.result == SIGHUP })
        #expect(completions.contains { $0.kind == .woken })
    }

    @Test("a byte source is adopted, read to its end and closed", arguments: SimulatedFace.allCases)
    func source(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1)
        let loop = try makeLoop(kernel, face)
        let (descriptor, peer) = kernel.openSource()
        let socket = try loop.adopt(descriptor: descriptor)
        loop.receive(socket)
        kernel.peerWrite(peer, Array("line\n".utf8))
        kernel.peerFinish(peer)
        let completions = settle(loop, kernel)
        #expect(completions.flatMap(\.bytes) == Array("line\n".utf8))
        #expect(completions.last?.completion.result == 0)
        loop.close(socket, .graceful)
        #expect(settle(loop, kernel).map(\.completion.kind) == [.closed])
        #expect(kernel.serverHasClosed(peer))
        #expect(throws: SystemError.self) { try loop.adopt(descriptor: 77) }
    }

    @Test(
        "a graceful close ends the stream, a reset breaks it; each gives one .closed",
        arguments: SimulatedFace.allCases, [true, false])
    func closing(_ face: SimulatedFace, graceful: Bool) throws {
        let kernel = SimulatedKernel(seed: 1)
        let loop = try makeLoop(kernel, face)
        let (socket, peer) = try connect(loop, kernel)
        #expect(loop.peerDescription(of: socket) == "127.0.0.1:40000")
        loop.receive(socket)
        _ = settle(loop, kernel)
        loop.close(socket, graceful ? .graceful : .reset)
        #expect(settle(loop, kernel).map(\.completion.kind) == [.closed])
        #expect(kernel.peerAtEnd(peer))
        #expect(kernel.peerWasReset(peer) == !graceful)
        #expect(kernel.openDescriptors == 1)
    }

    @Test(
        "a connection that finds no slot is refused, and its descriptor does not leak",
        arguments: SimulatedFace.allCases)
    func noSlot(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1)
        let loop = try makeLoop(kernel, face)
        let listener = try loop.listen(address, ListenOptions())
        loop.accept(listener)
        for _ in 0..<20 { _ = kernel.connect(to: address) }
        let results = settle(loop, kernel).map(\.completion.result)
        #expect(results.count { $0 == 0 } == 15)
        #expect(results.contains(-ENOBUFS))
        #expect(kernel.openDescriptors <= 16)
    }

    @Test("an attach that is refused costs that connection only", arguments: SimulatedFace.allCases)
    func attachRefused(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1)
        let loop = try makeLoop(kernel, face)
        let listener = try loop.listen(address, ListenOptions())
        loop.accept(listener)
        kernel.faults = .only(.attachRefused, 1)
        let lost = try #require(kernel.connect(to: address))
        let refused = settle(loop, kernel).map(\.completion)
        #expect(refused.map(\.result) == [-ENOMEM])
        #expect(kernel.peerAtEnd(lost))
        kernel.heal()
        loop.accept(listener)
        _ = try #require(kernel.connect(to: address))
        #expect(settle(loop, kernel).map(\.completion.result) == [0])
    }

    @Test(
        "after the process ended, its peers see the end, and a new loop listens at the same address",
        arguments: SimulatedFace.allCases)
    func restart(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1, faults: .only(.delayedCompletion, 0.5))
        var loop: EventLoop? = try makeLoop(kernel, face)
        let listener = try loop?.listen(address, ListenOptions())
        loop?.accept(try #require(listener))
        let peers = (0..<8).compactMap { _ in kernel.connect(to: address) }
        kernel.peerWrite(peers[0], [1, 2, 3])
        loop?.turn(wait: true)
        while let completion = loop?.next() {
            if completion.kind == .accepted, completion.result >= 0 { loop?.receive(completion.accepted) }
        }
        kernel.endProcess()
        loop = nil
        #expect(kernel.openDescriptors == 0)
        for peer in peers { #expect(kernel.peerAtEnd(peer)) }
        kernel.heal()
        let next = try makeLoop(kernel, face)
        let (socket, peer) = try connect(next, kernel)
        next.receive(socket)
        kernel.peerWrite(peer, [9])
        #expect(settle(next, kernel).flatMap(\.bytes) == [9])
    }

    @Test("a loop may go away with sockets open and operations in the kernel", arguments: SimulatedFace.allCases)
    func abandoned(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1)
        do {
            let loop = try makeLoop(kernel, face)
            let (socket, peer) = try connect(loop, kernel)
            loop.receive(socket)
            kernel.peerWrite(peer, [1])
            loop.turn(wait: false)
        }
        let loop = try makeLoop(kernel, face)
        #expect(settle(loop, kernel).isEmpty)
        #expect(kernel.openDescriptors == 0)
    }
}
