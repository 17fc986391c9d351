/// Walks the parts of an object or array in text that the scanner accepted, without allocation.

/// What a JSON value is, told by its first byte.
package enum JSONKind: UInt8, BitwiseCopyable, Sendable {
    case string, number, object, array, `true`, `false`, null

    /// Nil where no value begins with `byte`.
    init?(firstByte byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): self = .string
        case UInt8(ascii: "{"): self = .object
        case UInt8(ascii: "["): self = .array
        case UInt8(ascii: "t"): self = .true
        case UInt8(ascii: "f"): self = .false
        case UInt8(ascii: "n"): self = .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): self = .number
        default: return nil
        }
    }
}

/// One value inside of a text.
package struct JSONValuePlace: BitwiseCopyable, Sendable {
    /// The whole value: of a string with its quotes, of an object with its braces.
    package var place: ByteRange
    /// What it is.
    package var kind: JSONKind
    /// For a string: whether it has escapes.
    package var isEscaped: Bool

    /// For a string: the text between the quotes, still escaped.
    package var text: ByteRange {
        ByteRange(start: place.start &+ 1, count: place.count >= 2 ? place.count - 2 : 0)
    }
}

/// One member inside of a text.
package struct JSONMember: BitwiseCopyable, Sendable {
    /// The name between its quotes, still escaped.
    package var name: ByteRange
    /// Whether the name has escapes.
    package var nameIsEscaped: Bool
    /// The value.
    package var value: JSONValuePlace
}

/// The members of one object, in their order. The text is given again with every step, since a span cannot be stored;
/// the offsets are those of that text. In text that the scanner did not accept the walk ends early, and never traps.
package struct JSONMembers: BitwiseCopyable, Sendable {
    private var index: Int

    /// Walks the object that begins at `offset`, white space before it allowed.
    package init(objectAt offset: Int = 0) {
        index = offset
    }

    /// The next member; nil after the last one, and at once if there is no object.
    package mutating func next(_ text: Span<UInt8>) -> JSONMember? {
        guard let start = JSONSkip.nextItem(text, index, opening: UInt8(ascii: "{")),
            let name = JSONSkip.value(text, start), name.kind == .string
        else { return nil }
        let colon = JSONSkip.space(text, name.place.end)
        guard colon < text.count, let value = JSONSkip.value(text, JSONSkip.space(text, colon + 1)) else { return nil }
        index = value.place.end
        return JSONMember(name: name.text, nameIsEscaped: name.isEscaped, value: value)
    }
}

/// The elements of one array, in their order; see `JSONMembers`.
package struct JSONElements: BitwiseCopyable, Sendable {
    private var index: Int

    /// Walks the array that begins at `offset`, white space before it allowed.
    package init(arrayAt offset: Int = 0) {
        index = offset
    }

    /// The next element; nil after the last one, and at once if there is no array.
    package mutating func next(_ text: Span<UInt8>) -> JSONValuePlace? {
        guard let start = JSONSkip.nextItem(text, index, opening: UInt8(ascii: "[")),
            let value = JSONSkip.value(text, start)
        else { return nil }
        index = value.place.end
        return value
    }
}
