/// Arming, pausing, and running out of buffers.

import CLinux
import Glibc
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

    /// What a peer does, and what else happens, in the order of time.
    enum Step: Sendable {
        case write(String)
        /// One byte beside the stream; one that is overtaken by the next becomes a part of it.
        case urgent
        /// With a descriptor beside it.
        case pass(String)
        case finish
        /// The loop takes turns until nothing happens any more.
        case settle
        case pause, resume
    }

    /// What comes between "settle" and "settle" is there before the loop looks: one event, and reads that end early.
    static let urgentBytes: [[Step]] = [
        [.write("one "), .urgent, .write("two")],
        [.write("one "), .settle, .urgent, .write("two")],
        [.write("one "), .settle, .urgent, .settle, .write("two "), .settle, .write("three")],
        [.urgent, .settle, .write("one "), .settle, .write("two")],
        [.urgent, .write("one"), .urgent, .urgent, .settle, .write("two")],
        [.write("one "), .urgent, .write("two "), .urgent, .write("three")],
        [.write("one "), .urgent, .write("two "), .settle, .urgent, .write("three"), .settle, .write(" four")],
        [.write("one "), .urgent, .write("two"), .finish],
        [.write("one"), .urgent, .finish],
        [
            .pause, .settle, .write("one "), .settle, .urgent, .write("two"), .settle, .resume, .settle,
            .write(" three"),
        ],
    ]

    static let passedDescriptors: [[Step]] = [
        [.write("one "), .pass("two "), .write("three")],
        [.pass("one "), .pass("two "), .write("three "), .settle, .pass("four "), .write("five")],
        [.write("one "), .settle, .pass("two "), .settle, .write("three")],
        [.write("one "), .urgent, .pass("two "), .write("three"), .urgent, .write(" four")],
        [.write("one "), .pass("two "), .write("three"), .finish],
        [.pass("one"), .finish],
        [.pause, .settle, .pass("one "), .write("two"), .settle, .resume, .settle, .write(" three")],
    ]

    static let plain: [[Step]] = [
        [.write("on"), .settle, .write("e "), .write("tw"), .settle, .write("o")],
        [.write("one "), .settle, .write("two"), .finish],
        [.write("one"), .settle, .finish],
        [.pause, .settle, .write("one "), .settle, .write("two"), .finish, .settle, .resume],
    ]

    @Test(
        "bytes and ends behind a passed descriptor or an urgent byte are not forgotten",
        arguments: TestBackend.available, Transport.allCases)
    func shortReads(_ backend: TestBackend, _ transport: Transport) throws {
        for steps in Self.plain + Self.urgentBytes + (transport == .unix ? Self.passedDescriptors : []) {
            let driver = try Driver(backend)
            let listener = try driver.listen(transport)
            let (socket, peer) = try driver.connect(to: listener)
            driver.settle()
            var expected = ""
            var hasEnded = false
            for step in steps {
                switch step {
                case .write(let text):
                    peer.write(text)
                    expected += text
                case .urgent:
                    try peer.writeUrgent("!")
                case .pass(let text):
                    try peer.pass(descriptor: 2, with: text)
                    expected += text
                case .finish:
                    peer.finish()
                    hasEnded = true
                case .settle: driver.settle()
                case .pause: driver.loop.pauseReceiving(socket)
                case .resume: driver.loop.receive(socket)
                }
            }
            // Which urgent bytes are overtaken is a matter of time.
            func text() -> [UInt8] { driver.received(socket).filter { $0 != UInt8(ascii: "!") } }
            try driver.run {
                text().count == expected.utf8.count && (!hasEnded || driver.all(.received).last?.result == 0)
            }
            #expect(text() == Array(expected.utf8), "\(steps)")
        }
    }

    @Test("a passed descriptor is closed, not kept", arguments: TestBackend.available)
    func passedIsClosed(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let (socket, peer) = try driver.connect(to: try driver.listen(.unix))
        var pair: [Int32] = [-1, -1]
        try #require(linux_socket_pair(&pair) == 0)
        defer { _ = linux_close(pair[0]) }
        try peer.pass(descriptor: pair[1], with: "one")
        _ = linux_close(pair[1])
        var byte: UInt8 = 0
        #expect(linux_receive(pair[0], &byte, 1) == -Int64(EAGAIN))
        try driver.run { driver.received(socket).count == 3 }
        // The end of the stream: nobody holds the other end any more.
        try driver.run { linux_receive(pair[0], &byte, 1) == 0 }
    }

    @Test("on epoll a small arrival is one read, and one behind an urgent byte is read until nothing is there")
    func oneRead() throws {
        let kernel = SimulatedKernel(seed: 1)
        var configuration = LoopConfiguration()
        configuration.backend = SimulatedFace.epoll.backend(on: kernel)
        let loop = try EventLoop(configuration)
        for address in [SocketAddress.loopback(port: 7575), .unix(path: "one.socket")] {
            let listener = try loop.listen(address)
            loop.accept(listener)
            let peer = try #require(kernel.connect(to: address))
            func calls(_ act: () -> Void) -> Int {
                let before = kernel.trace.completions
                act()
                for _ in 0..<10 {
                    loop.turn(wait: false)
                    while let completion = loop.next() {
                        if completion.kind == .accepted { loop.receive(completion.accepted) }
                    }
                }
                return kernel.trace.completions - before
            }
            _ = calls {}
            for _ in 0..<3 { #expect(calls { kernel.peerWrite(peer, pattern(100)) } == 1) }
            kernel.faults = .only(.partialReceive, 1)
            #expect(calls { kernel.peerWrite(peer, [1, 2]) } == 2 + (address.isUnix ? 0 : 1))
            kernel.faults = .none
            #expect(calls { kernel.peerWrite(peer, pattern(100)) } == 1)
            // The end comes with the last bytes: one read for those, one for the end.
            let both = calls {
                kernel.peerWrite(peer, pattern(100))
                kernel.peerFinish(peer)
            }
            #expect(both == 2)
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
        var wrong: [String] = []
        driver.onCompletion = { [unowned driver] completion in
            guard completion.kind == .received else { return }
            let at = counts[completion.socket, default: 0]
            let piece = driver.loop.bytes(of: completion)
            let expected = bytes[min(at, bytes.count)...].prefix(piece.count)
            if completion.result != Int32(piece.count) || !piece.elementsEqual(expected) {
                wrong.append("\(completion.socket): \(completion.result) for \(piece.count) bytes at \(at)")
            }
            counts[completion.socket] = at + piece.count
        }
        try driver.run { counts.values.reduce(0, +) == bytes.count * pairs.count || !wrong.isEmpty }
        #expect(wrong == [])
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
