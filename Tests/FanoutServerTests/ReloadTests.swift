// A configuration that is read again while the server runs: all of it holds, or nothing; connections live through it.
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Reload")
struct ReloadTests {
    /// A server whose configuration the test may change.
    private final class Source {
        var configuration = Configuration()
        var faults: [String] = []

        init(_ configure: (inout Configuration) -> Void = { _ in }) {
            configuration.logLevel = .debug
            configure(&configuration)
        }

        func server(store: SimulatedStore? = nil) throws -> SimulatedServer {
            let server = try SimulatedServer(store: store) { $0 = self.configuration }
            server.engine.source = ConfigurationSource(name: "f") { () throws(ConfigurationSource.Refusal) in
                guard self.faults.isEmpty else { throw ConfigurationSource.Refusal(faults: self.faults) }
                return self.configuration
            }
            return server
        }
    }

    private func rules(_ change: (inout Configuration.ChannelRules) -> Void) -> Configuration.ChannelRules {
        var rules = Configuration.ChannelRules()
        change(&rules)
        return rules
    }

    @Test("rules hold for the next event of a channel that exists; its readers live through it")
    func rulesChange() throws {
        let source = Source()
        let server = try source.server()
        let reader = try SimulatedReader(server, .jsonlHTTP, query: "channel=a")
        try server.publish("{\"type\":\"x\"}", on: "a")
        source.configuration.channelRules = [
            (
                "a",
                rules {
                    $0.stamp = []; $0.terminal = ["$no"]
                }
            )
        ]
        server.engine.end(signal: 1)
        #expect(
            server.log.last == "fanout: error: not reloaded: the rules of 'a': the kind '$no' is reserved: "
                + "kinds that begin with $ are the server's")
        try server.publish("{\"type\":\"x\"}", on: "a")
        source.configuration.channelRules = [
            (
                "a",
                rules {
                    $0.stamp = []; $0.discriminator = "kind"
                }
            )
        ]
        server.pass(milliseconds: 1000)
        server.engine.end(signal: 1)
        #expect(server.log.last == "fanout: info: reloaded f")
        try server.publish("{\"kind\":\"x\"}", on: "a")
        let texts = reader.take().filter { !$0.isControl || $0.text.contains("kind") }.map(\.text)
        #expect(
            texts == [
                #"{"seq":1,"channel":"a","type":"x"}"#, #"{"seq":2,"channel":"a","type":"x"}"#, #"{"kind":"x"}"#,
            ])
        #expect(server.metric("fanout_reloads_total", "result=\"ok\"") == 1)
        #expect(server.metric("fanout_reloads_total", "result=\"refused\"") == 1)
        #expect(throws: PublishFault.self) { try server.publish("{\"kind\":\"$x\"}", on: "a") }
        #expect(server.engine.ending == nil)
    }

    @Test("whoever comes after a reload is given the state by the new rules, not what was made of the old ones")
    func stateOfNewRules() throws {
        let source = Source()
        func keep(_ pointer: String?) {
            var state = Configuration.StateRules()
            if let pointer { state.upsert = ["set": Configuration.StateKey(pointer: pointer)] }
            source.configuration.channelRules = [("a", rules { $0.state = pointer == nil ? nil : state })]
        }
        keep("/x")
        let server = try source.server()
        for key in 1...3 { try server.publish("{\"type\":\"set\",\"x\":\(key),\"y\":\(key / 2)}", on: "a") }
        func seqs() throws -> [Int] {
            let reader = try SimulatedReader(server, .jsonlHTTP, Comeback("snapshot", channels: ["a"]))
            return reader.take().seqs
        }
        #expect(try seqs() == [1, 2, 3])
        for (pointer, expected) in [("/y", [1, 3]), (nil, []), ("/x", [])] as [(String?, [Int])] {
            keep(pointer)
            server.pass(milliseconds: 1000)
            server.engine.end(signal: 1)
            #expect(server.log.last == "fanout: info: reloaded f")
            #expect(try seqs() == expected, "\(pointer ?? "no rules")")
            let events = try server.ask("GET", "/v1/snapshot?channel=a").json["events"] as? [Any]
            #expect(events?.count == expected.count)
        }
    }

    @Test("an event that is held back while its channel's rules are taken away is no row of what a producer then gives")
    func heldWithoutRules() throws {
        let source = Source()
        var state = Configuration.StateRules()
        state.upsert = ["set": Configuration.StateKey(pointer: "/x")]
        source.configuration.channelRules = [
            (
                "a",
                rules {
                    $0.state = state; $0.visible = .synced
                }
            )
        ]
        let store = SimulatedStore()
        let server = try source.server(store: store)
        store.isHeld = true
        try server.publish("{\"type\":\"set\",\"x\":1}", on: "a")
        server.settle()
        #expect(server.engine.hub.head == 0 && server.engine.hub.states.pendingBytesHeld > 0)
        source.configuration.channelRules = [("a", rules { $0.visible = .synced })]
        server.engine.end(signal: 1)
        #expect(server.log.last == "fanout: info: reloaded f")
        #expect(try server.ask("PUT", "/v1/snapshot?channel=a&ack=accepted", body: "{\"n\":1}").status == 200)
        store.isHeld = false
        server.settle()
        #expect(server.engine.hub.states.pendingBytesHeld == 0)
        let reader = try SimulatedReader(server, .jsonlHTTP, Comeback("snapshot", channels: ["a"]))
        let records = reader.take()
        #expect(records.map(\.kind) == ["$hello", "$snapshot", nil, "$live", "set"])
        #expect(records.map(\.seq) == [1, 0, 0, 0, 1])
    }

    @Test("a subscriber keeps the terms it came with, a later one of the same words gets new ones")
    func terms() throws {
        let source = Source { $0.channelRules = [("a", self.rules { $0.onLag = .gap })] }
        let server = try source.server()
        let early = try SimulatedReader(server, .jsonlHTTP, query: "channel=a")
        let plain = try SimulatedReader(server, .eventsSocket)
        source.configuration.channelRules = [
            (
                "a",
                rules {
                    $0.discriminator = "kind"; $0.control = false
                }
            )
        ]
        source.configuration.limits.events = 7
        server.engine.reload()
        let late = try SimulatedReader(server, .jsonlHTTP, query: "channel=a&control=on")
        let latePlain = try SimulatedReader(server, .eventsSocket)
        _ = (plain, latePlain)
        #expect(early.take().first?.object["type"] as? String == "$hello")
        #expect(late.take().first?.object["kind"] as? String == "$hello")
        let hub = server.engine.hub
        let groups = (0..<UInt32(hub.delivery.connections.slotsUsed)).compactMap { slot -> SubscriberGroup? in
            let connection = hub.delivery.connections[slot]
            return connection.phase == .subscriber ? hub.subscriptions[connection.group] : nil
        }
        #expect(groups.count == 4)
        #expect(Set(groups.map(\.limits.events)) == [4096, 7])
        #expect(groups.filter { $0.onLag == .gap }.count == 1)
        #expect(groups.filter { String(decoding: $0.discriminator, as: UTF8.self) == "kind" }.count == 1)
    }

    @Test(
        "what only a restart can change refuses the whole",
        arguments: [
            "listen", "jsonl", "runtime_dir", "io", "heartbeat_s", "max_connections", "max_memory", "history", "data",
            "data_optional", "new_log", "--channel", "--insecure",
        ])
    func fixed(key: String) throws {
        let source = Source()
        let server = try source.server()
        source.configuration.routes = [("/feed", "news")]
        switch key {
        case "listen": source.configuration.listen = "127.0.0.1:1"
        case "jsonl": source.configuration.jsonl = "127.0.0.1:1"
        case "runtime_dir": source.configuration.runtimeDirectory = "/r"
        case "io": source.configuration.io = .epoll
        case "heartbeat_s": source.configuration.heartbeatSeconds = 1
        case "max_connections": source.configuration.connectionsMax = 100
        case "max_memory": source.configuration.memoryMax = 1 << 30
        case "history": source.configuration.historyBytes = 0
        case "data": source.configuration.dataDirectory = "/d"
        case "data_optional": source.configuration.dataIsOptional = true
        case "new_log": source.configuration.beginsNewLog = true
        case "--channel": source.configuration.channels = ["x"]
        default: source.configuration.insecure = true
        }
        server.engine.reload()
        let shown = key.hasPrefix("-") ? key : "'\(key)'"
        #expect(
            server.log.last
                == "fanout: error: not reloaded: only a restart can change \(shown): restart the server, or put back "
                + "what was there")
        let client = try server.connect()
        client.write(RequestText.post("{}", to: "/feed"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [404])
    }

    @Test("routes, origins, hosts, limits of peers and the log's level are new at once")
    func everythingElse() throws {
        let source = Source { $0.routes = [("/old", "old")] }
        let server = try source.server()
        source.configuration.routes = [("/new", "new")]
        source.configuration.allowedHosts = ["app.example"]
        source.configuration.allowedOrigins = ["https://app.example"]
        source.configuration.connectionsPerUserMax = 1
        source.configuration.logLevel = .error
        source.configuration.onLag = .gap
        server.engine.reload()
        let client = try server.connect()
        client.write(RequestText.post("{}", to: "/new"))
        client.write(RequestText.post("{}", to: "/old"))
        client.write(RequestText.get("/healthz", host: "app.example"))
        client.write(RequestText.post("{}", to: "/new", ["Origin: https://app.example"]))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 404, 200, 200])
        #expect(server.engine.hub.defaults.onLag == .gap)
        #expect(server.engine.peers.most(.user(1)) == 1)
        #expect(server.log.allSatisfy { !$0.contains("reloaded") }, "info is not written any more")
    }

    @Test("every fault of the file is counted, and the old configuration stays")
    func faulty() throws {
        let source = Source()
        let server = try source.server()
        source.configuration.routes = [("/new", "new")]
        source.faults = ["f:1:2: one", "f:1:9: two"]
        server.engine.reload()
        #expect(
            server.log.last
                == "fanout: error: not reloaded: f:1:2: one (and 1 more: fanout check --config f names them)")
        #expect(server.engine.routes.isEmpty)
        source.faults = []
        for change: (inout Configuration) -> Void in [
            { $0.limits.events = 0 }, { $0.routes = [("/v1/x", "a")] }, { $0.ingest = [("a", "{id}")] },
            { $0.channelRules = [("a", self.rules { $0.visible = .synced })] }, { $0.connectionsPerUserMax = 0 },
        ] {
            let before = source.configuration
            change(&source.configuration)
            let refused = server.engine.metrics.reloads.refused
            server.engine.reload()
            #expect(server.engine.metrics.reloads.refused == refused + 1)
            #expect(server.engine.routes.isEmpty && server.engine.hub.defaults.limits.events == 4096)
            source.configuration = before
        }
        server.engine.reload()
        #expect(!server.engine.routes.isEmpty)
    }

    @Test("without a file SIGHUP changes nothing and ends nothing, and a server that stops reads nothing")
    func noFile() throws {
        let server = try SimulatedServer()
        server.engine.end(signal: 1)
        #expect(server.log.last?.contains("SIGHUP changes nothing") == true)
        #expect(server.engine.ending == nil && server.metric("fanout_reloads_total") == 0)
        let source = Source()
        let other = try source.server()
        other.engine.end(signal: 15)
        other.engine.end(signal: 1)
        #expect(other.engine.ending?.isForced == false && other.engine.metrics.reloads.taken == 0)
    }

    @Test("the database is told of retention that changed, and of that which went")
    func retention() throws {
        let store = SimulatedStore()
        var kept = Configuration.Retention()
        kept.count = 1
        let source = Source { $0.channelRules = [("a", self.rules { $0.retention = kept })] }
        let server = try source.server(store: store)
        for _ in 0..<3 { try server.publish("{}", on: "a") }
        try server.publish("{}", on: "b")
        server.settle()
        source.configuration.channelRules = [("b", rules { $0.retention = kept })]
        server.engine.reload()
        #expect(server.log.last == "fanout: info: reloaded f")
        server.settle()
        #expect(server.engine.hub.retentionUntold == [])
        let names = ["a", "b"].compactMap { ChannelName($0) }.compactMap { server.engine.hub.channels.index(of: $0) }
        #expect(names.map { server.engine.hub.channels[$0].rules.retention?.events } == [nil, 1])
    }

    @Test("what is held back keeps the stamp that it was recorded with")
    func heldBack() throws {
        let store = SimulatedStore()
        let source = Source { $0.channelRules = [("held", self.rules { $0.visible = .synced })] }
        let server = try source.server(store: store)
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        store.isHeld = true
        try server.publish("{\"time\":1}", on: "held")
        source.configuration.channelRules = [("held", rules { $0.stamp = ["time"] })]
        server.engine.reload()
        try server.publish("{}", on: "held")
        store.isHeld = false
        let texts = reader.take().map(\.text)
        #expect(texts.first == #"{"seq":1,"channel":"held","time":1}"#)
        #expect(texts.count == 2 && texts[1].hasPrefix("{\"time\":\"") && !texts[1].contains("seq"))
    }

    @Test("what is kept of a channel is run through state rules that changed, and is left alone where they did not")
    func stateRules() throws {
        func keyed(_ pointer: String?) -> Configuration.ChannelRules {
            rules {
                $0.onLag = .gap
                guard let pointer else { return }
                $0.state = Configuration.StateRules()
                $0.state?.upsert = ["s": Configuration.StateKey(pointer: pointer)]
            }
        }
        let source = Source { $0.channelRules = [("a", keyed("/id"))] }
        let server = try source.server()
        for id in 1...3 { try server.publish("{\"type\":\"s\",\"id\":\(id),\"k\":\"\(id / 2)\"}", on: "a") }
        let name = try #require(ChannelName("a"))
        let channel = try #require(server.engine.hub.channel(name))
        let hub = server.engine.hub
        #expect(hub.stateRowCount(of: channel) == 3)
        source.configuration.limits.events = 9
        server.engine.reload()
        #expect(hub.stateRowCount(of: channel) == 3)
        source.configuration.channelRules = [("*", keyed("/k"))]
        server.engine.reload()
        #expect(hub.stateRowCount(of: channel) == 2)
        try server.publish("{\"type\":\"s\",\"k\":\"1\"}", on: "a")
        #expect(hub.stateRowCount(of: channel) == 2)
        source.configuration.channelRules = [("a", keyed(nil))]
        server.engine.reload()
        #expect(hub.stateRowCount(of: channel) == 0)
    }
}
