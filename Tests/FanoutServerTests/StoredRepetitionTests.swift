// Repetitions with a database: the loop says what is one, and the database has what the loop let through.
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Repetitions with a database")
struct StoredRepetitionTests {
    private func publish(
        _ client: SimulatedClient, _ event: String, _ query: String = "", key: String? = nil
    ) -> Answer? {
        let target = "/v1/events" + (query.isEmpty ? "" : "?" + query)
        client.write(
            RequestText.post(event, to: target, type: "application/json", key.map { ["Idempotency-Key: \($0)"] } ?? []))
        return Answer.all(client.takeAll()).first
    }

    @Test("a key that the server has forgotten and the database has not is a new one, and what is acked is stored")
    func forgottenKey() throws {
        let store = SimulatedStore()
        do {
            let server = try SimulatedServer(store: store)
            let client = try server.connect()
            #expect(publish(client, "{\"n\":1}", key: "k")?.json["level"] as? String == "synced")
            // As if 100,000 others had been used since.
            server.engine.keys = IdempotencyKeys(bytesMax: 0, random: &server.engine.random)
            #expect(publish(client, "{\"n\":2}", key: "k")?.json["seq"] as? Int == 2)
            #expect(publish(client, "{\"n\":2}", key: "k")?.json["dup"] as? Bool == true)
        }
        let server = try SimulatedServer(store: store)
        let client = try server.connect()
        let again = publish(client, "{\"n\":2}", key: "k")
        #expect(again?.json["seq"] as? Int == 2 && again?.json["dup"] as? Bool == true)
        #expect(publish(client, "{\"n\":1}", key: "k")?.status == 409)
        #expect(try store.everything().map(\.seq) == [1, 2])
    }

    @Test("what was published on a channel that is no more is remembered, also after a restart")
    func removedChannel() throws {
        let store = SimulatedStore()
        store.prepare = { $0.retention = RetentionLimits(events: 0) }
        do {
            let server = try SimulatedServer(store: store)
            let client = try server.connect()
            let query = "channel=a&producer=p&pepoch=1&pseq=1"
            #expect(publish(client, "{\"n\":1}", query, key: "k")?.status == 200)
            client.write(RequestText.make("DELETE", "/v1/channels?channel=a"))
            server.pass(milliseconds: 5_000)
        }
        let server = try SimulatedServer(store: store)
        let client = try server.connect()
        let name = try #require(ChannelName("a"))
        #expect(server.engine.hub.channels.index(of: name) == nil, "the database has forgotten it")
        #expect(publish(client, "{\"n\":1}", "channel=a", key: "k")?.json["dup"] as? Bool == true)
        #expect(publish(client, "{\"n\":2}", "channel=a&producer=p&pepoch=1&pseq=1")?.status == 409)
        #expect(publish(client, "{\"n\":2}", "channel=a&producer=p&pepoch=1&pseq=2")?.status == 200)
    }
}
