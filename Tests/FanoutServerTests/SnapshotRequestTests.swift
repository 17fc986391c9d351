// GET and PUT /v1/snapshot.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Snapshot requests")
struct SnapshotRequestTests {
    private static let e = SimulatedServer.epochText

    @Test("GET answers with the rows as readers see them, as JSON and as lines")
    func get() throws {
        let server = try SimulatedServer.keeping()
        #expect(
            try server.ask("GET", "/v1/snapshot?channel=kept/a").body
                == "{\"seq\":0,\"cursor\":\"\(Self.e)-0\",\"events\":[]}\n")
        try server.put("a")
        try server.put("b")
        try server.publish("{\"type\":\"plain\"}", on: "kept/a")
        let rows = [
            "{\"seq\":1,\"channel\":\"kept/a\",\"type\":\"put\",\"key\":\"a\",\"n\":0,\"pad\":\"\"}",
            "{\"seq\":2,\"channel\":\"kept/a\",\"type\":\"put\",\"key\":\"b\",\"n\":0,\"pad\":\"\"}",
        ]
        let json = try server.ask("GET", "/v1/snapshot?channel=kept/a")
        #expect(json.fields["content-type"] == "application/json" && json.fields["cache-control"] == "no-store")
        #expect(json.body == "{\"seq\":3,\"cursor\":\"\(Self.e)-3\",\"events\":[\(rows[0]),\(rows[1])]}\n")
        let lines = try server.ask("GET", "/v1/snapshot?channel=kept/*", ["Accept: application/x-ndjson"])
        #expect(lines.fields["content-type"] == "application/x-ndjson")
        #expect(lines.body == rows.joined(separator: "\n") + "\n" && lines.fields["fanout-cursor"] == "\(Self.e)-3")
        let head = try server.ask("HEAD", "/v1/snapshot?channel=kept/a")
        #expect(head.status == 200 && head.fields["content-length"] == "\(json.body.utf8.count)")
        #expect(try server.ask("GET", "/v1/snapshot?channel=kept/a&types=whole").json["events"] as? [String] == [])
        #expect(try server.ask("GET", "/v1/snapshot", at: SimulatedServer.httpUnix).json["seq"] as? Int == 3)
    }

    @Test("what was asked wrongly is said")
    func refused() throws {
        let server = try SimulatedServer.keeping()
        for (target, code) in [
            ("?channel=events", "no_state"), ("?channel=a//b", "bad_channel"), ("?from=now", "unknown_parameter"),
        ] {
            let answer = try server.ask("GET", "/v1/snapshot" + target)
            #expect(answer.status == (code == "no_state" ? 404 : 400) && answer.errorCode == code, "\(target)")
        }
        let post = try server.ask("POST", "/v1/snapshot", body: "{}")
        #expect(post.status == 405 && post.fields["allow"] == "GET, HEAD, PUT, OPTIONS")
        #expect(try server.ask("OPTIONS", "/v1/snapshot").status == 200)
        let foreign = try server.ask("GET", "/v1/snapshot?channel=kept/a", ["Sec-Fetch-Site: cross-site"])
        #expect(foreign.status == 403)
    }

    @Test("a state of many segments comes whole, and requests that are pipelined keep their order")
    func large() throws {
        let server = try SimulatedServer.keeping(pipeBytes: 2000)
        server.engine.shares.replayBytes = 5000
        for number in 0..<500 { try server.put("k\(number)", number, pad: number % 50) }
        let client = try server.connect()
        client.write(
            RequestText.get("/v1/snapshot?channel=kept/a") + RequestText.get("/healthz")
                + RequestText.get("/v1/snapshot?channel=kept/a", ["Accept: application/x-ndjson"]))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200, 200, 200])
        #expect((answers[0].json["events"] as? [[String: Any]])?.compactMap { $0["seq"] as? Int } == Array(1...500))
        #expect(answers[2].body.split(separator: "\n").count == 500)
        client.close()
        #expect(server.engine.hub.images.images.allSatisfy { $0.answers.isEmpty && $0.readers == 0 })
    }

    @Test("whoever has published finds it in the next answer, whatever others were told a moment before")
    func upToDate() throws {
        let server = try SimulatedServer.keeping()
        for number in 0..<3000 { try server.put("k\(number)", pad: 100) }
        for number in 0..<5 {
            try server.put("k7", number)
            #expect(
                try server.ask("GET", "/v1/snapshot?channel=kept/a").body.contains("\"key\":\"k7\",\"n\":\(number),"))
        }
    }

    @Test("a channel that is begun anew has no state, though no event says so")
    func begunAnew() throws {
        let server = try SimulatedServer.keeping()
        try server.put("a")
        #expect((try server.ask("GET", "/v1/snapshot?channel=kept/a").json["events"] as? [Any])?.count == 1)
        #expect(try server.ask("DELETE", "/v1/channels?channel=kept/a").status == 200)
        #expect((try server.ask("GET", "/v1/snapshot?channel=kept/a").json["events"] as? [Any])?.count == 1)
        #expect(try server.ask("PUT", "/v1/channels?channel=kept/a").status < 300)
        #expect((try server.ask("GET", "/v1/snapshot?channel=kept/a").json["events"] as? [Any])?.count == 0)
        let reader = try SimulatedReader(server, .jsonlHTTP, Comeback("snapshot", channels: ["kept/a"]))
        #expect(reader.take().map(\.kind) == ["$hello", "$snapshot", "$live"])
    }

    @Test("PUT makes the state of a channel without rules: readers get it as of its place, and what came after that")
    func put() throws {
        let server = try SimulatedServer.keeping()
        for number in 1...4 { try server.publish("{\"type\":\"d\",\"n\":\(number)}", on: "made") }
        let live = try SimulatedReader(server, .jsonlHTTP, query: "channel=made")
        _ = live.take()
        let put = try server.ask(
            "PUT", "/v1/snapshot?channel=made&as_of=\(Self.e)-3", body: " {\"type\":\"row\", \"a\":1}\n\n{\"a\":2}")
        #expect(put.status == 200)
        #expect(
            put.body == "{\"cursor\":\"\(Self.e)-3\",\"seq\":3,\"count\":2,\"level\":\"accepted\"}\n")
        #expect(live.take().isEmpty, "it is not fanned out")
        let rows = [
            "{\"seq\":3,\"channel\":\"made\",\"type\":\"row\",\"a\":1}", "{\"seq\":3,\"channel\":\"made\",\"a\":2}",
        ]
        for kind in ReaderKind.allCases {
            let records = try SimulatedReader(server, kind, Comeback("snapshot", channels: ["made"])).take()
            #expect(records.map(\.kind) == ["$hello", "$snapshot", "row", nil, "$live", "d"])
            #expect(records[1].seq == 3 && records[4].seq == 3 && records[5].seq == 4)
            #expect(records[2...3].map(\.text) == rows)
            if kind == .sse {
                #expect(
                    records.map(\.id) == ["", "", "", "", "\(Self.e)-3", "\(Self.e)-4"], "only $live has the place")
            }
        }
        let answer = try server.ask("GET", "/v1/snapshot?channel=made")
        #expect(answer.body == "{\"seq\":3,\"cursor\":\"\(Self.e)-3\",\"events\":[\(rows.joined(separator: ","))]}\n")
        let one = try server.ask("PUT", "/v1/snapshot?channel=made", body: "{}", type: "application/json")
        #expect(one.json["seq"] as? Int == 4 && one.json["count"] as? Int == 1)
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "").json["count"] as? Int == 0)
        #expect(try server.ask("GET", "/v1/snapshot?channel=made").json["seq"] as? Int == 4)
        #expect(try server.ask("PUT", "/v1/snapshot?channel=new/one", body: "{}").status == 200, "it makes the channel")
        #expect(try server.ask("GET", "/v1/snapshot?channel=new/*").json["events"] as? [Any] != nil)
    }

    @Test("a PUT that is wrong changes nothing, and says what is")
    func putRefused() throws {
        let server = try SimulatedServer.keeping()
        try server.publish("{}", on: "made")
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{\"a\":1}").status == 200)
        let cases: [(target: String, body: String, status: Int, code: String)] = [
            ("?channel=kept/a", "{}", 409, "state_is_derived"), ("?channel=made&as_of=x", "{}", 400, "bad_cursor"),
            ("?channel=made&as_of=\(Self.e)-2", "{}", 409, "cursor_ahead"),
            ("?channel=made&as_of=00000000000000aa-1", "{}", 409, "unknown_epoch"),
            ("?channel=made&channel=other", "{}", 400, "bad_channel"), ("?channel=made/*", "{}", 400, "bad_channel"),
            ("?channel=made&ack=x", "{}", 400, "bad_ack"), ("?channel=made&ack=synced", "{}", 409, "level_unavailable"),
            ("?channel=made&x=1", "{}", 400, "unknown_parameter"), ("?channel=made", "{}\n[]", 400, "not_an_object"),
            ("?channel=made", "{}\n{\"seq\":1}", 422, "reserved_member"),
            ("?channel=made", "{\"type\":\"$x\"}", 422, "reserved_kind"), ("?channel=made", "{", 400, "invalid_json"),
        ]
        for (target, body, status, code) in cases {
            let answer = try server.ask("PUT", "/v1/snapshot" + target, body: body)
            #expect(
                answer.status == status && answer.errorCode == code,
                "\(target) \(body): \(answer.status) \(answer.body)")
        }
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{}", type: "text/plain").status == 415)
        #expect(
            try server.ask("GET", "/v1/snapshot?channel=made").body.hasSuffix(
                "[{\"seq\":1,\"channel\":\"made\",\"a\":1}]}\n"))
        #expect(try server.ask("DELETE", "/v1/channels?channel=made").status == 200)
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{}").errorCode == "channel_ended")
    }

    @Test("a state that memory has no share for is refused, and what was there stays")
    func full() throws {
        let server = try SimulatedServer.keeping { $0.memoryMax = 16 << 20 }
        #expect(try server.ask("PUT", "/v1/snapshot?channel=a", body: "{\"keep\":true}").status == 200)
        let row = "{\"pad\":\"\(String(repeating: "x", count: 1000))\"}\n"
        let body = String(repeating: row, count: 1000)
        var statuses: [Int] = []
        for number in 0..<6 {
            statuses.append(try server.ask("PUT", "/v1/snapshot?channel=m\(number)", body: body).status)
        }
        #expect(statuses == [200, 200, 200, 507, 507, 507])
        #expect(try server.ask("PUT", "/v1/snapshot?channel=a", body: body).errorCode == "state_full")
        #expect(try server.ask("GET", "/v1/snapshot?channel=a").body.contains("\"keep\":true"))
        #expect(try server.ask("PUT", "/v1/snapshot?channel=m0", body: body).status == 200, "in the place of the same")
    }

    @Test("a client that asked for a state when the server stops is told that nothing was done")
    func shutdown() throws {
        let server = try SimulatedServer.keeping()
        server.engine.shares.replayBytes = 100
        for number in 0..<300 { try server.put("k\(number)") }
        let client = try server.connect()
        server.kernel.peerWrite(client.peer, Array(RequestText.get("/v1/snapshot?channel=kept/a").utf8)[...])
        for _ in 0..<4 { _ = server.engine.turn(wait: false) }
        server.kernel.raiseSignal(15)
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [503] && answers.first?.errorCode == "shutting_down")
    }
}
