/// How readers that come back learn their place, and how they ask for it.

import Testing

@testable import LoadGenerator

@Suite("Coming back")
struct ComingBackTests {
    private static let hello =
        "{\"type\":\"$hello\",\"epoch\":\"0123456789abcdef\",\"seq\":42,"
        + "\"server\":\"fanout/0.1.0\",\"heartbeat_s\":15}\n"

    private func place(_ text: String) -> String? { Hello.place(Array(text.utf8).span) }

    @Test("the place is read from $hello on every transport, and not before it is there")
    func places() {
        let head = "HTTP/1.1 200 OK\r\nX-Braces: {}\r\n\r\n"
        for front in ["", head, head + "event: $hello\nid: 0123456789abcdef-42\ndata: ", "{\"seq\":1}\n"] {
            #expect(place(front + Self.hello) == "0123456789abcdef-42")
        }
        let seqEnd = Self.hello.utf8.count - ",\"server\":\"fanout/0.1.0\",\"heartbeat_s\":15}\n".utf8.count
        for count in 0..<Self.hello.utf8.count {
            let cut = String(decoding: Self.hello.utf8.prefix(count), as: UTF8.self)
            #expect(place(cut) == (count > seqEnd ? "0123456789abcdef-42" : nil), "\(count)")
        }
    }

    @Test("what is no $hello gives no place")
    func others() {
        for (part, other) in [
            ("$hello", "$gap"), ("0123456789abcdef", "0123456789ABCDEF"), ("0123456789abcdef", "0123"), ("42", "-1"),
            ("42", "9999999999999999999"), ("42", ""),
        ] {
            let pieces = Self.hello.split(separator: part, maxSplits: 1, omittingEmptySubsequences: false)
            #expect(place(pieces.joined(separator: other)) == nil, "\(other)")
        }
    }

    @Test("a place is asked for in the query, or in a line where there is none")
    func asking() throws {
        func opening(_ url: String, _ transport: Transport, channel: String?) throws -> String {
            var route = try Place(url).route(transport)
            route.from = "0123456789abcdef-42"
            var bytes: [UInt8] = []
            route.dialect.appendOpening(route, channel: channel, to: &bytes)
            return String(decoding: bytes, as: UTF8.self)
        }
        let query = "from=0123456789abcdef-42"
        let http = "http://127.0.0.1:1"
        #expect(try opening(http, .sse, channel: nil).hasPrefix("GET /v1/events?\(query) HTTP/1.1\r\n"))
        #expect(try opening(http, .ws, channel: "a/b").hasPrefix("GET /v1/events?channel=a/b&\(query) HTTP/1.1\r\n"))
        #expect(try opening(http + "/feed?x=1", .jsonl, channel: nil).hasPrefix("GET /feed?x=1&\(query) HTTP"))
        let raw = "tcp://127.0.0.1:1"
        let from = "\"from\":\"0123456789abcdef-42\"}}\n"
        #expect(try opening(raw, .jsonl, channel: nil) == "{\"$subscribe\":{" + from)
        #expect(try opening(raw, .jsonl, channel: "a") == "{\"$subscribe\":{\"channel\":\"a\"," + from)
    }
}
