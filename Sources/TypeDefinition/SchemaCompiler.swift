/// From the JSON of a schema to its compiled form, collecting every fault on the way.

import Wire

struct SchemaCompiler {
    private(set) var nodes: [SchemaNode] = []
    private(set) var definitions: [Schema.Definition] = []
    private(set) var faults: [Schema.Fault] = []

    /// The keywords that decide which form a schema has, each with the form.
    private static let forms: [(keyword: String, form: String)] = [
        ("ref", "ref"), ("type", "type"), ("enum", "enum"), ("elements", "elements"), ("properties", "properties"),
        ("optionalProperties", "properties"), ("additionalProperties", "properties"), ("values", "values"),
        ("discriminator", "discriminator"), ("mapping", "discriminator"),
    ]

    private mutating func fault(_ tree: JSONTree, _ message: String) {
        fault(tree.offset, message)
    }

    private mutating func fault(_ offset: Int, _ message: String) {
        faults.append(Schema.Fault(offset: offset, message: message))
    }

    /// Compiles the whole.
    mutating func compile(root tree: JSONTree) {
        nodes.append(SchemaNode())
        if let definitions = tree["definitions"] {
            for member in members(of: definitions, "'definitions'") {
                self.definitions.append(Schema.Definition(name: Array(member.name.utf8), node: nodes.count))
                nodes.append(SchemaNode())
            }
            for (place, member) in members(of: definitions, "'definitions'", silently: true).enumerated() {
                compile(member.value, into: self.definitions[place].node, "/definitions/" + Self.step(member.name))
            }
        }
        compile(tree, into: 0, "", isRoot: true)
        refuseCircles()
    }

    /// A reference that leads back to itself says nothing, and following it would not end.
    private mutating func refuseCircles() {
        for start in nodes.indices {
            var node = start
            var steps = 0
            while case .reference(let target) = nodes[node].form, steps <= nodes.count {
                node = target
                steps += 1
                if node == start {
                    fault(nodes[start].offset, "this 'ref' leads back to itself: it says nothing")
                    break
                }
            }
            // It leads to such a circle, which is refused at its own place.
        }
    }

    private mutating func add(_ tree: JSONTree, _ path: String) -> Int {
        nodes.append(SchemaNode())
        let index = nodes.count - 1
        compile(tree, into: index, path)
        return index
    }

    /// Compiles one schema. Recursion is bounded by what `JSONTree` nests.
    private mutating func compile(_ tree: JSONTree, into index: Int, _ path: String, isRoot: Bool = false) {
        nodes[index].path = path
        nodes[index].offset = tree.offset
        guard tree.members != nil else { return fault(tree, "a schema must be an object, not \(tree.kindName)") }
        var form: String?
        for member in members(of: tree, "a schema") {
            switch member.name {
            case "nullable":
                guard let isNullable = member.value.bool else {
                    fault(member.value, "'nullable' must be true or false, not \(member.value.kindName)")
                    continue
                }
                nodes[index].isNullable = isNullable
            case "metadata":
                guard member.value.members != nil else {
                    fault(member.value, "'metadata' must be an object, not \(member.value.kindName)")
                    continue
                }
                nodes[index].description = member.value["description"]?.string
            case "definitions" where isRoot: continue
            case "definitions":
                fault(member.offset, "'definitions' may stand at the top of a schema only")
            default:
                guard let known = Self.forms.first(where: { $0.keyword == member.name }) else {
                    fault(member.offset, "unknown keyword '\(member.name)'")
                    continue
                }
                if let form, form != known.form {
                    fault(member.offset, "'\(member.name)' does not go with '\(form)': a schema has one form")
                } else {
                    form = known.form
                }
            }
        }
        if let form { nodes[index].form = compile(form: form, of: tree, path) }
    }

    private mutating func compile(form: String, of tree: JSONTree, _ path: String) -> SchemaNode.Form {
        switch form {
        case "ref": return tree["ref"].map { reference($0) } ?? .any
        case "type": return tree["type"].map { type($0) } ?? .any
        case "enum": return tree["enum"].map { enumeration($0) } ?? .any
        case "elements":
            guard let elements = tree["elements"] else { return .any }
            return .elements(add(elements, path + "/elements"))
        case "values":
            guard let values = tree["values"] else { return .any }
            return .values(add(values, path + "/values"))
        case "properties": return properties(of: tree, path)
        default: return union(of: tree, path)
        }
    }

    private mutating func reference(_ tree: JSONTree) -> SchemaNode.Form {
        guard let name = tree.string else {
            fault(tree, "'ref' must be the name of a definition, not \(tree.kindName)")
            return .any
        }
        guard let found = definitions.first(where: { $0.name.elementsEqual(name.utf8) }) else {
            fault(tree, "'ref': there is no definition '\(name)'")
            return .any
        }
        return .reference(found.node)
    }

    private mutating func type(_ tree: JSONTree) -> SchemaNode.Form {
        if let type = tree.string.flatMap(SchemaType.init) { return .type(type) }
        fault(tree, "'type' must be one of " + SchemaType.allCases.map(\.rawValue).joined(separator: ", "))
        return .any
    }

    private mutating func enumeration(_ tree: JSONTree) -> SchemaNode.Form {
        guard let elements = tree.elements, !elements.isEmpty else {
            fault(tree, "'enum' must be a list of strings that is not empty")
            return .any
        }
        var values: [[UInt8]] = []
        var seen: Set<[UInt8]> = []
        for element in elements {
            guard let text = element.string else {
                fault(element, "'enum' must hold strings, not \(element.kindName)")
                continue
            }
            let value = Array(text.utf8)
            if !seen.insert(value).inserted { fault(element, "'\(text)' stands in this 'enum' twice") }
            values.append(value)
        }
        return .enumeration(values)
    }

    private mutating func properties(of tree: JSONTree, _ path: String) -> SchemaNode.Form {
        var result = SchemaProperties()
        if let open = tree["additionalProperties"] {
            if let isOpen = open.bool {
                result.isOpen = isOpen
            } else {
                fault(open, "'additionalProperties' must be true or false, not \(open.kindName)")
            }
            if tree["properties"] == nil, tree["optionalProperties"] == nil {
                fault(open, "'additionalProperties' takes 'properties' or 'optionalProperties' beside it")
            }
        }
        var seen: Set<[UInt8]> = []
        for keyword in ["properties", "optionalProperties"] {
            guard let tree = tree[keyword] else { continue }
            let isRequired = keyword == "properties"
            if isRequired { result.hasRequiredKeyword = true }
            for member in members(of: tree, "'\(keyword)'") {
                let name = Array(member.name.utf8)
                let node = add(member.value, path + "/\(keyword)/" + Self.step(member.name))
                if !seen.insert(name).inserted, !isRequired {
                    fault(member.offset, "'\(member.name)' stands in 'properties' as well")
                }
                result.members.append(SchemaProperties.Member(name: name, node: node, isRequired: isRequired))
                if isRequired { result.requiredCount += 1 }
            }
        }
        if result.members.count > SchemaProperties.countMax {
            fault(tree, "an object may have \(SchemaProperties.countMax) properties at most")
        }
        return .properties(result)
    }

    private mutating func union(of tree: JSONTree, _ path: String) -> SchemaNode.Form {
        guard let named = tree["discriminator"] else {
            fault(tree, "'mapping' takes a 'discriminator' beside it")
            return .any
        }
        guard let mapping = tree["mapping"] else {
            fault(tree, "'discriminator' takes a 'mapping' beside it")
            return .any
        }
        let name = named.string
        if name == nil { fault(named, "'discriminator' must be the name of a member, not \(named.kindName)") }
        var result = SchemaUnion(discriminator: name.map { Array($0.utf8) } ?? [], mapping: [])
        for member in members(of: mapping, "'mapping'") {
            let node = add(member.value, path + "/mapping/" + Self.step(member.name))
            if nodes[node].isNullable { fault(member.value, "what is in a 'mapping' may not be nullable") }
            if case .properties(let properties) = nodes[node].form {
                for property in properties.members where name != nil && property.name == result.discriminator {
                    fault(nodes[property.node].offset, "'\(name ?? "")' is the discriminator: it is declared by it")
                }
            } else if member.value.members != nil {
                fault(member.value, "what is in a 'mapping' must have 'properties' or 'optionalProperties'")
            }
            result.mapping.append((Array(member.name.utf8), node))
        }
        return .union(result)
    }

    /// The members of an object, each once.
    private mutating func members(
        of tree: JSONTree, _ subject: String, silently: Bool = false
    ) -> [JSONTree.Member] {
        guard let members = tree.members else {
            if !silently { fault(tree, "\(subject) must be an object, not \(tree.kindName)") }
            return []
        }
        var seen: Set<[UInt8]> = []
        return members.filter { member in
            if seen.insert(Array(member.name.utf8)).inserted { return true }
            if !silently { fault(member.offset, "'\(member.name)' stands here twice") }
            return false
        }
    }

    /// A name as a step of a JSON Pointer.
    static func step(_ name: String) -> String {
        var step: [UInt8] = []
        SchemaWalk.append(step: Array(name.utf8), to: &step)
        return String(decoding: step, as: UTF8.self)
    }
}
