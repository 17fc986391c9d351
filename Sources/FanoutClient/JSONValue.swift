/// What an event says, for readers that have no JSON library of their own.

import Wire

/// A JSON value, read strictly and held as a tree. For events that programs look into one by one; it keeps every part,
/// so it is no way to search gigabytes.
public struct JSONValue: Sendable {
    private let tree: JSONTree

    /// The value in `text`; nil where that is not one JSON value in UTF-8, or is nested more than 32 deep. Linear in
    /// the length times the depth.
    public init?(_ text: [UInt8]) {
        guard let tree = try? JSONTree.parse(text.span) else { return nil }
        self.tree = tree
    }

    private init(tree: JSONTree) {
        self.tree = tree
    }

    /// The value of the first member of this name, where this is an object that has one. Linear in the members.
    public subscript(name: String) -> JSONValue? { tree[name].map(JSONValue.init(tree:)) }

    /// The elements, where this is an array.
    public var elements: [JSONValue]? { tree.elements?.map(JSONValue.init(tree:)) }

    /// The text, where this is a string.
    public var string: String? { tree.string }

    /// The truth value, where this is one.
    public var bool: Bool? { tree.bool }

    /// The number, where this is one written as a whole number that fits; `1.0` and `1e3` are not.
    public var integer: Int? { tree.integer }

    /// The number as it was written, where this is one: how exact it has to be is up to who reads it.
    public var number: String? { if case .number(let text) = tree.value { text } else { nil } }

    /// Whether this is `null`.
    public var isNull: Bool { tree.isNull }
}
