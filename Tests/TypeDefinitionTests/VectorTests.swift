// The published vectors of RFC 8927: every one of them.

import Foundation
import Testing
import Wire

@testable import TypeDefinition

@Suite("Vectors of RFC 8927")
struct VectorTests {
    private func vectors(_ name: String) throws -> [JSONTree.Member] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
        let text = try Data(contentsOf: folder.appending(path: "Vectors/\(name).json"))
        return try #require(try JSONTree.parse(Array(text).span).members)
    }

    private func pointer(_ tree: JSONTree?) throws -> String {
        try #require(tree?.elements).map { "/" + SchemaCompiler.step(try #require($0.string)) }.joined()
    }

    @Test("each of the 316 instances has exactly the errors it must have")
    func validation() throws {
        let vectors = try vectors("validation")
        #expect(vectors.count == 316)
        for vector in vectors {
            let (schema, faults) = Schema.compile(try #require(vector.value["schema"]))
            #expect(faults == [], "\(vector.name)")
            let instance = try #require(vector.value["instance"]).text
            let expected = try #require(vector.value["errors"]?.elements).map { error in
                SchemaError(
                    instance: try pointer(error["instancePath"]), schema: try pointer(error["schemaPath"]))
            }
            let found = try #require(schema).errors(in: instance.span)
            #expect(found.count == expected.count, "\(vector.name)")
            #expect(Set(found) == Set(expected), "\(vector.name)")
        }
    }

    @Test("each of the 49 invalid schemas is refused, with a place in it and a sentence")
    func invalidSchemas() throws {
        let vectors = try vectors("invalid_schemas")
        #expect(vectors.count == 49)
        for vector in vectors {
            let (schema, faults) = Schema.compile(vector.value)
            #expect(schema == nil, "\(vector.name)")
            let fault = try #require(faults.first, "\(vector.name)")
            #expect(fault.offset >= vector.value.offset && !fault.message.isEmpty)
        }
    }
}
