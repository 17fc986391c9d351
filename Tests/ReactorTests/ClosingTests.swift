/// Ends: what close promises, with everything that can be under way.

import Glibc
import Testing

@testable import Reactor

@Suite("Closing", .serialized)
struct ClosingTests {
    @Test("closing while receiving ends the stream", arguments: TestBackend.everywhere, Transport.allCases)
    func whileReceiving(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        driver.settle(milliseconds: 10)
        driver.loop.close(socket, .graceful)
        driver.loop.close(socket, .graceful)
        try driver.run {
            _ = peer.read()
            return peer.isAtEnd && driver.all(.closed).count == 1
        }
        driver.settle()
        #expect(driver.all(.closed).count == 1)
        #expect(driver.loop.socketCount == 1)
        #expect(peer.error == 0)
    }

    @Test("closing with nothing under way", arguments: TestBackend.everywhere, [true, false])
    func idle(_ backend: TestBackend, _ isGraceful: Bool) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let (socket, peer) = try driver.connect(to: listener, receiving: false)
        driver.loop.close(socket, isGraceful ? .graceful : .reset)
        try driver.run { driver.all(.closed).count == 1 }
        try driver.run {
            _ = peer.read()
            return peer.isAtEnd || peer.error != 0
        }
        #expect(peer.error == (isGraceful ? 0 : ECONNRESET))
    }

    @Test("a reset is a reset", arguments: TestBackend.everywhere, [true, false])
    func reset(_ backend: TestBackend, _ isReceiving: Bool) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let (socket, peer) = try driver.connect(to: listener, receiving: isReceiving)
        driver.settle(milliseconds: 10)
        driver.loop.close(socket, .reset)
        try driver.run {
            _ = peer.read()
            return peer.error == ECONNRESET && driver.all(.closed).count == 1
        }
        #expect(!peer.isAtEnd)
        driver.settle()
        #expect(driver.all(.closed).count == 1)
        #expect(driver.all(.received).isEmpty)
    }

    @Test(
        "closing with a send in flight gives only .closed", arguments: TestBackend.everywhere,
        [(Transport.tcp, true), (.tcp, false), (.unix, true), (.unix, false)])
    func whileSending(_ backend: TestBackend, _ how: (Transport, Bool)) throws {
        let driver = try Driver(backend)
        var options = ListenOptions()
        options.sendBufferBytes = 8192
        let listener = try driver.listen(how.0, options)
        let (socket, peer) = try driver.connect(to: listener)
        // Sends until one stays in flight.
        let bytes = pattern(1 << 20)
        driver.send(bytes, on: socket)
        driver.onCompletion = { [unowned driver] completion in
            if completion.kind == .sent, completion.result >= 0 { driver.send(bytes, on: socket) }
        }
        driver.settle()
        #expect(driver.loop.isSending(socket))
        driver.onCompletion = nil
        let sent = driver.all(.sent).count
        driver.loop.close(socket, how.1 ? .graceful : .reset)
        try driver.run { driver.all(.closed).count == 1 }
        #expect(driver.all(.sent).count == sent)
        driver.settle()
        #expect(driver.all(.closed).count == 1)
        _ = peer.read()
    }

    @Test("a graceful close delivers what was sent", arguments: TestBackend.everywhere, Transport.allCases)
    func delivers(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        driver.send(Array("goodbye".utf8), on: socket)
        try driver.run { driver.all(.sent).count == 1 }
        driver.loop.close(socket, .graceful)
        var got: [UInt8] = []
        try driver.run {
            got += peer.read()
            return peer.isAtEnd && driver.all(.closed).count == 1
        }
        #expect(got == Array("goodbye".utf8))
    }

    @Test("a reset overtakes a graceful close", arguments: TestBackend.everywhere)
    func escalation(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let (socket, _) = try driver.connect(to: listener)
        driver.loop.close(socket, .graceful)
        driver.loop.close(socket, .reset)
        try driver.run { driver.all(.closed).count == 1 }
        driver.settle()
        #expect(driver.all(.closed).count == 1)
    }

    @Test("bytes that come while closing are dropped", arguments: TestBackend.everywhere, Transport.allCases)
    func flooded(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        driver.settle(milliseconds: 10)
        peer.write(pattern(100_000))
        driver.loop.close(socket, .graceful)
        try driver.run { driver.all(.closed).count == 1 }
        #expect(driver.all(.received).isEmpty)
        // The buffers came back: the next connection can use all of them.
        let (second, other) = try driver.connect(to: listener)
        other.write(pattern(60_000))
        try driver.run { driver.received(second).count == 60_000 }
    }

    @Test("a closed listener accepts nobody", arguments: TestBackend.everywhere, Transport.allCases)
    func listener(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let address = driver.loop.localAddress(of: listener)
        driver.settle(milliseconds: 10)
        driver.loop.close(listener, .graceful)
        try driver.run { driver.all(.closed).map(\.socket) == [listener] }
        #expect(throws: Peer.Refused.self) { try Peer(connectingTo: address) }
        #expect(driver.all(.accepted).isEmpty)
        // The address is free again.
        let second = try driver.loop.listen(address)
        driver.loop.accept(second)
        _ = try driver.connect(to: second)
    }

    @Test("slots are taken lowest first, with a new generation", arguments: TestBackend.everywhere)
    func reuse(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.unix)
        let pairs = try (0..<5).map { _ in try driver.connect(to: listener) }
        #expect(pairs.map(\.socket.slot) == [1, 2, 3, 4, 5])
        driver.loop.close(pairs[3].socket, .graceful)
        driver.loop.close(pairs[1].socket, .graceful)
        try driver.run { driver.all(.closed).count == 2 }
        #expect(!driver.loop.isOpen(pairs[1].socket))
        let again = try (0..<3).map { _ in try driver.connect(to: listener) }
        #expect(again.map(\.socket.slot) == [2, 4, 6])
        #expect(again[0].socket != pairs[1].socket)
        #expect(again[0].socket.generation == pairs[1].socket.generation + 1)
        again[0].peer.write("new")
        try driver.run { driver.received(again[0].socket) == Array("new".utf8) }
        #expect(driver.loop.stats.staleCompletions == 0)
    }

    @Test("many are closed in one turn", arguments: TestBackend.everywhere, [CloseMode.graceful, .reset])
    func many(_ backend: TestBackend, _ how: CloseMode) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let pairs = try (0..<300).map { _ in try driver.connect(to: listener) }
        for pair in pairs { driver.loop.close(pair.socket, how) }
        try driver.run { driver.all(.closed).count == 300 }
        #expect(driver.loop.socketCount == 1)
    }
}
