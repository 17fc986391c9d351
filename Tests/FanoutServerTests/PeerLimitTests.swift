// One address or one user with too many connections: what it is told, and that nobody else notices.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Limits per address and user")
struct PeerLimitTests {
    private static let mine = PeerIdentity.address(SocketAddress(parsing: "192.0.2.7:1000")!)
    private static let other = PeerIdentity.address(SocketAddress(parsing: "192.0.2.8:1000")!)

    /// A server that allows two connections an address and two a user, with `mine` and user 7 at their limits.
    private func fullServer() throws -> (SimulatedServer, [SimulatedClient]) {
        let server = try SimulatedServer {
            $0.connectionsPerAddressMax = 2
            $0.connectionsPerUserMax = 2
        }
        let held = try [
            server.connect(SimulatedServer.jsonl, from: Self.mine), server.connect(from: Self.mine),
            server.connect(SimulatedServer.events, from: .process(1, user: 7)),
            server.connect(SimulatedServer.ingest, from: .process(2, user: 7)),
        ]
        return (server, held)
    }

    @Test("SSE gets 200, retry and $bye 1013, so that EventSource comes back")
    func eventSource() throws {
        let (server, _) = try fullServer()
        for address in [SimulatedServer.http, SimulatedServer.httpUnix] {
            let client = try server.connect(
                address, from: address == SimulatedServer.http ? Self.mine : .process(3, user: 7))
            client.write(RequestText.get("/v1/events", ["Accept: text/event-stream", "Sec-Fetch-Mode: cors"]))
            var bytes = client.takeAll()
            let answer = try #require(Answer.take(&bytes))
            #expect(answer.status == 200)
            let events = StreamReader.events(answer.body)
            #expect(events.retry.count == 1 && 1000..<15_000 ~= (events.retry.first ?? 0))
            let bye = try #require(events.records.first)
            #expect(events.records.count == 1 && bye.event == "$bye")
            #expect(bye.object["code"] as? Int == 1013)
            #expect(bye.object["why"] as? String == "too_many_connections")
            #expect(bye.object["last"] == nil && events.lastID.isEmpty)
            #expect(client.isAtEnd)
        }
    }

    @Test("other requests get 429 and Retry-After, health and metrics their answers, other addresses everything")
    func others() throws {
        let (server, _) = try fullServer()
        let requests = [
            RequestText.get("/v1/events"), RequestText.get("/v1/events", RequestText.upgrade), RequestText.get("/"),
            RequestText.post("{}"), RequestText.get("/v1/lag"), RequestText.get("/nowhere"),
        ]
        for (address, identity, reason) in [
            (SimulatedServer.http, Self.mine, "address"), (SimulatedServer.httpUnix, .process(9, user: 7), "user"),
        ] {
            for request in requests {
                let client = try server.connect(address, from: identity)
                client.write(request)
                let answer = try #require(Answer.all(client.takeAll()).first)
                #expect(answer.status == 429 && answer.errorCode == "too_many_connections", "\(request)")
                #expect(answer.body.contains("this \(reason) has"))
                #expect(answer.fields["retry-after"] == "1")
                #expect(client.isAtEnd)
                client.close()
            }
            #expect(server.metric("fanout_refused_total{reason=\"\(reason)\"}") == UInt64(requests.count))
            for target in ["/healthz", "/readyz", "/metrics"] {
                let client = try server.connect(address, from: identity)
                client.write(RequestText.get(target))
                #expect(Answer.all(client.takeAll()).map(\.status) == [200])
                client.close()
            }
        }
        #expect(server.metric("fanout_shed_total") == 0)
        for identity in [Self.other, .address(SocketAddress(parsing: "[2001:db8::1]:1")!)] {
            let client = try server.connect(from: identity)
            client.write(RequestText.post("{}"))
            #expect(Answer.all(client.takeAll()).map(\.status) == [200])
        }
    }

    @Test("raw readers get $bye 1013 and nothing else, ingest sockets are reset")
    func raw() throws {
        let (server, _) = try fullServer()
        for (address, identity) in [
            (SimulatedServer.jsonl, Self.mine), (SimulatedServer.events, PeerIdentity.process(3, user: 7)),
        ] {
            let client = try server.connect(address, from: identity)
            let records = StreamReader.lines(client.takeAll())
            #expect(records.map(\.kind) == ["$bye"])
            #expect(records.first?.object["code"] as? Int == 1013)
            #expect(records.first?.object["why"] as? String == "too_many_connections")
            #expect(client.isAtEnd)
            client.close()
        }
        let ingest = try server.connect(SimulatedServer.ingest, from: .process(3, user: 7))
        #expect(ingest.isClosed)
        let allowed = try server.connect(SimulatedServer.ingest, from: .process(3, user: 8))
        allowed.write("{\"n\":1}\n")
        #expect(server.engine.hub.head == 1)
        #expect(server.metric("fanout_refused_total{reason=\"user\"}") == 2)
        #expect(server.metric("fanout_closed_total{reason=\"overload\",transport=\"jsonl_tcp\"}") == 1)
    }

    @Test("who was there before is served as always, and a place that is left is free at once")
    func places() throws {
        let (server, held) = try fullServer()
        let publisher = held[1]
        publisher.write(RequestText.post("{}"))
        #expect(Answer.all(publisher.takeAll()).map(\.status) == [200])
        let waiting = try server.connect(from: Self.mine)
        held[0].close()
        waiting.write(RequestText.post("{}"))
        #expect(Answer.all(waiting.takeAll()).map(\.status) == [200], "it was beyond the limit and is not any more")
        waiting.close()
        let reader = try server.connect(SimulatedServer.jsonl, from: Self.mine)
        #expect(StreamReader.lines(reader.takeAll()).map(\.kind) == ["$hello"])
    }

    @Test("sixty-four connections beyond the limit are heard, further ones are reset")
    func flood() throws {
        let (server, _) = try fullServer()
        var clients: [SimulatedClient] = []
        for _ in 0..<64 { clients.append(try server.connect(from: Self.mine)) }
        #expect(clients.allSatisfy { !$0.isClosed })
        for address in [SimulatedServer.http, SimulatedServer.jsonl] {
            let client = try server.connect(address, from: Self.mine)
            #expect(client.isClosed)
            #expect(client.takeAll() == [])
        }
        let neighbour = try server.connect(SimulatedServer.jsonl, from: Self.other)
        #expect(StreamReader.lines(neighbour.takeAll()).map(\.kind) == ["$hello"])
        clients[0].close()
        clients[0] = try server.connect(from: Self.mine)
        clients[0].write(RequestText.get("/healthz"))
        #expect(Answer.all(clients[0].takeAll()).map(\.status) == [200])
    }

    @Test("the log names the address once, without its port")
    func logged() throws {
        let (server, _) = try fullServer()
        for _ in 0..<5 { try server.connect(SimulatedServer.jsonl, from: Self.mine).close() }
        #expect(
            server.log.filter { $0.contains("192.0.2.7") } == [
                "fanout: warning: 192.0.2.7 has 2 connections open, and no address may have more: others are turned "
                    + "away (--max-per-address)"
            ])
    }

    @Test("without limits nobody is counted; beyond loopback 1,024 are allowed by default")
    func standard() throws {
        let server = try SimulatedServer()
        for address in [SimulatedServer.http, SimulatedServer.events, SimulatedServer.ingest] {
            for _ in 0..<20 { #expect(try !server.connect(address).isClosed) }
        }
        #expect(server.engine.peers.counts.peerCount == 0)
        let open = try #require(SocketAddress(parsing: "192.0.2.1:7000"))
        try server.engine.listen(.jsonl, at: open)
        for _ in 0..<1024 {
            _ = try #require(server.kernel.connect(to: open, from: Self.mine))
            _ = server.engine.turn(wait: false)
        }
        let last = try server.connect(open, from: Self.mine)
        #expect(StreamReader.lines(last.takeAll()).map(\.kind) == ["$bye"])
        let local = try server.connect(open, from: .address(.loopback(port: 9)))
        #expect(StreamReader.lines(local.takeAll()).map(\.kind) == ["$hello"], "a program of this machine")
        #expect(server.engine.peers.counts.peerCount == 1)
    }

    @Test("a count comes down whatever state its connection ends in")
    func ends() throws {
        let server = try SimulatedServer(pipeBytes: 300) {
            $0.connectionsPerAddressMax = 100
            $0.connectionsPerUserMax = 100
            $0.limits.events = 5
        }
        let idle = try server.connect(from: Self.mine)
        let halfway = try server.connect(from: Self.mine)
        halfway.write("GET / HT")
        let stalled = try SimulatedReader(server, .eventsSocket)
        let reset = try server.connect(SimulatedServer.jsonl, from: Self.other)
        server.kernel.peerReset(reset.peer)
        let gone = try #require(server.kernel.connect(to: SimulatedServer.http, from: Self.mine))
        server.kernel.peerReset(gone)
        let unfinished = try server.connect(SimulatedServer.ingest)
        unfinished.write("{\"half\":")
        for _ in 0..<60 {
            try server.publish("{\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}")
            server.pass(milliseconds: 20)
        }
        #expect(server.engine.peers.counts.peerCount == 2, "192.0.2.7 and user 0; 192.0.2.8 is gone")
        idle.close()
        unfinished.close()
        server.pass(milliseconds: 60_000, step: 1000)
        #expect(halfway.isAtEnd && stalled.client.isClosed)
        halfway.close()
        server.pass(milliseconds: 5_000, step: 1000)
        #expect(server.engine.peers.counts.peerCount == 0)
        server.checkNothingIsHeld()
    }
}
