// Publishing on conditions: repetitions, `expect_last`, producers' numbers; over HTTP and on ingest sockets.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Conditions of a publication")
struct ConditionTests {
    private static let e = SimulatedServer.epochText

    /// One answer, from HTTP or a line: its status (0 on a line) and its object.
    private struct Told {
        var status: Int
        var object: [String: Any]
        var code: String? { error?["code"] as? String }
        var error: [String: Any]? { object["error"] as? [String: Any] }
        var seq: Int? { object["seq"] as? Int }
        var isDuplicate: Bool? { object["dup"] as? Bool }
    }

    /// Publishes over HTTP, each request on a connection that stays open.
    private final class Requests {
        let client: SimulatedClient

        init(_ server: SimulatedServer) throws { client = try server.connect() }

        func send(_ requests: [String]) -> [Told] {
            client.write(requests.joined())
            return Answer.all(client.takeAll()).map { Told(status: $0.status, object: JSONObject($0.body) ?? [:]) }
        }

        func send(_ body: String, _ query: String = "", key: String? = nil, batch: Bool = false) -> Told {
            let request = RequestText.post(
                body, to: "/v1/events" + (query.isEmpty ? "" : "?" + query),
                type: batch ? "application/x-ndjson" : "application/json", key.map { ["Idempotency-Key: \($0)"] } ?? [])
            return send([request]).first ?? Told(status: -1, object: [:])
        }
    }

    /// Publishes lines, with acks.
    private final class Lines {
        let client: SimulatedClient

        init(_ server: SimulatedServer, _ address: SocketAddress = SimulatedServer.ingest) throws {
            client = try server.connect(address)
            client.write("{\"$ack\":true}\n")
        }

        func send(_ lines: String...) -> [Told] {
            client.write(lines.map { $0 + "\n" }.joined())
            return client.takeText().split(separator: "\n").map { Told(status: 0, object: JSONObject($0) ?? [:]) }
        }

        func publish(_ event: String, _ rest: String) -> Told {
            send("{\"$publish\":{\"event\":\(event),\(rest)}}").first ?? Told(status: -1, object: [:])
        }
    }

    // MARK: Keys

    @Test("the same key and event give the first answer again, and readers see one event")
    func sameKey() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        let requests = try Requests(server)
        let first = requests.send("{\"n\":1}", key: "k")
        #expect(first.status == 200 && first.seq == 1 && first.isDuplicate == false)
        // White space does not count; everything else does.
        let again = requests.send(" { \"n\" : 1 }\n", key: "k")
        #expect(again.status == 200 && again.seq == 1 && again.isDuplicate == true)
        #expect(again.object["cursor"] as? String == Self.e + "-1")
        #expect(again.object["subscribers"] as? Int == 0 && again.object["behind"] as? Int == 0)
        let other = requests.send("{\"n\":1.0}", key: "k")
        #expect(other.status == 409 && other.code == "id_conflict")
        #expect(requests.send("{\"n\":1}", "channel=b", key: "k").seq == 2, "the key belongs to its channel")
        #expect(requests.send("{\"n\":1}", key: "K").seq == 3)
        #expect(requests.send("{\"n\":1}").seq == 4)
        #expect(reader.takeSeqs() == [1, 2, 3, 4])
        #expect(server.metric("fanout_publish_duplicates_total") == 1)
        #expect(server.metric("fanout_publish_conflicts_total") == 1)
        #expect(server.metric("fanout_idempotency_keys") == 3)
        #expect(server.metric("fanout_events_in_total") == 4)
    }

    @Test("a key is one for the header and the envelope, and for requests that come together")
    func keyEverywhere() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        let post = RequestText.post("{\"n\":1}", ["Idempotency-Key: k"])
        let told = requests.send([post, post, post])
        #expect(told.map(\.seq) == [1, 1, 1] && told.map(\.isDuplicate) == [false, true, true])
        let lines = try Lines(server)
        #expect(lines.publish("{\"n\":1}", "\"id\":\"k\"").isDuplicate == true)
        #expect(lines.publish("{ \"n\":1}", "\"id\":\"\\u006b\"").seq == 1)
        #expect(lines.publish("{\"n\":2}", "\"id\":\"k\"").code == "id_conflict")
        let fixed = try Lines(server, SimulatedServer.ingestFixed)
        #expect(fixed.publish("{\"n\":1}", "\"id\":\"k\"").seq == 2)
        #expect(requests.send("{\"n\":1}", "channel=fixed", key: "k").isDuplicate == true)
        let none = lines.send(
            "{\"$publish\":{\"event\":{\"n\":1},\"id\":\"k\",\"ack\":\"none\"}}", "{\"n\":3}",
            "{\"$publish\":{\"event\":{\"n\":3},\"id\":\"new\"}}", "{\"$publish\":{\"event\":{\"n\":3},\"id\":\"new\"}}"
        )
        #expect(none.map(\.seq) == [nil, 3, 4, 4])
        #expect(server.engine.hub.head == 4)
    }

    @Test("a line without acks is not published twice either")
    func silentLines() throws {
        let server = try SimulatedServer()
        let writer = try server.connect(SimulatedServer.ingest)
        let line = "{\"$publish\":{\"event\":{\"n\":1},\"id\":\"k\"}}\n"
        writer.write("{\"a\":1}\n" + line + line + "{\"a\":2}\n" + line)
        #expect(writer.takeAll().isEmpty)
        #expect(server.engine.hub.head == 3)
    }

    @Test("a batch is repeated as a whole: its events, their order and their boundaries")
    func batches() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        let first = requests.send("{\"n\":1}\n{\"n\":2}\n", key: "k", batch: true)
        #expect(first.seq == 2)
        let again = requests.send("\n{\"n\": 1}\r\n{\"n\":2}", key: "k", batch: true)
        #expect(again.isDuplicate == true && again.seq == 2 && again.object["count"] as? Int == 2)
        #expect(again.object["first"] as? String == Self.e + "-1")
        for other in ["{\"n\":2}\n{\"n\":1}", "{\"n\":1}", "{\"n\":1}\n{\"n\":2}\n{}"] {
            #expect(requests.send(other, key: "k", batch: true).code == "id_conflict")
        }
        #expect(requests.send("{\"n\":1}\n{\"n\":2", key: "k", batch: true).code == "invalid_json")
        #expect(server.engine.hub.head == 2)
    }

    @Test("what was refused leaves nothing behind: no key, no producer, no channel")
    func refused() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        let channels = server.engine.hub.channels.count
        #expect(requests.send("{\"seq\":1}", "channel=new", key: "k").code == "reserved_member")
        #expect(requests.send("{}", "channel=new&expect_last=\(Self.e)-1", key: "k").status == 412)
        #expect(
            requests.send("{}", "channel=new&expect_last=\(Self.e)-1&producer=p&pepoch=1&pseq=1", key: "k").status
                == 412)
        #expect(requests.send("{}", "channel=new&producer=p&pepoch=1&pseq=2", key: "k").code == "producer_gap")
        #expect(server.engine.hub.channels.count == channels)
        #expect(server.metric("fanout_idempotency_keys") == 0 && server.metric("fanout_producers") == 0)
        let other = requests.send("{\"other\":1}", "channel=new&producer=p&pepoch=1&pseq=1", key: "k")
        #expect(other.seq == 1 && other.isDuplicate == false)
    }

    @Test("after ten minutes a key is free", arguments: [(599_000, true), (601_000, false)])
    func expiry(milliseconds: Int, isKnown: Bool) throws {
        let server = try SimulatedServer()
        #expect(try Requests(server).send("{\"n\":1}", key: "k").seq == 1)
        server.pass(milliseconds: milliseconds, step: 20_000)
        let again = try Requests(server).send("{\"n\":1}", key: "k")
        #expect(again.isDuplicate == isKnown && again.seq == (isKnown ? 1 : 2))
    }

    @Test("a key is 1 to 255 bytes, in a header of visible ASCII")
    func badKeys() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        let long = String(repeating: "k", count: 255)
        #expect(requests.send("{}", key: long).seq == 1)
        for bad in [long + "k", "a b", "k\u{e9}", ""] {
            let told = requests.send("{}", key: bad)
            #expect(told.status == 400 && told.code == "bad_key", "\(bad)")
        }
        let lines = try Lines(server)
        #expect(lines.publish("{}", "\"id\":\"\(long)\"").isDuplicate == true)
        #expect(lines.publish("{}", "\"id\":\"\(long)k\"").code == "bad_key")
        #expect(lines.publish("{}", "\"id\":\"a b \u{e9}\\n\"").seq == 2)
        #expect(server.engine.hub.head == 2)
    }

    // MARK: What comes first

    @Test("a repetition is one on a channel that has ended, and whatever it expects to be last")
    func order() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        let lines = try Lines(server)
        #expect(requests.send("{\"n\":1}", "channel=c&expect_last=0", key: "k").seq == 1)
        #expect(requests.send("{\"n\":2}", "channel=c&producer=p&pepoch=1&pseq=1").seq == 2)
        #expect(requests.send("{\"n\":1}", "channel=c&expect_last=0", key: "k").isDuplicate == true)
        _ = requests.send([RequestText.make("DELETE", "/v1/channels?channel=c")])
        #expect(requests.send("{\"n\":1}", "channel=c", key: "k").isDuplicate == true)
        #expect(requests.send("{\"n\":9}", "channel=c", key: "k").code == "id_conflict")
        #expect(requests.send("{\"n\":2}", "channel=c&producer=p&pepoch=1&pseq=1").seq == 2)
        #expect(lines.publish("{\"n\":1}", "\"channel\":\"c\",\"id\":\"k\"").isDuplicate == true)
        #expect(requests.send("{\"n\":3}", "channel=c&expect_last=0", key: "new").code == "channel_ended")
        #expect(lines.publish("{\"n\":3}", "\"channel\":\"c\",\"id\":\"new\"").code == "channel_ended")
        #expect(requests.send("{\"n\":3}", "channel=c").code == "channel_ended")
        _ = requests.send([RequestText.make("PUT", "/v1/channels?channel=c")])
        let anew = requests.send("{\"n\":4}", "channel=c", key: "new")
        #expect(anew.seq == 3 && anew.isDuplicate == false)
        // The key is asked before the producer, and a producer's repetition leaves no key.
        #expect(requests.send("{\"n\":4}", "channel=c&producer=p&pepoch=9&pseq=7", key: "new").isDuplicate == true)
        #expect(requests.send("{\"n\":2}", "channel=c&producer=p&pepoch=1&pseq=1", key: "late").isDuplicate == true)
        #expect(requests.send("{\"n\":5}", "channel=c", key: "late").seq == 4)
    }

    @Test("expect_last is the channel's newest event, not the server's; what it is stands beside the error")
    func expectLast() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        func last(_ told: Told) -> String? { told.status == 412 ? told.error?["last"] as? String : nil }
        #expect(last(requests.send("{}", "channel=a&expect_last=\(Self.e)-1")) == "0")
        #expect(requests.send("{}", "channel=a&expect_last=\(Self.e)-0").seq == 1, "the place before the first event")
        #expect(requests.send("{}", "channel=b&expect_last=0").seq == 2)
        #expect(requests.send("{}", "channel=a&expect_last=\(Self.e)-1").seq == 3)
        for stale in ["0", "\(Self.e)-1", "\(Self.e)-4", "00000000000000e2-3"] {
            let told = requests.send("{}", "channel=a&expect_last=\(stale)")
            #expect(last(told) == Self.e + "-3" && told.code == "expect_last", "\(stale)")
        }
        for bad in ["", "3", "now", "\(Self.e)-", "\(Self.e)-03", "\(Self.e)-3&expect_last=\(Self.e)-3"] {
            let told = requests.send("{}", "channel=a&expect_last=\(bad)")
            #expect(told.status == 400 && told.code == "bad_cursor", "\(bad)")
        }
        let lines = try Lines(server)
        let told = lines.send(
            "{\"$publish\":{\"event\":{},\"channel\":\"a\",\"expect_last\":\"\(Self.e)-3\"}}",
            "{\"$publish\":{\"event\":{},\"channel\":\"a\",\"expect_last\":\"\(Self.e)-3\"}}",
            "{\"$publish\":{\"event\":{},\"expect_last\":0}}")
        #expect(told.map(\.seq) == [4, nil, 5] && told[1].error?["last"] as? String == Self.e + "-4")
        let batch = requests.send("{}\n{}\n", "channel=b&expect_last=\(Self.e)-2", batch: true)
        #expect(batch.seq == 7)
        #expect(server.metric("fanout_publish_conflicts_total") == 6)
    }

    @Test("of two who expect the same one wins, also in one turn")
    func race() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        let one = RequestText.post("{\"n\":1}", to: "/v1/events?expect_last=0")
        let two = RequestText.post("{\"n\":2}", to: "/v1/events?expect_last=0")
        let told = requests.send([one, two])
        #expect(told.map(\.status) == [200, 412] && told[1].error?["last"] as? String == Self.e + "-1")
    }

    // MARK: Producers

    @Test("a producer's numbers: next, repetition, gap, fenced; each channel has its own")
    func producer() throws {
        let server = try SimulatedServer()
        let requests = try Requests(server)
        func send(_ body: String, _ epoch: Int, _ number: Int, batch: Bool = false, channel: String = "a") -> Told {
            requests.send(body, "channel=\(channel)&producer=p&pepoch=\(epoch)&pseq=\(number)", batch: batch)
        }
        let early = send("{\"n\":2}", 1, 2)
        #expect(early.status == 409 && early.code == "producer_gap" && early.error?["expected"] as? Int == 1)
        #expect(send("{\"n\":1}", 1, 1).seq == 1)
        #expect(send("{\"n\":2}\n{\"n\":3}", 1, 2, batch: true).seq == 3)
        let again = send("{\"n\":2}\n{\"n\":3}", 1, 2, batch: true)
        #expect(again.isDuplicate == true && again.seq == 3 && again.object["first"] as? String == Self.e + "-2")
        #expect(send("{\"n\":2}\n{\"n\":4}", 1, 2, batch: true).code == "id_conflict")
        let old = send("{\"n\":1}", 1, 1)
        #expect(old.status == 200 && old.isDuplicate == true && old.seq == nil && old.object.keys.contains("cursor"))
        let overlap = send("{\"n\":3}\n{\"n\":4}", 1, 3, batch: true)
        #expect(overlap.code == "producer_gap" && overlap.error?["expected"] as? Int == 4)
        #expect(send("{\"n\":9}", 2, 4).error?["expected"] as? Int == 1)
        #expect(send("{\"n\":9}", 2, 1).seq == 4)
        let fenced = send("{\"n\":4}", 1, 4)
        #expect(fenced.status == 409 && fenced.code == "fenced" && fenced.error?["pepoch"] as? Int == 2)
        #expect(send("{\"n\":1}", 0, 1, channel: "b").seq == 5)
        let lines = try Lines(server)
        #expect(lines.publish("{}", "\"channel\":\"a\",\"producer\":\"p\",\"pepoch\":2,\"pseq\":2").seq == 6)
        #expect(lines.publish("{}", "\"channel\":\"a\",\"producer\":\"p\",\"pepoch\":2,\"pseq\":2").isDuplicate == true)
        #expect(server.metric("fanout_producers") == 2)
    }

    @Test(
        "a producer is named whole or not at all",
        arguments: [
            "producer=p", "pepoch=1", "pseq=1", "producer=p&pepoch=1", "producer=p&pseq=1", "pepoch=1&pseq=1",
            "producer=&pepoch=1&pseq=1", "producer=p&pepoch=1&pseq=0", "producer=p&pepoch=-1&pseq=1",
            "producer=p&pepoch=1&pseq=01", "producer=p&pepoch=1&pseq=1.0", "producer=p&pepoch=9007199254740992&pseq=1",
            "producer=p&producer=p&pepoch=1&pseq=1", "producer=p&pepoch=1&pepoch=1&pseq=1",
            "producer=p&pepoch=1&pseq=1&pseq=1", "producer=p&pepoch=1&pseq=18446744073709551616",
            "producer=%EF%BF%BD&pepoch=1&pseq=1", "producer=\(String(repeating: "p", count: 256))&pepoch=1&pseq=1",
        ])
    func badProducer(query: String) throws {
        let server = try SimulatedServer()
        let told = try Requests(server).send("{}", query)
        #expect(told.status == 400 && told.code == "bad_producer")
        #expect(server.engine.hub.head == 0)
    }

    @Test("beyond the producers that can be remembered new ones are refused, and the others go on")
    func tooManyProducers() throws {
        let server = try SimulatedServer { $0.memoryMax = MemoryFormula.memoryLeast }
        let engine = server.engine
        var number: UInt64 = 0
        while true {
            let name = ContentDigest(high: number, low: number)
            guard engine.producers.hasRoom(for: name) else { break }
            engine.producers.remember(
                ProducerRecord(name: name, payload: name, epoch: 1, lastNumber: 1, firstSeq: 1, lastSeq: 1))
            number += 1
            if number == 1000 {
                #expect(try Requests(server).send("{}", "producer=p&pepoch=1&pseq=1").seq == 1)
            }
        }
        let bytes = engine.producers.bytesHeld
        #expect(bytes <= engine.memory.shareBytes / 2)
        let requests = try Requests(server)
        let told = requests.send("{}", "channel=new&producer=q&pepoch=1&pseq=1", key: "k")
        #expect(told.status == 503 && told.code == "too_many_producers")
        #expect(server.metric("fanout_idempotency_keys") == 0)
        #expect(requests.send("{}", "producer=p&pepoch=1&pseq=2").seq == 2)
        #expect(requests.send("{}", key: "k").seq == 3)
    }
}
