/// Where a command line says that a server is, and what a server says of itself.

import ClientSockets
import Testing

@testable import LoadGenerator

@Suite("Places")
struct PlaceTests {
    @Test("the scheme decides what is spoken, and http leaves the choice to the transport")
    func schemes() throws {
        func dialect(_ text: String, _ transport: Transport) throws -> Dialect {
            try Place(text).route(transport).dialect
        }
        #expect(try dialect("unix:/run/x", .sse) == .jsonl)
        #expect(try dialect("tcp://127.0.0.1:1", .ws) == .jsonl)
        #expect(try dialect("ws://127.0.0.1:1/x", .sse) == .ws)
        #expect(try dialect("http://localhost:1", .jsonl) == .jsonlHTTP)
        #expect(try dialect("http://localhost:1", .sse) == .sse)
        #expect(try dialect("http+unix:/run/h", .sse) == .sse)
        #expect(try dialect("http+unix:/run/h", .jsonl) == .jsonlHTTP)
        #expect(try Place("redis+unix:/run/r").publishRoute().dialect == .redis)
    }

    @Test("a URL without a path is fanout's, another's is used as it is")
    func paths() throws {
        let own = try Place("http://127.0.0.1:7575").route(.sse)
        #expect(own.target(channel: nil) == "/v1/events")
        #expect(own.target(channel: "a/b") == "/v1/events?channel=a/b")
        let asked = try Place("http://127.0.0.1/v1/events?types=x#y").route(.sse)
        #expect(asked.target(channel: "c") == "/v1/events?types=x&channel=c")
        #expect(asked.destination == .ipv4(address: 0x7F00_0001, port: 80))
        let other = try Place("http://10.1.2.3:8080/sub?id={channel}").route(.ws)
        #expect(other.target(channel: "c-1") == "/sub?id=c-1")
        #expect(try Place("http://10.1.2.3:8080/feed").route(.sse).target(channel: "c") == "/feed")
        #expect(try Place("http://10.1.2.3:8080/pub").publishRoute().takesBatches == false)
        #expect(try Place("http://10.1.2.3:8080").publishRoute().takesBatches)
    }

    @Test("a host is an address or a name, and the request says it as it was written")
    func hosts() throws {
        let six = try Place("http://[2001:db8::7]:8080/feed").route(.sse)
        #expect(six.destination == .ipv6(high: 0x2001_0DB8_0000_0000, low: 7, port: 8080))
        #expect(six.host == "[2001:db8::7]:8080")
        #expect(try Place("ws://[::1]").destination() == .ipv6(high: 0, low: 1, port: 80))
        #expect(try Place("tcp://localhost:7").destination() == .ipv4(address: 0x7F00_0001, port: 7))
        let socket = try Place("http+unix:/run/h").route(.sse)
        #expect(socket.destination == .unix("/run/h"))
        #expect((socket.host, socket.target(channel: nil)) == ("localhost", "/v1/events"))
        #expect(throws: LoadFailure.self) { try Place("http://no-such-host.invalid").destination() }
    }

    @Test(
        "what is no place is said to be none",
        arguments: [
            "", "http://", "127.0.0.1:1", "https://127.0.0.1:1", "http://1.2.3:4", "unix:",
            "http://1.2.3.4:0", "http://1.2.3.4:70000", "tcp://1.2.3.4", "http://1.2.3.4:1/a b", "http://1.2.3.256:1",
            "http+unix:", "http://[::1", "http://[1.2.3.4]:1", "http://::1:80", "http://user@host:1", "http://host:+1",
        ])
    func refusals(text: String) {
        #expect(throws: LoadFailure.self) { try Place(text) }
    }

    @Test("a ready line says where a server listens, the first of each kind")
    func readyLine() throws {
        let line =
            "fanout 0.1.0 ready · http 127.0.0.1:1 · jsonl 127.0.0.1:2 · events /r/e · http /r/h · ingest /r/i"
            + " · ingest /r/ingest/x.socket · epoll (asked for) · pid 7"
        let ready = try #require(ReadyLine(line[...]))
        #expect(ready.http == "127.0.0.1:1")
        #expect(ready.jsonl == "127.0.0.1:2")
        #expect(ready.events == "/r/e")
        #expect(ready.ingest == "/r/i")
        #expect(ReadyLine("fanout 0.1.0 is not ready · yet") == nil)
        #expect(ReadyLine("") == nil)
    }
}
