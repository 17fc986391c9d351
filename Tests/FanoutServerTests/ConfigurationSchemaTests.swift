// The JSON Schema of the configuration file knows the keys that the reader knows, and no others.
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("Configuration schema")
struct ConfigurationSchemaTests {
    private let schema: JSONTree

    init() throws {
        schema = try JSONTree.parse(ConfigurationSchema.text.span)
    }

    private func keys(_ path: String...) throws -> Set<String> {
        var tree = schema
        for name in path { tree = try #require(tree[name]) }
        return Set(try #require(tree["properties"]?.members).map(\.name))
    }

    private func defaultText(_ path: String...) throws -> String? {
        var tree = schema
        for name in path { tree = try #require(tree[name]) }
        return tree["default"]?.string
    }

    @Test("each object of the schema has the reader's keys")
    func keys() throws {
        #expect(try keys() == Set(ConfigurationReader.fileKeys))
        // Those two are read by a reader of their own.
        let channel = Set(ConfigurationReader.channelKeys).union(["schema", "schema_mode"])
        #expect(try keys("$defs", "channel") == channel)
        #expect(try keys("$defs", "limits") == Set(ConfigurationReader.limitKeys))
        #expect(
            try keys("$defs", "channel", "properties", "retention") == Set(ConfigurationReader.retentionKeys))
        #expect(try keys("properties", "listeners") == Set(ConfigurationReader.listenersKeys))
        #expect(try keys("$defs", "listener") == Set(ConfigurationReader.listenerKeys))
        #expect(try keys("$defs", "state") == Set(ConfigurationReader.stateKeys))
        let object = try #require(schema["$defs"]?["stateKey"]?["anyOf"]?.elements?.last)
        #expect(Set(try #require(object["properties"]?.members).map(\.name)) == Set(ConfigurationReader.stateKeyKeys))
    }

    @Test("every object refuses other keys, and every key of the file is described")
    func strictness() throws {
        func check(_ tree: JSONTree) {
            if tree["properties"] != nil { #expect(tree["additionalProperties"]?.bool == false, "at \(tree.offset)") }
            for member in tree.members ?? [] { check(member.value) }
            for element in tree.elements ?? [] { check(element) }
        }
        check(schema)
        for (name, value) in try #require(schema["properties"]?.members).map({ ($0.name, $0.value) }) {
            let isDescribed = value["description"] != nil || value["$ref"]?.string?.hasPrefix("#/$defs/l") == true
            #expect(isDescribed, "\(name)")
        }
    }

    @Test("the choices and defaults are the configuration's")
    func choices() throws {
        func choices(_ path: String...) throws -> [String] {
            var tree = schema
            for name in path { tree = try #require(tree[name]) }
            return try #require(tree["enum"]?.elements).compactMap(\.string)
        }
        #expect(try choices("$defs", "lagPolicy") == Configuration.LagPolicy.allCases.map(\.rawValue))
        #expect(try choices("properties", "io") == Configuration.IOChoice.allCases.map(\.rawValue))
        #expect(try choices("properties", "log_level") == Configuration.LogLevel.allCases.map { "\($0)" })
        let channel = ["$defs", "channel", "properties"]
        #expect(
            try choices(channel[0], channel[1], channel[2], "from") == Configuration.StartPlace.allCases.map(\.rawValue)
        )
        #expect(
            try choices(channel[0], channel[1], channel[2], "visible")
                == Configuration.Visibility.allCases.map(\.rawValue))
        #expect(
            try choices(channel[0], channel[1], channel[2], "schema_mode")
                == Configuration.SchemaMode.allCases.map(\.rawValue))
        let configuration = Configuration()
        #expect(try defaultText("properties", "listen") == configuration.listen)
        #expect(try defaultText("properties", "on_lag") == configuration.onLag.rawValue)
        let limits = try #require(schema["$defs"]?["limits"]?["properties"])
        #expect(limits["events"]?["default"]?.integer == configuration.limits.events)
        #expect(limits["bytes"]?["default"]?.integer == configuration.limits.bytes)
        #expect(limits["age_ms"]?["default"]?.integer == configuration.limits.ageMilliseconds)
        #expect(limits["events"]?["maximum"]?.integer == Configuration.LagLimits.most)
        #expect(schema["properties"]?["heartbeat_s"]?["default"]?.integer == configuration.heartbeatSeconds)
        let retention = try #require(schema["$defs"]?["channel"]?["properties"]?["retention"]?["properties"])
        #expect(retention["count"]?["maximum"]?.integer == Configuration.Retention.countMost)
        #expect(retention["age_s"]?["maximum"]?.integer == Configuration.Retention.ageSecondsMost)
        #expect(schema["$defs"]?["kinds"]?["maxItems"]?.integer == KindSyntax.countMax)
        #expect(schema["$defs"]?["pointer"]?["maxLength"]?.integer == JSONPointerSyntax.byteCountMax)
        #expect(schema["properties"]?["routes"]?["maxProperties"]?.integer == RouteTemplate.countMax)
        #expect(schema["properties"]?["ingest"]?["maxProperties"]?.integer == IngestTemplate.countMax)
        #expect(
            schema["properties"]?["max_memory"]?["anyOf"]?.elements?[0]["minimum"]?.integer
                == ValueSyntax.memoryRange.lowerBound)
    }
}
