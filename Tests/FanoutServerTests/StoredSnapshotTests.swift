// PUT /v1/snapshot with a database: when it is answered, and what a restart gives back.
import CTestDisk
import Glibc
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("A stored PUT of a state")
struct StoredSnapshotTests {
    private static let e = SimulatedServer.epochText

    private func put(_ rows: String, _ query: String = "") -> String {
        RequestText.make(
            "PUT", "/v1/snapshot?channel=made" + query,
            ["Content-Type: application/x-ndjson", "Content-Length: \(rows.utf8.count)"]) + rows
    }

    /// What there is to know, without the numbering: that is another one after a kill.
    private func state(_ server: SimulatedServer) throws -> [String] {
        let answer = try server.ask("GET", "/v1/snapshot?channel=made", ["Accept: application/x-ndjson"])
        let place = try #require(answer.fields["fanout-cursor"]).drop { $0 != "-" }
        return [String(place)] + answer.body.split(separator: "\n").map(String.init)
    }

    /// What a reader that begins with the state is sent.
    private func read(_ server: SimulatedServer, _ kind: ReaderKind = .jsonlHTTP) throws -> [Record] {
        try SimulatedReader(server, kind, Comeback("snapshot", channels: ["made"])).take()
    }

    @Test(
        "it is answered when the disk has it, unless less was asked for; readers do not wait",
        arguments: [(nil, "synced", 1), ("synced", "synced", 1), ("committed", "committed", 0)]
            as [(String?, String, UInt64)])
    func waits(asked: String?, said: String, syncs: UInt64) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer.keeping(store: store)
        store.isHeld = true
        let client = try server.connect()
        client.write(put("{\"a\":1}\n{\"a\":2}", asked.map { "&ack=\($0)" } ?? "") + RequestText.get("/healthz"))
        #expect(client.takeAll().isEmpty)
        #expect(try read(server).compactMap { $0.object["a"] as? Int } == [1, 2])
        store.isHeld = false
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200, 200], "and requests behind it keep their order")
        #expect(
            answers.first?.body == "{\"cursor\":\"\(Self.e)-0\",\"seq\":0,\"count\":2,\"level\":\"\(said)\"}\n")
        #expect(server.engine.storage?.counts.syncs == syncs)
    }

    @Test(
        "none and accepted are answered at once, and stored all the same",
        arguments: [("none", 202), ("accepted", 200)])
    func lesser(level: String, status: Int) throws {
        let store = SimulatedStore()
        var server = try SimulatedServer.keeping(store: store)
        store.isHeld = true
        let answer = try server.ask("PUT", "/v1/snapshot?channel=made&ack=\(level)", body: "{\"a\":1}")
        #expect(answer.status == status && answer.json["level"] as? String == level)
        store.isHeld = false
        server.settle()
        server = try SimulatedServer.keeping(store: store)
        #expect(try read(server).map { $0.object["a"] as? Int } == [nil, nil, 1, nil])
    }

    @Test("its rows are there after a kill, in their order and as of their place, and the events behind that")
    func restart() throws {
        let store = SimulatedStore()
        var server = try SimulatedServer.keeping(store: store)
        for number in 1...3 { try server.publish("{\"type\":\"d\",\"n\":\(number)}", on: "made") }
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{\"old\":1}\n{\"old\":2}").status == 200)
        let rows = (0..<20).map { "{\"type\":\"row\",\"a\":\(($0 * 7) % 20)}" }
        let answer = try server.ask(
            "PUT", "/v1/snapshot?channel=made&as_of=\(Self.e)-2", body: rows.joined(separator: "\n"))
        #expect(answer.json["seq"] as? Int == 2 && answer.json["level"] as? String == "synced")
        try server.publish("{\"type\":\"d\",\"n\":4}", on: "made")
        server.settle()
        let before = try state(server)
        #expect(before.count == 21)
        for _ in 0..<2 {
            server = try SimulatedServer.keeping(store: store)
            #expect(try state(server) == before)
        }
        for kind in ReaderKind.allCases {
            let records = try read(server, kind)
            #expect(
                records.map(\.kind)
                    == ["$hello", "$snapshot"] + rows.map { _ in "row" } + ["$live", "d", "d"], "\(kind)")
            #expect(records.filter { $0.kind == "row" }.map { $0.object["a"] as? Int } == (0..<20).map { $0 * 7 % 20 })
            #expect(records.suffix(3).map(\.seq) == [2, 3, 4])
        }
        // And no row is a state, too.
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made&as_of=\(Self.e)-3", body: "").status == 200)
        server = try SimulatedServer.keeping(store: store)
        #expect(try state(server) == ["-3"])
    }

    @Test("among events in one turn it is stored in its place")
    func amongEvents() throws {
        let store = SimulatedStore()
        var server = try SimulatedServer.keeping(store: store)
        let client = try server.connect()
        let event = RequestText.post("{\"type\":\"d\"}", to: "/v1/events?channel=made&ack=accepted")
        let state = put("{\"n\":1}", "&ack=accepted")
        client.write(event + state + event + put("{\"n\":2}\n{\"n\":3}", "&ack=accepted") + event)
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200, 200, 200, 200])
        server.settle()
        server = try SimulatedServer.keeping(store: store)
        let records = try read(server)
        #expect(records.map { $0.object["n"] as? Int } == [nil, nil, 2, 3, nil, nil])
        #expect(records.map(\.seq).suffix(2) == [2, 3])
        #expect(try store.everything().map(\.seq) == [1, 2, 3])
    }

    @Test("a state is as of what is shown, not as of what is held back for the disk")
    func heldBack() throws {
        let store = SimulatedStore()
        func server() throws -> SimulatedServer {
            try SimulatedServer.keeping(store: store) {
                var rules = Configuration.ChannelRules()
                rules.visible = .synced
                $0.channelRules.append(("made", rules))
            }
        }
        var first: SimulatedServer? = try server()
        try first?.publish("{\"type\":\"d\",\"n\":1}", on: "made")
        first?.settle()
        store.isHeld = true
        try first?.publish("{\"type\":\"d\",\"n\":2}", on: "made")
        let client = try #require(try first?.connect())
        client.write(put("{\"row\":1}", "&ack=committed"))
        #expect(client.takeAll().isEmpty)
        store.isHeld = false
        #expect(Answer.all(client.takeAll()).first?.json["seq"] as? Int == 1)
        #expect(first?.engine.storage?.synced == 2)
        first = nil
        let again = try server()
        #expect(try read(again).map(\.kind) == ["$hello", "$snapshot", nil, "$live", "d"])
    }

    @Test("a database that takes nothing refuses it before anything is changed")
    func refused() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer.keeping(store: store)
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{\"a\":1}").status == 200)
        store.fail(TEST_DISK_WRITE, errno: ENOSPC)
        try server.publish("{}", on: "other")
        server.settle()
        #expect(server.engine.isStorageRefusing)
        for target in ["made", "new"] {
            let answer = try server.ask("PUT", "/v1/snapshot?channel=\(target)", body: "{\"a\":2}")
            #expect(answer.status == 503 && answer.errorCode == "storage_full" && answer.fields["retry-after"] == "1")
        }
        #expect(try read(server).map { $0.object["a"] as? Int } == [nil, nil, 1, nil])
        #expect(server.engine.hub.channels.index(of: try #require(ChannelName("new"))) == nil)
        store.stopFailing()
        server.pass(milliseconds: 2_000)
        #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{\"a\":2}").status == 200)
    }

    @Test("rules that come with a restart make the state from then on, and a channel that begins anew has none")
    func gone() throws {
        let store = SimulatedStore()
        var server = try SimulatedServer.keeping(store: store)
        for channel in ["made", "ended"] {
            #expect(try server.ask("PUT", "/v1/snapshot?channel=\(channel)", body: "{\"a\":1}").status == 200)
        }
        #expect(try server.ask("DELETE", "/v1/channels?channel=ended").status == 200)
        #expect(try server.ask("PUT", "/v1/channels?channel=ended").status < 300)
        #expect(try server.ask("GET", "/v1/snapshot?channel=ended").json["events"] as? [String] == [])
        server = try SimulatedServer.keeping(store: store) {
            var rules = Configuration.ChannelRules()
            rules.state = KeptState.rules
            $0.channelRules.append(("made", rules))
        }
        #expect(try server.ask("GET", "/v1/snapshot?channel=*").json["events"] as? [String] == [])
        let answer = try server.ask("PUT", "/v1/snapshot?channel=made", body: "{\"a\":2}")
        #expect(answer.status == 409 && answer.errorCode == "state_is_derived")
        try server.put("a", 1, on: "made")
        #expect(try read(server).map(\.kind) == ["$hello", "$snapshot", "put", "$live"])
        server.settle()
        #expect(try store.state().count == 1)
    }
}
