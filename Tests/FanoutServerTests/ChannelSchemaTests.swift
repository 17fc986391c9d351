// Schemas in the server: what does not fit is refused, or published and counted, and everybody can ask for them.

import Foundation
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Channel schemas")
struct ChannelSchemaTests {
    private static let text =
        #"{"discriminator":"type","mapping":{"a":{"properties":{"n":{"type":"uint8"},"l":{"elements":{"#
        + #""type":"string"}}}},"end":{"properties":{}}}}"#
    private static let right = #"{"type":"a","n":1,"l":["x"]}"#
    private static let wrong = #"{"type":"a","n":256,"l":["x",2]}"#
    private static let errors =
        #""errors":[{"instance":"/n","schema":"/mapping/a/properties/n/type"},"#
        + #"{"instance":"/l/1","schema":"/mapping/a/properties/l/elements/type"}]"#

    private func rules(
        _ mode: Configuration.SchemaMode = .reject, _ text: String = text
    ) -> Configuration.ChannelRules {
        var rules = Configuration.ChannelRules()
        rules.schema = Array(text.utf8)
        rules.schemaMode = mode
        return rules
    }

    /// A server whose channels `reject`, `warn` and `pass` do that, and whose `fixed` refuses.
    private func server() throws -> SimulatedServer {
        try SimulatedServer { configuration in
            configuration.channelRules = [
                ("reject", rules()), ("warn", rules(.warn)), ("pass", rules(.pass)), ("fixed", rules()),
            ]
        }
    }

    private func publish(
        _ server: SimulatedServer, _ body: String, _ query: String, type: String = "application/json"
    ) throws -> Answer {
        let client = try server.connect()
        client.write(RequestText.post(body, to: "/v1/events?channel=" + query, type: type))
        return try #require(Answer.all(client.takeAll()).first)
    }

    @Test("an event that fits is published, one that does not gets 422 with every place")
    func reject() throws {
        let server = try server()
        #expect(try publish(server, Self.right, "reject").status == 200)
        let answer = try publish(server, Self.wrong, "reject")
        #expect(answer.status == 422)
        #expect(answer.errorCode == "schema")
        #expect(answer.body.contains(Self.errors))
        #expect(answer.body.contains("'/n' does not fit '/mapping/a/properties/n/type', and 1 more"))
        #expect(server.engine.hub.head == 1)
        #expect(server.metric("fanout_schema_misfits_total", #"mode="reject""#) == 1)
        #expect(server.metric("fanout_events_refused_total") == 1)
    }

    @Test("a kind that the union does not have is refused, and so is an event without one")
    func kinds() throws {
        let server = try server()
        let unknown = try publish(server, #"{"type":"b"}"#, "reject")
        #expect(unknown.body.contains(#""errors":[{"instance":"/type","schema":"/mapping"}]"#))
        let none = try publish(server, #"{"n":1}"#, "reject")
        #expect(none.body.contains(#""errors":[{"instance":"","schema":"/discriminator"}]"#))
        #expect(none.body.contains("the event itself does not fit"))
        // What the server puts in front is not the producer's, and no part of what is asked.
        #expect(try publish(server, #" { "typ\u0065" : "end" } "#, "reject").status == 200)
    }

    @Test("a batch is all or nothing, and the answer says which line")
    func batch() throws {
        let server = try server()
        let lines = [Self.right, "", Self.right, Self.wrong, Self.right].map { $0 + "\n" }.joined()
        let answer = try publish(server, lines, "reject", type: "application/x-ndjson")
        #expect(answer.status == 422)
        #expect(answer.body.contains("(line 4)") && answer.body.contains(Self.errors))
        #expect(server.engine.hub.head == 0)
        #expect(
            try publish(server, Self.right + "\n" + Self.right, "reject", type: "application/x-ndjson").status == 200)
        #expect(server.engine.hub.head == 2)
    }

    @Test("with warn and pass it is published and counted; only warn says so in the log")
    func warnAndPass() throws {
        let server = try server()
        let reader = try SimulatedReader(server, .jsonlHTTP, query: "channel=pass&channel=warn&control=off")
        for _ in 0..<3 { #expect(try publish(server, Self.wrong, "pass").status == 200) }
        #expect(!server.log.contains { $0.contains("schema") })
        for _ in 0..<3 { #expect(try publish(server, Self.wrong, "warn").status == 200) }
        let complaint =
            "fanout: warning: warn: the event does not fit its channel's schema: '/n' does not fit "
            + "'/mapping/a/properties/n/type', and 1 more; it was published all the same"
        #expect(server.log.filter { $0.contains("schema") } == [complaint])
        server.pass(milliseconds: 1500)
        #expect(server.log.filter { $0.contains("schema") } == [complaint, complaint + " (and 1 more like it)"])
        #expect(server.metric("fanout_schema_misfits_total", #"mode="pass""#) == 3)
        #expect(server.metric("fanout_schema_misfits_total", #"mode="warn""#) == 3)
        #expect(server.metric("fanout_schema_misfits_total", #"mode="reject""#) == 0)
        #expect(StreamReader.lines(reader.client.takeAll()).isEmpty == false)
        #expect(server.engine.hub.head == 6)
    }

    @Test("an ingest socket answers a line that does not fit, and goes on")
    func ingest() throws {
        let server = try server()
        let client = try server.connect(SimulatedServer.ingestFixed)
        let envelope = #"{"$publish":{"event":\#(Self.wrong),"id":"k"}}"#
        client.write("{\"$ack\":true}\n\(Self.wrong)\n\(Self.right)\n\(envelope)\n\(Self.right)\n")
        let answers = client.takeText().split(separator: "\n")
        #expect(answers.count == 4)
        for place in [0, 2] { #expect(answers[place].contains(#""code":"schema""#)) }
        for place in [0, 2] { #expect(answers[place].contains(Self.errors)) }
        for place in [1, 3] { #expect(answers[place].contains(#""level":"accepted""#)) }
        #expect(server.engine.hub.head == 2)
        // Without acks it is counted, and costs nothing but itself.
        let silent = try server.connect(SimulatedServer.ingestFixed)
        silent.write("\(Self.wrong)\n\(Self.right)\n")
        #expect(silent.takeText().isEmpty)
        #expect(server.engine.hub.head == 3)
        #expect(server.metric("fanout_schema_misfits_total", #"mode="reject""#) == 3)
    }

    @Test("an envelope is held to the schema of the channel that it names")
    func envelope() throws {
        let server = try server()
        let client = try server.connect(SimulatedServer.ingest)
        client.write(
            #"{"$ack":true}"# + "\n" + #"{"$publish":{"channel":"reject","event":{"type":"b"}}}"# + "\n"
                + #"{"$publish":{"event":{"type":"b"}}}"# + "\n")
        let answers = client.takeText().split(separator: "\n")
        #expect(answers.count == 2)
        #expect(answers.first?.contains(#""code":"schema""#) == true)
        #expect(answers.last?.contains(#""level":"accepted""#) == true)
    }

    @Test("GET /v1/schema gives a channel's schema and its hash, which is in $hello, too")
    func asked() throws {
        let server = try server()
        let client = try server.connect()
        client.write(RequestText.get("/v1/schema?channel=warn"))
        let answer = try #require(Answer.all(client.takeAll()).first)
        #expect(answer.status == 200)
        #expect(answer.body == Self.text + "\n")
        let hash = String(decoding: ChannelSchema.digest(of: Array(Self.text.utf8)).hex, as: UTF8.self)
        #expect(hash.count == 32)
        #expect(answer.fields["fanout-schema"] == hash)
        #expect(answer.fields["etag"] == "\"\(hash)\"")
        for (query, expected) in [
            ("channel=warn", hash), ("channel=warn&channel=pass", hash), ("channel=warn&channel=other", nil),
            ("", nil), ("channel=*", nil), ("channel=other", nil), ("channel=warn", hash),
        ] as [(String, String?)] {
            for kind in [ReaderKind.sse, .jsonlHTTP, .webSocket] {
                let records = try SimulatedReader(server, kind, query: query).take()
                #expect(records.first?.object["schema"] as? String == expected, "\(query) \(kind)")
            }
        }
    }

    @Test("without a channel it gives them all; where there is none it says so")
    func all() throws {
        let server = try server()
        let client = try server.connect()
        client.write(
            RequestText.get("/v1/schema") + RequestText.get("/v1/schema?channel=other")
                + RequestText.get("/v1/schema?channel=a/*") + RequestText.get("/v1/schema?x=1")
                + RequestText.make("DELETE", "/v1/schema"))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [200, 404, 400, 400, 405])
        #expect(
            answers.map(\.errorCode).dropFirst() == [
                "no_schema", "bad_channel", "unknown_parameter", "method_not_allowed",
            ])
        let schemas = try #require(answers[0].json["schemas"] as? [[String: Any]])
        #expect(Set(schemas.compactMap { $0["pattern"] as? String }) == ["reject", "warn", "pass", "fixed"])
        #expect(
            schemas.allSatisfy {
                $0["mode"] as? String == ($0["pattern"] as? String == "fixed" ? "reject" : $0["pattern"] as? String)
            })
        #expect(schemas.allSatisfy { ($0["schema"] as? [String: Any])?["discriminator"] as? String == "type" })
        let none = try SimulatedServer()
        let other = try none.connect()
        other.write(RequestText.get("/v1/schema"))
        #expect(Answer.all(other.takeAll()).map(\.body) == ["{\"schemas\":[]}\n"])
    }

    @Test(
        "a schema that cannot be a channel's ends the start",
        arguments: [
            ("{", "not valid JSON"), (#"{"type":"strin"}"#, "'type' must be one of"),
            (#"{"properties":{}}"#, "must be a union of its kinds"),
            (#"{"discriminator":"kind","mapping":{}}"#, "is 'kind' and the channel's 'type'"),
            (#"{"discriminator":"type","mapping":{"a":{"properties":{"seq":{}}}}}"#, "'seq' of 'a' is put in front"),
        ])
    func refused(text: String, complaint: String) {
        let error = #expect(throws: StartError.self) {
            try SimulatedServer { $0.channelRules = [("c", rules(.reject, text))] }
        }
        #expect(error?.message.contains(complaint) == true)
    }

    @Test("a wildcard over channels of different schemas has none, over one schema that one")
    func patterns() throws {
        var configuration = Configuration()
        let other = Self.text.replacingLast("\"end\"", with: "\"fin\"")
        configuration.channelRules = [
            ("a/*", rules()), ("a/x", rules(.warn)), ("b/*", rules()), ("b/x", rules(.warn, other)),
        ]
        let book = try RuleBook(configuration)
        func schema(_ patterns: String...) -> ContentDigest? {
            book.common(to: patterns.compactMap { ChannelPattern($0) }).schema
        }
        #expect(schema("a/*") != nil && schema("a/*") == schema("a/y", "b/y", "a/x"))
        #expect(schema("b/*") == nil && schema("b/x") != nil && schema("b/x") != schema("b/y"))
        #expect(schema("b/x", "b/y") == nil && schema("**") == nil && schema() == nil)
    }
}

extension String {
    fileprivate func replacingLast(_ text: String, with other: String) -> String {
        guard let range = range(of: text, options: .backwards) else { return self }
        return replacingCharacters(in: range, with: other)
    }
}
