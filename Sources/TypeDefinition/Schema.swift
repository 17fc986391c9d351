/// A JSON Type Definition (RFC 8927), compiled: what JSON has to look like.

import Wire

/// Compiled once, asked for each event. A value that does not change.
package struct Schema: Sendable {
    /// Something wrong in the text of a schema.
    package struct Fault: Error, Equatable, Sendable {
        /// Offset in the text.
        package let offset: Int
        /// What is wrong there, and what would be right.
        package let message: String

        package init(offset: Int, message: String) {
            self.offset = offset
            self.message = message
        }
    }

    /// A schema that others refer to by name.
    struct Definition: Sendable {
        /// Unescaped.
        let name: [UInt8]
        let node: Int
    }

    /// The errors that are told of one event at most.
    package static let errorsMax = 32
    /// Bytes of an instance path at most: a longer one names the object or array that the place lies in.
    package static let pathBytesMax = 1024

    /// Every schema in it; the whole is the first.
    let nodes: [SchemaNode]
    /// In the order of the text.
    let definitions: [Definition]

    /// Compiles a schema.
    /// - Returns: the schema, or nil and everything that is wrong with it, in the order of the places.
    /// - Complexity: linear in the text, but for objects of many members, whose names are compared pair by pair.
    package static func compile(_ tree: JSONTree) -> (schema: Schema?, faults: [Fault]) {
        var compiler = SchemaCompiler()
        compiler.compile(root: tree)
        let faults = compiler.faults.sorted { $0.offset < $1.offset }
        guard faults.isEmpty else { return (nil, faults) }
        return (Schema(nodes: compiler.nodes, definitions: compiler.definitions), [])
    }

    /// Where `text` does not fit, in its order; empty exactly when it fits. `errorsMax` at most are looked for.
    ///
    /// The text is one value that `JSONScanner` accepted, nested as deep as that allows; any other text gives some
    /// answer and does not trap. Allocates nothing where the text fits, unless a timestamp is written with escapes.
    /// - Complexity: linear in the text and, for objects, the members that the schema names. To find the kind of an
    ///   object that has one, what stands before it is gone over twice.
    package func errors(in text: Span<UInt8>) -> [SchemaError] {
        var walk = SchemaWalk(nodes)
        _ = walk.check(text, node: 0, at: JSONSkip.space(text, 0), tag: nil)
        return walk.errors
    }

    /// The member that names an object's kind, unescaped, where the whole is a discriminated union.
    package var discriminator: [UInt8]? {
        if case .union(let union) = nodes[resolved(0)].form { union.discriminator } else { nil }
    }

    /// The kinds, unescaped, in the order of the text; none where the whole is no discriminated union.
    package var kinds: [[UInt8]] {
        if case .union(let union) = nodes[resolved(0)].form { union.mapping.map(\.kind) } else { [] }
    }

    /// The first offset at which one of the kinds declares a member of this name, and the kind; nil where none does.
    package func member(named name: String) -> (offset: Int, kind: [UInt8])? {
        guard case .union(let union) = nodes[resolved(0)].form else { return nil }
        for (kind, node) in union.mapping {
            guard case .properties(let properties) = nodes[node].form else { continue }
            for member in properties.members where member.name.elementsEqual(name.utf8) {
                return (nodes[member.node].offset, kind)
            }
        }
        return nil
    }

    /// What a node comes down to: references end, since compiling refused the others.
    func resolved(_ node: Int) -> Int {
        var node = node
        while case .reference(let target) = nodes[node].form { node = target }
        return node
    }
}
