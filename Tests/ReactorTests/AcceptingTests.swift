/// Listeners: pausing, limits, errors, paths.

import CLinux
import Glibc
import Testing

@testable import Reactor

@Suite("Accepting", .serialized)
struct AcceptingTests {
    @Test("two thousand connections, each with its own bytes", arguments: TestBackend.everywhere, Transport.allCases)
    func thousands(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        let address = driver.loop.localAddress(of: listener)
        var peers: [Peer] = []
        for number in 0..<2000 {
            peers.append(try Peer(connectingTo: address))
            peers[number].write("\(number);")
            driver.turn()
        }
        var texts: [SocketID: String] = [:]
        driver.onCompletion = { [unowned driver] completion in
            switch completion.kind {
            case .accepted: driver.loop.receive(completion.accepted)
            case .received:
                texts[completion.socket, default: ""] += String(
                    decoding: driver.loop.bytes(of: completion), as: UTF8.self)
            default: break
            }
        }
        for completion in driver.all(.accepted) { driver.loop.receive(completion.accepted) }
        try driver.run { texts.count == 2000 && texts.values.allSatisfy { $0.hasSuffix(";") } }
        #expect(Set(texts.values).count == 2000)
        driver.onCompletion = nil
        for socket in texts.keys { driver.send(Array(texts[socket]!.utf8), on: socket) }
        try driver.run { driver.all(.sent).count == 2000 }
        for (number, peer) in peers.enumerated() {
            #expect(String(decoding: peer.read(), as: UTF8.self) == "\(number);")
        }
        peers.removeAll()
        try driver.run { driver.all(.received).filter { $0.result <= 0 }.count == 2000 }
        for socket in texts.keys { driver.loop.close(socket, .graceful) }
        try driver.run { driver.all(.closed).count == 2000 }
        #expect(driver.loop.socketCount == 1)
    }

    @Test("paused, connections wait; resumed, they come", arguments: TestBackend.everywhere, Transport.allCases)
    func pause(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        _ = try driver.connect(to: listener)
        driver.loop.pauseAccepting(listener)
        driver.settle(milliseconds: 20)
        let waiting = try Peer(connectingTo: driver.loop.localAddress(of: listener))
        driver.settle()
        #expect(driver.all(.accepted).count == 1)
        driver.loop.accept(listener)
        try driver.run { driver.all(.accepted).count == 2 }
        _ = waiting.read()
        #expect(!waiting.isAtEnd)
    }

    @Test("without a free slot accepting stops and says so", arguments: TestBackend.everywhere, Transport.allCases)
    func full(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend) { $0.socketsMax = 4 }
        let listener = try driver.listen(transport)
        let address = driver.loop.localAddress(of: listener)
        let peers = try (0..<6).map { _ in try Peer(connectingTo: address) }
        try driver.run { driver.all(.accepted).contains { $0.result < 0 } }
        driver.settle()
        let results = driver.all(.accepted).map(\.result)
        // Once for each that was accepted before the kernel heard of it: there may be more than one.
        #expect(results.prefix(4) == [0, 0, 0, -ENOBUFS])
        #expect(results.dropFirst(4).allSatisfy { $0 == -ENOBUFS })
        #expect(!driver.loop.isReceiving(listener))
        #expect(driver.loop.stats.acceptErrors > 0)
        driver.loop.close(driver.all(.accepted)[0].accepted, .graceful)
        try driver.run { driver.all(.closed).count == 1 }
        let late = try Peer(connectingTo: address)
        driver.loop.accept(listener)
        try driver.run { driver.all(.accepted).filter { $0.result == 0 }.count == 4 }
        withExtendedLifetime((peers, late)) {}
    }

    @Test("without descriptors accepting stops and says so, and goes on when asked", arguments: TestBackend.available)
    func noDescriptors(_ backend: TestBackend) async {
        // In a process of its own: the limit is the whole process's.
        await #expect(processExitsWith: .success) { [backend] in
            try AcceptingTests.runOutOfDescriptors(backend)
        }
    }

    private static func runOutOfDescriptors(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.unix)
        let address = driver.loop.localAddress(of: listener)
        let peers = try (0..<20).map { _ in try Peer(connectingTo: address) }
        let before = setDescriptorLimit(rlim_t(peers[19].descriptor + 6))
        try driver.run { driver.all(.accepted).last?.result == -EMFILE }
        driver.settle()
        #expect(driver.all(.accepted).filter { $0.result == 0 }.count < 20)
        #expect(driver.all(.accepted).filter { $0.result < 0 }.count == 1)
        // The spare descriptor serves as often as one likes.
        let accepted = driver.all(.accepted).filter { $0.result == 0 }.count
        let words = Array("no place\n".utf8)
        for _ in 0..<3 {
            let isShed = driver.loop.shed(listener, farewell: words.span)
            #expect(isShed)
        }
        for peer in peers[accepted..<accepted + 3] {
            #expect(peer.read() == words)
            #expect(peer.isAtEnd)
        }
        #expect(driver.loop.stats.connectionsShed == 3)
        _ = setDescriptorLimit(before)
        driver.loop.accept(listener)
        try driver.run { driver.all(.accepted).filter { $0.result == 0 }.count == 17 }
        withExtendedLifetime(peers) {}
    }

    @Test("turning away never waits: nobody is there, or an accept is under way", arguments: TestBackend.everywhere)
    func nobodyToTurnAway(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let words: [UInt8] = [1]
        driver.turn()
        var isShed = driver.loop.shed(listener, farewell: words.span)
        #expect(!isShed, "the accept under way is the one to take it")
        driver.loop.pauseAccepting(listener)
        driver.settle(milliseconds: 20)
        isShed = driver.loop.shed(listener, farewell: words.span)
        #expect(!isShed)
        driver.loop.accept(listener)
        let (socket, peer) = try driver.connect(to: listener)
        peer.write("still here")
        try driver.run { driver.received(socket).count == 10 }
    }

    @Test(
        "who is turned away reads the reason, whatever it has written", arguments: TestBackend.everywhere,
        Transport.allCases)
    func reason(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(transport)
        driver.loop.pauseAccepting(listener)
        driver.settle(milliseconds: 20)
        let peer = try Peer(connectingTo: driver.loop.localAddress(of: listener))
        peer.write([UInt8](repeating: 0x78, count: 20_000))
        let words = Array("come back later\n".utf8)
        let isShed = driver.loop.shed(listener, farewell: words.span)
        #expect(isShed)
        var read: [UInt8] = []
        try driver.run {
            read += peer.read()
            return peer.isAtEnd || peer.error != 0
        }
        #expect(read == words)
        #expect(peer.error == 0)
    }

    @Test("without a free slot each is turned away, and hears why", arguments: TestBackend.everywhere)
    func turnedAway(_ backend: TestBackend) throws {
        let driver = try Driver(backend) { $0.socketsMax = 3 }
        let listener = try driver.listen(.unix)
        let address = driver.loop.localAddress(of: listener)
        let words = Array("full\n".utf8)
        var shed = 0
        driver.onCompletion = { [unowned driver] completion in
            guard completion.kind == .accepted, completion.result < 0 else { return }
            if driver.loop.shed(listener, farewell: words.span) { shed += 1 }
        }
        let peers = try (0..<4).map { _ in try Peer(connectingTo: address) }
        try driver.run { shed > 0 }
        try driver.run {
            driver.loop.accept(listener)
            return shed == 2
        }
        for (place, peer) in peers.enumerated() { #expect(peer.read() == (place < 2 ? [] : words)) }
        #expect(driver.loop.socketCount == 3)
        #expect(driver.loop.stats.connectionsShed == 2)
    }

    /// Sets the soft limit of this process; the old one.
    private static func setDescriptorLimit(_ limit: rlim_t) -> rlim_t {
        var limits = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
        let before = limits.rlim_cur
        limits.rlim_cur = limit
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
        return before
    }

    @Test("a unix socket's path is for its owner from the start, or as asked", arguments: TestBackend.available)
    func mode(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        for (mode, expected) in [(nil, 0o600), (0o660, 0o660)] as [(UInt32?, UInt32)] {
            var options = ListenOptions()
            if let mode { options.mode = mode }
            let previous = umask(0)
            defer { umask(previous) }
            let address = Transport.unix.address()
            _ = try driver.loop.listen(address, options)
            var status = stat()
            #expect(stat(address.description, &status) == 0)
            #expect(status.st_mode & 0o777 == expected)
        }
    }

    @Test("a path that nobody answers on is taken over, one in use is not", arguments: TestBackend.available)
    func stale(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let address = Transport.unix.address()
        let first = try driver.listen(.unix)
        let inUse = driver.loop.localAddress(of: first)
        #expect { try driver.loop.listen(inUse) } throws: { ($0 as? SystemError)?.errno == EADDRINUSE }
        let second = try driver.loop.listen(address)
        driver.loop.close(second, .graceful)
        try driver.run { driver.all(.closed).count == 1 }
        let third = try driver.loop.listen(address)
        driver.loop.accept(third)
        _ = try driver.connect(to: third)
        var options = ListenOptions()
        options.replaceStale = false
        driver.loop.close(third, .graceful)
        try driver.run { driver.all(.closed).count == 2 }
        #expect(throws: SystemError.self) { try driver.loop.listen(address, options) }
    }

    @Test("a port in use is an error that says so", arguments: TestBackend.everywhere)
    func busyPort(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let listener = try driver.listen(.tcp)
        let address = driver.loop.localAddress(of: listener)
        #expect(address.port != 0)
        do throws(SystemError) {
            _ = try driver.loop.listen(address)
            Issue.record("two listeners on one port")
        } catch {
            #expect(error.errno == EADDRINUSE)
            #expect(error.description.hasPrefix("bind \(address): EADDRINUSE ("))
            #expect(!error.description.contains("\n"))
        }
    }

    @Test("IPv6 listens, and names both ends", arguments: TestBackend.available)
    func ipv6(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let address = try #require(SocketAddress(parsing: "[::1]:0"))
        let listener = try driver.loop.listen(address)
        driver.loop.accept(listener)
        let (socket, _) = try driver.connect(to: listener)
        #expect(driver.loop.localAddress(of: listener).description.hasPrefix("[::1]:"))
        #expect(driver.loop.peerDescription(of: socket).hasPrefix("[::1]:"))
        guard case .address(.ipv6(let peer, _)) = driver.loop.peer(of: socket) else {
            Issue.record("no address of the peer")
            return
        }
        #expect(peer == .init(high: 0, low: 1))
    }

    @Test(
        "accepted connections have the listener's send buffer, keep-alive and no delay",
        arguments: TestBackend.available,
        Transport.allCases)
    func options(_ backend: TestBackend, _ transport: Transport) throws {
        let driver = try Driver(backend)
        var options = ListenOptions()
        options.sendBufferBytes = 20_000
        options.keepAliveSeconds = 12
        let listener = try driver.listen(transport, options)
        let (socket, _) = try driver.connect(to: listener)
        let descriptor = driver.loop.descriptor(of: socket)
        #expect(linux_option(descriptor, SOL_SOCKET, SO_SNDBUF) == 40_000)
        if transport == .tcp {
            #expect(linux_option(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY) == 1)
            #expect(linux_option(descriptor, SOL_SOCKET, SO_KEEPALIVE) == 1)
            #expect(linux_option(descriptor, Int32(IPPROTO_TCP), TCP_KEEPIDLE) == 12)
        }
        #expect(fcntl(descriptor, F_GETFD) == FD_CLOEXEC)
        if transport == .unix {
            #expect(driver.loop.peerDescription(of: socket) == "unix (process \(getpid()), user \(getuid()))")
            #expect(driver.loop.peer(of: socket) == .process(getpid(), user: getuid()))
        }
    }
}
