// What the parser reads from heads that it accepts.

import Testing

@testable import Wire

@Suite("What is read from a request's head")
struct HTTPRequestHeadTests {
    private func parse(_ lines: String...) throws -> (head: HTTPRequestHead, text: (ByteRange?) -> String?) {
        let bytes = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
        let head = try HTTPRequestHead.parse(bytes.span, limits: HTTPLimits())
        return (head, { range in range.map { String(decoding: bytes[$0.range], as: UTF8.self) } })
    }

    @Test("method, target, path and query")
    func target() throws {
        let (head, text) = try parse("GET /v1/events?types=a&b HTTP/1.1", "Host: localhost:7575")
        #expect(head.method == .get && text(head.methodName) == "GET" && head.minorVersion == 1)
        #expect(text(head.target) == "/v1/events?types=a&b")
        #expect(text(head.path) == "/v1/events" && text(head.query) == "types=a&b")
        #expect(text(head.host) == "localhost:7575")
    }

    @Test("a query may contain question marks, and an empty one is empty")
    func queries() throws {
        let (twice, text) = try parse("GET /a?b?c HTTP/1.1", "Host: a")
        #expect(text(twice.path) == "/a" && text(twice.query) == "b?c")
        let (empty, emptyText) = try parse("GET /a? HTTP/1.1", "Host: a")
        #expect(emptyText(empty.path) == "/a" && empty.query.isEmpty)
    }

    @Test("each method is known by its name in capitals")
    func methods() throws {
        let methods: [(String, HTTPMethod)] = [
            ("GET", .get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("DELETE", .delete), ("OPTIONS", .options),
            ("PATCH", .other), ("Get", .other),
        ]
        for (name, method) in methods {
            let (head, text) = try parse("\(name) / HTTP/1.1", "Host: a")
            #expect(head.method == method && text(head.methodName) == name)
        }
    }

    @Test("an absolute target gives its path and its host")
    func absoluteForm() throws {
        let (full, fullText) = try parse("GET http://A:80/b?c HTTP/1.1", "Host: a:80")
        #expect(fullText(full.path) == "/b" && fullText(full.query) == "c" && fullText(full.host) == "A:80")
        let (bare, bareText) = try parse("GET http://a?c HTTP/1.0")
        #expect(bareText(bare.path) == "/" && bareText(bare.query) == "c" && bareText(bare.host) == "a")
    }

    @Test("the target of OPTIONS * is its path")
    func asterisk() throws {
        let (head, text) = try parse("OPTIONS * HTTP/1.1", "Host: a")
        #expect(text(head.path) == "*" && head.query.isEmpty)
    }

    @Test("the named fields are found in any case and without the blanks around them")
    func namedFields() throws {
        let (head, text) = try parse(
            "POST / HTTP/1.1", "Host: a", "ORIGIN: \t http://a \t", "accept:text/event-stream",
            "Content-Type: application/json", "Content-Encoding: gzip", "Last-Event-ID: 1-2", "Idempotency-Key: k",
            "Sec-Fetch-Site: none", "Sec-Fetch-Mode: cors", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: p", "User-Agent: curl/7 (x)", "Accept: second")
        #expect(text(head.origin) == "http://a" && text(head.accept) == "text/event-stream")
        #expect(text(head.contentType) == "application/json" && text(head.contentEncoding) == "gzip")
        #expect(text(head.lastEventID) == "1-2" && text(head.idempotencyKey) == "k")
        #expect(text(head.secFetchSite) == "none" && text(head.secFetchMode) == "cors")
        #expect(text(head.secWebSocketKey) == "x" && text(head.secWebSocketVersion) == "13")
        #expect(text(head.secWebSocketProtocol) == "p" && text(head.userAgent) == "curl/7 (x)")
    }

    @Test("a field that is absent is nil and one without a value is empty")
    func absence() throws {
        let (head, text) = try parse("GET / HTTP/1.1", "Host: a", "Origin:")
        #expect(head.accept == nil && head.userAgent == nil)
        #expect(text(head.origin) == "")
    }

    @Test("further fields can be walked")
    func walking() throws {
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nAccept: b\r\n\r\n".utf8)
        let head = try HTTPRequestHead.parse(bytes.span, limits: HTTPLimits())
        var lines = HTTPFieldLines(at: Int(head.fields.start))
        var found: [String] = []
        while let field = try lines.next(bytes.span) {
            found.append(String(decoding: bytes[field.name.range], as: UTF8.self))
            found.append(String(decoding: bytes[field.value.range], as: UTF8.self))
        }
        #expect(found == ["Host", "a", "X-One", "1", "Accept", "b"])
        #expect(lines.offset == bytes.count && head.fields.end == bytes.count)
    }

    @Test("how the body ends")
    func bodies() throws {
        #expect(try parse("POST / HTTP/1.1", "Host: a").head.body == .none)
        #expect(try parse("POST / HTTP/1.1", "Host: a", "Content-Length: 0").head.body == .length(0))
        #expect(try parse("POST / HTTP/1.1", "Host: a", "Content-Length: 10").head.body == .length(10))
        #expect(try parse("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked").head.body == .chunked)
    }

    @Test("whether the connection stays open")
    func keepAlive() throws {
        #expect(try parse("GET / HTTP/1.1", "Host: a").head.keepAlive)
        #expect(try !parse("GET / HTTP/1.1", "Host: a", "Connection: x, Close").head.keepAlive)
        #expect(try !parse("GET / HTTP/1.1", "Host: a", "Connection: keep-alive", "Connection: close").head.keepAlive)
        #expect(try parse("GET / HTTP/1.1", "Host: a", "Connection: closed").head.keepAlive)
        #expect(try !parse("GET / HTTP/1.0").head.keepAlive)
        #expect(try parse("GET / HTTP/1.0", "Connection: Keep-Alive").head.keepAlive)
        #expect(try !parse("GET / HTTP/1.0", "Connection: keep-alive, close").head.keepAlive)
    }

    @Test("100 Continue is owed only to HTTP/1.1 requests with a body")
    func expectations() throws {
        let expect = "Expect: 100-continue"
        #expect(try parse("POST / HTTP/1.1", "Host: a", "Content-Length: 1", expect).head.expectsContinue)
        #expect(try parse("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", expect).head.expectsContinue)
        #expect(try !parse("POST / HTTP/1.1", "Host: a", expect).head.expectsContinue)
        #expect(try !parse("POST / HTTP/1.0", "Content-Length: 1", expect).head.expectsContinue)
    }

    @Test("an upgrade is asked for by GET, HTTP/1.1 and both fields, in any case and any list")
    func upgrades() throws {
        let upgrade = "Upgrade: WebSocket"
        let connection = "Connection: keep-alive, Upgrade"
        #expect(try parse("GET / HTTP/1.1", "Host: a", upgrade, connection).head.wantsWebSocket)
        #expect(
            try parse("GET / HTTP/1.1", "Host: a", "Upgrade: h2c", "Upgrade: websocket", "Connection: x", connection)
                .head.wantsWebSocket)
        #expect(try !parse("GET / HTTP/1.1", "Host: a", upgrade).head.wantsWebSocket)
        #expect(try !parse("GET / HTTP/1.1", "Host: a", connection).head.wantsWebSocket)
        #expect(try !parse("GET / HTTP/1.1", "Host: a", "Upgrade: websocket2", connection).head.wantsWebSocket)
        #expect(try !parse("POST / HTTP/1.1", "Host: a", upgrade, connection).head.wantsWebSocket)
        #expect(try !parse("GET / HTTP/1.0", upgrade, connection).head.wantsWebSocket)
    }

    @Test("every fault is one sentence with a code and an error status")
    func faultsAreReadable() {
        for vector in RequestVector.all {
            let outcome = HTTPStreamReader.read(vector.bytes, pieces: Pieces.whole(vector.bytes.count))
            guard let fault = outcome.fault else { continue }
            #expect(fault.status >= 400 && fault.status < 600)
            #expect(fault.code.description.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" })
            #expect(fault.message.description.count > 10 && !fault.message.description.contains("\n"))
        }
    }
}
