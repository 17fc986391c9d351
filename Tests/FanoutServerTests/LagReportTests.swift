// GET /v1/lag: every state a subscriber can be in, and what is said of it.
import Foundation
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Lag report")
struct LagReportTests {
    private struct Entry {
        var members: [String: Any]
        var id: Int { members["id"] as? Int ?? -1 }
        var events: Int { members["events"] as? Int ?? -1 }
        var bytes: Int { members["bytes"] as? Int ?? -1 }
        var age: Int { members["ms"] as? Int ?? -1 }
        func text(_ name: String) -> String? { members[name] as? String }
    }

    /// A server whose kernel holds little, so that who does not read is soon behind, and publishers may still ask.
    private func server(_ configure: (inout Configuration) -> Void = { _ in }) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: 600) {
            $0.heartbeatSeconds = 3600
            configure(&$0)
        }
    }

    private func ask(
        _ server: SimulatedServer, _ query: String = "", at address: SocketAddress = SimulatedServer.http
    ) throws -> Answer {
        let client = try server.connect(address)
        client.write(RequestText.get("/v1/lag" + query))
        let answer = try #require(Answer.all(client.takeAll()).first)
        client.close()
        return answer
    }

    private func entries(_ server: SimulatedServer, _ query: String = "") throws -> [Entry] {
        let answer = try ask(server, query)
        #expect(answer.status == 200)
        #expect(answer.fields["content-type"] == "application/json")
        #expect(answer.json["head"] as? String == "\(SimulatedServer.epochText)-\(server.engine.hub.head)")
        #expect(Set(answer.json.keys) == ["head", "subscribers"])
        let list = try #require(answer.json["subscribers"] as? [[String: Any]])
        return list.map { Entry(members: $0) }
    }

    /// Publishes events of about a hundred bytes, each in a turn of its own.
    private func publish(_ server: SimulatedServer, _ count: Int, on channel: String = "events") throws {
        for _ in 0..<count {
            try server.publish("{\"pad\":\"\(String(repeating: "x", count: 60))\"}", on: channel)
            server.settle()
        }
    }

    @Test("nobody subscribes: the list is empty, the head is there")
    func empty() throws {
        let server = try server()
        #expect(try ask(server).body == "{\"head\":\"\(SimulatedServer.epochText)-0\",\"subscribers\":[]}\n")
    }

    @Test("a subscriber that keeps up is live, with zeros and the head as its cursor", arguments: ReaderKind.allCases)
    func live(kind: ReaderKind) throws {
        let server = try server()
        let reader = try SimulatedReader(server, kind)
        try publish(server, 1)
        _ = reader.take()
        server.pass(milliseconds: 5_000)
        let entry = try #require(try entries(server).first)
        let transports: [ReaderKind: String] = [
            .eventsSocket: "jsonl_unix", .jsonlTCP: "jsonl_tcp", .jsonlHTTP: "jsonl_http", .sse: "sse",
            .webSocket: "websocket",
        ]
        #expect(
            Set(entry.members.keys) == [
                "id", "transport", "peer", "channel", "events", "bytes", "ms", "cursor", "state",
            ])
        #expect(entry.text("transport") == transports[kind])
        #expect(entry.text("peer") == "peer \(reader.client.peer.index)")
        #expect(entry.text("channel") == "**")
        #expect((entry.events, entry.bytes, entry.age) == (0, 0, 0))
        #expect(entry.text("cursor") == "\(SimulatedServer.epochText)-1")
        #expect(entry.text("state") == "live")
    }

    @Test("a stopped reader is behind by exactly what was published and not taken", arguments: ReaderKind.allCases)
    func behind(kind: ReaderKind) throws {
        let server = try server()
        let reader = try SimulatedReader(server, kind)
        _ = reader.take()
        for published in 1...30 {
            try publish(server, 1)
            server.pass(milliseconds: 40)
            let entry = try #require(try entries(server).first)
            let cursor = try #require(Cursor(entry.text("cursor") ?? ""))
            #expect(entry.events + Int(cursor.seq) == published, "\(entry.members)")
            #expect((entry.text("state") == "behind") == (entry.events > 0))
            #expect((entry.bytes > 0) == (entry.events > 0))
        }
        let entry = try #require(try entries(server).first)
        #expect(entry.events > 10)
        // The oldest of these events was published one step of 40 ms after the one before it.
        #expect(entry.age == entry.events * 40, "\(entry.members)")
        let before = reader.client.read().count
        #expect(before > 0)
        #expect(try entries(server).first?.text("state") == "live")
    }

    @Test("a reader that skips is behind by what waits and what it has missed; then it is live at the head")
    func skipping() throws {
        let server = try server {
            $0.onLag = .gap
            $0.limits.events = 10
        }
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        for _ in 0..<40 {
            try publish(server, 1)
            server.pass(milliseconds: 20)
        }
        server.pass(milliseconds: 500)
        let entry = try #require(try entries(server).first)
        let cursor = try #require(Cursor(entry.text("cursor") ?? ""))
        #expect(entry.text("state") == "skipping")
        #expect(entry.events == 40 - Int(cursor.seq))
        #expect(entry.bytes > 0 && entry.age > 0)
        _ = reader.take()
        let after = try #require(try entries(server).first)
        #expect(after.text("state") == "live")
        #expect(after.text("cursor") == "\(SimulatedServer.epochText)-40")
    }

    @Test("a reader that was told $bye and has not taken it is ending, and belongs to no channel any more")
    func ending() throws {
        let server = try server { $0.limits.events = 10 }
        let reader = try SimulatedReader(server, .sse, query: "channel=events")
        _ = reader.take()
        for _ in 0..<40 {
            try publish(server, 1)
            server.pass(milliseconds: 20)
        }
        server.pass(milliseconds: 500)
        let entry = try #require(try entries(server).first)
        #expect(entry.text("state") == "ending")
        #expect(entry.members["channel"] is NSNull)
        let last = try #require(Cursor(entry.text("cursor") ?? ""))
        #expect(entry.bytes > 0)
        let records = reader.take()
        #expect(records.last?.kind == "$bye")
        #expect(records.count { !$0.isControl } == Int(last.seq) + entry.events)
        #expect(try entries(server).isEmpty)
    }

    @Test("the furthest behind come first, and top says how many")
    func ranks() throws {
        let server = try server()
        let readers = try (0..<6).map { try SimulatedReader(server, .sse, query: "channel=c\($0)") }
        for (place, reader) in readers.enumerated() {
            _ = reader.take()
            try publish(server, 10 + 3 * ((place * 5) % 6), on: "c\(place)")
        }
        let all = try entries(server)
        #expect(all.map { $0.text("channel") } == ["c1", "c2", "c3", "c4", "c5", "c0"])
        #expect(all.map(\.events) == all.map(\.events).sorted(by: >))
        #expect(Set(all.map(\.id)).count == 6)
        for top in 1...6 {
            #expect(try entries(server, "?top=\(top)").map(\.id) == all.prefix(top).map(\.id))
        }
        #expect(try entries(server, "?top=1000").count == 6)
        // The same connections have the same numbers later on; a new one has another.
        readers[0].client.close()
        let late = try SimulatedReader(server, .sse)
        let now = try entries(server)
        #expect(Set(now.map(\.id)).subtracting(all.map(\.id)).count == 1)
        #expect(now.first { $0.text("channel") == "**" }?.text("peer") == "peer \(late.client.peer.index)")
    }

    @Test("twenty are named unless top says otherwise")
    func standardTop() throws {
        let server = try server()
        for _ in 0..<25 { _ = try SimulatedReader(server, .eventsSocket) }
        #expect(try entries(server).count == 20)
        #expect(try entries(server, "?top=25").count == 25)
    }

    @Test("a reader that takes bytes without ever catching up is behind by what it has not got")
    func crawling() throws {
        let server = try server()
        let crawling = try SimulatedReader(server, .eventsSocket)
        _ = crawling.take()
        try publish(server, 30)
        let stopped = try SimulatedReader(server, .eventsSocket)
        _ = stopped.take()
        // It takes nearly all, without its ring ever becoming empty.
        for _ in 0..<12 {
            _ = server.kernel.peerRead(crawling.client.peer, max: 200)
            server.settle()
        }
        try publish(server, 12)
        let slots = server.engine.furthestBehind(2)
        #expect(slots.map(\.events).sorted(by: >) == slots.map(\.events))
        for standing in slots {
            let connection = server.engine.delivery.connections[standing.slot]
            #expect(standing.events == server.engine.hub.head - connection.sentSeq)
        }
    }

    @Test("several patterns stand in their order, between commas; those that do not fit are an ellipsis")
    func patterns() throws {
        let server = try server()
        _ = try SimulatedReader(server, .sse, query: "channel=b&channel=a/*&channel=a/*")
        #expect(try entries(server).first?.text("channel") == "a/*,b")
        let long = (0..<4).map { "\($0)" + String(repeating: "n", count: 99) }
        _ = try SimulatedReader(server, .sse, query: long.reversed().map { "channel=" + $0 }.joined(separator: "&"))
        #expect(try entries(server).last?.text("channel") == "\(long[0]),\(long[1]),…")
        let longest = String(repeating: "l", count: 255)
        _ = try SimulatedReader(server, .sse, query: "channel=" + longest)
        #expect(try entries(server).last?.text("channel") == longest)
    }

    @Test(
        "what top may not be is 400 bad_top, another parameter unknown_parameter",
        arguments: ["0", "1001", "-1", "+1", "01", "", "x", "1e3", "99999999999999999999", "1&top=1"])
    func badTop(text: String) throws {
        let server = try server()
        let answer = try ask(server, "?top=\(text)")
        #expect(answer.status == 400 && answer.errorCode == "bad_top")
        #expect(try ask(server, "?limit=1").errorCode == "unknown_parameter")
    }

    @Test("GET and HEAD alone, admitted like the others under /v1, on http.socket too")
    func admission() throws {
        let server = try server()
        let client = try server.connect()
        client.write(RequestText.make("HEAD", "/v1/lag"))
        var bytes = client.takeAll()
        let head = try #require(Answer.take(&bytes, toHead: true))
        let byteCount = try ask(server).body.utf8.count
        #expect(head.status == 200 && head.fields["content-length"] == "\(byteCount)")
        client.write(RequestText.make("DELETE", "/v1/lag"))
        let refused = try #require(Answer.all(client.takeAll()).first)
        #expect(refused.status == 405 && refused.fields["allow"] == "GET, HEAD, OPTIONS")
        #expect(try ask(server, at: SimulatedServer.httpUnix).status == 200)
        client.write(RequestText.get("/v1/lag", host: "rebound.example"))
        #expect(Answer.all(client.takeAll()).first?.status == 421)
    }

    @Test("reports that many ask for at once are given out over many turns")
    func sharedTurns() throws {
        let server = try self.server()
        server.engine.shares.turnWork = 50
        _ = try SimulatedReader(server, .sse)
        let clients = try (0..<30).map { _ in try server.connect() }
        for client in clients {
            let request = Array(RequestText.get("/v1/lag").utf8)
            #expect(server.kernel.peerWrite(client.peer, request[...]) == request.count)
        }
        // A report costs 32 slots and one name.
        for _ in 0..<10 {
            let before = server.engine.hub.extraWork
            _ = server.engine.turn(wait: false)
            #expect(server.engine.hub.extraWork - before < 50 + 2 * 100)
        }
        for client in clients { #expect(Answer.all(client.takeAll()).map(\.status) == [200]) }
    }

    @Test("an answer with every place taken stays below a megabyte, whatever was subscribed to")
    func bounded() throws {
        let server = try SimulatedServer { $0.heartbeatSeconds = 3600 }
        let names = (0..<25).map { "channel=\($0)" + String(repeating: "n", count: 240) }.joined(separator: "&")
        for _ in 0..<1010 { _ = try server.connect(SimulatedServer.events) }
        _ = try SimulatedReader(server, .sse, query: names)
        let answer = try ask(server, "?top=1000")
        #expect((answer.json["subscribers"] as? [Any])?.count == 1000)
        let longest = server.engine.furthestBehind(1000).count * (Engine.lagChannelBytesMax + 300)
        #expect(answer.body.utf8.count < longest && longest < 1 << 20)
    }
}
