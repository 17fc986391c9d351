// Levels of acks: what each waits for, and that answers keep their order and find their askers.
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Ack levels")
struct AckLevelTests {
    private static let e = SimulatedServer.epochText

    private func post(_ level: String? = nil, _ event: String = "{\"type\":\"a\"}", _ fields: [String] = []) -> String {
        RequestText.post(event, to: "/v1/events" + (level.map { "?ack=\($0)" } ?? ""), fields)
    }

    private func lines(_ client: SimulatedClient) -> [String] {
        client.takeText().split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    private func level(_ line: String) -> String? {
        JSONObject(line)?["level"] as? String
    }

    /// What a line says: its number, or its error's code.
    private func gist(_ line: String) -> String {
        let object = JSONObject(line) ?? [:]
        if let seq = object["seq"] as? Int { return "\(seq) \(object["level"] ?? "")" }
        return (object["error"] as? [String: Any])?["code"] as? String ?? line
    }

    @Test("with a database an ack says synced, and comes when the disk has the event", arguments: [nil, "synced"])
    func synced(asked: String?) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        let reader = try SimulatedReader(server, .eventsSocket)
        store.isHeld = true
        let client = try server.connect()
        client.write(post(asked))
        #expect(client.takeAll().isEmpty)
        #expect(reader.takeSeqs() == [0, 1].suffix(1), "readers do not wait")
        store.isHeld = false
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200])
        #expect(
            answers.first?.body == """
                {"cursor":"\(Self.e)-1","seq":1,"level":"synced","dup":false,"subscribers":1,"behind":0}

                """)
        #expect(server.engine.storage?.synced == 1 && server.engine.storage?.counts.syncs == 1)
    }

    @Test("none and accepted are answered at once, committed without waiting for the disk")
    func lesser() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let client = try server.connect()
        client.write(post("none") + post("accepted") + post("committed") + post("accepted"))
        let first = Answer.all(client.takeAll())
        #expect(first.map(\.status) == [202, 200])
        #expect(first.compactMap { $0.json["level"] as? String } == ["none", "accepted"])
        store.isHeld = false
        let second = Answer.all(client.takeAll())
        #expect(second.compactMap { $0.json["level"] as? String } == ["committed", "accepted"])
        #expect(second.compactMap { $0.json["seq"] as? Int } == [3, 4])
        #expect(server.engine.storage?.counts.syncs == 0, "nobody asked for it")
        #expect(server.engine.storage?.committed == 4)
    }

    @Test("a level that cannot be given is 409, and nothing is published", arguments: [false, true])
    func unavailable(hasStore: Bool) throws {
        let server = try SimulatedServer(store: hasStore ? SimulatedStore() : nil)
        let client = try server.connect()
        for level in hasStore ? ["replicated"] : ["committed", "synced", "replicated"] {
            client.write(post(level))
            let answers = Answer.all(client.takeAll())
            #expect(answers.map(\.status) == [409] && answers.first?.errorCode == "level_unavailable")
            #expect(answers.first?.body.contains(hasStore ? "synced" : "accepted") == true)
        }
        client.write(post("durable"))
        #expect(Answer.all(client.takeAll()).first?.errorCode == "bad_ack")
        #expect(server.engine.hub.accepted == 0)
    }

    @Test("requests behind one that waits keep their order, however they come", arguments: [1, 7, 10_000])
    func pipelined(pieceBytes: Int) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let client = try server.connect()
        let text =
            post() + RequestText.get("/healthz") + RequestText.make("HEAD", "/healthz") + post("accepted")
            + RequestText.get("/nothing")
        let bytes = Array(text.utf8)
        client.write(bytes, pieces: Array(repeating: pieceBytes, count: bytes.count / pieceBytes + 1))
        #expect(client.takeAll().isEmpty)
        #expect(server.engine.hub.accepted == 1, "what stands behind is not read")
        store.isHeld = false
        var answer = client.takeAll()
        #expect(Answer.take(&answer)?.json["level"] as? String == "synced")
        #expect(Answer.take(&answer)?.status == 200)
        #expect(Answer.take(&answer, toHead: true)?.status == 200)
        #expect(Answer.take(&answer)?.json["level"] as? String == "accepted")
        #expect(Answer.take(&answer)?.status == 404)
        #expect(answer.isEmpty)
    }

    @Test("a client that ends its side behind its request gets the answer", arguments: [0, 1, 2])
    func halfClosed(finishes: Int) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let client = try server.connect()
        // Whole, with a part of another request behind it, or asking for the end itself.
        client.write(post(nil, "{\"a\":1}", finishes == 2 ? ["Connection: close"] : []))
        if finishes == 1 { client.write("GET /heal") }
        client.finish()
        server.pass(milliseconds: 120_000, step: 1000)
        #expect(!client.isClosed)
        store.isHeld = false
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
        #expect(client.isAtEnd)
    }

    @Test("an answer that waits is not late: no deadline ends its connection, and idleness begins with the answer")
    func deadlines() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        let client = try server.connect()
        client.write(RequestText.get("/healthz"))
        #expect(Answer.all(client.takeAll()).count == 1)
        store.isHeld = true
        client.write(post() + "GET /healthz HT")
        server.pass(milliseconds: 200_000, step: 1000)
        #expect(client.takeAll().isEmpty && !client.isClosed)
        store.isHeld = false
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
        server.pass(milliseconds: 9_000, step: 500)
        #expect(!client.isAtEnd, "what waited behind has its ten seconds from now")
        server.pass(milliseconds: 2_000, step: 500)
        #expect(Answer.all(client.takeAll()).map(\.status) == [408])
        let patient = try server.connect()
        store.isHeld = true
        patient.write(post())
        server.pass(milliseconds: 70_000, step: 1000)
        store.isHeld = false
        server.pass(milliseconds: 70_000, step: 1000)
        #expect(Answer.all(patient.takeAll()).map(\.status) == [200])
        #expect(!patient.isAtEnd, "it is idle from when the answer was taken")
        server.pass(milliseconds: 10_000, step: 1000)
        #expect(patient.isAtEnd)
    }

    @Test("who is gone is not answered, and who has its slot by then is told nothing of it")
    func goneAndReused() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let client = try server.connect()
        client.write(post())
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"$ack\":true}\n{\"n\":1}\nnonsense\n")
        client.close()
        server.kernel.peerReset(writer.peer)
        server.pass(milliseconds: 40_000, step: 1000)
        // The writer's end is found when it is told something; the client's as it goes.
        let next = try (0..<4).map { _ in try server.connect() }
        store.isHeld = false
        server.settle()
        for other in next { #expect(other.takeAll().isEmpty) }
        for other in next { other.write(RequestText.get("/healthz")) }
        for other in next { #expect(Answer.all(other.takeAll()).map(\.status) == [200]) }
        for other in next { other.close() }
        server.settle()
        #expect(server.engine.storage?.waiting.count == 0)
        server.checkNothingIsHeld()
    }

    @Test("a writer's answers keep the order of its lines, whatever they wait for", arguments: [1, 5, 10_000])
    func lineOrder(pieceBytes: Int) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let writer = try server.connect(SimulatedServer.ingest)
        let text = """
            {"$ack":true}
            {"$publish":{"event":{"n":1},"ack":"accepted"}}
            {"n":2}
            nonsense
            {"$publish":{"event":{"n":3},"ack":"none"}}
            {"$publish":{"event":{"n":4},"ack":"committed"}}
            {"$publish":{"event":{"n":5},"ack":"accepted"}}
            {"$publish":{"event":{"n":6},"ack":"replicated"}}
            {"n":7}

            """
        let bytes = Array(text.utf8)
        writer.write(bytes, pieces: Array(repeating: pieceBytes, count: bytes.count / pieceBytes + 1))
        #expect(lines(writer).map(gist) == ["1 accepted"])
        #expect(server.engine.hub.accepted == 6, "lines do not wait for one another")
        store.isHeld = false
        #expect(
            lines(writer).map(gist) == [
                "2 synced", "invalid_json", "{\"level\":\"none\"}", "4 committed", "5 accepted", "level_unavailable",
                "6 synced",
            ])
        #expect(!writer.isAtEnd)
    }

    @Test("a writer that ends its side gets all its answers, the last line's too", arguments: [true, false])
    func writerFinishes(isTooLong: Bool) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"$ack\":true}\n{\"n\":1}\n{\"n\":2}")
        if isTooLong {
            writer.write(Array("\n".utf8) + [UInt8](repeating: 65, count: 300_000))
        } else {
            writer.finish()
        }
        server.pass(milliseconds: 60_000, step: 1000)
        #expect(writer.takeAll().isEmpty && !writer.isClosed)
        store.isHeld = false
        #expect(lines(writer).map(gist) == ["1 synced", "2 synced"] + (isTooLong ? ["event_too_large"] : []))
        #expect(writer.isAtEnd)
    }

    @Test("a writer that has very many answers to get is read no further until it has some of them")
    func manyLines() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(pipeBytes: 1 << 20, store: store)
        store.isHeld = true
        let writer = try server.connect(SimulatedServer.ingest)
        let count = 5000
        writer.write("{\"$ack\":true}\n" + String(repeating: "{}\n", count: count))
        #expect(server.engine.hub.accepted == UInt64(WaitingAnswers.perWriterMax))
        store.isHeld = false
        let seqs = lines(writer).compactMap { JSONObject($0)?["seq"] as? Int }
        #expect(seqs == Array(1...count))
    }

    @Test("while very much is on its way to the disk publishers rest, and nothing is refused")
    func pressure() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(pipeBytes: 1 << 20, store: store)
        store.isHeld = true
        let batch = String(repeating: "{}\n", count: 1000)
        let writers = try (0..<4).map { _ in try server.connect(SimulatedServer.ingest) }
        let events = 60_000
        for _ in 0..<(events / 4000) { for writer in writers { writer.write(batch) } }
        server.pass(milliseconds: 5_000)
        let accepted = Int(server.engine.hub.accepted)
        #expect(accepted > Storage.eventsPressing && accepted <= Storage.eventsPressing + 4096, "\(accepted)")
        #expect(server.engine.writersWait)
        // Requests of others rest with them; readers do not.
        let reader = try SimulatedReader(server, .eventsSocket)
        #expect(reader.take().map(\.kind) == ["$hello"])
        store.isHeld = false
        server.pass(milliseconds: 2_000)
        #expect(server.engine.hub.accepted == UInt64(events) && server.engine.storage?.committed == UInt64(events))
        #expect(server.engine.metrics.refusedEvents == 0)
    }

    @Test("what is stored is byte for byte what readers saw, its time stamp too")
    func bytes() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store) {
            var stamped = Configuration.ChannelRules()
            stamped.stamp = ["seq", "channel", "time"]
            var held = stamped
            held.visible = .synced
            $0.channelRules = [("stamped", stamped), ("held", held)]
        }
        let reader = try SimulatedReader(server, .eventsSocket)
        let client = try server.connect()
        var seen: [String] = []
        for number in 0..<60 {
            server.kernel.advance(milliseconds: 7)
            if number == 30 { server.kernel.jumpWallClock(milliseconds: -3_600_000) }
            store.isHeld = number % 3 != 0
            let channel = ["stamped", "held", "plain"][number / 2 % 3]
            client.write(
                RequestText.post(
                    "{\"n\":\(number)}\n{ \"type\" : \"b\" }", to: "/v1/events?ack=none&channel=\(channel)",
                    type: "application/x-ndjson"))
            seen += reader.take().filter { !$0.isControl }.map(\.text)
        }
        store.isHeld = false
        seen += reader.take().filter { !$0.isControl }.map(\.text)
        #expect(server.engine.hub.head == 120)
        #expect(seen.count == 120)
        #expect(try store.everything().map(\.line) == seen)
    }

    @Test("a server that stops gives every answer that waits, and ends when the database has ended")
    func stops() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let client = try server.connect()
        client.write(post() + post())
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"$ack\":true}\n{\"n\":1}\n{\"n\":2}\n{\"n\"")
        server.kernel.raiseSignal(15)
        server.settle()
        #expect(server.isRunning && client.takeAll().isEmpty && writer.takeAll().isEmpty)
        store.isHeld = false
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200], "the second was not read: nothing was done")
        #expect(answers.first?.fields["connection"] == "close")
        #expect(lines(writer).map(gist) == ["2 synced", "3 synced"])
        client.close()
        writer.close()
        server.settle()
        #expect(!server.isRunning)
        let next = try SimulatedServer(store: store)
        #expect(next.engine.hub.head == 3 && next.engine.hub.epoch == server.engine.hub.epoch)
    }

    @Test(
        "a repetition is answered at the level it asks for, whatever the first was stored for",
        arguments: [true, false])
    func repeated(isStored: Bool) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = !isStored
        let client = try server.connect()
        client.write(post("accepted", "{\"n\":1}", ["Idempotency-Key: k"]))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
        #expect(server.engine.storage?.counts.syncs == 0)
        store.isHeld = true
        let others = try (0..<3).map { _ in try server.connect() }
        for other in others { other.write(post("synced", "{\"n\":1}", ["Idempotency-Key: k"])) }
        client.write(post("accepted", "{\"n\":1}", ["Idempotency-Key: k"]))
        #expect(Answer.all(client.takeAll()).map { $0.json["dup"] as? Bool } == [true])
        for other in others { #expect(other.takeAll().isEmpty) }
        store.isHeld = false
        for other in others {
            let answer = Answer.all(other.takeAll()).first
            #expect(answer?.json["level"] as? String == "synced" && answer?.json["dup"] as? Bool == true)
            #expect(answer?.json["seq"] as? Int == 1)
        }
        #expect(server.engine.storage?.counts.syncs == 1)
        for other in others { other.write(post("synced", "{\"n\":1}", ["Idempotency-Key: k"])) }
        for other in others { #expect(Answer.all(other.takeAll()).count == 1) }
        #expect(server.engine.storage?.counts.syncs == 1, "what the disk has is answered at once")
        #expect(try store.everything().count == 1)
    }

    @Test("keys and producers are known after a restart, clean or not", arguments: [true, false])
    func remembered(isClean: Bool) throws {
        let store = SimulatedStore()
        let first = try SimulatedServer(store: store)
        let client = try first.connect()
        client.write(post("synced", "{\"n\":1}", ["Idempotency-Key: k"]))
        client.write(RequestText.post("{\"n\":2}", to: "/v1/events?producer=p&pepoch=3&pseq=1"))
        client.write(RequestText.post("{\"n\":3}", to: "/v1/events?producer=p&pepoch=3&pseq=2"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200, 200])
        client.close()
        if isClean {
            first.kernel.raiseSignal(15)
            first.settle()
        }
        let second = try SimulatedServer(store: store)
        #expect((second.engine.hub.epoch == first.engine.hub.epoch) == isClean || !isClean)
        let again = try second.connect()
        again.write(post("synced", "{\"n\":1}", ["Idempotency-Key: k"]))
        again.write(post("synced", "{\"n\":4}", ["Idempotency-Key: k"]))
        again.write(RequestText.post("{\"n\":3}", to: "/v1/events?producer=p&pepoch=3&pseq=2"))
        again.write(RequestText.post("{\"n\":3}", to: "/v1/events?producer=p&pepoch=3&pseq=4"))
        again.write(RequestText.post("{\"n\":3}", to: "/v1/events?producer=p&pepoch=2&pseq=1"))
        again.write(RequestText.post("{\"n\":5}", to: "/v1/events?producer=p&pepoch=3&pseq=3"))
        let answers = Answer.all(again.takeAll())
        #expect(answers.map(\.status) == [200, 409, 200, 409, 409, 200])
        #expect(answers.map { $0.json["dup"] as? Bool } == [true, nil, true, nil, nil, false])
        #expect(answers.compactMap { $0.json["seq"] as? Int }.prefix(2) == [1, 3])
    }

    @Test("what must be a channel's newest event counts from when it has a number, seen or not")
    func expectLast() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store) {
            var held = Configuration.ChannelRules()
            held.visible = .synced
            $0.channelRules = [("events", held)]
        }
        store.isHeld = true
        let client = try server.connect()
        for (last, status) in [("0", 200), ("0", 412), ("\(Self.e)-1", 200), ("\(Self.e)-1", 412)] {
            client.write(RequestText.post("{}", to: "/v1/events?ack=accepted&expect_last=\(last)"))
            #expect(Answer.all(client.takeAll()).map(\.status) == [status])
        }
        #expect(server.engine.hub.head == 0 && server.engine.hub.accepted == 2)
    }

    @Test("bytes behind a request that waits, for which there is no memory, end the connection behind its answer")
    func noMemory() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.isHeld = true
        let client = try server.connect()
        let before = server.engine.memory
        server.engine.memory = MemoryBudget(bytesMax: 16_384)
        client.write(post() + RequestText.post("{\"text\":\"" + String(repeating: "x", count: 30_000) + "\"}"))
        server.engine.memory = before
        server.pass(milliseconds: 1000)
        #expect(client.takeAll().isEmpty, "said now it would pass for the answer")
        store.isHeld = false
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200])
        #expect(answers.first?.fields["connection"] == "close")
        #expect(client.isAtEnd && server.engine.hub.accepted == 1)
    }

    @Test("what waits is counted, and given back")
    func memory() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(pipeBytes: 1 << 20, store: store)
        store.isHeld = true
        let before = server.engine.memoryHeld.storage
        let writers = try (0..<20).map { _ in try server.connect(SimulatedServer.ingest) }
        for writer in writers { writer.write("{\"$ack\":true}\n" + String(repeating: "{}\n[]\n", count: 500)) }
        #expect(server.engine.storage?.waiting.count == 20_000)
        let held = server.engine.memoryHeld.storage - before
        #expect(held >= 20_000 * MemoryLayout<WaitingAnswer>.stride)
        store.isHeld = false
        for writer in writers { #expect(lines(writer).count == 1000) }
        #expect(server.engine.memoryHeld.storage <= 4096 * MemoryLayout<WaitingAnswer>.stride)
        #expect(server.metric("fanout_memory_bytes", "of=\"storage\"") == UInt64(server.engine.memoryHeld.storage))
    }
}
