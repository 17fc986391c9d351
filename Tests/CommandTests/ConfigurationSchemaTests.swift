/// Schemas in the configuration file: inline, in a file of their own, and every fault with its place.

import FanoutServer
import Foundation
import Testing

@Suite("Schemas of a configuration")
struct ConfigurationSchemaTests {
    private func parse(_ channel: String, named file: String = "f") -> (Configuration, [String]) {
        let text = #"{"channels":{"c":"# + channel + "}}"
        let (configuration, faults) = ConfigurationFile.parse(Array(text.utf8), named: file)
        return (configuration, faults.map(\.description))
    }

    @Test("an inline schema is read, whatever stands before it in the file")
    func inline() {
        let (configuration, faults) = parse(
            #"{"schema": {"discriminator": "k", "mapping": {}}, "schema_mode": "warn", "discriminator": "k"}"#)
        #expect(faults == [])
        let rules = configuration.channelRules[0].rules
        #expect(rules.schema == Array(#"{"discriminator":"k","mapping":{}}"#.utf8))
        #expect(rules.schemaMode == .warn)
        #expect(parse("{}").0.channelRules[0].rules.schemaMode == .reject)
    }

    @Test("every fault of an inline schema has its place")
    func inlineFaults() {
        #expect(
            parse(
                #"{"schema":{"discriminator":"type","mapping":{"a":{"properties":{"x":{"type":"int"}},"y":1}}}}"#
            )
            .1 == [
                "f:1:94: schema: 'type' must be one of boolean, float32, float64, int8, uint8, int16, uint16, "
                    + "int32, uint32, string, timestamp",
                "f:1:102: schema: unknown keyword 'y'",
            ])
        #expect(
            parse(#"{"schema":{"discriminator":"kind","mapping":{"a":{"properties":{"seq":{}}}}}}"#).1 == [
                "f:1:45: schema: the schema's discriminator is 'kind' and the channel's 'type': they must be the same",
                "f:1:88: schema: 'seq' of 'a' is put in front by the server: producers may not have it, and the "
                    + "schema is that of their events",
            ])
        #expect(
            parse(#"{"schema":{"type":"string"}}"#).1 == [
                "f:1:28: schema: a channel's schema must be a union of its kinds: 'discriminator' and 'mapping'"
            ])
        #expect(parse(#"{"schema":1}"#).1.count == 1)
        #expect(
            parse(#"{"schema_mode":"fail"}"#).1 == [#"f:1:33: 'schema_mode' must be one of "reject", "warn", "pass""#])
    }

    @Test("a schema in a file is found beside the configuration, and its faults name that file")
    func files() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "fanout-schema-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        func write(_ name: String, _ text: String) throws {
            try Data(text.utf8).write(to: folder.appending(path: name))
        }
        try write("right.json", "{\n \"discriminator\": \"type\",\n \"mapping\": {}\n}\n")
        try write("wrong.json", "{\n \"discriminator\": \"type\",\n \"mapping\": {\"a\": {}, \"b\": 1}\n}\n")
        try write("broken.json", "{\n \"discriminator\": \n}\n")
        let path = folder.appending(path: "fanout.json").path
        let right = parse(#"{"schema":{"file":"right.json"}}"#, named: path)
        #expect(right.1 == [])
        #expect(right.0.channelRules[0].rules.schema == Array(#"{"discriminator":"type","mapping":{}}"#.utf8))
        #expect(
            parse(#"{"schema":{"file":"\#(folder.path)/right.json"}}"#, named: "elsewhere/f").1 == [])
        #expect(
            parse(#"{"schema":{"file":"wrong.json"}}"#, named: path).1 == [
                "\(folder.path)/wrong.json:3:19: what is in a 'mapping' must have 'properties' or "
                    + "'optionalProperties'",
                "\(folder.path)/wrong.json:3:28: a schema must be an object, not a number",
            ])
        #expect(
            parse(#"{"schema":{"file":"broken.json"}}"#, named: path).1 == [
                "\(folder.path)/broken.json:3:1: not valid JSON at '}': is there a comma too many before it?"
            ])
        #expect(
            parse(#"{"schema":{"file":"none.json"}}"#, named: path).1 == [
                "\(path):1:36: '\(folder.path)/none.json' cannot be read: No such file or directory"
            ])
        #expect(parse(#"{"schema":{"file":""}}"#).1.count == 1)
        #expect(parse(#"{"schema":{"file":"x","mapping":{}}}"#).1.count == 1)
    }
}
