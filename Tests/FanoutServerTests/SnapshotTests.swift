// from=snapshot: the present state, then everything after it, on every transport.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("from=snapshot")
struct SnapshotTests {
    private static let e = SimulatedServer.epochText

    @Test(
        "$hello, $snapshot, the newest event of each key in the order of their numbers, $live, then what follows",
        arguments: ReaderKind.allCases)
    func rows(kind: ReaderKind) throws {
        let server = try SimulatedServer.keeping()
        try server.put("a", 1)
        try server.put("b", 2)
        try server.publish("{\"type\":\"plain\"}", on: "kept/a")
        try server.put("a", 3)
        try server.put("c", 4)
        try server.gone("c")
        try server.publish("{\"type\":\"whole\",\"n\":1}", on: "kept/a")
        let reader = try SimulatedReader(server, kind, Comeback("snapshot", channels: ["kept/a"]))
        let records = reader.take()
        #expect(records.kinds == ["$hello", "$snapshot", "put", "put", "whole", "$live"])
        #expect(records.map(\.seq) == [7, 7, 2, 4, 7, 7])
        #expect(records[1].object["count"] as? Int == 3 && records[5].object["count"] as? Int == 3)
        #expect(
            records[2].text == "{\"seq\":2,\"channel\":\"kept/a\",\"type\":\"put\",\"key\":\"b\",\"n\":2,\"pad\":\"\"}")
        if kind == .sse {
            #expect(
                records.map(\.id) == ["", "", "\(Self.e)-2", "\(Self.e)-4", "\(Self.e)-7", "\(Self.e)-7"],
                "nothing has an id that skips a row")
            #expect(records.map(\.event) == ["$hello", "$snapshot", nil, nil, nil, "$live"])
        }
        try server.put("b", 5)
        #expect(reader.take().map(\.seq) == [8])
        #expect(server.metric("fanout_snapshots_total") == 1)
        reader.client.close()
        try server.put("b", 6)
        server.pass(milliseconds: 20_000, step: 1000)
        server.checkNothingIsHeld()
    }

    @Test(
        "what is published between the turns in which an image is made comes after $live, all of it", arguments: 0..<12)
    func whileBuilding(seed: Int) throws {
        let server = try SimulatedServer.keeping(pipeBytes: 300 + seed * 97)
        server.engine.shares.replayBytes = 700 + seed * 300
        for key in 0..<60 { try server.put("k\(key)", 0, pad: key % 7 * 20) }
        let readers = try ReaderKind.allCases.map {
            try SimulatedReader(server, $0, Comeback("snapshot", channels: ["kept/*"]))
        }
        var states = readers.map { _ in KeptState() }
        var records: [[Record]] = readers.map { _ in [] }
        var random = SeededRandom(seed: UInt64(seed))
        for step in 0..<150 {
            let key = "k\(random.below(70))"
            if random.below(4) == 0 { try server.gone(key) } else { try server.put(key, step, pad: random.below(60)) }
            _ = server.engine.turn(wait: false)
            if step % 5 == 0 { for (place, reader) in readers.enumerated() { records[place] += whole(reader) } }
        }
        for (place, reader) in readers.enumerated() { records[place] += whole(reader) }
        let truth = try present(server, "kept/*")
        for (place, reader) in readers.enumerated() {
            states[place].apply(records[place])
            #expect(states[place].rows == truth, "\(reader.kind)")
            #expect(!states[place].isLoading)
            checkOrder(records[place])
        }
    }

    /// What has come in whole records; the rest is left for the next time.
    private func whole(_ reader: SimulatedReader) -> [Record] { reader.take() }

    /// The state as a new request for it says.
    private func present(_ server: SimulatedServer, _ channel: String) throws -> [String: String] {
        let answer = try server.ask("GET", "/v1/snapshot?channel=\(channel)", ["Accept: application/x-ndjson"])
        var state = KeptState()
        state.apply(StreamReader.lines(Array(answer.body.utf8)))
        return state.rows
    }

    /// Rows rise, and so does what follows `$live`, from its place on without a hole.
    private func checkOrder(_ records: [Record]) {
        guard let first = records.firstIndex(where: { $0.kind == "$snapshot" }),
            let live = records.firstIndex(where: { $0.kind == "$live" })
        else {
            Issue.record("no state: \(records.kinds)")
            return
        }
        let rows = records[first..<live].dropFirst().compactMap(\.seq)
        #expect(rows == rows.sorted() && Set(rows).count == rows.count)
        let place = records[live].seq ?? 0
        #expect(rows.allSatisfy { $0 <= place } && records[first].seq == place)
        let later = records[live...].dropFirst().compactMap(\.seq)
        #expect(later == Array(place + 1..<place + 1 + later.count), "no hole and no repetition after $live")
    }

    @Test("without any history what a reader of a state gets has no hole either", arguments: ReaderKind.allCases)
    func noHistory(kind: ReaderKind) throws {
        let server = try SimulatedServer.keeping { $0.historyBytes = 0 }
        for key in 0..<5 { try server.put("k\(key)") }
        let reader = try SimulatedReader(server, kind, Comeback("snapshot", channels: ["kept/a"]))
        try server.put("k1", 1)
        let records = reader.take()
        #expect(records.kinds == ["$hello", "$snapshot", "put", "put", "put", "put", "put", "$live", "put"])
        checkOrder(records)
    }

    @Test("types choose among rows as they choose among events, and count counts what is sent")
    func types() throws {
        let server = try SimulatedServer.keeping()
        for key in 0..<4 { try server.put("k\(key)") }
        try server.publish("{\"type\":\"wh\\u006fle\"}", on: "kept/a")
        let reader = try SimulatedReader(
            server, .jsonlHTTP, Comeback("snapshot", channels: ["kept/a"], types: ["whole", "other"]))
        let records = reader.take()
        #expect(records.kinds == ["$hello", "$snapshot", "whole", "$live"])
        #expect(records[1].object["count"] as? Int == 1)
        try server.put("k1")
        try server.publish("{\"type\":\"whole\"}", on: "kept/a")
        #expect(reader.take().kinds == ["whole"])
    }

    @Test("a reader of several channels gets one state of all of them, in one order")
    func several() throws {
        let server = try SimulatedServer.keeping()
        for number in 0..<12 { try server.put("k\(number % 4)", number, on: "kept/\(["a", "b", "c/d"][number % 3])") }
        try server.publish("{}", on: "plain")
        for channels in [["kept/**"], [], ["kept/c/d", "kept/a", "kept/b", "plain", "kept/a"]] {
            let reader = try SimulatedReader(server, .sse, Comeback("snapshot", channels: channels))
            let records = reader.take()
            #expect(records.map(\.seq) == [13, 13] + Array(1...12) + [13])
        }
        let one = try SimulatedReader(server, .sse, Comeback("snapshot", channels: ["kept/b"]))
        #expect(one.take().map(\.seq) == [13, 13, 2, 5, 8, 11, 13])
    }

    @Test(
        "an empty state is said; where nothing could keep state the request is refused", arguments: ReaderKind.allCases)
    func empty(kind: ReaderKind) throws {
        let server = try SimulatedServer.keeping()
        let reader = try SimulatedReader(server, kind, Comeback("snapshot", channels: ["kept/never"]))
        let records = reader.take()
        #expect(records.kinds == ["$hello", "$snapshot", "$live"])
        #expect(records[1].object["count"] as? Int == 0)
        try server.put("x", on: "kept/never")
        #expect(reader.take().kinds == ["put"])
        let refused = try SimulatedReader(server, kind, Comeback("snapshot", channels: ["events"]))
        if kind == .eventsSocket || kind == .jsonlTCP {
            let bye = try #require(refused.take().last)
            #expect(bye.kind == "$bye" && bye.object["code"] as? Int == 1008)
            #expect(bye.object["why"] as? String == "no_state")
        } else {
            #expect(String(decoding: refused.client.received, as: UTF8.self).contains("\"code\":\"no_state\""))
        }
    }

    @Test("control=off silences the records, not the rows", arguments: ReaderKind.allCases)
    func silent(kind: ReaderKind) throws {
        let server = try SimulatedServer.keeping()
        for key in 0..<3 { try server.put("k\(key)") }
        let reader = try SimulatedReader(
            server, kind, Comeback("snapshot", channels: ["kept/a"], ("control", "off")))
        #expect(reader.take().kinds == ["put", "put", "put"])
        try server.put("k0")
        #expect(reader.take().map(\.seq) == [4])
    }

    @Test("a channel's readers begin with the state if its rules say so, and with the present where it has none")
    func configured() throws {
        let server = try SimulatedServer.keeping {
            var rules = Configuration.ChannelRules()
            rules.from = .snapshot
            rules.stamp = []
            $0.channelRules.append(("made", rules))
            $0.channelRules[0].rules.from = .snapshot
        }
        try server.put("k")
        #expect(
            try SimulatedReader(server, .sse, query: "channel=kept/a").take().kinds == [
                "$hello", "$snapshot", "put", "$live",
            ])
        let other = try SimulatedReader(server, .webSocket, query: "channel=made")
        #expect(other.head?.status == 101 && other.take().kinds == ["$hello"])
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{\"type\":\"x\"}\n{}").status == 200)
        let later = try SimulatedReader(server, .jsonlHTTP, query: "channel=made")
        #expect(later.take().map(\.text).dropFirst(2).dropLast() == ["{\"type\":\"x\"}", "{}"])
        try server.publish("{\"type\":\"y\"}", on: "made")
        #expect(other.take().kinds == ["y"] && later.take().kinds == ["y"])
    }

    @Test("of a channel that has ended its state is sent, then $bye 1000; one without rows is over at once")
    func ended() throws {
        let server = try SimulatedServer.keeping()
        try server.put("k", on: "kept/over")
        #expect(try server.ask("DELETE", "/v1/channels?channel=kept/over").status == 200)
        let reader = try SimulatedReader(server, .sse, Comeback("snapshot", channels: ["kept/over"]))
        let records = reader.take()
        #expect(records.kinds == ["$hello", "$snapshot", "put", "$live", "$bye"])
        #expect(records.last?.object["code"] as? Int == 1000 && records.last?.id == "\(Self.e)-1")
        let back = try SimulatedReader(
            server, .sse, query: "channel=kept/over&from=snapshot", ["Last-Event-ID: \(Self.e)-1"])
        #expect(back.head?.status == 204)
        try server.put("k", on: "kept/bare")
        try server.gone("k", on: "kept/bare")
        #expect(try server.ask("DELETE", "/v1/channels?channel=kept/bare").status == 200)
        #expect(try SimulatedReader(server, .sse, Comeback("snapshot", channels: ["kept/bare"])).head?.status == 204)
    }

    @Test("a reader cut between two rows goes on exactly from the last one it got")
    func cutInTheMiddle() throws {
        let server = try SimulatedServer.keeping(pipeBytes: 256)
        for number in 0..<40 { try server.put("k\(number % 25)", number) }
        let truth = try present(server, "kept/a")
        let whole = try SimulatedReader(server, .sse, Comeback("snapshot", channels: ["kept/a"])).take()
        #expect(whole.count == 28)
        for cut in 2..<27 {
            var state = KeptState()
            state.apply(Array(whole[..<cut]))
            let back = try SimulatedReader(
                server, .sse, query: "channel=kept/a&from=snapshot",
                whole[cut - 1].id == "" ? [] : ["Last-Event-ID: \(whole[cut - 1].id ?? "")"])
            state.apply(back.take())
            #expect(state.rows == truth, "cut after \(cut)")
        }
    }

    @Test(
        "a reader that stops within a state is cut as its policy says, and gets the state when it comes back",
        arguments: [Configuration.LagPolicy.close, .gap, .conflate, .resnapshot])
    func stopped(policy: Configuration.LagPolicy) throws {
        let server = try SimulatedServer.keeping(pipeBytes: 512) {
            $0.onLag = policy
            $0.limits.ageMilliseconds = 1000
        }
        for number in 0..<300 { try server.put("k\(number)", pad: 100) }
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.client.takeAll()
        server.kernel.peerWrite(reader.client.peer, Array(Comeback("snapshot", channels: ["kept/a"]).line.utf8)[...])
        server.pass(milliseconds: 5000)
        #expect(server.engine.hub.images.images.allSatisfy { $0.readers == 0 }, "nobody holds it")
        try server.put("k7", 1)
        try server.gone("k8")
        let records = reader.take()
        if policy == .close {
            let last = try #require(records.last)
            #expect(last.kind == "$bye" && last.object["code"] as? Int == 4008)
            let row = try #require(records.last { !$0.isControl }?.seq)
            #expect(last.object["last"] as? String == "\(Self.e)-\(row)")
        } else {
            var state = KeptState()
            state.apply(records)
            #expect(try state.rows == present(server, "kept/a"))
            #expect(!state.isLoading && records.kinds.count { $0 == "$gap" } == 1)
        }
        #expect(server.metric("fanout_laggards_total") == 1)
    }

    @Test("readers who come together share one image, and one that is up to date is used again")
    func shared() throws {
        let server = try SimulatedServer.keeping()
        for number in 0..<200 { try server.put("k\(number)", pad: 50) }
        let first = try SimulatedReader(server, .jsonlHTTP, Comeback("snapshot", channels: ["kept/a"]))
        #expect(first.take().count == 203)
        #expect(server.metric("fanout_state_images_total") == 1)
        for kind in [ReaderKind.eventsSocket, .jsonlTCP, .jsonlHTTP] {
            #expect(try SimulatedReader(server, kind, Comeback("snapshot", channels: ["kept/a"])).take().count == 203)
        }
        #expect(server.metric("fanout_state_images_total") == 1, "one for all who speak JSONL")
        #expect(try SimulatedReader(server, .sse, Comeback("snapshot", channels: ["kept/a"])).take().count == 203)
        #expect(server.metric("fanout_state_images_total") == 2)
        try server.publish("{}", on: "kept/a")
        let later = try SimulatedReader(server, .jsonlHTTP, Comeback("snapshot", channels: ["kept/a"]))
        #expect(later.take().last?.seq == 201, "what changes no state is replayed behind the same image")
        #expect(server.metric("fanout_state_images_total") == 2)
        try server.put("new")
        let newest = try SimulatedReader(server, .jsonlHTTP, Comeback("snapshot", channels: ["kept/a"]))
        #expect(newest.take().kinds.suffix(2) == ["put", "$live"])
        #expect(server.metric("fanout_state_images_total") == 3)
    }

    @Test("a turn makes no more of an image than its share, and live events go on meanwhile")
    func turns() throws {
        let server = try SimulatedServer.keeping(segmentBytes: nil)
        server.engine.shares.replayBytes = 8192
        for number in 0..<2000 { try server.put("k\(number)") }
        let live = try SimulatedReader(server, .eventsSocket)
        _ = live.take()
        let reader = try server.connect()
        server.kernel.peerWrite(
            reader.peer, Array(RequestText.get("/v1/events?from=snapshot&channel=kept/a").utf8)[...])
        var turns = 0
        while server.engine.hub.images.images.first?.stage != .complete, turns < 10_000 {
            try server.put("k\(turns % 2000)", 1)
            _ = server.engine.turn(wait: false)
            turns += 1
        }
        #expect(turns > 15, "\(turns)")
        #expect(live.takeSeqs().count == turns)
        #expect(server.engine.hub.images.images.first?.count == 2000, "as of its beginning, whatever came meanwhile")
        #expect(server.engine.hub.states.supersededBytes == 0, "what was kept for it is gone")
    }
}
