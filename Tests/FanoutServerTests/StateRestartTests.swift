// The state over restarts: what the database gives back, and what other rules make of it.

import EventStore
import Testing
import Wire

@testable import FanoutServer

@Suite("State over restarts")
struct StateRestartTests {
    /// Rules for the channel `kept`, unless `pointer` is nil; without a stamp, so that lines are the events.
    private func server(
        _ store: SimulatedStore, _ pointer: String?, held: Bool = false, keeps: Int? = nil, seconds: Int? = nil,
        _ change: (inout Configuration.StateRules) -> Void = { _ in }
    ) throws -> SimulatedServer {
        var state = Configuration.StateRules()
        if let pointer {
            state.upsert = ["set": .init(pointer: pointer)]
            state.remove = ["end": .init(pointer: pointer)]
        }
        change(&state)
        var rules = Configuration.ChannelRules()
        rules.stamp = []
        rules.state = pointer == nil && state == Configuration.StateRules() ? nil : state
        rules.visible = held ? .synced : .accepted
        if keeps != nil || seconds != nil {
            var retention = Configuration.Retention()
            retention.count = keeps
            retention.ageSeconds = seconds
            rules.retention = retention
        }
        return try SimulatedServer(store: store) { $0.channelRules = [("kept", rules)] }
    }

    private func kept(_ server: SimulatedServer) throws -> UInt32 {
        let name = try #require(ChannelName("kept"))
        return try #require(server.engine.hub.channel(name))
    }

    /// The rows in memory, as `seq line`.
    private func rows(_ server: SimulatedServer) throws -> [String] {
        let (hub, number) = (server.engine.hub, server.engine.hub.channels[try kept(server)].state)
        guard number != States.none else { return [] }
        var rows: [String] = []
        var place = hub.states[number].first
        while place != StateRow.none {
            let row = hub.states[number][place]
            if row.isLive { rows.append("\(row.seq) \(String(decoding: row.bytes, as: UTF8.self))") }
            place = row.next
        }
        return rows
    }

    private func set(_ one: String, _ two: String = "-") -> String {
        #"{"type":"set","a":"\#(one)","b":"\#(two)"}"#
    }

    /// What a start behind a kill skips: numbers that were reserved.
    private func tails(_ rows: [String]) -> [Substring] { rows.map { $0.drop { $0 != " " } } }

    @Test("the state is the same after the process was killed, and after retention has taken its events")
    func restart() throws {
        let store = SimulatedStore()
        var server = try server(store, "/a", keeps: 1)
        for event in [set("x", "1"), set("y"), set("x", "2"), #"{"type":"end","a":"y"}"#, set("z"), "{}"] {
            try server.publish(event, on: "kept")
        }
        server.pass(milliseconds: 5_000)
        let before = try rows(server)
        #expect(before == ["3 " + set("x", "2"), "5 " + set("z")])
        for _ in 0..<3 {
            server = try self.server(store, "/a", keeps: 1)
            #expect(try rows(server) == before)
            let number = server.engine.hub.channels[try kept(server)].state
            #expect(server.engine.hub.states.bytes > 0 && server.engine.hub.states[number].count == 2)
            server.settle()
        }
        #expect(try store.everything().map(\.line) == ["{}"])
        #expect(try store.state() == before)
    }

    @Test("by other rules rows get other keys, the newer of two with one key stays, and others go, on the disk, too")
    func otherRules() throws {
        let store = SimulatedStore()
        var server = try server(store, "/a") { $0.replace = ["status"] }
        // By `b` the first two change their keys for each other's, the third meets the fourth, and the fifth stays.
        let events = [set("1", "2"), set("2", "1"), set("3", "same"), set("4", "same"), set("5", "5")]
        for event in events + [#"{"type":"status"}"#] { try server.publish(event, on: "kept") }
        server.settle()
        #expect(try rows(server).count == 6)
        let after = ["1 " + events[0], "2 " + events[1], "4 " + events[3], "5 " + events[4]]
        server = try self.server(store, "/b")
        #expect(try rows(server) == after)
        #expect(server.log.contains { $0.contains("no rule any more") })
        try server.publish(set("new", "2"), on: "kept")
        server.settle()
        #expect(tails(try rows(server)) == tails(Array(after[1...]) + ["7 " + set("new", "2")]))
        let last = try rows(server)
        server = try self.server(store, "/b")
        #expect(try rows(server) == last)
        #expect(!server.log.contains { $0.contains("no rule any more") })
        // A kind without a rule, and then no rules at all.
        server = try self.server(store, nil) { $0.snapshot = ["whole"] }
        #expect(try rows(server).isEmpty)
        server.settle()
        #expect(try store.state().isEmpty)
    }

    @Test("what a producer gave as the state is there again, and gives way to rules")
    func given() throws {
        let store = SimulatedStore()
        var server = try server(store, nil)
        try server.publish("{}", on: "kept")
        for line in [#"{"r":2}"#, #"{"r":1}"#] {
            server.engine.hub.outgoing.add(line: Array(line.utf8).span, kind: nil)
        }
        server.engine.hub.outgoing.setSnapshot(channel: "kept", asOf: 1, level: .committed)
        server.settle()
        server = try self.server(store, nil)
        #expect(try rows(server) == ["1 {\"r\":2}", "1 {\"r\":1}"])
        #expect(server.engine.hub.producedPlace(of: try kept(server)) == 1)
        server.settle()
        server = try self.server(store, "/a")
        #expect(try rows(server).isEmpty && server.engine.hub.producedPlace(of: try kept(server)) == nil)
        server.settle()
        #expect(try store.state().isEmpty)
    }

    @Test("what is held back changes the state when it is shown, and the database when it is stored")
    func held() throws {
        let store = SimulatedStore()
        var server = try server(store, "/a", held: true)
        store.isHeld = true
        try server.publish(set("x"), on: "kept")
        server.settle()
        #expect(try rows(server).isEmpty)
        store.isHeld = false
        server.settle()
        #expect(try rows(server) == ["1 " + set("x")])
        server = try self.server(store, "/a", held: true)
        #expect(try rows(server) == ["1 " + set("x")])
    }

    @Test(
        "an ended channel keeps its state until it is gone, and who begins anew begins without",
        arguments: [true, false])
    func ended(held: Bool) throws {
        let store = SimulatedStore()
        var server = try server(store, "/a", held: held)
        try server.publish(set("x"), on: "kept")
        _ = server.engine.hub.end(try kept(server))
        server.settle()
        server = try self.server(store, "/a", held: held)
        #expect(try rows(server) == ["1 " + set("x")])
        #expect(server.engine.hub.reopen(try kept(server)))
        try server.publish(set("y"), on: "kept")
        server.settle()
        #expect(try rows(server).count == 1 && rows(server).first?.hasSuffix(set("y")) == true)
        let present = try rows(server)
        server = try self.server(store, "/a", held: held, seconds: 1)
        #expect(try rows(server) == present)
        _ = server.engine.hub.end(try kept(server))
        server.pass(milliseconds: 5_000)
        #expect(try rows(server).isEmpty)
        #expect(try store.state().isEmpty)
    }

    @Test("rules that change while the server runs change the rows on the disk as those in memory")
    func reload() throws {
        let store = SimulatedStore()
        var server = try server(store, "/a")
        for event in [set("1", "2"), set("2", "1"), set("3", "1")] { try server.publish(event, on: "kept") }
        server.settle()
        let other = try self.server(SimulatedStore(), "/b")
        server.engine.hub.channels[try kept(server)].rules = other.engine.hub.channels[try kept(other)].rules
        server.engine.hub.rederiveState(try kept(server))
        let present = ["1 " + set("1", "2"), "3 " + set("3", "1")]
        #expect(try rows(server) == present)
        server.settle()
        server = try self.server(store, "/b")
        #expect(try rows(server) == present)
        #expect(!server.log.contains { $0.contains("no rule any more") })
    }
}
