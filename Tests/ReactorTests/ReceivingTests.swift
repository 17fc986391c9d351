/// Arming, pausing, and running out of buffers.

import Testing

@testable import Reactor

@Suite("Receiving", .serialized)
struct ReceivingTests {
    @Test("paused, nothing comes; resumed, nothing is missing", arguments: TestBackend.everywhere, Transport.allCases)
    func pause(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        peer.write("one ")
        try driver.run { driver.received(socket).count == 4 }
        driver.loop.pauseReceiving(socket)
        #expect(!driver.loop.isReceiving(socket))
        driver.settle(milliseconds: 20)
        peer.write("two ")
        driver.settle()
        #expect(driver.received(socket) == Array("one ".utf8))
        driver.loop.receive(socket)
        peer.write("three")
        try driver.run { driver.received(socket).count == 13 }
        #expect(driver.received(socket) == Array("one two three".utf8))
    }

    @Test("pausing and resuming in one breath changes nothing", arguments: TestBackend.everywhere)
    func flicker(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let (socket, peer) = try driver.connect(to: listener)
        let bytes = pattern(50_000)
        var offset = 0
        for step in 0..<200 {
            driver.loop.pauseReceiving(socket)
            if step % 3 == 0 { driver.turn() }
            driver.loop.receive(socket)
            offset += peer.write(Array(bytes[offset..<min(offset + 250, bytes.count)]))
            driver.turn()
        }
        try driver.run { driver.received(socket).count == offset }
        #expect(driver.received(socket) == Array(bytes[..<offset]))
    }

    @Test("bytes behind a passed descriptor or an urgent byte are not forgotten", arguments: TestBackend.available)
    func shortReads(_ backend: TestBackend) throws {
        for transport in Transport.allCases {
            let driver = try Driver(backend)
            let listener = try driver.listen(transport)
            let (socket, peer) = try driver.connect(to: listener)
            driver.settle()
            // All of it is there before the loop looks: one event, and a read that ends in the middle.
            peer.write("one ")
            if transport == .unix { try peer.pass(descriptor: 2, with: "two ") } else { try peer.writeUrgent("!") }
            peer.write("three")
            let expected = transport == .unix ? "one two three" : "one three"
            try driver.run { driver.received(socket).count == expected.utf8.count }
            #expect(driver.received(socket) == Array(expected.utf8))
        }
    }

    @Test("reads that take less than there is lose nothing", arguments: SimulatedFace.allCases)
    func partialReads(_ face: SimulatedFace) throws {
        let kernel = SimulatedKernel(seed: 1, faults: .only(.partialReceive, 1))
        var configuration = LoopConfiguration()
        configuration.backend = face.backend(on: kernel)
        let loop = try EventLoop(configuration)
        let listener = try loop.listen(.loopback(port: 7575))
        loop.accept(listener)
        let peer = try #require(kernel.connect(to: .loopback(port: 7575)))
        let bytes = pattern(1000)
        #expect(kernel.peerWrite(peer, bytes) == 1000)
        var received: [UInt8] = []
        for _ in 0..<2000 where received.count < 1000 {
            loop.turn(wait: false)
            while let completion = loop.next() {
                if completion.kind == .accepted { loop.receive(completion.accepted) }
                received += loop.bytes(of: completion)
            }
        }
        #expect(received == bytes)
    }

    @Test("a paused socket hears of its end when resumed", arguments: TestBackend.everywhere, Transport.allCases)
    func endWhilePaused(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener, receiving: false)
        peer.write("x")
        peer.finish()
        driver.settle()
        #expect(driver.all(.received).isEmpty)
        driver.loop.receive(socket)
        try driver.run { driver.all(.received).last?.result == 0 }
        #expect(driver.received(socket) == [0x78])
    }

    @Test("few small buffers and many sockets lose nothing", arguments: TestBackend.everywhere, Transport.allCases)
    func exhaustion(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend) {
            $0.receiveBufferCount = 4
            $0.receiveBufferBytes = 512
        }
        let listener = try driver.listen(transport)
        let pairs = try (0..<100).map { _ in try driver.connect(to: listener) }
        let bytes = pattern(20_000)
        for pair in pairs { #expect(pair.peer.write(bytes) == bytes.count) }
        var counts: [SocketID: Int] = [:]
        var isRight = true
        driver.onCompletion = { [unowned driver] completion in
            guard completion.kind == .received else { return }
            let at = counts[completion.socket, default: 0]
            let piece = driver.loop.bytes(of: completion)
            isRight = isRight && completion.result == Int32(piece.count)
            isRight = isRight && piece.elementsEqual(bytes[at...].prefix(piece.count))
            counts[completion.socket] = at + piece.count
        }
        try driver.run { counts.values.reduce(0, +) == bytes.count * pairs.count }
        #expect(isRight)
        #expect(pairs.allSatisfy { driver.loop.isReceiving($0.socket) })
        if backend == .uring { #expect(driver.loop.stats.receiveBufferExhaustions > 0) }
        // Starved sockets can be paused and closed.
        for pair in pairs { pair.peer.write(bytes) }
        driver.turn()
        for (index, pair) in pairs.enumerated() {
            if index % 2 == 0 { driver.loop.pauseReceiving(pair.socket) }
            driver.loop.close(pair.socket, .graceful)
        }
        try driver.run { driver.all(.closed).count == pairs.count }
    }

    @Test("received bytes may be changed in place and last until the next call", arguments: TestBackend.everywhere)
    func lent(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.unix)
        let (socket, peer) = try driver.connect(to: listener)
        peer.write("abc")
        var changed: [UInt8] = []
        driver.onCompletion = { [unowned driver] completion in
            let bytes = driver.loop.bytes(of: completion)
            for index in bytes.indices { bytes[index] ^= 0x20 }
            changed += driver.loop.bytes(of: completion)
        }
        try driver.run { driver.received(socket).count == 3 }
        #expect(changed == Array("ABC".utf8))
    }
}
