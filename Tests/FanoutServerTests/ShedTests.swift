// What readers and requests get when no place is left.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Overload")
struct ShedTests {
    /// A server with ten places, eight of them reserved, and both others taken.
    private func fullServer() throws -> (SimulatedServer, [SimulatedReader]) {
        let server = try SimulatedServer { $0.connectionsMax = 10 }
        let readers = try [SimulatedReader(server, .eventsSocket), SimulatedReader(server, .sse)]
        return (server, readers)
    }

    @Test("SSE gets 200, retry and $bye 1013, so that EventSource comes back; it keeps the id it had")
    func eventSource() throws {
        let (server, _) = try fullServer()
        let answersBefore = try #require(server.metric("fanout_http_responses_total", "class=\"2xx\""))
        let client = try server.connect()
        client.write(
            RequestText.get(
                "/v1/events", ["Accept: text/event-stream", "Last-Event-ID: \(SimulatedServer.epochText)-7"]))
        var bytes = client.takeAll()
        #expect(server.metric("fanout_http_responses_total", "class=\"2xx\"") == answersBefore + 1)
        let answer = try #require(Answer.take(&bytes))
        #expect(answer.status == 200)
        #expect(answer.fields["content-type"] == "text/event-stream")
        let events = StreamReader.events(answer.body)
        #expect(events.retry.count == 1 && 1000..<15_000 ~= (events.retry.first ?? 0))
        #expect(events.records.map(\.event) == ["$bye"])
        let bye = try #require(events.records.first)
        #expect(bye.object["code"] as? Int == 1013)
        #expect(bye.object["why"] as? String == "overload")
        #expect(bye.object["retry_ms"] as? Int == events.retry.first)
        #expect(bye.object["last"] == nil, "nothing was sent")
        #expect(events.lastID.isEmpty, "an id here would make the browser forget where it was")
        #expect(client.isAtEnd)
    }

    @Test("other requests get 503 and Retry-After, health and metrics their answers")
    func others() throws {
        let (server, _) = try fullServer()
        for fields in [[], RequestText.upgrade, ["Accept: application/x-ndjson"]] {
            let client = try server.connect()
            client.write(RequestText.get("/v1/events", fields))
            let answer = Answer.all(client.takeAll()).first
            #expect(answer?.status == 503)
            #expect(answer?.errorCode == "overload")
            #expect(answer?.fields["retry-after"] == "1")
            #expect(client.isAtEnd)
            client.close()
        }
        for target in ["/healthz", "/readyz", "/metrics"] {
            let client = try server.connect()
            client.write(RequestText.get(target))
            #expect(Answer.all(client.takeAll()).map(\.status) == [200])
            client.close()
        }
        #expect(server.metric("fanout_shed_total") == 3)
    }

    @Test("raw readers get $bye 1013, ingest sockets are reset")
    func raw() throws {
        let (server, _) = try fullServer()
        for address in [SimulatedServer.events, SimulatedServer.jsonl] {
            let client = try server.connect(address)
            let records = StreamReader.lines(client.takeAll())
            #expect(records.map(\.kind) == ["$bye"])
            #expect(records.first?.object["code"] as? Int == 1013)
            #expect(records.first?.object["last"] == nil)
            #expect(client.isAtEnd)
            client.close()
        }
        let ingest = try server.connect(SimulatedServer.ingest)
        #expect(ingest.isClosed)
    }

    @Test("a raw reader that is turned away leaves its place at once, whether it closes or not")
    func turnedAwayReadersLeave() throws {
        let (server, _) = try fullServer()
        let before = server.engine.delivery.connections.total
        let clients = try (0..<40).map {
            try server.connect($0 % 2 == 0 ? SimulatedServer.events : SimulatedServer.jsonl)
        }
        #expect(server.engine.delivery.connections.total == before)
        for client in clients { #expect(StreamReader.lines(client.takeAll()).map(\.kind) == ["$bye"]) }
        let health = try server.connect()
        health.write(RequestText.get("/healthz"))
        #expect(Answer.all(health.takeAll()).map(\.status) == [200])
    }

    @Test("the eight places for health are used to the last, and the next connection is reset")
    func reserved() throws {
        let (server, readers) = try fullServer()
        var clients: [SimulatedClient] = []
        for _ in 0..<8 { clients.append(try server.connect()) }
        #expect(clients.allSatisfy { !$0.isClosed })
        let last = try server.connect()
        #expect(last.isClosed)
        clients.forEach { $0.close() }
        readers.forEach { $0.client.close() }
        server.settle()
        let free = try SimulatedReader(server, .sse)
        #expect(free.take().map(\.kind) == ["$hello"])
    }
}
