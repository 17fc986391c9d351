/// What Swift types a schema becomes, and which of them need a box or a wrapper because they contain themselves.

struct SwiftTypes {
    /// Names that the generated text, or the language, means something else by.
    private static let reserved: Set<String> = [
        "Any", "Array", "Bool", "Boxed", "CaseIterable", "Codable", "CodingKey", "CodingKeys", "Decodable", "Decoder",
        "DecodingError", "Dictionary", "Double", "Encodable", "Encoder", "Equatable", "Float", "Int16", "Int32", "Int8",
        "JSONValue", "Optional", "Protocol", "Self", "Sendable", "String", "Type", "UInt16", "UInt32", "UInt8",
    ]

    let schema: Schema
    /// The names of the nodes that become a type of their own.
    private(set) var names: [Int: String] = [:]
    /// The same nodes in the order of the text.
    private(set) var order: [Int] = []
    private(set) var usesJSONValue = false

    init(_ schema: Schema, rootName: String) {
        self.schema = schema
        var taken = TypeNames(reserved: Self.reserved)
        name(0, taken.unique(rootName), &taken)
        for definition in schema.definitions where names[definition.node] == nil {
            names[definition.node] = taken.unique(TypeNames.upper(definition.name))
        }
        walk(0, names[0] ?? rootName, &taken)
        for definition in schema.definitions {
            order.append(definition.node)
            walk(definition.node, names[definition.node] ?? "", &taken)
        }
    }

    private mutating func name(_ node: Int, _ name: String, _ taken: inout TypeNames) {
        names[node] = name
        order.append(node)
    }

    /// Gives the types inside of a node their names: the outer one's and the member's.
    private mutating func walk(_ node: Int, _ name: String, _ taken: inout TypeNames) {
        switch schema.nodes[node].form {
        case .any: usesJSONValue = true
        case .reference, .type, .enumeration: break
        case .elements(let element): visit(element, name + "Element", &taken)
        case .values(let value): visit(value, name + "Value", &taken)
        case .properties(let properties):
            for member in properties.members { visit(member.node, name + TypeNames.upper(member.name), &taken) }
        case .union(let union):
            for (kind, node) in union.mapping { visit(node, name + TypeNames.upper(kind), &taken) }
        }
    }

    private mutating func visit(_ node: Int, _ wish: String, _ taken: inout TypeNames) {
        switch schema.nodes[node].form {
        case .properties, .union, .enumeration:
            let unique = taken.unique(wish)
            name(node, unique, &taken)
            walk(node, unique, &taken)
        case .any, .reference, .type, .elements, .values: walk(node, wish, &taken)
        }
    }

    /// The type of a value, with its question mark where `null` fits.
    func type(_ node: Int) -> String {
        let form = schema.nodes[node].form
        let plain = names[node] ?? structure(node)
        // Of what is null anyway, nothing is more so.
        if case .any = form { return plain }
        return isNullable(node) ? plain + "?" : plain
    }

    /// Whether `null` fits, here or by what is referred to.
    func isNullable(_ node: Int) -> Bool {
        if schema.nodes[node].isNullable { return true }
        if case .reference(let target) = schema.nodes[node].form { return isNullable(target) }
        return false
    }

    /// The type without a name of its own, `null` left aside.
    func structure(_ node: Int) -> String {
        switch schema.nodes[node].form {
        case .any: return "JSONValue"
        case .reference(let target): return names[target] ?? structure(target)
        case .elements(let element): return "[\(type(element))]"
        case .values(let value): return "[String: \(type(value))]"
        case .enumeration, .properties, .union: return names[node] ?? "JSONValue"
        case .type(let type):
            switch type {
            case .boolean: return "Bool"
            case .float32: return "Float"
            case .float64: return "Double"
            case .int8: return "Int8"
            case .uint8: return "UInt8"
            case .int16: return "Int16"
            case .uint16: return "UInt16"
            case .int32: return "Int32"
            case .uint32: return "UInt32"
            case .string, .timestamp: return "String"
            }
        }
    }

    /// Whether a member would make its struct contain itself without an array or a dictionary between them.
    func needsBox(_ member: Int, in owner: Int) -> Bool {
        let target = schema.resolved(member)
        var seen: Set<Int> = []
        var open = [target]
        while let node = open.popLast() {
            if node == owner { return true }
            guard seen.insert(node).inserted, case .properties(let properties) = schema.nodes[node].form else {
                continue
            }
            open += properties.members.map { schema.resolved($0.node) }
        }
        return false
    }

    /// Whether an alias would be defined by itself: a list of such lists.
    func needsWrapper(_ node: Int) -> Bool {
        var seen: Set<Int> = []
        var open = [node]
        while let next = open.popLast() {
            let inner: Int
            switch schema.nodes[next].form {
            case .reference(let target): inner = target
            case .elements(let element): inner = element
            case .values(let value): inner = value
            case .any, .type, .enumeration, .properties, .union: continue
            }
            if inner == node { return true }
            if seen.insert(inner).inserted { open.append(inner) }
        }
        return false
    }
}
