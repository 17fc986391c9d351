// Tables of hosts and origins: what is ours and what only looks like it.

import Testing

@testable import Wire

@Suite("Which hosts and origins are ours")
struct HostCheckTests {
    private func isLoopback(_ host: String, port: UInt16? = nil) -> Bool {
        let bytes = Array(host.utf8)
        return HostCheck.isLoopbackLiteral(bytes.span, port: port)
    }

    private func isSame(_ origin: String, _ host: String, scheme: StaticString = "http") -> Bool {
        let (origin, host) = (Array(origin.utf8), Array(host.utf8))
        return HostCheck.originIsSame(origin.span, host: host.span, scheme: scheme)
    }

    private func isListed(origin: String, _ listed: String) -> Bool {
        let (origin, listed) = (Array(origin.utf8), Array(listed.utf8))
        return HostCheck.originIsListed(origin.span, listed.span)
    }

    private func isListed(host: String, _ listed: String, port: UInt16? = nil) -> Bool {
        let (host, listed) = (Array(host.utf8), Array(listed.utf8))
        return HostCheck.isListed(host.span, listed.span, port: port)
    }

    @Test(
        "a loopback literal is one, with and without a port",
        arguments: [
            "localhost", "localhost:7575", "LocalHost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:7575", "127.255.255.254",
            "127.0.0.0", "127.1.2.3:65535", "[::1]", "[::1]:7575",
        ])
    func loopback(_ host: String) {
        #expect(isLoopback(host))
    }

    @Test(
        "what only looks like loopback is not",
        arguments: [
            "", "127.attacker.example", "127.0.0.1.attacker.example", "localhost.evil", "localhost.", "LOCALHOST.",
            "localhost.localdomain", "xlocalhost", "0.0.0.0", "127.1", "127", "127.0.0", "127.0.0.1.1", "127.0.0.256",
            "127.0.0.01", "0177.0.0.1", "0127.0.0.1", "0x7f.0.0.1", "2130706433", "127.0.0.", "127..0.1", ".127.0.0.1",
            "127.0.0.1.", "128.0.0.1", "27.0.0.1", "1270.0.0.1", "[::ffff:127.0.0.1]", "::1", "[::2]", "[::]",
            "[0:0:0:0:0:0:0:1]", "[::1", "[::1]a", "localhost:", "localhost:x", "localhost:65536", "localhost:-1",
            "localhost:7575:1", "localhost:7575 ", " localhost", "local host", "user@localhost", "localhost@evil",
            "localhost/", "localhost#", "localhost,evil", "127.0.0.1%00", "127.0.0.١",
        ])
    func notLoopback(_ host: String) {
        #expect(!isLoopback(host))
    }

    @Test("where the port is known, another one is refused, and none is not")
    func ports() {
        #expect(isLoopback("localhost:7575", port: 7575))
        #expect(isLoopback("localhost", port: 7575))
        #expect(!isLoopback("localhost:7576", port: 7575))
        #expect(!isLoopback("localhost:80", port: 7575))
    }

    @Test("a listed host name is compared whole and without regard to case")
    func listedHosts() {
        #expect(isListed(host: "Events.Example:7575", "events.example"))
        #expect(isListed(host: "events.example", "events.example", port: 7575))
        #expect(!isListed(host: "events.example:1", "events.example", port: 7575))
        #expect(isListed(host: "events.example:8443", "events.example:8443", port: 7575))
        #expect(!isListed(host: "events.example", "events.example:8443"))
        #expect(isListed(host: "events.example", "events.example:80"))
        #expect(!isListed(host: "xevents.example", "events.example"))
        #expect(!isListed(host: "events.example.evil", "events.example"))
        #expect(!isListed(host: "", ""))
    }

    @Test("a page's own origin has the scheme, host and port that it was served under")
    func sameOrigin() {
        #expect(isSame("http://localhost:7575", "localhost:7575"))
        #expect(isSame("http://LOCALHOST:7575", "localhost:7575"))
        #expect(isSame("http://[::1]:7575", "[::1]:7575"))
        #expect(isSame("http://localhost", "localhost"))
        #expect(isSame("http://localhost", "localhost:80"))
        #expect(isSame("https://a", "a", scheme: "https"))
        #expect(isSame("https://a:443", "a", scheme: "https"))
    }

    @Test(
        "any other origin is another origin",
        arguments: [
            "null", "", "http://", "localhost:7575", "//localhost:7575", "http:localhost:7575",
            "https://localhost:7575",
            "http://localhost:7576", "http://localhost", "http://localhost:75755", "http://localhost:757",
            "http://127.0.0.1:7575", "http://localhost:7575/", "http://localhost:7575 ", " http://localhost:7575",
            "http://localhost:7575.evil", "http://evil.localhost:7575", "http://localhost.evil:7575",
            "http://localhost:7575@evil", "http://user@localhost:7575", "http://localhost:7575 http://localhost:7575",
            "http://localhost:7575,http://localhost:7575", "ws://localhost:7575", "file://",
            "http://localhost:7575\u{0}",
        ])
    func otherOrigins(_ origin: String) {
        #expect(!isSame(origin, "localhost:7575"))
    }

    @Test("a listed origin is compared part by part, with the scheme's usual port where none is said")
    func listedOrigins() {
        #expect(isListed(origin: "https://app.example", "https://app.example"))
        #expect(isListed(origin: "https://APP.example:443", "https://app.example"))
        #expect(isListed(origin: "app+x://a", "app+x://a"))
        #expect(!isListed(origin: "http://app.example", "https://app.example"))
        #expect(!isListed(origin: "https://app.example:444", "https://app.example"))
        #expect(!isListed(origin: "https://app.example.evil", "https://app.example"))
        #expect(!isListed(origin: "https://evil-app.example", "https://app.example"))
        #expect(!isListed(origin: "https://app.exampl", "https://app.example"))
        #expect(!isListed(origin: "null", "null"))
        #expect(!isListed(origin: "*", "*"))
    }
}
