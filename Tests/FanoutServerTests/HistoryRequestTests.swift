// GET /v1/history: which events a page has, where it says to go on, and what it says is gone.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("History requests")
struct HistoryRequestTests {
    private static let e = SimulatedServer.epochText

    private func ask(
        _ server: SimulatedServer, _ query: String = "", _ fields: [String] = [], method: String = "GET",
        at address: SocketAddress = SimulatedServer.http
    ) throws -> Answer {
        let client = try server.connect(address)
        client.write(RequestText.make(method, "/v1/history" + (query.isEmpty ? "" : "?" + query), fields))
        var bytes = client.takeAll()
        let answer = try #require(Answer.take(&bytes, toHead: method == "HEAD"))
        #expect(bytes.isEmpty)
        client.close()
        return answer
    }

    /// A page as a client that knows nothing of the server's reads it.
    private struct Page {
        var status = 0
        var seqs: [Int]
        var first: String?
        var next: String?
        var head: String?
        var gap: [String: Any]?
    }

    private func page(_ server: SimulatedServer, _ query: String = "") throws -> Page {
        let answer = try ask(server, query)
        #expect(answer.fields["content-type"] == "application/json")
        let json = answer.json
        let events = json["events"] as? [[String: Any]] ?? []
        #expect(Set(json.keys).isSubset(of: ["events", "cursors", "first", "next", "head", "gap"]))
        #expect(json["first"] != nil && json["next"] != nil, "null is said")
        return Page(
            status: answer.status, seqs: events.compactMap { $0["seq"] as? Int }, first: json["first"] as? String,
            next: json["next"] as? String, head: json["head"] as? String, gap: json["gap"] as? [String: Any])
    }

    /// A server that holds little, in small blocks, so that the oldest events go.
    private func smallServer(_ configure: (inout Configuration) -> Void = { _ in }) throws -> SimulatedServer {
        try SimulatedServer {
            $0.segmentBytes = 4096
            $0.historyBytes = 48 << 10
            configure(&$0)
        }
    }

    @Test("without a word about where, a page is the newest events, oldest first, as subscribers saw them")
    func newest() throws {
        let server = try SimulatedServer()
        #expect(
            try ask(server).body == "{\"events\":[],\"first\":null,\"next\":null,\"head\":\"\(Self.e)-0\"}\n")
        for event in [" { \"type\" : \"a\\u0062\", \"n\" : 1.0e5 } ", "{}", "{\"type\":\"b\"}"] {
            try server.publish(event, on: "a/b")
        }
        let answer = try ask(server)
        #expect(answer.status == 200)
        #expect(answer.fields["cache-control"] == "no-store")
        #expect(
            answer.body == """
                {"events":[{"seq":1,"channel":"a/b","type":"a\\u0062","n":1.0e5},{"seq":2,"channel":"a/b"},\
                {"seq":3,"channel":"a/b","type":"b"}],"first":"\(Self.e)-1","next":null,"head":"\(Self.e)-3"}

                """)
        let newest = try page(server, "limit=2")
        #expect(newest.seqs == [2, 3])
        #expect(newest.first == "\(Self.e)-2" && newest.next == nil && newest.head == "\(Self.e)-3")
    }

    @Test("as lines it is byte for byte what a live reader got; the rest stands in fields")
    func lines() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .jsonlHTTP, query: "channel=a&control=off")
        for number in 0..<30 {
            try server.publish("{\"type\":\"t\",\"n\":\(number),\"s\":\"ü\\n\"}", on: number % 3 == 0 ? "b" : "a")
        }
        let live = reader.client.takeAll()
        let answer = try ask(server, "channel=a&after=\(Self.e)-0", ["Accept: application/x-ndjson"])
        #expect(answer.fields["content-type"] == "application/x-ndjson")
        #expect(Array(answer.body.utf8) == live)
        #expect(answer.fields["fanout-head"] == "\(Self.e)-30")
        #expect(answer.fields["fanout-next"] == nil && answer.fields["fanout-gap"] == nil)
        let part = try ask(server, "channel=a&after=\(Self.e)-0&limit=3", ["Accept: application/x-ndjson"])
        #expect(part.fields["fanout-next"] == "\(Self.e)-5")
        #expect(part.body.split(separator: "\n").count == 3)
        let unknown = try ask(server, "after=00000000000000ff-2&limit=1", ["Accept: application/x-ndjson"])
        #expect(unknown.fields["fanout-gap"] == "{\"why\":\"unknown_epoch\"}")
        for accept in ["*/*", "application/json", "text/html", "application/x-ndjson;q=0"] {
            #expect(try ask(server, "", ["Accept: \(accept)"]).fields["content-type"] == "application/json")
        }
    }

    @Test("after, before and both choose a stretch, its ends left out; next says where what is after a place goes on")
    func stretches() throws {
        let server = try SimulatedServer()
        for _ in 1...9 { try server.publish("{}") }
        let e = Self.e
        let cases: [(query: String, seqs: [Int], next: Int?)] = [
            ("after=\(e)-0", Array(1...9), nil), ("after=\(e)-4&limit=2", [5, 6], 6),
            ("after=\(e)-7&limit=2", [8, 9], nil), ("after=\(e)-9", [], nil), ("before=\(e)-4", [1, 2, 3], nil),
            ("before=\(e)-4&limit=2", [2, 3], nil),
            ("before=\(e)-3&limit=2", [1, 2], nil), ("before=\(e)-1", [], nil), ("before=\(e)-0", [], nil),
            ("before=\(e)-10", Array(1...9), nil), ("before=\(e)-99&limit=1", [9], nil),
            ("after=\(e)-3&before=\(e)-6", [4, 5], nil), ("after=\(e)-3&before=\(e)-6&limit=1", [4], 4),
            ("after=\(e)-5&before=\(e)-6", [], nil), ("after=\(e)-6&before=\(e)-3", [], nil),
            ("after=\(e)-9&before=\(e)-0", [], nil), ("limit=9", Array(1...9), nil), ("limit=8", Array(2...9), nil),
        ]
        for (query, seqs, next) in cases {
            let page = try page(server, query)
            #expect(page.seqs == seqs, "\(query)")
            #expect(page.first == seqs.first.map { "\(e)-\($0)" }, "\(query)")
            #expect(page.next == next.map { "\(e)-\($0)" }, "\(query)")
            #expect(page.gap == nil && page.head == "\(e)-9", "\(query)")
        }
    }

    @Test("a place that means nothing here is said, and the page begins with the oldest event held")
    func strangePlaces() throws {
        let server = try SimulatedServer()
        for _ in 1...3 { try server.publish("{}") }
        for (query, why) in [("after=00000000000000ff-2", "unknown_epoch"), ("after=\(Self.e)-4", "ahead")] {
            let page = try page(server, query)
            #expect(page.gap?["why"] as? String == why && page.gap?.count == 1, "\(query)")
            #expect(page.seqs == [1, 2, 3], "\(query)")
        }
        let before = try page(server, "before=00000000000000ff-2")
        #expect(before.seqs == [] && before.next == nil && before.gap?["why"] as? String == "unknown_epoch")
        let last = try page(server, "after=\(Self.e)-\(UInt64.max)")
        #expect(last.gap?["why"] as? String == "ahead")
    }

    @Test("what is gone is said where it was of the channels asked for, up to the last that is gone")
    func pruned() throws {
        let server = try smallServer()
        try server.publish("{}", on: "old")
        try server.publish("{}", on: "kept")
        for _ in 0..<1000 { try server.publish("{\"pad\":\"\(String(repeating: "x", count: 60))\"}") }
        try server.publish("{}", on: "kept")
        let oldest = Int(server.engine.hub.oldestHeld)
        #expect(oldest > 500)
        let all = try page(server, "after=\(Self.e)-0&limit=1")
        #expect(all.seqs == [oldest])
        #expect(all.gap?["from"] as? Int == 1 && all.gap?["to"] as? Int == oldest - 1)
        #expect(all.gap?["why"] as? String == "pruned" && all.gap?.count == 3)
        let kept = try page(server, "channel=kept&after=\(Self.e)-0")
        #expect(kept.seqs == [1003])
        #expect(kept.gap?["from"] as? Int == 1 && kept.gap?["to"] as? Int == 2)
        #expect(try page(server, "channel=kept&after=\(Self.e)-2").gap == nil)
        #expect(try page(server, "channel=old&after=\(Self.e)-1").gap == nil)
        #expect(try page(server, "after=\(Self.e)-\(oldest - 1)").gap == nil)
        // What lies beyond `before` is not part of the answer.
        let part = try page(server, "after=\(Self.e)-4&before=\(Self.e)-8")
        #expect(part.seqs == [] && part.gap?["from"] as? Int == 5 && part.gap?["to"] as? Int == 7)
        #expect(try page(server, "after=\(Self.e)-4&before=\(Self.e)-5").gap == nil)
        #expect(try page(server, "before=\(Self.e)-8").gap == nil)
    }

    @Test("with --history 0 there is nothing, and whatever was published is gone")
    func nothingHeld() throws {
        let server = try SimulatedServer { $0.historyBytes = 0 }
        for _ in 1...3 { try server.publish("{}") }
        #expect(try page(server).seqs == [])
        let behind = try page(server, "after=\(Self.e)-1")
        #expect(behind.seqs == [] && behind.next == nil && behind.head == "\(Self.e)-3")
        #expect(behind.gap?["from"] as? Int == 2 && behind.gap?["to"] as? Int == 3)
        #expect(try page(server, "after=\(Self.e)-3").gap == nil)
    }

    @Test("events that do not say their numbers have cursors beside them")
    func cursors() throws {
        let server = try SimulatedServer {
            var bare = Configuration.ChannelRules()
            bare.stamp = []
            $0.channelRules = [("raw", bare)]
        }
        try server.publish("{}")
        try server.publish("{\"seq\":\"mine\"}", on: "raw")
        try server.publish("{}")
        let answer = try ask(server)
        #expect(answer.body.contains("],\"cursors\":[\"\(Self.e)-1\",\"\(Self.e)-2\",\"\(Self.e)-3\"],\"first\":"))
        #expect(try ask(server, "channel=events").json["cursors"] == nil)
        #expect(try ask(server, "channel=raw&limit=1").json["cursors"] as? [String] == ["\(Self.e)-2"])
        #expect(try ask(server, "channel=raw", ["Accept: application/x-ndjson"]).body == "{\"seq\":\"mine\"}\n")
    }

    @Test("what is wrong with the query is said with its code")
    func wrongQueries() throws {
        let server = try SimulatedServer()
        let cases = [
            ("limit=0", "bad_limit"), ("limit=10001", "bad_limit"), ("limit=", "bad_limit"), ("limit=1.5", "bad_limit"),
            ("limit=-1", "bad_limit"), ("limit=01", "bad_limit"), ("limit=18446744073709551616", "bad_limit"),
            ("limit=1&limit=1", "bad_limit"), ("after=7", "bad_cursor"), ("after=", "bad_cursor"),
            ("before=now", "bad_cursor"), ("before=00000000000000E1-1", "bad_cursor"),
            ("after=\(Self.e)-1&after=\(Self.e)-1", "bad_cursor"), ("channel=a//b", "bad_channel"),
            ("from=start", "unknown_parameter"), ("last_event_id=\(Self.e)-1", "unknown_parameter"),
            ("control=off", "unknown_parameter"), ("chanel=a", "unknown_parameter"), ("a", "unknown_parameter"),
            ((0..<129).map { "channel=c\($0)" }.joined(separator: "&"), "too_many_names"),
            ("types=" + (0..<129).map { "t\($0)" }.joined(separator: ","), "too_many_names"),
        ]
        for (query, code) in cases {
            let answer = try ask(server, query)
            #expect(answer.status == 400 && answer.errorCode == code, "\(query)")
            let lines = try ask(server, query, ["Accept: application/x-ndjson"])
            #expect(lines.status == 400 && lines.errorCode == code, "\(query)")
        }
        #expect(try ask(server, "limit=10000").status == 200)
        #expect(try ask(server, "limit=1&&channel=%2A%2A").status == 200)
    }

    @Test("HEAD says the same without a body, faults included")
    func head() throws {
        let server = try SimulatedServer()
        for _ in 1...5 { try server.publish("{}") }
        for (query, fields) in [("", []), ("limit=2", ["Accept: application/x-ndjson"]), ("limit=0", [])] {
            let whole = try ask(server, query, fields)
            let head = try ask(server, query, fields, method: "HEAD")
            #expect(head.status == whole.status && head.fields == whole.fields && head.body.isEmpty, "\(query)")
            #expect(head.fields["content-length"] == "\(whole.body.utf8.count)")
        }
    }

    @Test("only GET and HEAD, from where other readers come; a listed origin's page may read the fields")
    func doors() throws {
        let server = try SimulatedServer { $0.allowedOrigins = ["https://app.example"] }
        for method in ["POST", "PUT", "DELETE"] {
            let refused = try ask(server, method: method)
            #expect(refused.status == 405 && refused.fields["allow"] == "GET, HEAD, OPTIONS", "\(method)")
        }
        #expect(try ask(server, at: SimulatedServer.httpUnix).status == 200)
        #expect(try ask(server, "", ["Sec-Fetch-Site: cross-site"]).status == 403)
        #expect(try ask(server, "", ["Origin: https://other.example"]).status == 403)
        let listed = ["Origin: https://app.example", "Accept: application/x-ndjson"]
        let answer = try ask(server, "", listed)
        #expect(answer.fields["access-control-allow-origin"] == "https://app.example")
        #expect(answer.fields["access-control-expose-headers"] == "Fanout-First, Fanout-Next, Fanout-Head, Fanout-Gap")
        #expect(try ask(server, "", [listed[1]]).fields["access-control-expose-headers"] == nil)
    }

    @Test("a page is a megabyte of events at most, however many are asked for, and the rest follows")
    func large() throws {
        let server = try SimulatedServer(pipeBytes: 4 << 20)
        for number in 0..<9 {
            try server.publish("{\"n\":\(number),\"pad\":\"\(String(repeating: "x", count: 200_000))\"}")
        }
        let newest = try page(server, "limit=10000")
        #expect(newest.seqs == [5, 6, 7, 8, 9] && newest.first == "\(Self.e)-5")
        #expect(try page(server, "limit=10000&before=\(Self.e)-5").seqs == [1, 2, 3, 4])
        let oldest = try page(server, "limit=10000&after=\(Self.e)-0")
        #expect(oldest.seqs == [1, 2, 3, 4, 5] && oldest.next == "\(Self.e)-5")
        let event = "{\"pad\":\"" + String(repeating: "y", count: 262_134) + "\"}"
        #expect(event.utf8.count == 262_144)
        try server.publish(event)
        #expect(try page(server, "limit=1").seqs == [10])
    }

    @Test("a page that memory is too short for is refused with 503, and others are not")
    func noMemory() throws {
        let server = try SimulatedServer(pipeBytes: 4 << 20) { $0.memoryMax = 512 << 10 }
        for _ in 0..<4 { try server.publish("{\"pad\":\"\(String(repeating: "x", count: 100_000))\"}") }
        let answer = try ask(server)
        #expect(answer.status == 503 && answer.errorCode == "overload" && answer.fields["retry-after"] == "1")
        #expect(server.engine.memory.refusals == 1)
        #expect(try page(server, "limit=1").seqs == [4])
    }

    @Test("where few of many events match, a page looks at so many and says where to go on")
    func rare() throws {
        let server = try SimulatedServer()
        server.engine.shares.historyWork = 50
        for number in 1...200 { try server.publish("{}", on: number == 20 || number == 180 ? "rare" : "events") }
        try server.publish("{\"type\":\"last\"}", on: "rare")
        // The search begins and ends where the channel's own events do, as far as that is known.
        #expect(try page(server, "channel=rare&limit=1").seqs == [201])
        var asked: [Page] = []
        var place: String? = "\(Self.e)-201"
        while let before = place, asked.count < 9 {
            asked.append(try page(server, "channel=rare&before=\(before)"))
            place = asked.last?.first
        }
        #expect(asked.map(\.seqs) == [[180], [], [], [], [20], []])
        #expect(asked.map(\.first) == [180, 131, 82, 33, 20].map { "\(Self.e)-\($0)" } + [nil])
        asked = []
        place = "\(Self.e)-0"
        while let after = place, asked.count < 9 {
            asked.append(try page(server, "types=last&after=\(after)"))
            place = asked.last?.next
        }
        #expect(asked.map(\.seqs) == [[], [], [], [], [201]])
    }

    @Test("pages that many ask for at once are given out over many turns")
    func sharedTurns() throws {
        let server = try SimulatedServer()
        server.engine.shares.turnWork = 300
        for _ in 0..<200 { try server.publish("{}") }
        let clients = try (0..<30).map { _ in try server.connect() }
        for client in clients {
            let request = Array(RequestText.get("/v1/history?types=none").utf8)
            #expect(server.kernel.peerWrite(client.peer, request[...]) == request.count)
        }
        for _ in 0..<10 {
            let before = server.engine.hub.extraWork
            _ = server.engine.turn(wait: false)
            #expect(server.engine.hub.extraWork - before < 300 + 2 * 200)
        }
        for client in clients { #expect(Answer.all(client.takeAll()).map(\.status) == [200]) }
    }

    /// An event as it was published.
    private struct Published {
        var seq: Int
        var channel: String
        var kind: String?
    }

    @Test("whatever is asked for, pages one after the other hold exactly what matches", arguments: 0..<6)
    func everyPage(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed) &+ 71)
        let server = try seed % 2 == 0 ? smallServer() : SimulatedServer()
        var published: [Published] = []
        for _ in 0..<600 {
            let channel = ["a", "b/1", "b/2", "b/2/c"][random.below(4)]
            let kind = [nil, "x", "y", "x"][random.below(4)]
            let pad = String(repeating: "p", count: random.below(120))
            let type = kind.map { "\"type\":\"\($0 == "y" ? "\\u0079" : $0)\"," } ?? ""
            let seq = try server.publish("{\(type)\"pad\":\"\(pad)\"}", on: channel)
            published.append(Published(seq: Int(seq), channel: channel, kind: kind))
        }
        let oldest = Int(server.engine.hub.oldestHeld)
        #expect(seed % 2 == 0 ? oldest > 1 && oldest < 600 : oldest == 1)
        for _ in 0..<60 {
            let patterns = [[], ["a"], ["a", "b/*"], ["b/**"], ["b/2", "**"], ["none"]][random.below(6)]
            let types = [[], [], ["x"], ["y", "x"], ["z"]][random.below(5)]
            let reader = HubModel.Reader(patterns: patterns, types: types, transport: .sse)
            let (after, before) = (random.chance(0.5) ? random.below(601) : nil, random.below(700))
            let limit = random.magnitude(5...700)
            server.engine.shares.historyWork = random.magnitude(10...1000)
            let expected = published.filter {
                $0.seq >= oldest && HubModel.wants(reader, $0.channel, $0.kind) && $0.seq > after ?? 0
                    && $0.seq < before
            }.map(\.seq)
            let wanted =
                patterns.map { "channel=\($0)" } + (types.isEmpty ? [] : ["types=" + types.joined(separator: ",")])
            var place = after.map { "after=\(Self.e)-\($0)&before=\(Self.e)-\(before)" } ?? "before=\(Self.e)-\(before)"
            var found: [Int] = []
            var pages = 0
            while true {
                let page = try page(server, (wanted + [place, "limit=\(limit)"]).joined(separator: "&"))
                #expect(page.status == 200 && page.seqs.count <= limit && page.seqs == page.seqs.sorted())
                found = after == nil ? page.seqs + found : found + page.seqs
                pages += 1
                guard let next = after == nil ? page.first : page.next, pages < 2000 else { break }
                place = after == nil ? "before=\(next)" : "after=\(next)&before=\(Self.e)-\(before)"
            }
            #expect(found == expected, "\(wanted) after \(after ?? -1) before \(before) by \(limit)")
        }
    }
}
