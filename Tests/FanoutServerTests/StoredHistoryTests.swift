// GET /v1/history where the database has a part of the past, or all of it: the same answers as from memory.
import CTestDisk
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("History from the database")
struct StoredHistoryTests {
    private static let e = SimulatedServer.epochText

    private func ask(
        _ server: SimulatedServer, _ query: String = "", _ fields: [String] = [], method: String = "GET"
    ) throws -> Answer {
        let client = try server.connect()
        client.write(RequestText.make(method, "/v1/history" + (query.isEmpty ? "" : "?" + query), fields))
        var bytes = client.takeAll()
        let answer = try #require(Answer.take(&bytes, toHead: method == "HEAD"))
        #expect(bytes.isEmpty)
        client.close()
        return answer
    }

    private func publish(_ server: SimulatedServer, _ numbers: Range<Int>) throws {
        for number in numbers {
            let kind = number % 3 == 0 ? "a\\u0062" : "c"
            let pad = String(repeating: "x", count: number % 50 == 0 ? 20_000 : 30)
            try server.publish(
                "{\"type\":\"\(kind)\",\"n\":\(number),\"pad\":\"\(pad)\"}", on: number % 2 == 0 ? "events" : "other")
        }
        server.settle()
    }

    private func stop(_ server: SimulatedServer) {
        server.engine.end(signal: 15)
        server.settle()
        server.pass(milliseconds: 6000, step: 1000)
        #expect(!server.isRunning)
    }

    /// A server that has events 1 to 1,500, the first so many of them from the life before.
    private func server(stored: Int, _ store: SimulatedStore = SimulatedStore()) throws -> SimulatedServer {
        let first = try SimulatedServer(store: store)
        try publish(first, 0..<stored)
        stop(first)
        let second = try SimulatedServer(store: store)
        try publish(second, stored..<1500)
        return second
    }

    @Test("an answer is the same, byte for byte, wherever the events are", arguments: [1500, 700, 1])
    func same(stored: Int) throws {
        let inMemory = try SimulatedServer()
        try publish(inMemory, 0..<1500)
        let server = try server(stored: stored)
        #expect(Int(server.engine.hub.oldestHeld) == stored + 1)
        let e = Self.e
        let places = ["", "after=\(e)-0", "after=\(e)-650", "before=\(e)-900", "before=\(e)-700", "after=\(e)-1499"]
        let stretches = places + ["after=\(e)-300&before=\(e)-1000", "after=\(e)-1500", "before=\(e)-1"]
        let filters = [
            "", "channel=other", "channel=*", "types=ab", "channel=events&types=c", "channel=none", "types=none",
            "channel=other&channel=events",
        ]
        for stretch in stretches {
            for filter in filters {
                for limit in ["", "limit=1", "limit=249", "limit=500", "limit=10000"] {
                    let query = [stretch, filter, limit].filter { !$0.isEmpty }.joined(separator: "&")
                    try #require(try ask(server, query).body == ask(inMemory, query).body, "\(query)")
                }
                let fields = ["Accept: application/x-ndjson"]
                let query = [stretch, filter].filter { !$0.isEmpty }.joined(separator: "&")
                let (found, expected) = (try ask(server, query, fields), try ask(inMemory, query, fields))
                #expect(found.body == expected.body)
                #expect(
                    found.fields.filter { $0.key.hasPrefix("fanout") }
                        == expected.fields.filter { $0.key.hasPrefix("fanout") })
            }
        }
        #expect(server.metric("fanout_history_requests") == 0)
    }

    @Test("a page looks at so many events; paging through a past in which little matches comes to its end")
    func work() throws {
        let server = try server(stored: 1400)
        server.engine.shares.historyWork = 600
        for (begin, word, next) in [("after=\(Self.e)-0", "after", "next"), ("", "before", "first")] {
            var query = begin
            var found: [Int] = []
            var answers = 0
            while true {
                let json = try ask(server, (query.isEmpty ? "" : query + "&") + "types=none").json
                found += (json["events"] as? [[String: Any]] ?? []).compactMap { $0["seq"] as? Int }
                answers += 1
                guard let place = json[next] as? String else { break }
                query = "\(word)=\(place)"
                try #require(answers < 10)
            }
            #expect(found.isEmpty && answers == 3, "\(word)")
        }
    }

    @Test("while the disk takes long its client waits, and what it asks behind that is answered behind it")
    func waiting() throws {
        let store = SimulatedStore()
        let server = try server(stored: 1500, store)
        store.isHeld = true
        let client = try server.connect()
        client.write(
            RequestText.get("/v1/history?limit=2", []) + RequestText.get("/healthz", [])
                + RequestText.make("HEAD", "/v1/history?limit=3", []))
        server.pass(milliseconds: 200_000, step: 5000)
        #expect(client.takeText() == "" && !client.isClosed)
        #expect(server.metric("fanout_history_requests") == 1)
        store.isHeld = false
        var bytes = client.takeAll()
        let first = try #require(Answer.take(&bytes))
        #expect((first.json["events"] as? [[String: Any]])?.compactMap { $0["seq"] as? Int } == [1499, 1500])
        #expect(try #require(Answer.take(&bytes)).body == "ok\n")
        let head = try #require(Answer.take(&bytes, toHead: true))
        #expect(head.status == 200 && head.fields["content-length"] != "0" && bytes.isEmpty)
        client.close()
        server.settle()
        server.checkNothingIsHeld()
    }

    @Test("what comes while a page is read is not in it, and its head is from when it was asked for")
    func head() throws {
        let store = SimulatedStore()
        let server = try server(stored: 1500, store)
        store.isHeld = true
        let client = try server.connect()
        client.write(RequestText.get("/v1/history?after=\(Self.e)-1400&limit=200", []))
        try publish(server, 1500..<1510)
        store.isHeld = false
        var bytes = client.takeAll()
        let json = try #require(Answer.take(&bytes)).json
        #expect((json["events"] as? [Any])?.count == 100 && json["head"] as? String == "\(Self.e)-1500")
    }

    @Test("more requests than may wait are told to come back; those who go are forgotten")
    func many() throws {
        let store = SimulatedStore()
        let server = try server(stored: 1500, store)
        store.isHeld = true
        let clients = try (0..<70).map { number in
            let client = try server.connect()
            client.write(RequestText.get("/v1/history?after=\(Self.e)-\(number)&limit=700", []))
            return client
        }
        #expect(server.metric("fanout_history_requests") == 64)
        for number in 64..<70 {
            var bytes = clients[number].takeAll()
            let answer = try #require(Answer.take(&bytes))
            #expect(answer.status == 503 && answer.errorCode == "overload" && answer.fields["retry-after"] == "1")
        }
        for number in stride(from: 0, to: 64, by: 2) { clients[number].close() }
        store.isHeld = false
        server.settle()
        for number in stride(from: 1, to: 64, by: 2) {
            var bytes = clients[number].takeAll()
            let json = try #require(Answer.take(&bytes)).json
            let seqs = (json["events"] as? [[String: Any]])?.compactMap { $0["seq"] as? Int }
            #expect(seqs == Array((number + 1)...(number + 700)))
            clients[number].close()
        }
        for number in 64..<70 { clients[number].close() }
        server.settle()
        #expect(server.metric("fanout_history_requests") == 0)
        server.checkNothingIsHeld()
    }

    @Test("what cannot be read is 500, and a server that stops says so")
    func faults() throws {
        let store = SimulatedStore()
        let server = try server(stored: 1500, store)
        store.fail(TEST_DISK_READ, errno: 5)
        #expect(try ask(server, "after=\(Self.e)-700&limit=10").errorCode == "internal")
        store.stopFailing()
        #expect(try ask(server, "after=\(Self.e)-700&limit=10").status == 200)
        store.isHeld = true
        let client = try server.connect()
        client.write(RequestText.get("/v1/history?after=\(Self.e)-3", []))
        server.engine.end(signal: 15)
        var bytes = client.takeAll()
        #expect(try #require(Answer.take(&bytes)).errorCode == "shutting_down")
        store.isHeld = false
        client.close()
        server.settle()
        #expect(!server.isRunning)
    }

    @Test("who asks when the database has ended, and the server does not know yet, is answered once")
    func databaseEnded() throws {
        let store = SimulatedStore()
        let first = try SimulatedServer(store: store)
        try publish(first, 0..<50)
        stop(first)
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let queue = try #require(server.engine.storage?.queue)
        queue.state.withLock { $0.report.state = .ended(nil) }
        let client = try server.connect()
        client.write(RequestText.make("GET", "/v1/history", []) + RequestText.make("GET", "/healthz", []))
        var bytes = client.takeAll()
        #expect(try #require(Answer.take(&bytes)).status == 503)
        #expect(try #require(Answer.take(&bytes)).status == 200)
        #expect(bytes.isEmpty)
    }

    @Test("places of numberings that ended, and what retention removed, are said as a stream would be told")
    func gaps() throws {
        let store = SimulatedStore()
        let first = try SimulatedServer(store: store)
        try publish(first, 0..<30)
        store.isHeld = true
        try publish(first, 30..<35)
        store.isHeld = false
        store.prepare = { $0.newEpoch = Epoch(rawValue: 0xe2) }
        let server = try SimulatedServer(store: store)
        try publish(server, 35..<37)
        let (e, other) = (Self.e, StoredReplayTests.other)
        let kept = try ask(server, "after=\(e)-28").json
        #expect(kept["gap"] == nil && (kept["events"] as? [Any])?.count == 4)
        let lost = try ask(server, "after=\(e)-34").json
        let gap = try #require(lost["gap"] as? [String: Any])
        #expect(gap["why"] as? String == "rewound" && gap["epoch"] as? String == e)
        #expect(gap["from"] as? Int == 31 && gap["to"] as? Int == 34)
        #expect((lost["events"] as? [Any])?.count == 2)
        #expect(try ask(server, "before=\(e)-34&limit=1").body.contains("\"first\":\"\(other)-30\""))
        let queue = try #require(server.engine.storage?.queue)
        #expect(queue.ask(.retention([ChannelRetention(channel: "events", limits: RetentionLimits(events: 3))])))
        server.pass(milliseconds: 3000)
        let pruned = try ask(server, "channel=events&after=\(other)-5").json
        #expect((pruned["events"] as? [Any])?.count == 3)
        #expect((pruned["gap"] as? [String: Any])?["from"] as? Int == 6)
    }
}
