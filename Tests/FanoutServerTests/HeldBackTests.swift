// `visible: synced`: nobody sees an event before the disk has it, nor anything that got a number behind it.
import CTestDisk
import Glibc
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Events that are held back")
struct HeldBackTests {
    private func server(_ store: SimulatedStore, seed: UInt64 = 1, pipeBytes: Int = 65_536) throws -> SimulatedServer {
        try SimulatedServer(seed: seed, pipeBytes: pipeBytes, store: store) {
            var held = Configuration.ChannelRules()
            held.visible = .synced
            $0.channelRules = [("held/*", held)]
        }
    }

    private func post(_ channel: String, ack: String = "accepted", _ event: String = "{}") -> String {
        RequestText.post(event, to: "/v1/events?channel=\(channel)&ack=\(ack)")
    }

    @Test(
        "an event is seen when the disk has it, by readers, in the head and in the history",
        arguments: ReaderKind.allCases)
    func waits(kind: ReaderKind) throws {
        let store = SimulatedStore()
        let server = try server(store)
        let reader = try SimulatedReader(server, kind)
        store.isHeld = true
        let client = try server.connect()
        client.write(post("held/a", ack: "accepted"))
        let answer = try #require(Answer.all(client.takeAll()).first)
        #expect(answer.json["level"] as? String == "accepted" && answer.json["seq"] as? Int == 1)
        #expect(answer.json["subscribers"] as? Int == 1)
        #expect(reader.takeSeqs().filter { $0 > 0 }.isEmpty)
        #expect(server.engine.hub.head == 0 && server.engine.hub.accepted == 1)
        client.write(RequestText.get("/v1/history?channel=held/a"))
        #expect(Answer.all(client.takeAll()).first?.body.contains("\"seq\":1") == false)
        let late = try SimulatedReader(server, kind)
        store.isHeld = false
        #expect(reader.takeSeqs() == [1])
        #expect(late.takeSeqs().last == 1, "who came meanwhile gets it, too")
        client.write(RequestText.get("/v1/history?channel=held/a"))
        #expect(Answer.all(client.takeAll()).first?.body.contains("\"seq\":1") == true)
        #expect(server.engine.storage?.counts.syncs == 1, "it is synced whatever its publisher asked for")
    }

    @Test("what gets a number behind a held event waits for it, and for nothing else")
    func behind() throws {
        let store = SimulatedStore()
        let server = try server(store)
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        let client = try server.connect()
        client.write(post("plain"))
        #expect(reader.takeSeqs() == [1])
        store.isHeld = true
        client.write(post("plain"))
        #expect(reader.takeSeqs() == [2], "nothing is held")
        client.write(post("held/a") + post("plain") + post("held/b") + post("plain"))
        #expect(reader.takeSeqs().isEmpty)
        #expect(server.engine.hub.accepted == 6)
        store.isHeld = false
        #expect(reader.takeSeqs() == [3, 4, 5, 6])
        #expect(server.engine.hub.head == 6 && server.engine.hub.held.isEmpty)
        client.write(post("plain"))
        #expect(reader.takeSeqs() == [7])
    }

    @Test("an ack of the database comes when the event can be seen")
    func readYourWrites() throws {
        let store = SimulatedStore()
        let server = try server(store)
        server.engine.shares.turnInputBytes = 64
        store.isHeld = true
        let clients = try (0..<20).map { _ in try server.connect() }
        for client in clients {
            client.write(post("held/a", ack: "synced", "{\"n\":\"0123456789012345678901234567\"}"))
        }
        store.isHeld = false
        for (number, client) in clients.enumerated() {
            #expect(Answer.all(client.takeAll()).map(\.status) == [200])
            #expect(server.engine.hub.head > number)
        }
    }

    @Test("a channel's end is seen behind its last event, and publishing is refused at once")
    func ends() throws {
        let store = SimulatedStore()
        let server = try server(store)
        let reader = try SimulatedReader(server, .jsonlHTTP, query: "channel=held/a")
        let other = try SimulatedReader(server, .jsonlHTTP, query: "channel=plain")
        _ = reader.take() + other.take()
        store.isHeld = true
        let client = try server.connect()
        client.write(post("held/a") + post("plain"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200])
        let enders = try (0..<2).map { _ in try server.connect() }
        enders[0].write(RequestText.make("DELETE", "/v1/channels?channel=held/a"))
        enders[1].write(RequestText.make("DELETE", "/v1/channels?channel=plain"))
        for ender in enders { #expect(Answer.all(ender.takeAll()).isEmpty, "the disk does not have it") }
        client.write(post("held/a") + post("plain"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [409, 409])
        #expect(reader.take().isEmpty && other.take().isEmpty)
        let late = try SimulatedReader(server, .sse, query: "channel=held/a&from=start")
        #expect(late.head?.status == 200, "what is to come is not over")
        store.isHeld = false
        for ender in enders { #expect(Answer.all(ender.takeAll()).map(\.status) == [200]) }
        for (reader, seq) in [(reader, 1), (other, 2)] {
            let records = reader.take()
            #expect(records.compactMap(\.seq).first == seq)
            #expect(records.last?.kind == "$bye" && records.last?.object["code"] as? Int == 1000)
            #expect(records.count == 2)
        }
        #expect(late.take().map(\.event).suffix(1) == ["$bye"])
        client.write(RequestText.make("PUT", "/v1/channels?channel=held/a") + post("held/a", ack: "synced"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [201, 200])
        #expect(try store.everything().map(\.seq) == [1, 2, 3])
    }

    @Test("an end and a new beginning are kept by the database")
    func endsAreStored() throws {
        let store = SimulatedStore()
        let first = try server(store)
        let client = try first.connect()
        client.write(post("a") + post("b") + RequestText.make("DELETE", "/v1/channels?channel=a"))
        client.write(RequestText.make("DELETE", "/v1/channels?channel=b"))
        client.write(RequestText.make("PUT", "/v1/channels?channel=b"))
        _ = client.takeAll()
        let second = try server(store)
        let again = try second.connect()
        again.write(post("a") + post("b"))
        #expect(Answer.all(again.takeAll()).map(\.status) == [409, 200])
    }

    @Test(
        "nothing that was seen is lost with the power, whatever was published when",
        arguments: 1...20 as ClosedRange<UInt64>)
    func powerCut(seed: UInt64) throws {
        let store = SimulatedStore()
        let server = try server(store, seed: seed)
        var random = SeededRandom(seed: seed)
        let reader = try SimulatedReader(server, .eventsSocket)
        let client = try server.connect()
        var seen: [Int] = []
        for _ in 0..<60 {
            store.isHeld = random.chance(0.7)
            let events = String(repeating: "{}\n", count: 1 + random.below(5))
            let channel = random.chance(0.5) ? "held/a" : "plain"
            client.write(
                RequestText.post(
                    events, to: "/v1/events?ack=none&channel=\(channel)", type: "application/x-ndjson"))
            seen += reader.takeSeqs()
            #expect(server.engine.hub.head <= server.engine.hub.accepted)
        }
        #expect(seen.filter { $0 > 0 } == Array(1..<(Int(server.engine.hub.head) + 1)), "one order, and no hole")
        store.isHeld = false
        seen += reader.takeSeqs()
        #expect(seen.filter { $0 > 0 }.last == Int(server.engine.hub.accepted))
        #expect(server.engine.hub.held.isEmpty)
    }

    @Test("very much that becomes visible at once is shown over many turns, and what it took is given back")
    func shares() throws {
        let store = SimulatedStore()
        let server = try server(store, pipeBytes: 1 << 20)
        let writer = try server.connect(SimulatedServer.ingestFixed)
        let client = try server.connect()
        store.isHeld = true
        client.write(post("held/a"))
        for _ in 0..<10 { writer.write(String(repeating: "{\"text\":\"0123456789\"}\n", count: 1000)) }
        #expect(server.engine.hub.accepted == 10_001 && server.engine.hub.head == 0)
        #expect(server.engine.memoryHeld.storage > 10_000 * 20)
        store.isHeld = false
        store.run()
        var turns = 0
        while server.engine.hub.head < 10_001, turns < 1000 {
            let before = server.engine.hub.head
            _ = server.engine.turn(wait: true)
            #expect(server.engine.hub.head - before <= 2 * Engine.Limits.turnEvents)
            turns += 1
        }
        #expect(turns >= 6 && turns < 100, "\(turns)")
        #expect(server.engine.memoryHeld.storage < 1 << 20)
    }

    @Test("without a database there is nothing to wait for: refused at the start, or said and done without")
    func withoutDatabase() throws {
        var held = Configuration.ChannelRules()
        held.visible = .synced
        #expect(throws: StartError.self) {
            try SimulatedServer { $0.channelRules = [("**", held)] }
        }
        // A database that was asked for, and could not be opened.
        let server = try SimulatedServer {
            $0.channelRules = [("**", held)]
            $0.dataDirectory = "somewhere"
        }
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        #expect(try server.publish("{}") == 1)
        #expect(reader.takeSeqs() == [1])
    }

    @Test("the configuration file says which channels are held back")
    func file() {
        let (configuration, faults) = ConfigurationFile.parse(
            Array("{\"channels\":{\"a\":{\"visible\":\"synced\"},\"b\":{\"visible\":\"accepted\"},\"c\":{}}}".utf8),
            named: "f")
        #expect(faults.isEmpty)
        #expect(configuration.channelRules.map(\.rules.visible) == [.synced, .accepted, .accepted])
        let (_, wrong) = ConfigurationFile.parse(
            Array("{\"channels\":{\"a\":{\"visible\":\"stored\"}}}".utf8), named: "f")
        #expect(wrong.count == 1)
    }
}
