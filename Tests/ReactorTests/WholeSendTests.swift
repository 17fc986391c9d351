/// Sends of one piece, and those that are over told of many at once.

import Glibc
import Testing

@testable import Reactor

@Suite("Whole sends", .serialized)
struct WholeSendTests {
    /// Sends the bytes as one piece to each socket; the slots of those that took them at once.
    private func send(
        _ bytes: UnsafeMutableBufferPointer<UInt8>, to sockets: [SocketID], on loop: EventLoop
    ) -> [UInt32] {
        sockets.filter { loop.send($0, UnsafeRawPointer(bytes.baseAddress!), count: bytes.count) }.map(\.slot)
    }

    private func memory(_ bytes: [UInt8]) -> UnsafeMutableBufferPointer<UInt8> {
        let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
        _ = copy.initialize(from: bytes)
        return copy
    }

    /// What the loop is told about how many sends there will be: with few, io_uring makes them without its queue.
    private static let expected = [1500, 1]

    @Test(
        "what a socket takes whole is told once: at once, or among many", arguments: TestBackend.everywhere, expected)
    func told(_ backend: TestBackend, _ expected: Int) throws {
        let driver = try Driver(backend)
        driver.loop.expectSends(expected)
        let takesAtOnce = backend == .epoll || backend == .simulatedEpoll || backend == .uring && expected == 1
        let listener = try driver.listen(.unix)
        let pairs = try (0..<1500).map { _ in try driver.connect(to: listener) }
        let bytes = memory(pattern(100))
        defer { bytes.deallocate() }
        for _ in 0..<2 {
            var taken = send(bytes, to: pairs.map(\.socket), on: driver.loop)
            #expect(taken.count == (takesAtOnce ? 1500 : 0))
            let turnsMax = 1000
            for _ in 0..<turnsMax where taken.count < pairs.count {
                driver.loop.turn(wait: true)
                while true {
                    let whole = driver.loop.wholeSends()
                    for slot in whole {
                        let pair = pairs.first { $0.socket.slot == slot }
                        #expect(pair.map { !driver.loop.isSending($0.socket) } == true)
                    }
                    taken += whole
                    guard let completion = driver.loop.next() else { break }
                    // Where more came together than are told at once.
                    if completion.kind == .sent {
                        #expect(completion.result == 100)
                        taken.append(completion.socket.slot)
                    }
                }
            }
            #expect(taken.sorted() == pairs.map(\.socket.slot).sorted())
            driver.settle(milliseconds: 20)
            #expect(driver.all(.sent).isEmpty)
            for pair in pairs { #expect(pair.peer.read() == Array(bytes)) }
        }
        #expect(driver.loop.stats.sends == 3000)
        #expect(driver.loop.stats.shortSends == 0)
    }

    @Test(
        "a gathered send is told of when it is over, also if it is one piece", arguments: TestBackend.everywhere,
        expected)
    func gathered(_ backend: TestBackend, _ expected: Int) throws {
        let driver = try Driver(backend)
        driver.loop.expectSends(expected)
        let (socket, peer) = try driver.connect(to: driver.listen(.unix))
        let bytes = memory(pattern(100))
        defer { bytes.deallocate() }
        driver.loop.gather.removeAll()
        driver.loop.gather.append(UnsafeRawPointer(bytes.baseAddress!), bytes.count)
        driver.loop.send(socket)
        #expect(driver.loop.isSending(socket))
        try driver.run { !driver.all(.sent).isEmpty }
        #expect(driver.all(.sent).map(\.result) == [100])
        #expect(peer.read() == Array(bytes))
    }

    @Test("a send that was cut short is no whole one", arguments: TestBackend.everywhere, expected)
    func short(_ backend: TestBackend, _ expected: Int) throws {
        let driver = try Driver(backend)
        driver.loop.expectSends(expected)
        var options = ListenOptions()
        options.sendBufferBytes = 32 * 1024
        let listener = try driver.listen(.unix, options)
        let (socket, peer) = try driver.connect(to: listener)
        let bytes = memory(pattern(4 << 20))
        defer { bytes.deallocate() }
        #expect(send(bytes, to: [socket], on: driver.loop) == [])
        #expect(driver.loop.isSending(socket))
        driver.loop.turn(wait: true)
        #expect(driver.loop.wholeSends().isEmpty)
        let completion = try #require(driver.loop.next())
        #expect(completion.kind == .sent)
        #expect(completion.result > 0 && completion.result < bytes.count)
        #expect(driver.loop.stats.shortSends == 1)
        while driver.loop.next() != nil {}
        // The socket is full: the next one waits, and says how far it came once there is room.
        let rest = UnsafeMutableBufferPointer(rebasing: bytes[Int(completion.result)...])
        #expect(send(rest, to: [socket], on: driver.loop) == [])
        driver.settle(milliseconds: 30)
        #expect(driver.all(.sent).isEmpty)
        _ = peer.read()
        try driver.run { !driver.all(.sent).isEmpty }
    }

    @Test(
        "a send that fails, or whose socket is closed meanwhile, is no whole one",
        arguments: TestBackend.everywhere, expected)
    func ended(_ backend: TestBackend, _ expected: Int) throws {
        let driver = try Driver(backend)
        driver.loop.expectSends(expected)
        let listener = try driver.listen(.unix)
        let (broken, peer) = try driver.connect(to: listener, receiving: false)
        let (closed, _) = try driver.connect(to: listener, receiving: false)
        peer.close()
        let bytes = memory(pattern(100))
        defer { bytes.deallocate() }
        #expect(!send(bytes, to: [broken, closed], on: driver.loop).contains(broken.slot))
        driver.loop.close(closed, .graceful)
        driver.loop.turn(wait: true)
        #expect(driver.loop.wholeSends().isEmpty)
        var kinds: [UInt32: Completion.Kind] = [:]
        for _ in 0..<10 where kinds.count < 2 {
            while let completion = driver.loop.next() {
                kinds[completion.socket.slot] = completion.kind
                if completion.socket == broken { #expect(completion.result == -EPIPE) }
            }
            driver.loop.turn(wait: false)
            #expect(driver.loop.wholeSends().isEmpty)
        }
        #expect(kinds == [broken.slot: .sent, closed.slot: .closed])
    }
}
