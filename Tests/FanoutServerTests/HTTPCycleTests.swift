// The request cycle: answers in order, bodies at every split, what keeps a connection and what ends it.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("HTTP cycle")
struct HTTPCycleTests {
    @Test("pipelined requests are answered in order, however they arrive", arguments: [1, 7, 64, 100_000])
    func pipelined(pieceBytes: Int) throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        let bytes = Array(
            (RequestText.get("/healthz") + RequestText.post("{\"type\":\"a\"}") + RequestText.get("/nowhere")
                + RequestText.get("/readyz")).utf8)
        client.write(bytes, pieces: Array(repeating: pieceBytes, count: bytes.count / pieceBytes + 1))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200, 200, 404, 200])
        #expect(answers.first?.body == "ok\n")
        #expect(answers.last?.body == "ready\n")
        #expect(!client.isClosed)
    }

    @Test("a hundred pipelined requests in one write are all answered")
    func manyPipelined() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(String(repeating: RequestText.get("/healthz"), count: 100))
        #expect(Answer.all(client.takeAll()).count == 100)
        #expect(server.engine.inputs.inUse == 0)
    }

    @Test("a body with Content-Length arrives at every split")
    func lengthBodySplits() throws {
        let bytes = Array((RequestText.post("{\"type\":\"split\"}") + RequestText.get("/healthz")).utf8)
        let server = try SimulatedServer()
        for split in 1..<bytes.count {
            let client = try server.connect()
            client.write(bytes, pieces: [split, bytes.count])
            #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200], "split at \(split)")
            client.close()
        }
        #expect(server.engine.hub.head == UInt64(bytes.count - 1))
        server.checkNothingIsHeld()
    }

    static let chunked =
        RequestText.make("POST", "/v1/events", ["Content-Type: application/json", "Transfer-Encoding: chunked"])
        + "4;a=b\r\n{\"ty\r\nA\r\npe\":\"chunk\r\n3\r\ned\"\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n"

    @Test("a chunked body arrives at every split, with a request behind it")
    func chunkedSplits() throws {
        let bytes = Array((Self.chunked + RequestText.get("/healthz")).utf8)
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        for split in 1..<bytes.count {
            let client = try server.connect()
            client.write(bytes, pieces: [split, bytes.count])
            #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200], "split at \(split)")
            client.close()
        }
        let client = try server.connect()
        client.write(bytes, pieces: Array(repeating: 1, count: bytes.count))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200])
        let events = reader.take().filter { !$0.isControl }
        #expect(events.count == bytes.count)
        #expect(events.allSatisfy { $0.kind == "chunked" })
    }

    @Test("chunked requests one behind the other in one write are all answered")
    func chunkedPipelined() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(String(repeating: Self.chunked, count: 5) + RequestText.get("/healthz"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200, 200, 200, 200, 200])
    }

    @Test("Expect: 100-continue is answered before the body, and once", arguments: [true, false])
    func expectContinue(chunked: Bool) throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        let body = "{\"type\":\"waited\"}"
        let length = chunked ? "Transfer-Encoding: chunked" : "Content-Length: \(body.utf8.count)"
        client.write(
            RequestText.make(
                "POST", "/v1/events", ["Content-Type: application/json", length, "Expect: 100-continue"]))
        #expect(Answer.all(client.takeAll()).map(\.status) == [100])
        let sent = chunked ? "11\r\n\(body)\r\n0\r\n\r\n" : body
        client.write(Array(sent.utf8), pieces: Array(repeating: 1, count: sent.utf8.count))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
    }

    @Test("HTTP/1.1 keeps the connection, HTTP/1.0 and Connection: close end it")
    func keepAlive() throws {
        let server = try SimulatedServer()
        let kept = try server.connect()
        kept.write(RequestText.get("/healthz"))
        #expect(Answer.all(kept.takeAll()).first?.fields["connection"] == "keep-alive")
        #expect(!kept.isAtEnd)
        let closed = try server.connect()
        closed.write(RequestText.get("/healthz", ["Connection: close"]) + RequestText.get("/healthz"))
        #expect(Answer.all(closed.takeAll()).map { $0.fields["connection"] } == ["close"])
        #expect(closed.isAtEnd)
        let old = try server.connect()
        old.write("GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        #expect(Answer.all(old.takeAll()).map(\.status) == [200])
        #expect(old.isAtEnd)
        for client in [kept, closed, old] { client.close() }
        server.checkNothingIsHeld()
    }

    @Test("HEAD is answered with the head alone, faults included, so that the next answer is where it should be")
    func head() throws {
        let server = try SimulatedServer()
        for target in ["/healthz", "/readyz", "/metrics", "/", "/v1/channels", "/nowhere", "/v1/events", "/%zz"] {
            let client = try server.connect()
            client.write(RequestText.make("HEAD", target))
            var bytes = client.takeAll()
            let answer = try #require(Answer.take(&bytes, toHead: true))
            #expect(bytes.isEmpty, "HEAD \(target) has a body: \(String(decoding: bytes, as: UTF8.self))")
            #expect(answer.fields["content-length"] != nil)
        }
        let misdirected = try server.connect()
        misdirected.write(RequestText.make("HEAD", "/healthz", host: "evil.example"))
        var bytes = misdirected.takeAll()
        #expect(Answer.take(&bytes, toHead: true)?.status == 421)
        #expect(bytes.isEmpty)
    }

    @Test("what is not here, not so, or not this way has its status and code")
    func faults() throws {
        let server = try SimulatedServer()
        let cases: [(String, Int, String)] = [
            (RequestText.get("/v2/events"), 404, "not_found"),
            (RequestText.make("DELETE", "/v1/events"), 405, "method_not_allowed"),
            (RequestText.make("PATCH", "/metrics"), 405, "method_not_allowed"),
            (RequestText.make("POST", "/", ["Content-Length: 0"]), 405, "method_not_allowed"),
            (RequestText.get("/v1/events", ["Accept: image/png"]), 406, "not_acceptable"),
            (RequestText.post("{}", type: "text/plain"), 415, "unsupported_media_type"),
            (RequestText.post("{}", ["Content-Encoding: gzip"]), 415, "unsupported_media_type"),
            (RequestText.make("POST", "/v1/events", ["Content-Length: 0"]), 415, "unsupported_media_type"),
            (RequestText.make("POST", "/v1/events", ["Content-Type: application/json"]), 400, "invalid_json"),
            (RequestText.post("", type: "application/x-ndjson"), 400, "empty_batch"),
            (RequestText.post("{}", to: "/v1/events?channel=a&channel=b"), 400, "bad_channel"),
            (RequestText.post("{}", to: "/v1/events?channel=a//b"), 400, "bad_channel"),
            (RequestText.post("{}", to: "/v1/events?ack=sometimes"), 400, "bad_ack"),
            (RequestText.post("{}", to: "/v1/events?ack=synced"), 409, "level_unavailable"),
            (RequestText.post("{}", to: "/v1/events?chanel=a"), 400, "unknown_parameter"),
            (RequestText.post("{}", to: "/v1/events?%63hannel=a&channel=b"), 400, "bad_channel"),
            (RequestText.post("{}", to: "/v1/events?channel=a%2F%2Fb"), 400, "bad_channel"),
            (RequestText.post("{}", to: "/v1/events?channel=%zz"), 400, "bad_target"),
            (RequestText.post("{}", to: "/v1/events?%61ck=sometimes"), 400, "bad_ack"),
            (RequestText.post("{}", to: "/v1/events?pseq=1"), 400, "bad_producer"),
            (RequestText.post("{\"seq\":1}"), 422, "reserved_member"),
            (RequestText.post("{\"s\\u0065q\":1}"), 422, "reserved_member"),
            (RequestText.post("{\"type\":\"$hello\"}"), 422, "reserved_kind"),
            (RequestText.post("[]"), 400, "not_an_object"),
            (RequestText.get("/v1/events?channel=a/**/b"), 400, "bad_channel"),
            (RequestText.get("/v1/events?from=yesterday"), 400, "bad_cursor"),
            (RequestText.get("/v1/events?on_lag=weep"), 400, "bad_on_lag"),
            (RequestText.get("/v1/events?from=00000000000000e2-1&on_gap=fail"), 410, "cursor_gone"),
        ]
        for (request, status, code) in cases {
            let client = try server.connect()
            client.write(request)
            let answer = Answer.all(client.takeAll()).first
            #expect(answer?.status == status, "\(request)")
            #expect(answer?.errorCode == code, "\(request)")
        }
        #expect(server.engine.hub.head == 0)
    }

    @Test("a path and a query that are spelt with escapes mean the same")
    func escaped() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        for target in ["/v1/events?channel=a/b", "/%761/events?channel=a%2Fb", "/v1/events?%63hannel=%61/b"] {
            client.write(RequestText.post("{}", to: target))
            #expect(Answer.all(client.takeAll()).map(\.status) == [200], "\(target)")
        }
        let name = try #require(ChannelName("a/b"))
        let index = server.engine.hub.channels.index(of: name)
        let events = index.map { server.engine.hub.channels[$0].eventCount }
        #expect(events == 3)
    }

    @Test("a request of another media type makes no channel")
    func mediaTypeMakesNoChannel() throws {
        let server = try SimulatedServer()
        let before = server.engine.hub.channels.count
        let client = try server.connect()
        client.write(RequestText.post("{}", to: "/v1/events?channel=ghost", type: "text/plain"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [415])
        #expect(server.engine.hub.channels.count == before)
    }

    @Test("limits that say N accept N and refuse N + 1")
    func limits() throws {
        let server = try SimulatedServer()
        func status(_ request: String) throws -> Int? {
            let client = try server.connect()
            client.write(request)
            return Answer.all(client.takeAll()).first?.status
        }
        func event(bytes: Int) -> String { "{\"a\":\"" + String(repeating: "x", count: bytes - 8) + "\"}" }
        #expect(try status(RequestText.post(event(bytes: 262_144))) == 200)
        #expect(try status(RequestText.post(event(bytes: 262_145))) == 413)
        let batch = String(repeating: "{}\n", count: 1000)
        #expect(try status(RequestText.post(batch, type: "application/x-ndjson")) == 200)
        #expect(try status(RequestText.post(batch + "\n\n{}", type: "application/x-ndjson")) == 413)
        let full = String(repeating: event(bytes: 262_143) + "\n", count: 4)
        #expect(full.utf8.count == 1 << 20)
        #expect(try status(RequestText.post(full, type: "application/x-ndjson")) == 200)
        #expect(try status(RequestText.post(full + "\n", type: "application/x-ndjson")) == 413)
        let line = "GET /healthz?" + String(repeating: "x", count: 8192 - 22) + " HTTP/1.1"
        #expect(line.utf8.count == 8192)
        #expect(try status(line + "\r\nHost: localhost\r\n\r\n") == 200)
        #expect(try status("X" + line + "\r\nHost: localhost\r\n\r\n") == 414)
    }

    @Test("a body that is refused may still arrive whole: its sender reads the answer and not a reset")
    func refusedBody() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        let bytes = Array(RequestText.post(String(repeating: " ", count: 1_048_577)).utf8)
        client.write(bytes)
        let answer = try #require(Answer.all(client.takeAll()).first)
        #expect(answer.status == 413)
        #expect(client.isAtEnd)
        #expect(!server.kernel.peerWasReset(client.peer))
    }

    @Test("a batch is all or nothing, and its ack names the first and the last")
    func batch() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(RequestText.post("{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}", type: "application/x-ndjson"))
        client.write(RequestText.post("{\"a\":1}\n{\"seq\":2}\n", type: "application/x-ndjson"))
        client.write(RequestText.post("{}", to: "/v1/events?ack=none"))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200, 422, 202])
        #expect(
            answers[0].body == """
                {"cursor":"\(SimulatedServer.epochText)-3","seq":3,"level":"accepted","dup":false,"subscribers":0,\
                "behind":0,"first":"\(SimulatedServer.epochText)-1","count":3}

                """)
        #expect(answers[1].body.contains("line 2"))
        #expect(answers[2].body == "{\"level\":\"none\"}\n")
        #expect(server.engine.hub.head == 4)
    }

    @Test("a stream of requests from a client that reads nothing is not read either, and goes on when it reads")
    func answersPileUp() throws {
        let server = try SimulatedServer(pipeBytes: 4096)
        let client = try server.connect()
        var written = 0
        let request = Array(RequestText.get("/metrics").utf8)
        for _ in 0..<400 {
            let count = server.kernel.peerWrite(client.peer, request)
            server.settle()
            // A part of a request is a request that is not whole: then it must be finished.
            if count < request.count {
                var rest = request[count...]
                for _ in 0..<5000 where !rest.isEmpty {
                    client.read()
                    rest = rest.dropFirst(server.kernel.peerWrite(client.peer, rest))
                }
                written += 1
                break
            }
            written += 1
        }
        #expect(written < 400, "input is bounded")
        #expect(server.engine.delivery.log.segments.bytesHeld < 1 << 20)
        #expect(Answer.all(client.takeAll()).count == written)
    }
}
