/// A schema as TypeScript types.

extension Schema {
    /// TypeScript that declares what fits: `name` for the whole, and a type for each definition. A discriminated union
    /// is one in TypeScript, too, with an interface for each kind. The same text every time.
    package func typeScript(named name: String) -> String {
        var writer = TypeScriptWriter(self, rootName: name)
        return writer.write()
    }
}

private struct TypeScriptWriter {
    private let schema: Schema
    private var names = TypeNames(reserved: ["Value"])
    private var output = SourceText(indentedBy: "  ")
    private let rootName: String
    /// What definitions are called, by node.
    private var definitionNames: [Int: String] = [:]

    init(_ schema: Schema, rootName: String) {
        self.schema = schema
        self.rootName = names.unique(rootName)
        for definition in schema.definitions {
            definitionNames[definition.node] = names.unique(TypeNames.upper(definition.name))
        }
    }

    mutating func write() -> String {
        output.line("// Made by `fanout schema --typescript`: changes are lost when it is made again.")
        declare(0, rootName)
        for definition in schema.definitions {
            if let name = definitionNames[definition.node] { declare(definition.node, name) }
        }
        return output.text
    }

    private mutating func declare(_ index: Int, _ name: String) {
        let node = schema.nodes[index]
        output.line()
        if case .union(let union) = node.form {
            let kinds = union.mapping.map { (kind: $0, name: names.unique(name + TypeNames.upper($0.kind))) }
            document(node)
            let members = kinds.map(\.name) + (node.isNullable ? ["null"] : [])
            output.line("export type \(name) =" + (members.isEmpty ? " never;" : ""))
            for (place, member) in members.enumerated() {
                output.line("  | \(member)" + (place == members.count - 1 ? ";" : ""))
            }
            for (kind, name) in kinds {
                output.line()
                document(schema.nodes[kind.node])
                output.line("export interface \(name) {")
                output.line("\(Self.key(union.discriminator)): \(kind.kind.literal);")
                if case .properties(let properties) = schema.nodes[kind.node].form { write(properties) }
                output.line("}")
            }
        } else if case .properties(let properties) = node.form, !node.isNullable {
            document(node)
            output.line("export interface \(name) {")
            write(properties)
            output.line("}")
        } else {
            document(node)
            write(index, prefix: "export type \(name) = ", suffix: ";")
        }
    }

    private mutating func write(_ properties: SchemaProperties) {
        for member in properties.members {
            let node = schema.nodes[member.node]
            document(node)
            write(member.node, prefix: Self.key(member.name) + (member.isRequired ? ": " : "?: "), suffix: ";")
        }
        if properties.isOpen { output.line("[key: string]: unknown;") }
    }

    /// Writes a type behind `prefix`, over several lines where it has members.
    private mutating func write(_ index: Int, prefix: String, suffix: String) {
        let node = schema.nodes[index]
        let null = node.isNullable ? " | null" : ""
        switch node.form {
        case .properties(let properties):
            output.line(prefix + "{")
            write(properties)
            output.line("}" + null + suffix)
        case .elements(let element):
            if isSimple(element) { return output.line(prefix + simple(element) + "[]" + null + suffix) }
            write(element, prefix: prefix + "Array<", suffix: ">" + null + suffix)
        case .values(let value):
            output.line(prefix + "{")
            write(value, prefix: "[key: string]: ", suffix: ";")
            output.line("}" + null + suffix)
        case .union(let union):
            if union.mapping.isEmpty { return output.line(prefix + (node.isNullable ? "null" : "never") + suffix) }
            output.line(String(prefix.dropLast()))
            for (place, entry) in union.mapping.enumerated() {
                output.line("| {")
                output.line("\(Self.key(union.discriminator)): \(entry.kind.literal);")
                if case .properties(let properties) = schema.nodes[entry.node].form { write(properties) }
                output.line("}" + (place == union.mapping.count - 1 ? null + suffix : ""))
            }
        case .any, .reference, .type, .enumeration: output.line(prefix + simple(index) + suffix)
        }
    }

    /// Whether a type is one word, which an array's brackets can follow.
    private func isSimple(_ index: Int) -> Bool {
        switch schema.nodes[index].form {
        case .any: true
        case .reference, .type: !schema.nodes[index].isNullable
        case .enumeration(let values): values.count == 1 && !schema.nodes[index].isNullable
        case .elements, .properties, .values, .union: false
        }
    }

    /// A type that has no members.
    private func simple(_ index: Int) -> String {
        let node = schema.nodes[index]
        let null = node.isNullable ? " | null" : ""
        switch node.form {
        case .reference(let target): return (definitionNames[target] ?? "unknown") + null
        case .enumeration(let values): return values.map(\.literal).joined(separator: " | ") + null
        case .type(let type):
            switch type {
            case .boolean: return "boolean" + null
            case .string, .timestamp: return "string" + null
            case .float32, .float64, .int8, .uint8, .int16, .uint16, .int32, .uint32: return "number" + null
            }
        case .any, .elements, .properties, .values, .union: return "unknown"
        }
    }

    private mutating func document(_ node: SchemaNode) {
        guard let description = node.description, !description.isEmpty else { return }
        let lines = description.split(omittingEmptySubsequences: false) { $0.isNewline }
            .map { $0.replacing("*/", with: "* /") }
        if lines.count == 1 { return output.plain("/** \(lines[0]) */") }
        output.plain("/**")
        for line in lines { output.plain(line.isEmpty ? " *" : " * \(line)") }
        output.plain(" */")
    }

    /// A member's name, in quotes where it is no identifier.
    private static func key(_ name: [UInt8]) -> String {
        let isIdentifier =
            name.first.map { !$0.isDigit } == true
            && name.allSatisfy { TypeNames.isLetter($0) || $0.isDigit || $0 == UInt8(ascii: "_") }
        return isIdentifier ? name.string : name.literal
    }
}
