/// What a prober may say, and what is right to answer: from RFC 9110, RFC 9112, RFC 6455 and DESIGN, not from the
/// server.

import Reactor

/// One thing to say over TCP to the HTTP listener on port 7575.
struct Probe {
    var name: String
    var request: String
    /// The status that answers it; 101 is followed by `frames`.
    var status: Int
    /// Whether the answer must end the connection: after a fault nobody knows where the next request begins.
    var mustEnd = false
    var frames: [UInt8] = []
    /// The code of the close frame that answers the frames.
    var closeCode: UInt64?

    /// Draws one. Large ones only where pipes have room for them.
    static func drawn(_ random: inout SeededRandom, hasRoom: Bool) -> Probe {
        switch random.below(4) {
        case 0: random.pick(hosts + places)
        case 1: random.pick(origins)
        case 2: random.pick(malformed)
        default: random.pick(hasRoom ? smallFrames + largeFrames : smallFrames)
        }
    }

    // MARK: Who asks

    private static func get(_ host: String, origin: String? = nil, _ status: Int) -> Probe {
        let head = "GET /healthz HTTP/1.1\r\nHost: \(host)\r\n" + (origin.map { "Origin: \($0)\r\n" } ?? "")
        return Probe(name: "host \(host), origin \(origin ?? "none")", request: head + "\r\n", status: status)
    }

    /// A host that is not this machine's loopback is another server's (RFC 9110 section 7.4).
    private static let hosts: [Probe] =
        [
            "127.attacker.example:7575", "127.0.0.1.attacker.example", "localhost.attacker.example:7575", "localhost.",
            "0.0.0.0:7575", "127.0.0.1:7576", "128.0.0.1:7575", "0177.0.0.1", "127.1", "[::2]:7575", "attacker.example",
        ].map { get($0, 421) }
        + ["localhost", "LocalHost:7575", "127.0.0.1:7575", "127.9.8.7", "[::1]:7575"].map { get($0, 200) }

    /// A place that is none is an error where a program wrote it; only a browser's header is forgiven.
    private static let places: [Probe] = [
        "from=garbage", "from=-7", "from=0123456789abcdef", "from=0123456789abcdef-", "last_event_id=7",
        "from=0123456789abcdeg-7", "from=0123456789abcdef-99999999999999999999",
    ].map { query in
        Probe(
            name: query, request: "GET /v1/events?\(query) HTTP/1.1\r\nHost: localhost:7575\r\n\r\n", status: 400)
    }

    /// Only pages of the very same scheme, host and port.
    private static let origins: [Probe] =
        [
            "http://attacker-localhost:7575", "http://attacker.localhost:7575",
            "http://localhost:7575.attacker.example",
            "http://localhost.attacker.example:7575", "https://localhost:7575", "http://localhost:7576",
            "http://localhost",
            "http://attacker.example", "null", "localhost:7575",
        ].map { get("localhost:7575", origin: $0, 403) } + [get("localhost:7575", origin: "http://localhost:7575", 200)]

    // MARK: Requests that are none

    private static func refused(_ name: String, _ status: Int, _ request: String) -> Probe {
        Probe(name: name, request: request, status: status, mustEnd: true)
    }

    private static let post = "POST /v1/events HTTP/1.1\r\nHost: localhost:7575\r\nContent-Type: application/json\r\n"
    private static let start = "GET /healthz HTTP/1.1\r\nHost: localhost:7575\r\n"
    /// An event that nobody may ever see: the truth knows nothing of it.
    private static let event = "{\"n\":700}"

    private static let malformed: [Probe] = [
        refused("two lengths", 400, post + "Content-Length: 2\r\nContent-Length: 9\r\n\r\n" + event),
        refused("equal lengths", 400, post + "Content-Length: 9\r\nContent-Length: 9\r\n\r\n" + event),
        refused("a list of lengths", 400, post + "Content-Length: 9, 9\r\n\r\n" + event),
        refused("a signed length", 400, post + "Content-Length: +9\r\n\r\n" + event),
        refused("a length and chunks", 400, post + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n" + event),
        refused("another coding", 501, post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + event),
        refused("a body too large", 413, post + "Content-Length: 99999999\r\n\r\n"),
        refused("a chunk with a bare LF", 400, post + "Transfer-Encoding: chunked\r\n\r\n9\n" + event),
        refused("a signed chunk", 400, post + "Transfer-Encoding: chunked\r\n\r\n+9\r\n" + event),
        refused("a bare LF", 400, "GET /healthz HTTP/1.1\r\nHost: localhost:7575\nX-Field: 1\r\n\r\n"),
        refused("a bare LF at the end", 400, start + "X-Field: 1\r\n\n"),
        refused("a bare CR", 400, start + "X-Field: 1\r2\r\n\r\n"),
        refused("a folded field", 400, start + "X-Field: 1\r\n 2\r\n\r\n"),
        refused("a blank before the colon", 400, start + "X-Field : 1\r\n\r\n"),
        refused("a control character", 400, start + "X-Field: \u{1}\r\n\r\n"),
        refused("two hosts", 400, start + "Host: localhost:7575\r\n\r\n"),
        refused("no host", 400, "GET /healthz HTTP/1.1\r\n\r\n"),
        refused("101 fields", 431, start + String(repeating: "A: 1\r\n", count: 100) + "\r\n"),
        refused("another version", 505, "GET /healthz HTTP/3.0\r\nHost: localhost:7575\r\n\r\n"),
    ]

    // MARK: Frames that must not be sent

    private static func frames(_ name: String, _ code: UInt64, _ frames: [UInt8]) -> Probe {
        var head = "GET /v1/events?channel=never HTTP/1.1\r\nHost: localhost:7575\r\nUpgrade: websocket\r\n"
        head +=
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        return Probe(
            name: "frames: \(name)", request: head, status: 101, mustEnd: true, frames: frames, closeCode: code)
    }

    private static let mask: [UInt8] = [1, 2, 3, 4]

    private static let smallFrames: [Probe] = [
        // Sent whole: a server that took it for masked would wait for more.
        frames("no mask", 1002, [0x81, 0x05] + Array("hello")),
        frames("a reserved bit", 1002, clientFrame(0x41, [])),
        frames("a reserved opcode", 1002, clientFrame(3, [0x41])),
        frames("a continuation of nothing", 1002, clientFrame(0, [0x41])),
        frames(
            "a message inside a message", 1002, clientFrame(1, [0x41], isLast: false) + clientFrame(1, [0x42])),
        frames("a ping in fragments", 1002, clientFrame(9, [], isLast: false)),
        frames("a ping of 126 bytes", 1002, [0x89, 0xFE, 0, 126] + mask),
        frames("5 bytes in 16 bits", 1002, [0x81, 0xFE, 0, 5] + mask),
        frames("300 bytes in 64 bits", 1002, [0x81, 0xFF, 0, 0, 0, 0, 0, 0, 1, 44] + mask),
        frames("a length with its top bit", 1002, [0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1] + mask),
        frames("half a close code", 1002, clientFrame(8, [3])),
        frames("a close code of no frame", 1002, clientFrame(8, [0x03, 0xED])),
        frames("a close reason that is no text", 1007, clientFrame(8, [0x03, 0xE8, 0xFF])),
        frames("text that is none", 1007, clientFrame(1, [0xFF, 0xFE])),
        frames("half a character", 1007, clientFrame(1, [0xC3])),
        frames("binary", 1003, clientFrame(2, [1, 2, 3])),
        frames("65,537 bytes", 1009, [0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1] + mask),
        frames("a $subscribe that is none", 1008, clientFrame(1, Array(#"{"$subscribe":{"control":"maybe"}}"#))),
        frames("a close", 1000, clientFrame(8, [0x03, 0xE8])),
    ]

    private static let blanks = [UInt8](repeating: 0x20, count: 40_000)

    private static let largeFrames: [Probe] = [
        frames(
            "80,000 bytes in two fragments", 1009, clientFrame(1, blanks, isLast: false) + clientFrame(0, blanks)),
        frames(
            "1,025 fragments", 1008,
            clientFrame(1, [], isLast: false)
                + [[UInt8]](repeating: clientFrame(0, [], isLast: false), count: 1024).joined()),
    ]
}
