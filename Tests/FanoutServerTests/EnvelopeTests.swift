// Lines that are more than an event: what is one and what is not.
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("Envelope")
struct EnvelopeTests {
    private func envelope(_ text: String) -> (event: String, envelope: Envelope)? {
        let bytes = Array(text.utf8)
        // As lines are taken.
        guard Envelope.mayBe(bytes.span), let envelope = Envelope(bytes.span) else { return nil }
        return (String(decoding: bytes[envelope.event.range], as: UTF8.self), envelope)
    }

    @Test(
        "a line whose only member is $publish is an envelope, however it is spelt",
        arguments: [
            "{\"$publish\":{\"event\":{\"a\":1}}}", " { \"$publish\" : { \"event\" : {\"a\":1} } } \r",
            "{\"\\u0024publish\":{\"event\":{\"a\":1}}}", "{\"$pub\\u006cish\":{\"e\\u0076ent\":{\"a\":1}}}",
            "{\"$publish\":{\"channel\":\"c\",\"event\":{\"a\":1},\"ack\":\"none\"}}",
        ])
    func envelopes(line: String) {
        let found = envelope(line)
        #expect(found?.event == "{\"a\":1}")
        #expect(found?.envelope.fault == nil)
    }

    @Test(
        "anything else is an event, or bad as one",
        arguments: [
            "{}", "{\"a\":1}", "{\"$publish\":{\"event\":{}},\"a\":1}", "{\"a\":1,\"$publish\":{\"event\":{}}}",
            "{\"$Publish\":{\"event\":{}}}", "{\"$publishx\":{}}", "[\"$publish\"]", "{\"$publish\":{\"event\":{}}",
            "{\"$publish\":{\"event\":}}", "{\"$publish\"}", "{\"$", "{\"", "{", "", "   ", "\"$publish\"",
            "{\"$publish\":{\"event\":{}}}x", "{\"type\":\"$publish\"}", "{\"$ack\":true}",
        ])
    func events(line: String) {
        #expect(envelope(line) == nil)
    }

    @Test(
        "a bad envelope says so",
        arguments: [
            ("{\"$publish\":1}", "bad_envelope"), ("{\"$publish\":null}", "bad_envelope"),
            ("{\"$publish\":{}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"event\":{}}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"event\":{},\"event\":{\"a\":1}}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"channel\":\"a\",\"channel\":\"b\"}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"ack\":\"none\",\"ack\":\"accepted\"}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"channel\":1}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"ack\":true}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"id\":1}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"id\":\"\"}}", "bad_key"),
            ("{\"$publish\":{\"event\":{},\"id\":\"k\",\"id\":\"k\"}}", "bad_key"),
            ("{\"$publish\":{\"event\":{},\"id\":\"\\ud800\"}}", "bad_key"),
            ("{\"$publish\":{\"event\":{},\"expect_last\":\"1\"}}", "bad_cursor"),
            ("{\"$publish\":{\"event\":{},\"expect_last\":1}}", "bad_cursor"),
            ("{\"$publish\":{\"event\":{},\"expect_last\":null}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"producer\":1}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"producer\":\"\"}}", "bad_producer"),
            ("{\"$publish\":{\"event\":{},\"pepoch\":\"1\"}}", "bad_envelope"),
            ("{\"$publish\":{\"event\":{},\"pepoch\":-1}}", "bad_producer"),
            ("{\"$publish\":{\"event\":{},\"pseq\":1e0}}", "bad_producer"),
            ("{\"$publish\":{\"event\":{},\"pseq\":0}}", "bad_producer"),
            ("{\"$publish\":{\"event\":{},\"pseq\":9007199254740992}}", "bad_producer"),
        ])
    func faults(line: String, code: String) {
        #expect(envelope(line)?.envelope.fault?.code == code)
    }

    @Test("an envelope has the conditions of a request, spelt as its query and its header spell them")
    func conditions() throws {
        let line =
            #"{"$publish":{"pseq":7,"id":"\u006b \u00e9","event":{},"pepoch":0,"producer":"p","#
            + #""expect_last":"00000000000000e1-3"}}"#
        let found = try #require(envelope(line)?.envelope)
        #expect(found.fault == nil)
        let conditions = try #require(found.conditions)
        #expect(conditions.key == Array("k é".utf8))
        #expect(conditions.expectLast == .event(Cursor(epoch: Epoch(rawValue: 0xe1), seq: 3)))
        #expect(try conditions.place() == ProducerPlace(producer: Array("p".utf8), epoch: 0, number: 7))
        for none in ["0", "\"0\""] {
            let line = "{\"$publish\":{\"event\":{},\"expect_last\":\(none)}}"
            #expect(envelope(line)?.envelope.conditions?.expectLast == .nothing)
        }
        #expect(envelope("{\"$publish\":{\"event\":{}}}")?.envelope.conditions == nil)
    }

    @Test(
        "only {\"$ack\":true} asks for acks",
        arguments: [
            ("{\"$ack\":true}", true), (" {\t\"$ack\" : true } \r", true), ("{\"\\u0024ack\":true}", true),
            ("{\"$ack\":false}", false), ("{\"$ack\":\"true\"}", false), ("{\"$ack\":true,\"a\":1}", false),
            ("{\"$ack\":true}x", false), ("{\"$ack\":[true]}", false), ("{\"ack\":true}", false), ("{\"$ack\"}", false),
            ("", false), ("{\"$ack\":true", false),
        ])
    func acks(line: String, asks: Bool) {
        let bytes = Array(line.utf8)
        #expect(Envelope.asksForAcks(bytes.span) == asks)
    }

    @Test("an envelope as deep as an event may be is taken, one deeper is refused as too deep")
    func depth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "{\"a\":", count: depth - 1) + "{}" + String(repeating: "}", count: depth - 1)
        }
        let server = try SimulatedServer()
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"$ack\":true}\n")
        for depth in [128, 129] {
            writer.write(nested(depth) + "\n{\"$publish\":{\"event\":" + nested(depth) + "}}\n")
        }
        let answers = StreamReader.lines(writer.takeAll()).map {
            ($0.object["error"] as? [String: Any])?["code"] as? String
        }
        #expect(answers == [nil, nil, "too_deep", "too_deep"])
    }

    @Test("every publish fault is one error object on a line, with a status of its kind")
    func bodies() throws {
        let faults: [(PublishFault, Int)] = [
            (.badChannel, 400), (.oneChannel, 400), (.tooManyChannels, 503), (.channelFixed, 403), (.mediaType, 415),
            (.batchTooLarge, 413), (.emptyBatch, 400), (.badEnvelope, 400), (.badKey, 400),
            (.badCursor, 400), (.badProducer, 400), (.idConflict, 409), (.tooManyProducers, 503),
            (.unknownParameter("\u{0}\"\\'\u{2028}"), 400),
            (PublishFault(EventFault(.invalidJSON, at: 7), line: 3), 400),
            (PublishFault(EventFault(.tooLarge, at: 7), line: nil), 413),
        ]
        for (fault, status) in faults {
            var bytes: [UInt8] = []
            fault.append(to: &bytes)
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text.hasSuffix("\n") && text.dropLast().contains("\n") == false)
            let error = JSONObject(text)?["error"] as? [String: String]
            #expect(error?["code"] == fault.code && error?["message"] == fault.message)
            #expect(fault.status == status)
            #expect(fault.code.allSatisfy { $0.isLowercase || $0 == "_" })
        }
        #expect(PublishFault(EventFault(.invalidJSON, at: 7), line: 3).message.hasSuffix("(line 3, byte 7)"))
    }
}
