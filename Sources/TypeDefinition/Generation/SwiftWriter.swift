/// A schema as Swift types.

extension Schema {
    /// Swift that declares what fits, `Codable`, `Sendable` and `Equatable`: `name` for the whole, structs for objects,
    /// enums for enumerations and for discriminated unions. It needs the standard library only. The same text every
    /// time.
    package func swift(named name: String) -> String {
        var writer = SwiftWriter(self, rootName: name)
        return writer.write()
    }
}

private struct SwiftWriter {
    /// A member of a struct.
    private struct Member {
        var name: String
        var key: String
        var type: String
        var isOptional: Bool
        var isRequired: Bool
        var node: SchemaNode
    }

    /// An initialiser whose head is longer has a line for each parameter.
    private static let headBytesMax = 100
    private static let conformances = "Codable, Sendable, Equatable"
    private let schema: Schema
    private let types: SwiftTypes
    private var output = SourceText(indentedBy: "    ")
    private var usesBox = false

    init(_ schema: Schema, rootName: String) {
        self.schema = schema
        types = SwiftTypes(schema, rootName: rootName)
    }

    mutating func write() -> String {
        output.line("// Made by `fanout schema --swift`: changes are lost when it is made again.")
        for node in types.order {
            guard let name = types.names[node] else { continue }
            output.line()
            document(schema.nodes[node])
            switch schema.nodes[node].form {
            case .union(let union): write(union, name)
            case .properties(let properties): write(properties, node, name)
            case .enumeration(let values): write(values, name)
            case .any, .reference, .type, .elements, .values:
                if types.needsWrapper(node) {
                    writeWrapper(name, types.structure(node))
                } else {
                    output.line("public typealias \(name) = \(types.structure(node))")
                }
            }
        }
        if usesBox { add(SwiftHelpers.boxed) }
        if types.usesJSONValue { add(SwiftHelpers.jsonValue) }
        return output.text
    }

    private mutating func add(_ helper: String) {
        output.line()
        for line in helper.split(separator: "\n", omittingEmptySubsequences: false) {
            output.line(String(line.drop { $0 == " " }))
        }
    }

    // MARK: Types

    private mutating func write(_ values: [[UInt8]], _ name: String) {
        var names = TypeNames(reserved: SwiftIdentifier.enumMembers)
        output.line("public enum \(name): String, \(Self.conformances), CaseIterable {")
        for value in values {
            let name = SwiftIdentifier.escaped(names.unique(TypeNames.lower(value)))
            output.line("case \(name) = \(SwiftIdentifier.literal(value))")
        }
        output.line("}")
    }

    private mutating func write(_ union: SchemaUnion, _ name: String) {
        var names = TypeNames(reserved: SwiftIdentifier.enumMembers)
        let cases = union.mapping.map { kind, node in
            (
                name: SwiftIdentifier.escaped(names.unique(TypeNames.lower(kind))),
                literal: SwiftIdentifier.literal(kind), type: types.names[node] ?? "JSONValue",
                description: schema.nodes[node].description
            )
        }
        // Kinds may hold others of the same union.
        output.line("public \(cases.isEmpty ? "" : "indirect ")enum \(name): \(Self.conformances) {")
        for entry in cases { output.line("case \(entry.name)(\(entry.type))") }
        if !cases.isEmpty { output.line() }
        output.line("private enum CodingKeys: String, CodingKey {")
        output.line("case discriminator = \(SwiftIdentifier.literal(union.discriminator))")
        output.line("}")
        output.line()
        output.line("public init(from decoder: any Decoder) throws {")
        output.line("let container = try decoder.container(keyedBy: CodingKeys.self)")
        output.line("let kind = try container.decode(String.self, forKey: .discriminator)")
        output.line("switch kind {")
        for entry in cases {
            output.line("case \(entry.literal): self = .\(entry.name)(try \(entry.type)(from: decoder))")
        }
        output.line("default:")
        output.line("    throw DecodingError.dataCorruptedError(")
        output.line("        forKey: .discriminator, in: container, debugDescription: \"there is no kind '\\(kind)'\")")
        output.line("}")
        output.line("}")
        output.line()
        output.line("public func encode(to encoder: any Encoder) throws {")
        if cases.isEmpty {
            output.line("switch self {}")
        } else {
            output.line("var container = encoder.container(keyedBy: CodingKeys.self)")
            output.line("switch self {")
            for entry in cases {
                output.line("case .\(entry.name)(let value):")
                output.line("    try container.encode(\(entry.literal), forKey: .discriminator)")
                output.line("    try value.encode(to: encoder)")
            }
            output.line("}")
        }
        output.line("}")
        output.line("}")
    }

    private mutating func write(_ properties: SchemaProperties, _ node: Int, _ name: String) {
        let members = members(properties, node)
        output.line("public struct \(name): \(Self.conformances) {")
        for member in members {
            document(member.node)
            output.line("public var \(member.name): \(member.type)")
        }
        if !members.isEmpty { output.line() }
        let parameters = members.map { "\($0.name): \($0.type)" + ($0.isOptional && !$0.isRequired ? " = nil" : "") }
        let head = "public init(\(parameters.joined(separator: ", "))) {"
        if members.isEmpty {
            output.line(head + "}")
        } else {
            if head.utf8.count <= Self.headBytesMax {
                output.line(head)
            } else {
                output.plain("public init(")
                for parameter in parameters.dropLast() { output.plain("    \(parameter),") }
                output.plain("    \(parameters.last ?? "")")
                output.line(") {")
            }
            for member in members { output.line("self.\(member.name) = \(member.name)") }
            output.line("}")
            output.line()
            output.line("private enum CodingKeys: String, CodingKey {")
            for member in members { output.line("case \(member.name) = \(member.key)") }
            output.line("}")
        }
        // What must be there is written even where it is null.
        if members.contains(where: { $0.isRequired && $0.isOptional }) { writeCoding(members) }
        output.line("}")
    }

    private mutating func members(_ properties: SchemaProperties, _ owner: Int) -> [Member] {
        var names = TypeNames(reserved: SwiftIdentifier.structMembers)
        return properties.members.map { member in
            var type = types.type(member.node)
            if types.needsBox(member.node, in: owner) {
                usesBox = true
                type = type.hasSuffix("?") ? "Boxed<\(type.dropLast())>?" : "Boxed<\(type)>"
            }
            let isNullable = type.hasSuffix("?")
            return Member(
                name: SwiftIdentifier.escaped(names.unique(TypeNames.lower(member.name))),
                key: SwiftIdentifier.literal(member.name),
                type: isNullable || member.isRequired ? type : type + "?", isOptional: isNullable || !member.isRequired,
                isRequired: member.isRequired, node: schema.nodes[member.node])
        }
    }

    private mutating func writeCoding(_ members: [Member]) {
        output.line()
        output.line("public init(from decoder: any Decoder) throws {")
        output.line("let container = try decoder.container(keyedBy: CodingKeys.self)")
        for member in members {
            let plain = member.isRequired ? member.type : String(member.type.dropLast())
            let verb = member.isRequired ? "decode" : "decodeIfPresent"
            output.line("\(member.name) = try container.\(verb)(\(plain).self, forKey: .\(member.name))")
        }
        output.line("}")
        output.line()
        output.line("public func encode(to encoder: any Encoder) throws {")
        output.line("var container = encoder.container(keyedBy: CodingKeys.self)")
        for member in members {
            let verb = member.isRequired ? "encode" : "encodeIfPresent"
            output.line("try container.\(verb)(\(member.name), forKey: .\(member.name))")
        }
        output.line("}")
    }

    private mutating func writeWrapper(_ name: String, _ type: String) {
        output.line("public struct \(name): \(Self.conformances) {")
        output.line("public var value: \(type)")
        output.line()
        output.line("public init(_ value: \(type)) {")
        output.line("self.value = value")
        output.line("}")
        output.line()
        output.line("public init(from decoder: any Decoder) throws {")
        output.line("value = try decoder.singleValueContainer().decode(\(type).self)")
        output.line("}")
        output.line()
        output.line("public func encode(to encoder: any Encoder) throws {")
        output.line("var container = encoder.singleValueContainer()")
        output.line("try container.encode(value)")
        output.line("}")
        output.line("}")
    }

    private mutating func document(_ node: SchemaNode) {
        guard let description = node.description, !description.isEmpty else { return }
        for line in description.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            output.plain(line.isEmpty ? "///" : "/// \(line)")
        }
    }
}
