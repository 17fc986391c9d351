/// What bounds the kernel's share of a slow reader: its send buffer, and how long the kernel waits for it.

import CLinux
import Foundation
import Glibc
import Testing

@testable import Reactor

@Suite("Socket options", .serialized)
struct SocketOptionTests {
    private func userTimeout(_ driver: Driver, _ socket: SocketID) -> Int32 {
        linux_option(driver.loop.descriptor(of: socket), Int32(IPPROTO_TCP), TCP_USER_TIMEOUT)
    }

    @Test(
        "accepted connections have their listener's send buffer, doubled by the kernel and no more",
        arguments: TestBackend.available, [(Transport.tcp, 262_144), (.unix, 65_536)])
    func sendBuffers(_ backend: TestBackend, _ bound: (transport: Transport, bytes: Int)) throws {
        let driver = try Driver(backend)
        var options = ListenOptions()
        options.sendBufferBytes = bound.bytes
        let listener = try driver.listen(bound.transport, options)
        let (socket, peer) = try driver.connect(to: listener)
        let descriptor = driver.loop.descriptor(of: socket)
        let most = try String(contentsOfFile: "/proc/sys/net/core/wmem_max", encoding: .ascii)
        let size = 2 * min(bound.bytes, try #require(Int(most.trimmingCharacters(in: .whitespacesAndNewlines))))
        #expect(linux_option(descriptor, SOL_SOCKET, SO_SNDBUF) == Int32(size))
        // A peer that takes nothing: what the kernel takes for it is bounded, whatever is offered.
        driver.send(pattern(16 << 20), on: socket)
        try driver.run { driver.all(.sent, socket).count == 1 || driver.loop.isSending(socket) }
        driver.settle()
        let taken = driver.all(.sent, socket).reduce(0) { $0 + Int($1.result) }
        #expect(taken < 8 << 20, "\(taken) bytes for a reader that does not read")
        #expect(linux_option(descriptor, SOL_SOCKET, SO_SNDBUF) == Int32(size), "auto-tuning is off")
        _ = peer
    }

    @Test(
        "accepted TCP connections have their listener's user timeout until it is changed",
        arguments: TestBackend.available)
    func userTimeout(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        var options = ListenOptions()
        options.userTimeoutMilliseconds = 45_000
        let listener = try driver.listen(.tcp, options)
        let (socket, _) = try driver.connect(to: listener)
        let (other, _) = try driver.connect(to: listener)
        #expect(userTimeout(driver, socket) == 45_000)
        driver.loop.setUserTimeout(socket, milliseconds: 0)
        #expect(userTimeout(driver, socket) == 0)
        #expect(userTimeout(driver, other) == 45_000)
        driver.loop.setUserTimeout(socket, milliseconds: .max)
        #expect(userTimeout(driver, socket) == .max)
        let plain = try driver.listen(.tcp)
        #expect(try userTimeout(driver, driver.connect(to: plain).socket) == 0)
    }

    @Test("a user timeout on a unix socket does nothing and breaks nothing", arguments: TestBackend.available)
    func unix(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        var options = ListenOptions()
        options.userTimeoutMilliseconds = 45_000
        let listener = try driver.listen(.unix, options)
        let (socket, peer) = try driver.connect(to: listener)
        driver.loop.setUserTimeout(socket, milliseconds: 1000)
        peer.write("x")
        try driver.run { driver.received(socket) == [0x78] }
    }
}
