// Kinds that end their channel: what is published behind them, who is told, and what a restart makes of it.
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Events that end their channel")
struct ChannelEndTests {
    private func server(
        _ store: SimulatedStore? = nil, _ change: (inout Configuration) -> Void = { _ in }
    ) throws -> SimulatedServer {
        try SimulatedServer(store: store) {
            var job = Configuration.ChannelRules()
            job.terminal = ["done", "failed"]
            var state = Configuration.StateRules()
            state.replace = ["step", "done"]
            job.state = state
            var held = job
            held.visible = .synced
            $0.channelRules = [("job/*", job), ("fixed", job), ("events", job)]
            if store != nil { $0.channelRules.append(("held/*", held)) }
            change(&$0)
        }
    }

    private static let done = #"{"type":"done"}"#
    private static let step = #"{"type":"step"}"#

    private func post(_ events: [String], _ channel: String = "job/a", key: String? = nil) -> String {
        RequestText.post(
            events.joined(separator: "\n"), to: "/v1/events?channel=\(channel)",
            type: events.count == 1 ? "application/json" : "application/x-ndjson",
            key.map { ["Idempotency-Key: \($0)"] } ?? [])
    }

    @Test("its readers get the event, then $bye 1000; others go on; then 204 and 409", arguments: ReaderKind.allCases)
    func ends(kind: ReaderKind) throws {
        let server = try server()
        let all = try SimulatedReader(server, kind)
        _ = all.take()
        let readers = try [ReaderKind.sse, .jsonlHTTP, .webSocket].map {
            try SimulatedReader(server, $0, query: "channel=job/a")
        }
        for reader in readers { _ = reader.take() }
        let client = try server.connect()
        client.write(post([Self.step]) + post([Self.done]) + post([Self.step]))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200, 200, 409] && answers[2].errorCode == "channel_ended")
        #expect(answers[1].json["seq"] as? Int == 2)
        for reader in readers {
            let records = reader.take()
            #expect(records.map(\.kind) == ["step", "done", "$bye"])
            #expect(records.last?.object["code"] as? Int == 1000)
        }
        try server.publish("{}", on: "job/b")
        #expect(all.takeSeqs() == [1, 2, 3])
        let late = try SimulatedReader(server, .sse, query: "channel=job/a")
        #expect(late.head?.status == 204)
        let behind = try SimulatedReader(server, .jsonlHTTP, query: "channel=job/a&from=start")
        #expect(behind.take().map(\.kind) == ["$hello", "step", "done", "$bye"])
        #expect(server.state("job/a").count == 2, "its state can still be read")
    }

    @Test("a kind ends its channel however it is written; another one does not")
    func kinds() throws {
        let server = try server()
        let client = try server.connect()
        client.write(post([#"{"type":"donee"}"#]) + post([#"{"x":"done"}"#]) + post([#"{"t\u0079pe":"d\u006fne"}"#]))
        client.write(post([Self.step]))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200, 200, 409])
    }

    @Test("events behind it in a batch are refused with the whole batch; as the last of one it ends the channel")
    func batches() throws {
        let server = try server()
        let client = try server.connect()
        client.write(post([Self.step, Self.done, Self.step]) + post([Self.done, Self.done]))
        let refused = Answer.all(client.takeAll())
        #expect(refused.map(\.errorCode) == ["channel_ended", "channel_ended"] && refused.map(\.status) == [409, 409])
        #expect(refused[0].body.contains("(line 3)"))
        #expect(server.engine.hub.head == 0)
        client.write(post([Self.step, Self.done]) + post([Self.step]))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 409])
        #expect(server.engine.hub.head == 2)
    }

    @Test("the default channel never ends")
    func standard() throws {
        let server = try server()
        let client = try server.connect()
        client.write(post([Self.done, Self.done], "events") + post([Self.done], "events"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200])
    }

    @Test(
        "what follows on a socket of its own is refused line by line, and the socket is gone",
        arguments: [true, false])
    func lines(acks: Bool) throws {
        let server = try server()
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        let writer = try server.connect(SimulatedServer.ingestFixed)
        let other = try server.connect(SimulatedServer.ingestFixed)
        let text = (acks ? "{\"$ack\":true}\n" : "") + "\(Self.step)\n\(Self.done)\n\(Self.step)\n{}\n"
        writer.write(text)
        #expect(reader.takeSeqs() == [1, 2])
        #expect(server.metric("fanout_events_refused_total") == 2)
        let answers = writer.takeText().split(separator: "\n")
        #expect(answers.count == (acks ? 4 : 0))
        if acks {
            #expect(answers[1].contains("\"seq\":2"))
            #expect(answers[2...].allSatisfy { $0.contains("channel_ended") })
        }
        #expect(writer.isAtEnd && other.isAtEnd)
        #expect(server.kernel.connect(to: SimulatedServer.ingestFixed, from: nil) == nil)
    }

    @Test("an envelope ends the channel that it names, and the socket stays for others")
    func envelopes() throws {
        let server = try server()
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"$ack\":true}\n")
        for event in [Self.done, Self.step] {
            writer.write("{\"$publish\":{\"channel\":\"job/a\",\"event\":\(event)}}\n")
        }
        writer.write("{\"type\":\"done\"}\n{}\n")
        let answers = writer.takeText().split(separator: "\n")
        #expect(answers.count == 4 && answers[1].contains("channel_ended"))
        #expect([0, 2, 3].allSatisfy { answers[$0].contains("\"seq\":") })
    }

    @Test("sent again with its key it gets its first answer again")
    func again() throws {
        let server = try server()
        let client = try server.connect()
        client.write(post([Self.done], key: "k") + post([Self.done], key: "k") + post([Self.done], key: "other"))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200, 200, 409])
        #expect(answers[1].json["dup"] as? Bool == true && answers[1].json["seq"] as? Int == 1)
    }

    @Test("declared anew the channel goes on, and its next last event ends it again")
    func anew() throws {
        let server = try server()
        let client = try server.connect()
        client.write(post([Self.done]) + RequestText.make("PUT", "/v1/channels?channel=job/a") + post([Self.step]))
        client.write(post([Self.done]) + post([Self.step]))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 201, 200, 200, 409])
    }

    @Test("a program that embeds the server is told as others are: what it publishes then is refused")
    func embedded() throws {
        let server = try server()
        try server.publish(Self.done, on: "job/a")
        #expect(throws: PublishFault.channelEnded) { try server.publish(Self.step, on: "job/a") }
    }

    @Test("the database has the end in its place: after a restart it is over, and not a moment earlier")
    func restart() throws {
        let store = SimulatedStore()
        let first = try server(store)
        let client = try first.connect()
        client.write(post([Self.step, Self.done]) + post([Self.step], "job/b"))
        #expect(Answer.all(client.takeAll()).map { $0.json["level"] as? String } == ["synced", "synced"])
        let second = try server(store)
        let again = try second.connect()
        again.write(post([Self.step]) + post([Self.step], "job/b"))
        #expect(Answer.all(again.takeAll()).map(\.status) == [409, 200])
        let reader = try SimulatedReader(second, .sse, query: "channel=job/a&from=start")
        #expect(reader.take().compactMap(\.kind) == ["$hello", "step", "done", "$bye"])
    }

    @Test("held back, the end is seen behind the event; publishing is refused at once")
    func heldBack() throws {
        let store = SimulatedStore()
        let server = try server(store)
        let reader = try SimulatedReader(server, .jsonlHTTP, query: "channel=held/a")
        _ = reader.take()
        store.isHeld = true
        let client = try server.connect()
        client.write(post([Self.done], "held/a&ack=accepted") + post([Self.step], "held/a&ack=accepted"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 409])
        #expect(reader.take().isEmpty)
        let late = try SimulatedReader(server, .sse, query: "channel=held/a")
        #expect(late.head?.status == 200)
        store.isHeld = false
        #expect(reader.take().map(\.kind) == ["done", "$bye"])
        #expect(late.take().map(\.kind).suffix(2) == ["done", "$bye"])
        #expect(try SimulatedReader(server, .sse, query: "channel=held/a").head?.status == 204)
    }

    @Test("an answer of the database comes before the end of the writer's own socket")
    func ackedLines() throws {
        let store = SimulatedStore()
        let server = try server(store)
        let writer = try server.connect(SimulatedServer.ingestFixed)
        store.isHeld = true
        writer.write("{\"$ack\":true}\n\(Self.step)\n\(Self.done)\n\(Self.step)\n")
        #expect(!writer.isAtEnd)
        store.isHeld = false
        let answers = writer.takeText().split(separator: "\n")
        #expect(answers.count == 3 && answers[1].contains("\"seq\":2") && answers[2].contains("channel_ended"))
        #expect(writer.isAtEnd)
    }
}
