// Schemas: the input's first line is one, what follows is judged by it, JSON or not.

import TypeDefinition
import Wire

enum SchemaTarget {
    static func judge(_ input: Input) {
        let end = input.firstIndex(of: 10) ?? input.endIndex
        let text = Array(input[..<end])
        let instance = Array(input[end...].dropFirst())
        guard let tree = try? JSONTree.parse(text.span) else { return }
        let (schema, faults) = Schema.compile(tree)
        expect((schema == nil) == !faults.isEmpty, "a schema is right or has faults")
        for (fault, next) in zip(faults, faults.dropFirst()) {
            expect(fault.offset <= next.offset, "faults stand in the order of their places")
        }
        for fault in faults { expect(text.indices.contains(fault.offset), "a fault lies in the text: \(fault)") }
        guard let schema else { return }
        let errors = schema.errors(in: instance.span)
        expect(errors.count <= Schema.errorsMax, "\(errors.count) errors")
        for error in errors {
            expect(error.instance.isEmpty || error.instance.hasPrefix("/"), "no pointer: \(error.instance)")
            expect(error.instance.utf8.count <= Schema.pathBytesMax, "a long pointer: \(error.instance)")
        }
        expectEqual(schema.errors(in: instance.span), errors, "the second time")
        judgeSpelling(schema, instance, errors)
        judgeText(schema, tree)
    }

    /// White space and escapes change nothing.
    private static func judgeSpelling(_ schema: Schema, _ instance: [UInt8], _ errors: [SchemaError]) {
        guard let tree = try? JSONTree.parse(instance.span) else { return }
        var compact: [UInt8] = []
        tree.append(to: &compact)
        expectEqual(schema.errors(in: compact.span), errors, "compacted")
    }

    /// A schema written anew is the same; what is made of it is the same every time.
    private static func judgeText(_ schema: Schema, _ tree: JSONTree) {
        var text: [UInt8] = []
        tree.append(to: &text)
        guard let again = try? JSONTree.parse(text.span), let same = Schema.compile(again).schema else {
            fail("a schema is none when it is written anew")
        }
        expectEqual(same.swift(named: "T"), schema.swift(named: "T"), "Swift")
        expectEqual(same.typeScript(named: "T"), schema.typeScript(named: "T"), "TypeScript")
    }
}
