// Schemas and instances from text, for the tests of the schema module.

import Testing
import Wire

@testable import TypeDefinition

extension JSONTree {
    /// The value as compacted text.
    var text: [UInt8] {
        var text: [UInt8] = []
        append(to: &text)
        return text
    }
}

func tree(_ text: String) throws -> JSONTree { try JSONTree.parse(Array(text.utf8).span) }

/// Compiles a schema that is right.
func schema(_ text: String) throws -> Schema {
    let (schema, faults) = Schema.compile(try tree(text))
    #expect(faults == [])
    return try #require(schema)
}

/// The errors of an instance as `instance schema`, in their order.
func errors(_ schema: Schema, _ instance: String) -> [String] {
    schema.errors(in: Array(instance.utf8).span).map { "\($0.instance) \($0.schema)" }
}

/// What is wrong in a schema, as `offset: message`.
func faults(_ text: String) throws -> [String] {
    Schema.compile(try tree(text)).faults.map { "\($0.offset): \($0.message)" }
}
