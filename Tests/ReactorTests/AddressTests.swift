/// Addresses and errors as people write and read them.

import Glibc
import Testing

@testable import Reactor

@Suite("Addresses")
struct AddressTests {
    @Test(
        "what is written is what is read",
        arguments: ["127.0.0.1:7575", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:7575", "[::]:80", "[2001:db8::1]:1"])
    func roundTrip(_ text: String) throws {
        #expect(SocketAddress(parsing: text)?.description == text)
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", ":", "7575", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
            "127.0.0.1:0000001", "127.0.0:1", "127.0.0.1.1:1", "256.0.0.1:1", "::1:80", "[::1]", "[::1]80", "[::1:80",
            "[]:80", "[127.0.0.1]:80", "example.org:80", ":80", "127.0.0.1 :80", "127.0.0.1:8 0", "[::1%lo]:80",
        ])
    func refused(_ text: String) {
        #expect(SocketAddress(parsing: text) == nil)
    }

    @Test("localhost is 127.0.0.1, and only loopback is loopback")
    func loopback() {
        #expect(SocketAddress(parsing: "localhost:1") == .loopback(port: 1))
        #expect(SocketAddress(parsing: "127.9.9.9:1")?.isLoopback == true)
        #expect(SocketAddress(parsing: "[::1]:1")?.isLoopback == true)
        #expect(SocketAddress.unix(path: "/a").isLoopback)
        #expect(SocketAddress(parsing: "0.0.0.0:1")?.isLoopback == false)
        #expect(SocketAddress(parsing: "128.0.0.1:1")?.isLoopback == false)
        #expect(SocketAddress(parsing: "[::]:1")?.isLoopback == false)
        #expect(SocketAddress(parsing: "[::ffff:127.0.0.1]:1")?.isLoopback == false)
    }

    @Test("the kernel's form and back", arguments: ["127.0.0.1:7575", "[2001:db8::1]:1"])
    func encoded(_ text: String) throws {
        let address = try #require(SocketAddress(parsing: text))
        let (storage, length) = try LinuxSockets.encode(address)
        #expect(LinuxSockets.decode(storage, length) == address)
    }

    @Test("a path has 1 to 107 bytes")
    func paths() throws {
        let longest = String(repeating: "a", count: 107)
        let (storage, length) = try LinuxSockets.encode(.unix(path: longest))
        #expect(LinuxSockets.decode(storage, length) == .unix(path: longest))
        #expect(throws: SystemError.self) { try LinuxSockets.encode(.unix(path: longest + "a")) }
        #expect(throws: SystemError.self) { try LinuxSockets.encode(.unix(path: "")) }
        #expect(throws: SystemError.self) { try LinuxSockets.encode(.unix(path: "a\0b")) }
    }

    @Test("an error is one line that says what, where, why and what to do")
    func errors() {
        let error = SystemError(errno: EACCES, operation: "bind", subject: "1.2.3.4:80", advice: "choose another")
        #expect(error.description == "bind 1.2.3.4:80: EACCES (Permission denied); choose another")
        #expect(SystemError(errno: 9999, operation: "x").description.hasPrefix("x: errno 9999 ("))
    }
}
