/// The simulated kernel alone, through the seam that the loop uses: what its sockets do.

import Glibc
import Testing

@testable import Reactor

/// A simulated kernel with one accepted connection, driven without a loop.
struct SimulatedRig {
    /// A completion with what it lent.
    struct Outcome {
        var operation: Operation?
        var result: Int32
        var more: Bool
        var bytes: [UInt8]
    }

    static let address = SocketAddress.loopback(port: 7575)

    let kernel: SimulatedKernel
    let peer: SimulatedPeer
    let server: Int32
    let socket = SocketID(slot: 1, generation: 1)

    init(
        faults: SimulatedFaults = .none, address: SocketAddress = Self.address,
        _ adjust: (inout SimulatedKernel.Limits) -> Void = { _ in }
    ) throws {
        var limits = SimulatedKernel.Limits()
        adjust(&limits)
        kernel = SimulatedKernel(seed: 1, limits: limits)
        let listener = try kernel.openListener(address, ListenOptions())
        let listening = SocketID(slot: 0, generation: 1)
        _ = kernel.attach(listener, listening, plain: false)
        peer = try #require(kernel.connect(to: address))
        kernel.armAccept(listener, Token(.accept, slot: 0, generation: 1))
        kernel.enter(timeoutMilliseconds: 0)
        server = try #require(kernel.next()).result
        _ = kernel.attach(server, socket, plain: false)
        kernel.faults = faults
    }

    func armReceive() { kernel.armReceive(server, Token(.receive, slot: 1, generation: 1)) }

    func send(_ pieces: UnsafeRawBufferPointer...) {
        let gather = IOVectorBuffer()
        defer { gather.deallocate() }
        for piece in pieces { gather.append(piece.baseAddress!, piece.count) }
        kernel.send(server, Token(.send, slot: 1, generation: 1), gather)
    }

    /// One turn's completions, their buffers given back.
    func turn(wait: Bool) -> [Outcome] {
        kernel.enter(timeoutMilliseconds: wait ? -1 : 0)
        var outcomes: [Outcome] = []
        while let completion = kernel.next() {
            var bytes: [UInt8] = []
            if completion.hasBuffer {
                bytes += UnsafeRawBufferPointer(
                    start: kernel.bytes(of: completion.buffer), count: Int(completion.result))
                kernel.recycle(completion.buffer)
            }
            outcomes.append(
                Outcome(
                    operation: completion.token.operation, result: completion.result, more: completion.more,
                    bytes: bytes))
        }
        return outcomes
    }

    /// Turns until nothing will come any more; the clock moves when only that helps.
    func settle() -> [Outcome] {
        var outcomes: [Outcome] = []
        for _ in 0..<10_000 {
            outcomes += turn(wait: true)
            if kernel.isQuiet && kernel.nextEventTime == nil { break }
        }
        return outcomes
    }
}

/// Bytes 0, 1, 2 … at an address that does not change.
final class FixedBytes {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ count: Int) {
        bytes = .allocate(byteCount: count, alignment: 8)
        for index in 0..<count { bytes[index] = UInt8(truncatingIfNeeded: index) }
    }

    deinit { bytes.deallocate() }

    subscript(range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[range]) }
    var all: UnsafeRawBufferPointer { UnsafeRawBufferPointer(bytes) }
}

@Suite("Simulated kernel")
struct SimulatedKernelTests {
    @Test("bytes pass both ways, gathered from several pieces")
    func bothWays() throws {
        let rig = try SimulatedRig()
        #expect(rig.kernel.peerWrite(rig.peer, Array("hello".utf8)) == 5)
        rig.armReceive()
        let received = try #require(rig.settle().first)
        #expect(received.operation == .receive && received.result == 5 && received.more)
        #expect(received.bytes == Array("hello".utf8))
        let fixed = FixedBytes(10)
        rig.send(fixed[0..<4], fixed[4..<10])
        #expect(rig.settle().map(\.result) == [10])
        #expect(rig.kernel.peerRead(rig.peer) == Array(0..<10))
    }

    @Test("a full pipe parks the send until the peer reads")
    func parkedSend() throws {
        let rig = try SimulatedRig { $0.pipeBytes = 64 }
        let fixed = FixedBytes(100)
        rig.send(fixed.all)
        #expect(rig.settle().map(\.result) == [64])
        rig.send(fixed[64..<100])
        #expect(rig.settle().isEmpty)
        #expect(rig.kernel.trace.sendsParked == 1)
        #expect(rig.kernel.peerRead(rig.peer, max: 10) == Array(0..<10))
        #expect(rig.settle().map(\.result) == [10])
    }

    @Test("a FIN from the peer ends the stream after its bytes; the server may still send")
    func halfClose() throws {
        let rig = try SimulatedRig()
        rig.kernel.peerWrite(rig.peer, [1, 2, 3])
        rig.kernel.peerFinish(rig.peer)
        rig.armReceive()
        #expect(rig.settle().map(\.result) == [3, 0])
        let fixed = FixedBytes(5)
        rig.send(fixed.all)
        #expect(rig.settle().map(\.result) == [5])
        #expect(!rig.kernel.peerAtEnd(rig.peer))
        rig.kernel.finishSending(rig.server)
        #expect(rig.kernel.peerRead(rig.peer).count == 5)
        #expect(rig.kernel.peerAtEnd(rig.peer) && !rig.kernel.peerWasReset(rig.peer))
    }

    @Test("a reset reaches the server after the bytes that arrived before it")
    func reset() throws {
        let rig = try SimulatedRig()
        rig.kernel.peerWrite(rig.peer, [1, 2, 3])
        rig.kernel.peerReset(rig.peer)
        rig.armReceive()
        #expect(rig.settle().map(\.result) == [3, -ECONNRESET])
        let fixed = FixedBytes(5)
        rig.send(fixed.all)
        let result = try #require(rig.settle().first).result
        #expect(result == -EPIPE || result == -ECONNRESET)
    }

    @Test("bytes sent to a peer that closed vanish on TCP and are EPIPE on unix", arguments: [true, false])
    func peerClosed(unix: Bool) throws {
        let rig = try SimulatedRig(address: unix ? .unix(path: "events.socket") : SimulatedRig.address)
        rig.kernel.peerClose(rig.peer)
        #expect(rig.kernel.hasHungUp(rig.server) == unix)
        let fixed = FixedBytes(5)
        rig.send(fixed.all)
        #expect(rig.settle().map(\.result) == [unix ? -EPIPE : 5])
        rig.armReceive()
        #expect(rig.settle().map(\.result) == [-ECONNRESET])
        #expect(rig.kernel.hasHungUp(rig.server))
    }

    @Test("severing ends a parked send and a receive, with or without cancelling them", arguments: [true, false])
    func severing(cancels: Bool) throws {
        let rig = try SimulatedRig { $0.pipeBytes = 16 }
        let fixed = FixedBytes(32)
        rig.armReceive()
        rig.send(fixed.all)
        #expect(rig.settle().map(\.result) == [16])
        rig.send(fixed[16..<32])
        #expect(rig.settle().isEmpty)
        _ = rig.kernel.sever(rig.server, reset: false)
        if cancels {
            rig.kernel.cancel(rig.server, Token(.send, slot: 1, generation: 1))
            rig.kernel.cancel(rig.server, Token(.receive, slot: 1, generation: 1))
        }
        let outcomes = rig.settle()
        #expect(outcomes.count == 2 && outcomes.allSatisfy { !$0.more })
        rig.kernel.close(rig.server, rig.socket)
        #expect(rig.kernel.peerRead(rig.peer) == Array(0..<16))
        #expect(rig.kernel.peerAtEnd(rig.peer) && !rig.kernel.peerWasReset(rig.peer))
    }

    @Test("closing with unread bytes resets the connection, closing without does not")
    func closeWithUnread() throws {
        let rig = try SimulatedRig()
        rig.kernel.peerWrite(rig.peer, [1])
        rig.kernel.close(rig.server, rig.socket)
        #expect(rig.kernel.peerWasReset(rig.peer))
        let other = try SimulatedRig()
        other.kernel.close(other.server, other.socket)
        #expect(other.kernel.peerAtEnd(other.peer) && !other.kernel.peerWasReset(other.peer))
    }

    @Test("descriptors are used again at once, lowest first")
    func lowestFirst() throws {
        let rig = try SimulatedRig()
        rig.kernel.close(rig.server, rig.socket)
        _ = try #require(rig.kernel.connect(to: SimulatedRig.address))
        #expect(rig.settle().map(\.result) == [rig.server])
        #expect(rig.kernel.trace.descriptorsReused == 1)
    }

    @Test("port 0 gets a port of its own, a taken address is refused, a full backlog too")
    func addresses() throws {
        let kernel = SimulatedKernel(seed: 1)
        let first = try kernel.openListener(.loopback(port: 0), ListenOptions())
        let second = try kernel.openListener(.loopback(port: 0), ListenOptions())
        #expect(kernel.localAddress(first) != kernel.localAddress(second))
        var options = ListenOptions()
        options.backlog = 1
        _ = try kernel.openListener(.unix(path: "a"), options)
        #expect(throws: SystemError.self) { try kernel.openListener(.unix(path: "a"), options) }
        #expect(kernel.connect(to: .unix(path: "b")) == nil)
        #expect(kernel.connect(to: .unix(path: "a")) != nil)
        #expect(kernel.connect(to: .unix(path: "a")) == nil)
    }

    @Test("a connection to any address reaches a wildcard listener")
    func wildcard() throws {
        let kernel = SimulatedKernel(seed: 1)
        _ = try kernel.openListener(.ipv4(0, port: 80), ListenOptions())
        #expect(kernel.connect(to: .loopback(port: 80)) != nil)
        #expect(kernel.connect(to: .loopback(port: 81)) == nil)
    }

    @Test("without receive buffers the receive ends with ENOBUFS and the bytes stay")
    func buffersExhausted() throws {
        let rig = try SimulatedRig {
            $0.receiveBufferCount = 1
            $0.receiveBufferBytes = 4
        }
        rig.kernel.peerWrite(rig.peer, Array(0..<12))
        var bytes: [UInt8] = []
        var exhausted = 0
        while bytes.count < 12 {
            rig.armReceive()
            for outcome in rig.settle() {
                bytes += outcome.bytes
                if outcome.result == -ENOBUFS { exhausted += 1 }
            }
            if exhausted == 0 { break }
        }
        #expect(bytes == Array(0..<12))
        #expect(exhausted == rig.kernel.trace.buffersReallyExhausted)
    }

    @Test("a byte source is read until its end and cannot be severed")
    func source() throws {
        let kernel = SimulatedKernel(seed: 1)
        let (descriptor, peer) = kernel.openSource()
        try kernel.adopt(descriptor)
        let socket = SocketID(slot: 0, generation: 1)
        #expect(kernel.attach(descriptor, socket, plain: true) == 0)
        kernel.peerWrite(peer, [7])
        kernel.peerFinish(peer)
        kernel.armRead(descriptor, Token(.receive, slot: 0, generation: 1))
        var results: [Int32] = []
        for _ in 0..<10 {
            kernel.enter(timeoutMilliseconds: 0)
            while let completion = kernel.next() {
                results.append(completion.result)
                if completion.hasBuffer { kernel.recycle(completion.buffer) }
            }
        }
        #expect(results == [1, 0])
        #expect(throws: SystemError.self) { try kernel.adopt(99) }
    }

    @Test("only watched signals come, and waiting moves the clock to the next event but not beyond the timeout")
    func signalsAndClock() throws {
        let kernel = SimulatedKernel(seed: 1)
        try kernel.watchSignals([SIGTERM])
        kernel.raiseSignal(SIGHUP)
        kernel.raiseSignal(SIGTERM)
        let start = kernel.now
        kernel.enter(timeoutMilliseconds: 500)
        #expect(kernel.next()?.result == SIGTERM)
        #expect(kernel.next() == nil)
        #expect(kernel.now == start)
        kernel.enter(timeoutMilliseconds: 500)
        #expect(kernel.now == start + 500)
        let wall = kernel.wallClockMilliseconds()
        kernel.jumpWallClock(milliseconds: -3_600_000)
        kernel.advance(milliseconds: 10)
        #expect(kernel.wallClockMilliseconds() == wall - 3_600_000 + 10)
    }
}
