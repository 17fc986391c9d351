// Ingest sockets and standard input: lines, acks, envelopes, and what a bad line costs.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Ingest")
struct IngestTests {
    private static let e = SimulatedServer.epochText

    private func lines(_ client: SimulatedClient) -> [String] {
        client.takeText().split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    private func code(_ line: String) -> String? { (JSONObject(line)?["error"] as? [String: Any])?["code"] as? String }

    @Test(
        "a writer that writes one line and closes has published, newline or not", arguments: ["\n", "", "\r\n", "\n\n"])
    func oneLine(end: String) throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"type\":\"a\"}" + end)
        writer.close()
        #expect(reader.take().map(\.text).last == "{\"seq\":1,\"channel\":\"events\",\"type\":\"a\"}")
        #expect(server.engine.hub.head == 1)
    }

    @Test("acks come in order, one for each line, and only when asked for", arguments: [1, 2, 3, 17, 4096])
    func acks(pieceBytes: Int) throws {
        let server = try SimulatedServer()
        let writer = try server.connect(SimulatedServer.ingest)
        let text = """
            {"$ack":true}

            {"type":"a"}
            {"seq":1}
              \t
            nonsense
            {"type":"b"}
            {"$ack":true}
            {"$publish":{"event":{"type":"c"},"channel":"other"}}
            {"$publish":{"event":{"type":"d"},"ack":"none"}}
            {"$publish":{"event":{"type":"e"},"ack":"synced"}}
            {"$publish":{"event":{"type":"f"},"id":"x"}}
            {"$publish":{"channel":"other"}}
            {"$publish":[]}
            {"$publish":{"event":[]}}
            {"$publish":{"event":{"type":"g"},"chanel":"x"}}
            {"$publish":{"event":{"type":"h"},"channel":"a//b"}}
            {"$publish":{"event":{}},"more":1}

            """
        let bytes = Array(text.utf8)
        writer.write(bytes, pieces: Array(repeating: pieceBytes, count: bytes.count / pieceBytes + 1))
        let answers = lines(writer)
        let expected: [String] = [
            "1", "reserved_member", "invalid_json", "2", "3", "4", "none", "level_unavailable", "6",
            "bad_envelope", "bad_envelope", "not_an_object", "bad_envelope", "bad_channel", "7",
        ]
        #expect(answers.count == expected.count)
        for (answer, expected) in zip(answers, expected) {
            if let seq = Int(expected) {
                #expect(
                    answer == """
                        {"cursor":"\(Self.e)-\(seq)","seq":\(seq),"level":"accepted","dup":false,\
                        "subscribers":0,"behind":0}
                        """)
            } else if expected == "none" {
                #expect(answer == "{\"level\":\"none\"}")
            } else {
                #expect(code(answer) == expected, "\(answer)")
            }
        }
        #expect(server.engine.hub.head == 7)
        let quiet = try server.connect(SimulatedServer.ingest)
        quiet.write("{\"type\":\"a\"}\n{\"$ack\":true}\nnonsense\n")
        #expect(quiet.takeAll().isEmpty, "the first line alone asks for acks")
        #expect(!quiet.isAtEnd)
    }

    @Test("a channel's own socket publishes there and nowhere else")
    func fixedChannel() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        let writer = try server.connect(SimulatedServer.ingestFixed)
        writer.write("{\"$ack\":true}\n{\"a\":1}\n")
        writer.write("{\"$publish\":{\"event\":{\"a\":2},\"channel\":\"fixed\"}}\n")
        writer.write("{\"$publish\":{\"event\":{\"a\":3},\"channel\":\"events\"}}\n")
        let answers = lines(writer)
        #expect(answers.count == 3)
        #expect(answers.last.flatMap(code) == "channel_fixed")
        #expect(reader.take().map { $0.object["channel"] as? String } == ["fixed", "fixed"])
    }

    private func event(bytes: Int) -> String { "{\"a\":\"" + String(repeating: "x", count: bytes - 8) + "\"}" }

    @Test("a line of the size limit passes, also in an envelope; one byte more is refused and closes the connection")
    func sizes() throws {
        let server = try SimulatedServer()
        for oversized in [event(bytes: 262_145) + "\n{}\n", String(repeating: "A", count: Engine.lineBytesMax + 1)] {
            let writer = try server.connect(SimulatedServer.ingest)
            writer.write("{\"$ack\":true}\n")
            writer.write(event(bytes: 262_144) + "\n")
            writer.write("{\"$publish\":{\"event\":" + event(bytes: 262_144) + "}}\n")
            writer.write(oversized)
            let answers = lines(writer)
            #expect(answers.map { JSONObject($0)?["seq"] == nil } == [false, false, true])
            #expect(answers.last.flatMap(code) == "event_too_large")
            #expect(writer.isAtEnd)
            writer.close()
        }
        #expect(server.engine.hub.head == 4)
        server.checkNothingIsHeld()
    }

    @Test("a flood of lines is handled in shares, and every event arrives in order")
    func flood() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        let writer = try server.connect(SimulatedServer.ingest)
        var seqs: [Int] = []
        for _ in 0..<20 {
            writer.write(String(repeating: "{\"type\":\"flood\"}\n", count: 2000))
            seqs += reader.takeSeqs()
        }
        writer.close()
        seqs += reader.takeSeqs()
        #expect(seqs == Array(1...40_000))
    }

    @Test(
        "standard input: an oversized line costs itself, wherever it is cut", arguments: [1, 266_000, 266_241, 300_010])
    func standardInputOversized(piece: Int) throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        let (descriptor, source) = server.kernel.openSource()
        try server.engine.readStandardInput(descriptor, asText: false)
        let client = SimulatedClient(server, source)
        let long = "{\"n\":0}\n" + event(bytes: 300_000) + "\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"
        client.write(Array(long.utf8), pieces: [piece, 400_000])
        client.write("{\"n\":4}\n")
        #expect(reader.take().compactMap { $0.object["n"] as? Int } == [0, 1, 2, 3, 4])
        #expect(server.log.contains { $0.contains("standard input") })
        #expect(server.engine.metrics.refusedEvents == 1)
    }

    @Test("standard input: a signal with half a line read stops the server in order")
    func standardInputAtSignal() throws {
        let server = try SimulatedServer()
        let (descriptor, source) = server.kernel.openSource()
        try server.engine.readStandardInput(descriptor, asText: false)
        let client = SimulatedClient(server, source)
        client.write("{\"a\":")
        server.kernel.raiseSignal(15)
        server.settle()
        #expect(!server.isRunning)
        #expect(server.engine.ending?.exitCode == 0)
    }

    @Test("standard input: its end counts the last line; with exitOnEndOfInput the server drains and ends with 1000")
    func standardInputEnds() throws {
        for exits in [false, true] {
            let server = try SimulatedServer { $0.exitOnEndOfInput = exits }
            let reader = try SimulatedReader(server, .eventsSocket)
            let (descriptor, source) = server.kernel.openSource()
            try server.engine.readStandardInput(descriptor, asText: true)
            let client = SimulatedClient(server, source)
            client.write(Array("caf\u{e9}\r\n\n".utf8) + [0xFF, 0x22, 0x0A] + Array("last".utf8))
            client.finish()
            let records = reader.take()
            #expect(
                records.filter { !$0.isControl }.map { $0.object["text"] as? String }
                    == ["café", "\u{FFFD}\"", "last"])
            #expect((records.last?.kind == "$bye") == exits)
            if exits { #expect(records.last?.object["code"] as? Int == 1000) }
            if exits { #expect(records.last?.object["retry_ms"] == nil) }
            reader.client.close()
            server.settle()
            #expect(server.isRunning == !exits)
        }
    }
}
