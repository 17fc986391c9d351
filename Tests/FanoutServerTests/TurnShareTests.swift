// What one turn may cost, so that keep-alives and everybody else get theirs in between.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("The share of a turn")
struct TurnShareTests {
    private static let channels = 200

    /// A server with many channels, where a walk over them uses a turn's share up.
    private func server() throws -> SimulatedServer {
        let server = try SimulatedServer {
            $0.heartbeatSeconds = 1
            $0.historyBytes = 0
        }
        server.engine.shares.turnWork = 50
        for channel in 0..<Self.channels { try server.publish("{}", on: "many/\(channel)") }
        return server
    }

    /// One turn of the engine, and what it walked over.
    private func walkedInOneTurn(_ server: SimulatedServer) -> UInt64 {
        let before = server.engine.hub.extraWork
        _ = server.engine.turn(wait: false)
        return server.engine.hub.extraWork - before
    }

    @Test(
        "readers that resume by the hundred are taken in over many turns, and all of them are",
        arguments: [true, false])
    func resuming(overHTTP: Bool) throws {
        let server = try server()
        let quiet = try SimulatedReader(server, .sse, query: "channel=quiet")
        let cursor = "\(SimulatedServer.epochText)-1"
        let clients = try (0..<100).map { _ in
            try server.connect(overHTTP ? SimulatedServer.http : SimulatedServer.jsonl)
        }
        server.pass(milliseconds: 500)
        for (number, client) in clients.enumerated() {
            // Different subscriptions, so that none profits from another.
            let request =
                overHTTP
                ? Array(RequestText.get("/v1/events?channel=many/*&channel=own/\(number)&from=\(cursor)").utf8)
                : Array("{\"$subscribe\":{\"channel\":[\"many/*\",\"own/\(number)\"],\"from\":\"\(cursor)\"}}\n".utf8)
            #expect(server.kernel.peerWrite(client.peer, request[...]) == request.count)
        }
        // The quiet reader's keep-alive falls due while they are still waiting.
        server.kernel.advance(milliseconds: 700)
        var turns = 0
        var turnsUntilKeepAlive: Int?
        while turns < 1000, !server.kernel.isQuiet || !server.engine.deferred.isEmpty {
            let walked = walkedInOneTurn(server)
            #expect(walked <= server.engine.shares.turnWork + UInt64(Self.channels) * 2)
            turns += 1
            if turnsUntilKeepAlive == nil,
                String(decoding: server.kernel.peerRead(quiet.client.peer), as: UTF8.self).contains(":\n")
            {
                turnsUntilKeepAlive = turns
            }
        }
        #expect(turns > 40, "the walks were shared out")
        #expect((turnsUntilKeepAlive ?? .max) <= 5, "the keep-alive did not wait for them")
        for client in clients {
            let text = client.takeText()
            #expect(text.contains("\"$gap\"") && text.contains("\"pruned\""), "\(text)")
        }
    }

    @Test("a new subscription costs no walk, with wildcards or without")
    func noWalk() throws {
        let server = try server()
        let before = server.engine.hub.extraWork
        for number in 0..<20 { _ = try SimulatedReader(server, .sse, query: "channel=many/*&channel=x/\(number)") }
        #expect(server.engine.hub.extraWork == before)
        let name = try #require(ChannelName("many/7"))
        let channel = try #require(server.engine.hub.channel(name))
        #expect(server.engine.hub.subscriberCount(of: channel) == 20)
    }

    @Test("lists of all channels are given out over many turns")
    func lists() throws {
        let server = try server()
        let clients = try (0..<30).map { _ in try server.connect() }
        for client in clients {
            let request = Array(RequestText.get("/v1/channels").utf8)
            #expect(server.kernel.peerWrite(client.peer, request[...]) == request.count)
        }
        for _ in 0..<10 {
            #expect(walkedInOneTurn(server) <= server.engine.shares.turnWork + UInt64(Self.channels) * 2)
        }
        for client in clients { #expect(Answer.all(client.takeAll()).map(\.status) == [200]) }
    }

    @Test("what other threads hand over is published over many turns where it reaches many readers")
    func inbox() throws {
        let server = try SimulatedServer()
        server.engine.shares.turnWork = 50
        let inbox = Inbox()
        server.engine.inbox = inbox
        inbox.attach(server.loop.wakeup)
        let readers = try (0..<10).map { _ in try SimulatedReader(server, .eventsSocket) }
        for number in 0..<100 {
            #expect(inbox.add(Inbox.Entry(channel: .standard, event: Array("{\"n\":\(number)}".utf8))))
        }
        var turns = 0
        while server.engine.hub.head < 100, turns < 1000 {
            let before = server.engine.delivery.counters.deliveries
            _ = server.engine.turn(wait: false)
            #expect(server.engine.delivery.counters.deliveries - before <= 50 + 4 * 10)
            turns += 1
        }
        #expect(turns > 10)
        for reader in readers { #expect(reader.takeSeqs() == Array(1...100)) }
    }

    @Test("other publishers that use up every turn do not keep out what other threads hand over")
    func inboxAmongOthers() throws {
        let server = try SimulatedServer()
        server.engine.shares.turnWork = 4
        let inbox = Inbox()
        server.engine.inbox = inbox
        inbox.attach(server.loop.wakeup)
        let readers = try (0..<5).map { _ in try SimulatedReader(server, .eventsSocket) }
        let writer = try server.connect(SimulatedServer.ingest)
        let lines = Array(String(repeating: "{}\n", count: 300).utf8)
        #expect(server.kernel.peerWrite(writer.peer, lines[...]) == lines.count)
        #expect(inbox.add(Inbox.Entry(channel: .standard, event: Array("{\"mine\":1}".utf8))))
        for _ in 0..<5 { _ = server.engine.turn(wait: false) }
        #expect(readers[0].take().contains { $0.object["mine"] != nil && ($0.seq ?? .max) < 20 })
    }

    @Test("subscriptions that have to be asked about an event are part of a turn, even if none wants it")
    func kinds() throws {
        let server = try SimulatedServer(socketsMax: 256)
        server.engine.shares.turnWork = 50
        for number in 0..<100 { _ = try SimulatedReader(server, .sse, query: "types=a\(number),b\(number)") }
        let writer = try server.connect(SimulatedServer.ingest)
        let lines = Array(String(repeating: "{\"type\":\"c\"}\n", count: 30).utf8)
        #expect(server.kernel.peerWrite(writer.peer, lines[...]) == lines.count)
        var turns = 0
        while server.engine.hub.head < 30, turns < 1000 {
            let before = server.engine.hub.head
            _ = server.engine.turn(wait: false)
            #expect(server.engine.hub.head - before <= 1)
            turns += 1
        }
        #expect(turns >= 30)
    }
}
