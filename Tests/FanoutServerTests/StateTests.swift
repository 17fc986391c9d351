// Channels that keep state: what publishing does to it, what it may take, and what it is after rules change.
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Channels that keep state")
struct StateTests {
    /// `room/*`: people by name, the weather, and everything at once. `dash` is made by its producer.
    static func configure(_ configuration: inout Configuration, isStored: Bool = false) {
        var room = Configuration.ChannelRules()
        var state = Configuration.StateRules()
        state.upsert = ["joined": .init(pointer: "/who"), "moved": .init(pointer: "/who")]
        state.remove = ["left": .init(pointer: "/who")]
        state.replace = ["weather"]
        state.snapshot = ["all"]
        room.state = state
        var held = room
        held.visible = .synced
        var whole = Configuration.ChannelRules()
        whole.state = Configuration.StateRules()
        whole.state?.snapshot = ["snapshot"]
        configuration.channelRules = [("room/*", room), ("whole", whole)]
        if isStored { configuration.channelRules.append(("held/*", held)) }
    }

    private func server(
        _ store: SimulatedStore? = nil, _ change: (inout Configuration) -> Void = { _ in }
    ) throws -> SimulatedServer {
        try SimulatedServer(store: store) {
            Self.configure(&$0, isStored: store != nil)
            change(&$0)
        }
    }

    static func event(_ kind: String, _ who: String, _ extra: String = "") -> String {
        #"{"type":"\#(kind)","who":"\#(who)"\#(extra)}"#
    }

    @Test("an event is the state of its key until a newer one is, or removes it; readers get every one of them")
    func fold() throws {
        let server = try server()
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        try server.publish(Self.event("joined", "ann"), on: "room/a")
        try server.publish(Self.event("joined", "bob"), on: "room/a")
        try server.publish(Self.event("moved", "ann"), on: "room/a")
        try server.publish(Self.event("shouted", "ann"), on: "room/a")
        try server.publish(Self.event("joined", "ann"), on: "room/b")
        try server.publish(#"{"type":"weather","is":"fine"}"#, on: "room/a")
        try server.publish(Self.event("left", "bob"), on: "room/a")
        #expect(
            server.state("room/a") == [
                #"{"seq":3,"channel":"room/a","type":"moved","who":"ann"}"#,
                #"{"seq":6,"channel":"room/a","type":"weather","is":"fine"}"#,
            ])
        #expect(server.state("room/b") == [#"{"seq":5,"channel":"room/b","type":"joined","who":"ann"}"#])
        #expect(reader.takeSeqs() == [1, 2, 3, 4, 5, 6, 7])
        try server.publish(#"{"type":"all"}"#, on: "room/a")
        #expect(server.state("room/a") == [#"{"seq":8,"channel":"room/a","type":"all"}"#])
        #expect(server.metric("fanout_state_rows") == 2)
        #expect(server.metric("fanout_memory_bytes", "of=\"state\"") == server.metric("fanout_state_bytes"))
    }

    @Test("state is kept where nobody reads and nothing else is held", arguments: [true, false])
    func nobodyReads(isRead: Bool) throws {
        let server = try server { $0.historyBytes = 0 }
        let reader = isRead ? try SimulatedReader(server, .sse) : nil
        try server.publish(Self.event("joined", "ann"), on: "room/a")
        #expect(server.state("room/a").count == 1)
        #expect(reader == nil || reader?.take().count == 2)
    }

    @Test("a state that a producer makes as a whole has its own place")
    func produced() throws {
        let server = try server()
        let index = try server.channel("whole")
        try server.publish(#"{"type":"delta"}"#, on: "whole")
        #expect(server.engine.hub.producedPlace(of: index) == nil && server.engine.hub.keepsState(index))
        try server.publish(#"{"type":"snapshot","n":1}"#, on: "whole")
        try server.publish(#"{"type":"delta"}"#, on: "whole")
        #expect(server.engine.hub.producedPlace(of: index) == 2)
        #expect(server.state("whole") == [#"{"seq":2,"channel":"whole","type":"snapshot","n":1}"#])
        try server.publish(Self.event("joined", "ann"), on: "room/a")
        let room = try server.channel("room/a")
        #expect(server.engine.hub.producedPlace(of: room) == nil)
    }

    @Test("an event without its key is refused with its batch, and nothing changes")
    func noKey() throws {
        let server = try server()
        let client = try server.connect()
        let batch = Self.event("joined", "ann") + "\n" + #"{"type":"joined","who":{}}"# + "\n"
        client.write(RequestText.post(batch, to: "/v1/events?channel=room/a", type: "application/x-ndjson"))
        client.write(RequestText.post(#"{"type":"left"}"#, to: "/v1/events?channel=room/a"))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [422, 422] && answers.map(\.errorCode) == ["state_key", "state_key"])
        #expect(answers[0].body.contains("(line 2)") && answers[0].body.contains("is an object"))
        #expect(server.state("room/a").isEmpty && server.engine.hub.head == 0)
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"$ack\":true}\n")
        writer.write(
            #"{"$publish":{"channel":"room/a","event":{"type":"moved"}}}"# + "\n"
                + #"{"$publish":{"channel":"room/a","event":{"type":"moved","who":1}}}"# + "\n")
        let lines = writer.takeText().split(separator: "\n")
        #expect(lines.count == 2 && lines[0].contains("state_key") && lines[1].contains("\"seq\":1"))
        #expect(server.state("room/a").count == 1)
    }

    @Test("what is held back changes the state when it is shown, not before")
    func heldBack() throws {
        let store = SimulatedStore()
        let server = try server(store)
        store.isHeld = true
        try server.publish(Self.event("joined", "ann"), on: "held/a")
        try server.publish(Self.event("joined", "bob"), on: "held/a")
        try server.publish(Self.event("left", "ann"), on: "held/a")
        try server.publish(Self.event("joined", "ann"), on: "room/a")
        server.settle()
        #expect(server.state("held/a").isEmpty && server.state("room/a").isEmpty)
        #expect(server.engine.hub.states.pendingBytes > 0)
        store.isHeld = false
        server.settle()
        #expect(server.state("held/a") == [#"{"seq":2,"channel":"held/a","type":"joined","who":"bob"}"#])
        #expect(server.state("room/a").count == 1)
        #expect(server.engine.hub.states.pendingBytes == 0 && server.engine.hub.states.pendingBytesHeld == 0)
    }

    @Test("a channel whose events are held back and that is begun anew loses its state when that is shown")
    func heldBackAnew() throws {
        let store = SimulatedStore()
        let server = try server(store)
        try server.publish(Self.event("joined", "ann"), on: "held/a")
        server.settle()
        #expect(server.state("held/a").count == 1)
        store.isHeld = true
        try server.publish(Self.event("joined", "bob"), on: "held/a")
        let hub = server.engine.hub
        let channel = try #require(ChannelName("held/a").flatMap { hub.channels.index(of: $0) })
        #expect(!hub.end(channel), "its readers have yet to be shown bob")
        #expect(hub.reopen(channel))
        try server.publish(Self.event("joined", "cem"), on: "held/a")
        server.settle()
        #expect(server.state("held/a") == [#"{"seq":1,"channel":"held/a","type":"joined","who":"ann"}"#])
        store.isHeld = false
        server.settle()
        #expect(server.state("held/a") == [#"{"seq":3,"channel":"held/a","type":"joined","who":"cem"}"#])
        #expect(hub.states.pendingBytes == 0 && hub.states.pendingBytesHeld == 0)
        #expect(hub.states[hub.channels[channel].state].audit() == nil)
    }

    // MARK: Limits

    /// A server whose state may be 4 MiB.
    private func small(_ store: SimulatedStore? = nil) throws -> SimulatedServer {
        try server(store) { $0.memoryMax = 16 << 20 }
    }

    private static func padding(_ count: Int) -> String { ",\"x\":\"\(String(repeating: "y", count: count))\"" }

    /// Fills the state of a channel until nothing more of this size fits; says how many keys there are.
    private func fill(_ server: SimulatedServer, _ channel: String, bytes: Int) throws -> Int {
        for key in 0..<100_000 {
            do {
                try server.publish(Self.event("joined", "\(key)", Self.padding(bytes)), on: channel)
            } catch let fault as PublishFault {
                #expect(fault.status == 507 && fault.code == "state_full")
                #expect(fault.message.contains("--max-memory"))
                return key
            }
        }
        throw PublishFault.noSuchChannel
    }

    @Test("a state that is full refuses what would make it larger, before it has a number, and nothing else")
    func full() throws {
        let server = try small()
        let count = try fill(server, "room/a", bytes: 4000)
        #expect((990...1010).contains(count), "\(count)")
        let head = server.engine.hub.head
        let held = server.engine.memoryHeld.state
        #expect(held <= 4 << 20 && held > 4 << 20 - 8192)
        // Other channels are refused, too, one that does not exist yet among them, and it is not made.
        #expect(throws: PublishFault.self) {
            try server.publish(Self.event("joined", "x", Self.padding(8000)), on: "room/b")
        }
        let client = try server.connect()
        let big = Self.event("joined", "x", Self.padding(8000))
        client.write(RequestText.post(big, to: "/v1/events?channel=room/c"))
        client.write(RequestText.post("{}\n" + big, to: "/v1/events?channel=room/c", type: "application/x-ndjson"))
        #expect(Answer.all(client.takeAll()).map(\.errorCode) == ["state_full", "state_full"])
        let none = try #require(ChannelName("room/c"))
        #expect(server.engine.hub.channels.index(of: none) == nil)
        #expect(server.engine.hub.head == head)
        // What does not grow passes: the same key again, plain kinds, removals, other channels without state.
        try server.publish(Self.event("moved", "7", Self.padding(3999)), on: "room/a")
        try server.publish(Self.event("shouted", "7", Self.padding(9000)), on: "room/a")
        try server.publish("{}", on: "plain")
        #expect(throws: PublishFault.self) {
            try server.publish(Self.event("moved", "7", Self.padding(9000)), on: "room/a")
        }
        try server.publish(Self.event("left", "8"), on: "room/a")
        try server.publish(Self.event("left", "9"), on: "room/a")
        // Now there is room for one that is larger than what went was by itself.
        try server.publish(Self.event("moved", "7", Self.padding(7000)), on: "room/a")
        #expect(server.state("room/a").count == count - 2)
        #expect(server.engine.memoryHeld.state <= 4 << 20)
        // And everything can be replaced.
        try server.publish(#"{"type":"all"}"#, on: "room/a")
        #expect(server.state("room/a").count == 1 && server.engine.memoryHeld.state < 64 << 10)
    }

    @Test("a batch is looked at as it will be: what it removes makes room for what it adds, in its order")
    func batches() throws {
        let server = try small()
        let count = try fill(server, "room/a", bytes: 4000)
        func post(_ events: [String]) throws -> Int {
            let client = try server.connect()
            client.write(
                RequestText.post(
                    events.joined(separator: "\n"), to: "/v1/events?channel=room/a", type: "application/x-ndjson"))
            return try #require(Answer.all(client.takeAll()).first).status
        }
        let new = Self.event("joined", "new", Self.padding(4000))
        let newer = Self.event("joined", "newer", Self.padding(4000))
        #expect(try post([new, Self.event("left", "1")]) == 507, "for a moment it would be too large")
        #expect(try post([Self.event("left", "1"), new]) == 200)
        #expect(try post([Self.event("left", "2"), new, new, new]) == 200, "one key, whatever is said of it")
        #expect(try post([newer]) == 200)
        #expect(try post([newer, newer]) == 200)
        #expect(try post([Self.event("joined", "newest", Self.padding(4000))]) == 507)
        let half = (0..<100).map { Self.event("joined", "h\($0)", Self.padding(9000)) }
        #expect(try post([#"{"type":"all"}"#] + half) == 200)
        #expect(server.state("room/a").count == 101 && count > 101)
        #expect(server.engine.hub.states.bytes <= 4 << 20)
    }

    @Test("lines are refused one by one when the state is full, and those that fit are published")
    func lines() throws {
        let server = try small()
        _ = try fill(server, "room/a", bytes: 4000)
        try server.publish(Self.event("left", "1"), on: "room/a")
        let writer = try server.connect(SimulatedServer.ingest)
        let refused = server.metric("fanout_events_refused_total") ?? 0
        let head = server.engine.hub.head
        let events = [
            Self.event("joined", "a", Self.padding(4000)), Self.event("joined", "b", Self.padding(4000)),
            Self.event("left", "a"), Self.event("joined", "b", Self.padding(4000)), Self.event("shouted", "b"),
        ]
        writer.write(events.map { #"{"$publish":{"channel":"room/a","event":\#($0)}}"# + "\n" }.joined())
        #expect(server.engine.hub.head == head + 4)
        #expect((server.metric("fanout_events_refused_total") ?? 0) == refused + 1)
    }

    @Test("lines of a socket of its own: those before a refused one are published first, in their order")
    func linesOfOneChannel() throws {
        let server = try SimulatedServer {
            Self.configure(&$0)
            $0.memoryMax = 16 << 20
            $0.channelRules.append(("fixed", $0.channelRules[0].rules))
        }
        let count = try fill(server, "fixed", bytes: 4000)
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        let writer = try server.connect(SimulatedServer.ingestFixed)
        let events = [
            Self.event("shouted", "x"), Self.event("left", "3"), Self.event("joined", "a", Self.padding(4000)),
            Self.event("joined", "b", Self.padding(4000)), Self.event("shouted", "y"),
        ]
        writer.write(events.map { $0 + "\n" }.joined())
        #expect(reader.take().compactMap { $0.object["who"] as? String } == ["x", "3", "a", "y"])
        #expect(server.state("fixed").count == count)
        #expect(server.metric("fanout_events_refused_total") == 1)
    }

    @Test("what is held back counts as if it were there; the same key again counts once")
    func heldBackCounts() throws {
        let store = SimulatedStore()
        let server = try small(store)
        // The disk of the simulation is a small one.
        server.engine.hub.states.prepare(bytesMax: 1 << 20, secrets: (3, 5))
        store.isHeld = true
        let count = try fill(server, "held/a", bytes: 4000)
        #expect((230...260).contains(count), "\(count)")
        for _ in 0..<3 { try server.publish(Self.event("moved", "5", Self.padding(3999)), on: "held/a") }
        #expect(server.engine.hub.head == 0)
        store.isHeld = false
        for _ in 0..<100 where !server.engine.hub.held.isEmpty { server.settle() }
        #expect(server.state("held/a").count == count)
        #expect(server.engine.hub.states.pendingBytes == 0)
        // Rows come in chunks, of which the last one is not full.
        #expect(server.engine.memoryHeld.state <= 1 << 20 + 65_536)
        store.isHeld = true
        // Many events of few keys are no more than these keys.
        for seq in 0..<500 { try server.publish(Self.event("moved", "\(seq % 3)", Self.padding(4000)), on: "held/a") }
        store.isHeld = false
        for _ in 0..<100 where !server.engine.hub.held.isEmpty { server.settle() }
        #expect(server.state("held/a").count == count)
    }

    @Test("what was removed gives way to what is there")
    func removedGivesWay() throws {
        let server = try small()
        let count = try fill(server, "room/a", bytes: 2000)
        for key in 0..<count { try server.publish(Self.event("left", "\(key)", Self.padding(2000)), on: "room/a") }
        let index = try server.channel("room/a")
        let number = server.engine.hub.channels[index].state
        #expect(server.engine.hub.states[number].removedCount == StateTable.removedLeast)
        let known = server.engine.hub.states.removalsKnownFrom(number)
        #expect(known > 0)
        #expect(try fill(server, "room/b", bytes: 2000) > count - 20)
        #expect(server.engine.hub.states.removalsKnownFrom(number) > known)
        #expect(server.engine.memoryHeld.state <= 4 << 20)
    }

    @Test("a full state does not keep publishers from publishing, nor readers from reading")
    func fullIsNoPressure() throws {
        let server = try small()
        _ = try fill(server, "room/a", bytes: 200)
        let reader = try SimulatedReader(server, .jsonlHTTP)
        _ = reader.take()
        for _ in 0..<5 {
            server.pass(milliseconds: 1000)
            #expect(!server.engine.memory.isPressed && !server.engine.rest.isResting)
            try server.publish(Self.event("moved", "1"), on: "room/a")
            #expect(reader.takeSeqs().count == 1)
        }
    }

    // MARK: Rules that change, channels that go

    @Test("a line of the database does what its event did, under the rules of now")
    func restored() throws {
        let server = try server()
        let index = try server.channel("room/a")
        let plain = try server.channel("plain")
        for (seq, who) in [(3, "ann"), (5, "bob")] {
            let line = Array(#"{"seq":\#(seq),"channel":"room/a","type":"joined","who":"\#(who)"}"#.utf8)
            line.withUnsafeBufferPointer {
                server.engine.hub.restoreState(of: index, $0, seq: UInt64(seq))
                server.engine.hub.restoreState(of: plain, $0, seq: UInt64(seq))
            }
        }
        #expect(server.state("room/a").count == 2 && server.state("plain").isEmpty)
        server.engine.hub.beginProducedState(of: plain, asOf: 5)
        for number in 0..<3 {
            Array(#"{"seq":5,"channel":"plain","n":\#(number)}"#.utf8).withUnsafeBufferPointer {
                server.engine.hub.addProducedRow($0, to: plain)
            }
        }
        #expect(server.state("plain").count == 3 && server.engine.hub.producedPlace(of: plain) == 5)
        server.engine.hub.forgetState(of: plain)
        #expect(server.state("plain").isEmpty && server.engine.hub.producedPlace(of: plain) == nil)
    }

    @Test("/v1/channels says how much state a channel keeps")
    func channels() throws {
        let server = try server()
        try server.publish(Self.event("joined", "ann"), on: "room/a")
        try server.publish("{}", on: "plain")
        let client = try server.connect()
        client.write(RequestText.get("/v1/channels"))
        let list = try #require(Answer.all(client.takeAll()).first?.json["channels"] as? [[String: Any]])
        #expect(list.first { $0["channel"] as? String == "room/a" }?["state"] as? Int == 1)
        let other = list.first { $0["channel"] as? String == "plain" }
        #expect(other != nil && other?["state"] == nil)
    }
}

extension SimulatedServer {
    /// The index of a channel, which is made if need be.
    func channel(_ text: String) throws -> UInt32 {
        let name = try #require(ChannelName(text))
        return try #require(engine.hub.channel(name))
    }

    /// The lines of a channel's state, in their order.
    func state(_ channel: String) -> [String] {
        guard let name = ChannelName(channel), let index = engine.hub.channels.index(of: name) else { return [] }
        let number = engine.hub.channels[index].state
        guard number != States.none else { return [] }
        var lines: [String] = []
        var place = engine.hub.states[number].first
        while place != StateRow.none {
            let row = engine.hub.states[number][place]
            if row.isLive { lines.append(String(decoding: row.bytes, as: UTF8.self)) }
            place = row.next
        }
        return lines
    }
}
