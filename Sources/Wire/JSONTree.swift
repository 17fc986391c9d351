/// A JSON text as a tree whose nodes know their places.

/// One value and where it stands: for configuration files and `$subscribe`, where speed does not matter.
package struct JSONTree: Sendable {
    /// What the value is.
    package indirect enum Value: Sendable {
        case null
        case bool(Bool)
        /// The number as it was written: what it means is up to who reads it.
        case number(String)
        case string(String)
        case array([JSONTree])
        /// Members in their order, repeated names included.
        case object([Member])
    }

    /// A name and its value.
    package struct Member: Sendable {
        /// The unescaped name.
        package let name: String
        /// Offset of the name's opening quote in the text.
        package let offset: Int
        /// What follows the colon, with its own place.
        package let value: JSONTree
    }

    /// Offset of the value's first byte in the text.
    package let offset: Int
    /// What stands there, parts included.
    package let value: Value

    /// The deepest nesting accepted: far more than a configuration has.
    package static let depthMax = 32

    /// Reads one JSON value. Repeated names pass: see `repeatedMember`.
    /// - Throws: `invalidJSON`, `invalidUTF8` or `tooDeep` with the offset; see `JSONScanner.validate`.
    /// - Complexity: linear in the length times the depth.
    package static func parse(_ text: Span<UInt8>) throws(EventFault) -> JSONTree {
        try JSONScanner.validate(text, depthMax: depthMax)
        guard let root = JSONSkip.value(text, JSONSkip.space(text, 0)) else {
            preconditionFailure("the scanner accepted a text without a value")
        }
        return tree(text, root)
    }

    /// Builds the tree of a value; recursion is bounded by `depthMax`.
    private static func tree(_ text: Span<UInt8>, _ value: JSONValuePlace) -> JSONTree {
        let built: Value
        switch value.kind {
        case .null: built = .null
        case .true: built = .bool(true)
        case .false: built = .bool(false)
        case .number: built = .number(JSONText.string(text.extracting(value.place.range)))
        case .string: built = .string(JSONText.string(text.extracting(value.text.range)))
        case .array:
            var items: [JSONTree] = []
            var elements = JSONElements(arrayAt: Int(value.place.start))
            while let element = elements.next(text) { items.append(tree(text, element)) }
            built = .array(items)
        case .object:
            var items: [Member] = []
            var members = JSONMembers(objectAt: Int(value.place.start))
            while let member = members.next(text) {
                let name = JSONText.string(text.extracting(member.name.range))
                items.append(Member(name: name, offset: Int(member.name.start) - 1, value: tree(text, member.value)))
            }
            built = .object(items)
        }
        return JSONTree(offset: Int(value.place.start), value: built)
    }
}

extension JSONTree {
    /// Appends the value as JSON without white space: numbers as they were written, strings in their shortest form.
    package func append(to output: inout [UInt8]) {
        switch value {
        case .null: output.append(text: "null")
        case .bool(let isTrue): output.append(text: isTrue ? "true" : "false")
        case .number(let text): output.append(contentsOf: text.utf8)
        case .string(let text): JSONText.appendQuoted(text, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (place, element) in elements.enumerated() {
                if place > 0 { output.append(UInt8(ascii: ",")) }
                element.append(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (place, member) in members.enumerated() {
                if place > 0 { output.append(UInt8(ascii: ",")) }
                JSONText.appendQuoted(member.name, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.append(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    /// The members, where this is an object.
    package var members: [Member]? {
        if case .object(let members) = value { members } else { nil }
    }

    /// The elements, where this is an array.
    package var elements: [JSONTree]? {
        if case .array(let elements) = value { elements } else { nil }
    }

    /// The text, where this is a string.
    package var string: String? {
        if case .string(let text) = value { text } else { nil }
    }

    /// The truth value, where this is one.
    package var bool: Bool? {
        if case .bool(let flag) = value { flag } else { nil }
    }

    /// The number, where this is one written as a whole number that fits; `1.0` and `1e3` are not.
    package var integer: Int? {
        if case .number(let text) = value { Int(text) } else { nil }
    }

    /// Whether this is `null`.
    package var isNull: Bool {
        if case .null = value { true } else { false }
    }

    /// What the value is, for messages: "an object", "a string" and so on.
    package var kindName: StaticString {
        switch value {
        case .null: "null"
        case .bool: "true or false"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }

    /// The value of the first member of this name, where this is an object that has one.
    package subscript(name: String) -> JSONTree? {
        members?.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    /// The first member, of this object or any value in it, whose name occurred before in the same object: in a
    /// configuration one of the two would be ignored in silence.
    package var repeatedMember: Member? {
        switch value {
        case .array(let elements):
            for element in elements { if let found = element.repeatedMember { return found } }
        case .object(let members):
            var names: Set<[UInt8]> = []
            for member in members {
                if !names.insert(Array(member.name.utf8)).inserted { return member }
                if let found = member.value.repeatedMember { return found }
            }
        case .null, .bool, .number, .string: break
        }
        return nil
    }
}
