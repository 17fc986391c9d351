// How streams begin, on every transport.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Subscribing")
struct SubscribeTests {
    private static let e = SimulatedServer.epochText

    @Test("$hello comes first, then events, byte for byte the same everywhere", arguments: ReaderKind.allCases)
    func hello(kind: ReaderKind) throws {
        let server = try SimulatedServer()
        try server.publish("{}")
        let reader = try SimulatedReader(server, kind)
        try server.publish(" { \"type\" : \"a\\u0062\", \"n\" : 1.0e5 } ")
        try server.publish("{}", on: "a/b")
        let records = reader.take()
        #expect(
            records.map(\.text) == [
                """
                {"type":"$hello","epoch":"\(Self.e)","seq":1,"server":"fanout/0.1.0","heartbeat_s":15}
                """,
                "{\"seq\":2,\"channel\":\"events\",\"type\":\"a\\u0062\",\"n\":1.0e5}",
                "{\"seq\":3,\"channel\":\"a/b\"}",
            ])
        if kind == .sse {
            #expect(records.map(\.id) == ["\(Self.e)-1", "\(Self.e)-2", "\(Self.e)-3"])
            #expect(records.map(\.event) == ["$hello", nil, nil])
            #expect(reader.head?.fields["content-type"] == "text/event-stream")
        }
        if kind == .jsonlHTTP { #expect(reader.head?.fields["content-type"] == "application/x-ndjson") }
        if kind == .webSocket {
            #expect(reader.head?.status == 101)
            #expect(reader.head?.fields["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        }
    }

    @Test("what asks for a stream without a word about it gets JSONL, as curl does")
    func curl() throws {
        let server = try SimulatedServer()
        for accept in [nil, "*/*", "text/html,*/*;q=0.8", "application/json", ""] {
            let client = try server.connect()
            client.write(RequestText.get("/v1/events", accept.map { ["Accept: \($0)"] } ?? []))
            var bytes = client.takeAll()
            let answer = try #require(Answer.take(&bytes))
            #expect(answer.fields["content-type"] == "application/x-ndjson", "Accept: \(accept ?? "")")
            #expect(answer.body.hasPrefix("{\"type\":\"$hello\""))
        }
    }

    @Test(
        "where nothing is held, a place that cannot be continued is said to be missing, exactly",
        arguments: ReaderKind.allCases)
    func missing(kind: ReaderKind) throws {
        guard kind != .eventsSocket, kind != .jsonlTCP else { return }
        let server = try SimulatedServer { $0.historyBytes = 0 }
        for _ in 0..<5 { try server.publish("{}") }
        let cases: [(String, String?, Int?, Int?, Int?, String)] = [
            ("from=now", nil, nil, nil, nil, "5"), ("from=\(Self.e)-5", nil, nil, nil, nil, "5"),
            ("from=\(Self.e)-3", "pruned", 4, 5, 2, "3"), ("from=start", "pruned", 1, 5, 5, "0"),
            ("last_event_id=\(Self.e)-4", "pruned", 5, 5, 1, "4"), ("from=\(Self.e)-6", "ahead", nil, nil, nil, "6"),
            ("from=00000000000000ff-2", "unknown_epoch", nil, nil, nil, "2"),
            ("channel=quiet&from=\(Self.e)-1", nil, nil, nil, nil, "5"),
            ("channel=events&from=\(Self.e)-1", "pruned", 2, 5, nil, "1"),
            ("types=a&from=\(Self.e)-1", "pruned", 2, 5, nil, "1"),
        ]
        for (query, why, from, to, dropped, helloID) in cases {
            let reader = try SimulatedReader(server, kind, query: query)
            let records = reader.take()
            #expect(records.map(\.kind) == (why == nil ? ["$hello"] : ["$hello", "$gap"]), "\(query)")
            guard let gap = records.last, why != nil else { continue }
            #expect(gap.object["why"] as? String == why, "\(query)")
            #expect(gap.object["from"] as? Int == from && gap.object["to"] as? Int == to, "\(query)")
            #expect(gap.object["dropped"] as? Int == dropped, "\(query)")
            if kind == .sse {
                #expect(gap.id == "\(Self.e)-5")
                #expect(records[0].id?.hasSuffix("-\(helloID)") == true, "\(query): \(records[0].id ?? "")")
            }
        }
    }

    @Test("a Last-Event-ID header wins over the query; what is no cursor in it is an unknown epoch, never an error")
    func lastEventID() throws {
        let server = try SimulatedServer { $0.historyBytes = 0 }
        for _ in 0..<3 { try server.publish("{}") }
        for (id, why) in [("\(Self.e)-3", nil), ("\(Self.e)-2", "pruned"), ("garbage", "unknown_epoch"), ("", nil)] {
            let reader = try SimulatedReader(server, .sse, query: "from=now", ["Last-Event-ID: \(id)"])
            #expect(reader.head?.status == 200)
            #expect(reader.take().last?.object["why"] as? String == why, "'\(id)'")
        }
    }

    @Test(
        "channel and types choose what comes, and a filtered stream has no gaps for the rest",
        arguments: ReaderKind.allCases)
    func filters(kind: ReaderKind) throws {
        guard kind != .eventsSocket, kind != .jsonlTCP else { return }
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, kind, query: "channel=a/*&channel=b&types=x,y%22")
        _ = reader.take()
        for channel in ["a", "a/b", "a/b/c", "b", "events"] {
            let types = ["x", "y\\\"", "\\u0078", "z"]
            for event in types.map({ "{\"type\":\"\($0)\"}" }) + ["{}"] {
                try server.publish(event, on: channel)
            }
        }
        #expect(reader.takeSeqs() == [6, 7, 8, 16, 17, 18])
    }

    @Test("control=off silences every $ record, the end included")
    func controlOff() throws {
        for kind in [ReaderKind.jsonlHTTP, .sse, .webSocket] {
            let server = try SimulatedServer { $0.historyBytes = 0 }
            try server.publish("{}")
            let reader = try SimulatedReader(server, kind, query: "control=off&from=start")
            try server.publish("{\"type\":\"a\"}")
            #expect(reader.take().map(\.kind) == ["a"])
            server.pass(milliseconds: 16_000, step: 1000)
            server.kernel.raiseSignal(15)
            server.settle()
            #expect(reader.take().isEmpty)
            #expect(reader.client.isAtEnd)
        }
    }

    @Test(
        "$subscribe as a raw reader's first line replaces everything, in pieces of any size", arguments: [1, 5, 1000])
    func rawSubscribe(pieceBytes: Int) throws {
        let server = try SimulatedServer()
        for kind in [ReaderKind.eventsSocket, .jsonlTCP] {
            let reader = try SimulatedReader(server, kind)
            try server.publish("{\"n\":1}")
            let line = Array(
                "\n \r\n{\"$subscribe\":{\"channel\":[\"a\",\"b/**\"],\"types\":[\"x,y\"]}}\nignored\n".utf8)
            reader.client.write(line, pieces: Array(repeating: pieceBytes, count: line.count / pieceBytes + 1))
            try server.publish("{\"n\":2}")
            try server.publish("{\"type\":\"x,y\"}", on: "b/c")
            try server.publish("{\"type\":\"x\"}", on: "a")
            let records = reader.take()
            #expect(records.map { $0.kind ?? "?" } == ["$hello", "?", "$hello", "x,y"])
            reader.client.write("{\"$subscribe\":{}}\n")
            #expect(reader.take().isEmpty, "only the first line is looked at")
        }
    }

    @Test("a $subscribe that is wrong ends the stream with 1008, anything else is ignored")
    func badSubscribe() throws {
        let server = try SimulatedServer()
        for text in [
            "{\"$subscribe\":{\"channel\":\"a//b\"}}", "{\"$subscribe\":[]}", "{\"$subscribe\":{\"from\":\"then\"}}",
            "{\"$subscribe\":{\"chanel\":\"a\"}}", "{\"$subscribe\":{\"types\":[1]}}",
            "{\"$subscribe\":{\"from\":[\"now\"]}}",
            "{\"$subscribe\":{\"channel\":\"a\",\"channel\":\"b\"}}", "{\"$subscribe\":{\"from\":\"snapshot\"}}",
        ] {
            let raw = try SimulatedReader(server, .eventsSocket)
            raw.client.write(text + "\n")
            let records = raw.take()
            #expect(records.map(\.kind) == ["$hello", "$bye"], "\(text)")
            #expect(records.last?.object["code"] as? Int == 1008)
            #expect(records.last?.object["retry_ms"] == nil)
            let socket = try SimulatedReader(server, .webSocket)
            socket.client.write(ServerFrame.clientText(text))
            #expect(ServerFrame.all(socket.client.takeAll()).last?.closeCode == 1008, "\(text)")
        }
        for text in ["hello", "{\"$subscribe\":{},\"x\":1}", "{\"subscribe\":{}}", "[]", "{", "{\"$subscribe\":{}"] {
            let raw = try SimulatedReader(server, .eventsSocket)
            raw.client.write(text + "\n")
            #expect(raw.take().map(\.kind) == ["$hello"], "\(text)")
        }
    }

    @Test("$subscribe with on_gap=fail and a place that is gone ends with 4410")
    func cursorGone() throws {
        let server = try SimulatedServer { $0.historyBytes = 0 }
        try server.publish("{}")
        let reader = try SimulatedReader(server, .webSocket)
        reader.client.write(ServerFrame.clientText("{\"$subscribe\":{\"from\":\"\(Self.e)-0\",\"on_gap\":\"fail\"}}"))
        let frames = ServerFrame.all(reader.client.takeAll())
        #expect(frames.last?.closeCode == 4410)
        #expect(reader.client.isAtEnd)
    }

    @Test("frames that come in one piece with the upgrade are used")
    func earlyFrames() throws {
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(
            Array(RequestText.get("/v1/events", RequestText.upgrade).utf8)
                + ServerFrame.clientText("{\"$subscribe\":{\"channel\":\"a\"}}") + ServerFrame.client(9, [1, 2, 3]))
        var bytes = client.takeAll()
        let end = try #require(Answer.firstIndex(of: Array("\r\n\r\n".utf8), in: bytes)) + 4
        bytes.removeFirst(end)
        let frames = ServerFrame.all(bytes)
        #expect(frames.map(\.opcode) == [1, 1, 10])
        #expect(frames.last?.payload == [1, 2, 3])
        try server.publish("{}")
        try server.publish("{}", on: "a")
        #expect(ServerFrame.all(client.takeAll()).map(\.text) == ["{\"seq\":2,\"channel\":\"a\"}"])
    }

    @Test("readers that leave cost nothing afterwards", arguments: ReaderKind.allCases)
    func leaving(kind: ReaderKind) throws {
        let server = try SimulatedServer()
        for reset in [true, false] {
            let reader = try SimulatedReader(server, kind)
            try server.publish("{}")
            _ = reader.take()
            if reset { server.kernel.peerReset(reader.client.peer) } else { reader.client.close() }
            server.settle()
        }
        for _ in 0..<3 {
            try server.publish("{}")
            server.pass(milliseconds: 16_000, step: 2000)
        }
        server.checkNothingIsHeld()
    }

    @Test("a raw reader that shuts its write side goes on reading")
    func halfClosed() throws {
        let server = try SimulatedServer()
        for kind in [ReaderKind.eventsSocket, .jsonlTCP] {
            let reader = try SimulatedReader(server, kind)
            reader.client.write("{\"$subscribe\":{\"channel\":\"mine\"}}\n")
            reader.client.finish()
            server.pass(milliseconds: 40_000, step: 2000)
            try server.publish("{\"type\":\"late\"}", on: "mine")
            #expect(reader.take().last?.kind == "late")
            #expect(!reader.client.isClosed)
        }
    }

    @Test("a reader that writes more than 64 KiB in ten seconds is ended with 1008", arguments: ReaderKind.allCases)
    func writesTooMuch(kind: ReaderKind) throws {
        guard kind != .webSocket else { return }
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, kind)
        reader.client.write("x\n" + String(repeating: "y", count: 65_534))
        #expect(reader.take().map(\.kind) == ["$hello"])
        server.pass(milliseconds: 10_100, step: 1000)
        reader.client.write(String(repeating: "z", count: 65_536))
        #expect(reader.take().isEmpty)
        reader.client.write("z")
        let records = reader.take()
        #expect(records.map(\.kind) == ["$bye"])
        #expect(records.first?.object["code"] as? Int == 1008)
        #expect(reader.client.isAtEnd)
    }
}
