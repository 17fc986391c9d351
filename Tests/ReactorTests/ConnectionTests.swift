/// Accepting, receiving, sending and closing, on every backend and transport.

import Glibc
import Testing

@testable import Reactor

@Suite("Connections", .serialized)
struct ConnectionTests {
    @Test("bytes travel both ways", arguments: TestBackend.everywhere, Transport.allCases)
    func echo(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        peer.write("hello")
        try driver.run { driver.received(socket).count == 5 }
        #expect(driver.received(socket) == Array("hello".utf8))
        driver.send(Array("world".utf8), on: socket)
        #expect(driver.loop.isSending(socket))
        var got: [UInt8] = []
        try driver.run {
            got += peer.read()
            return got.count == 5 && !driver.all(.sent).isEmpty
        }
        #expect(got == Array("world".utf8))
        #expect(driver.all(.sent).map(\.result) == [5])
        driver.loop.close(socket, .graceful)
        try driver.run { !driver.all(.closed).isEmpty }
        #expect(driver.all(.closed).map(\.socket) == [socket])
        try driver.run {
            _ = peer.read()
            return peer.isAtEnd
        }
        #expect(peer.error == 0)
    }

    @Test("bytes sent before the accept arrive", arguments: TestBackend.everywhere, Transport.allCases)
    func early(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let peer = try Peer(connectingTo: driver.loop.localAddress(of: listener))
        peer.write("first")
        peer.finish()
        try driver.run { !driver.all(.accepted).isEmpty }
        let socket = driver.all(.accepted)[0].accepted
        driver.loop.receive(socket)
        try driver.run { driver.all(.received, socket).last?.result == 0 }
        #expect(driver.received(socket) == Array("first".utf8))
    }

    @Test("sixteen pieces go out in order as one send", arguments: TestBackend.everywhere, Transport.allCases)
    func pieces(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        let bytes = pattern(16 * 100)
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
        copy.initialize(from: bytes, count: bytes.count)
        driver.loop.gather.removeAll()
        for piece in 0..<16 { driver.loop.gather.append(copy + piece * 100, 100) }
        #expect(driver.loop.gather.isFull)
        #expect(driver.loop.gather.byteCount == 1600)
        driver.loop.send(socket)
        driver.loop.gather.removeAll()
        var got: [UInt8] = []
        try driver.run {
            got += peer.read()
            return got.count == bytes.count && !driver.all(.sent).isEmpty
        }
        #expect(got == bytes)
        #expect(driver.all(.sent).map(\.result) == [1600])
        copy.deallocate()
    }

    @Test("more sends than the scratch holds go out in one turn", arguments: TestBackend.everywhere)
    func wave(_ backend: TestBackend) throws {
        let driver = try Driver(backend) { $0.submissionEntries = 64 }
        let listener = try driver.listen(.unix)
        let bytes = pattern(64)
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
        copy.initialize(from: bytes, count: bytes.count)
        let pairs = try (0..<1300).map { _ in try driver.connect(to: listener) }
        for (index, pair) in pairs.enumerated() {
            driver.loop.gather.removeAll()
            driver.loop.gather.append(copy + index % 32, 8)
            driver.loop.gather.append(copy + index % 56, 8)
            driver.loop.send(pair.socket)
        }
        try driver.run { driver.all(.sent).count == pairs.count }
        for (index, pair) in pairs.enumerated() {
            #expect(pair.peer.read() == Array(bytes[(index % 32)...].prefix(8) + bytes[(index % 56)...].prefix(8)))
        }
        copy.deallocate()
    }

    @Test("a stalled reader gets every byte in order", arguments: TestBackend.everywhere, Transport.allCases)
    func stalled(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        var options = ListenOptions()
        options.sendBufferBytes = 32 * 1024
        let listener = try driver.listen(transport, options)
        let (socket, peer) = try driver.connect(to: listener)
        let bytes = pattern(2 << 20)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
        memory.initialize(from: bytes, count: bytes.count)
        defer { memory.deallocate() }
        var taken = 0
        var sends = 0
        func sendRest() {
            driver.loop.gather.removeAll()
            // In two pieces of uneven length, so that a short send ends inside either.
            let rest = bytes.count - taken
            driver.loop.gather.append(memory + taken, rest / 3)
            driver.loop.gather.append(memory + taken + rest / 3, rest - rest / 3)
            driver.loop.send(socket)
            sends += 1
        }
        driver.onCompletion = { completion in
            guard completion.kind == .sent else { return }
            #expect(completion.result >= 0)
            taken += Int(max(completion.result, 0))
            if taken < bytes.count { sendRest() }
        }
        sendRest()
        driver.settle()
        #expect(taken < bytes.count)
        var got: [UInt8] = []
        got.reserveCapacity(bytes.count)
        try driver.run {
            got += peer.read(100_000)
            return got.count >= bytes.count
        }
        #expect(got == bytes)
        try driver.run { taken == bytes.count }
        #expect(sends > 1)
        #expect(driver.loop.stats.shortSends > 0)
        #expect(driver.loop.stats.sends == UInt64(sends))
        driver.onCompletion = nil
    }

    @Test("half-closed, the other half still works", arguments: TestBackend.everywhere, Transport.allCases)
    func halfClose(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        peer.write("last words")
        peer.finish()
        try driver.run { driver.all(.received).last?.result == 0 }
        #expect(driver.received(socket) == Array("last words".utf8))
        #expect(!driver.loop.isReceiving(socket))
        driver.send(Array("answer".utf8), on: socket)
        driver.loop.finishSending(socket)
        var got: [UInt8] = []
        try driver.run {
            got += peer.read()
            return peer.isAtEnd
        }
        #expect(got == Array("answer".utf8))
        #expect(driver.all(.received).filter { $0.result == 0 }.count == 1)
        driver.loop.close(socket, .graceful)
        try driver.run { driver.all(.closed).count == 1 }
    }

    @Test("our half closed, the peer's bytes still come", arguments: TestBackend.everywhere, Transport.allCases)
    func ourHalf(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener)
        driver.loop.finishSending(socket)
        try driver.run {
            _ = peer.read()
            return peer.isAtEnd
        }
        peer.write("still here")
        try driver.run { driver.received(socket) == Array("still here".utf8) }
        #expect(driver.loop.isReceiving(socket))
    }

    @Test("a peer that closed has hung up; one that only finished may still read", arguments: TestBackend.available)
    func hungUp(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        for transport in Transport.allCases {
            let listener = try driver.listen(transport)
            for closes in [false, true] {
                let (socket, peer) = try driver.connect(to: listener)
                #expect(!driver.loop.hasHungUp(socket))
                closes ? peer.close() : peer.finish()
                try driver.run { driver.all(.received, socket).last?.result == 0 }
                #expect(driver.loop.hasHungUp(socket) == (closes && transport == .unix))
                peer.close()
            }
        }
        let listener = try driver.listen(.tcp)
        let (socket, peer) = try driver.connect(to: listener)
        peer.reset()
        try driver.run { driver.all(.received, socket).last?.result == -ECONNRESET }
        #expect(driver.loop.hasHungUp(socket))
    }

    @Test("a peer's reset is an error, once", arguments: TestBackend.everywhere)
    func peerReset(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let (socket, peer) = try driver.connect(to: listener)
        driver.turn()
        peer.reset()
        try driver.run { !driver.all(.received).isEmpty }
        driver.settle()
        #expect(driver.all(.received).map(\.result) == [-ECONNRESET])
        driver.loop.close(socket, .graceful)
        try driver.run { driver.all(.closed).count == 1 }
    }

    @Test("sending to a peer that has gone fails", arguments: TestBackend.everywhere, Transport.allCases)
    func gone(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let (socket, peer) = try driver.connect(to: listener, receiving: false)
        peer.reset()
        try driver.run("an error") {
            if !driver.loop.isSending(socket), driver.all(.sent).last?.result ?? 0 >= 0 {
                driver.send([1, 2, 3], on: socket)
            }
            return driver.all(.sent).last?.result ?? 0 < 0
        }
        #expect([-EPIPE, -ECONNRESET].contains(driver.all(.sent).last?.result))
    }

    @Test("a flooding peer does not starve the others", arguments: TestBackend.everywhere)
    func fairness(_ backend: TestBackend) throws {
        let driver = try Driver(backend) {
            $0.receiveBufferCount = 8
            $0.receiveBufferBytes = 1024
        }
        let listener = try driver.listen(.unix)
        let (flooded, flooder) = try driver.connect(to: listener)
        let quiet = try (0..<50).map { _ in try driver.connect(to: listener) }
        let junk = pattern(65_536)
        var floodedBytes = 0
        for pair in quiet { pair.peer.write("ping") }
        let pings = Set(quiet.map(\.socket))
        var answered: Set<SocketID> = []
        driver.onCompletion = { completion in
            if completion.kind != .received { return }
            if completion.socket == flooded { floodedBytes += Int(completion.result) }
            if pings.contains(completion.socket) { answered.insert(completion.socket) }
        }
        var turns = 0
        while answered.count < quiet.count, turns < 1000 {
            while flooder.write(junk) > 0 {}
            driver.turn()
            turns += 1
        }
        #expect(answered == pings)
        #expect(turns < 200)
        try driver.run { floodedBytes > 0 }
    }
}
