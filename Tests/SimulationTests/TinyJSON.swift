/// A strict reader of the small JSON texts that a server writes: answers and `$` records, without white space.

/// A JSON value. Numbers are kept as they are written.
indirect enum TinyJSON: Equatable, CustomStringConvertible {
    struct Member: Equatable {
        let name: String
        let value: TinyJSON
    }

    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([TinyJSON])
    case object([Member])

    /// Reads one value that fills the text; white space is as wrong as anything else that does not belong there.
    init(_ bytes: [UInt8]) throws {
        var reader = Reader(bytes: bytes)
        self = try reader.value(depth: 0)
        guard reader.place == bytes.count else { throw reader.fault("something follows the value") }
    }

    subscript(_ name: String) -> TinyJSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    var description: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let text): text
        case .string(let text): "\"\(text)\""
        case .array(let elements): "\(elements)"
        case .object(let members): "{" + members.map { "\($0.name): \($0.value)" }.joined(separator: ", ") + "}"
        }
    }

    /// The names of an object's members, in order.
    var names: [String] {
        guard case .object(let members) = self else { return [] }
        return members.map(\.name)
    }

    var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    var integer: UInt64? {
        if case .number(let text) = self { UInt64(text) } else { nil }
    }

    private struct Reader {
        let bytes: [UInt8]
        var place = 0

        func fault(_ what: String) -> Malformed { Malformed("\(what) at byte \(place) of \(bytes.excerpt)") }

        mutating func value(depth: Int) throws -> TinyJSON {
            guard depth < 16, place < bytes.count else { throw fault("no value") }
            switch bytes[place] {
            case UInt8(ascii: "{"): return try object(depth)
            case UInt8(ascii: "["): return try array(depth)
            case UInt8(ascii: "\""): return .string(try string())
            case UInt8(ascii: "t"): return try word("true", .bool(true))
            case UInt8(ascii: "f"): return try word("false", .bool(false))
            case UInt8(ascii: "n"): return try word("null", .null)
            default:
                let start = place
                guard bytes.number(at: &place) != nil else { throw fault("no value") }
                return .number(Array(bytes[start..<place]).text)
            }
        }

        private mutating func word(_ word: StaticString, _ value: TinyJSON) throws -> TinyJSON {
            guard bytes.has(word, at: place) else { throw fault("no value") }
            place += word.utf8CodeUnitCount
            return value
        }

        private mutating func expect(_ byte: Character) throws {
            guard place < bytes.count, bytes[place] == byte.asciiValue else { throw fault("\(byte) is missing") }
            place += 1
        }

        private mutating func object(_ depth: Int) throws -> TinyJSON {
            try expect("{")
            var members: [Member] = []
            if place < bytes.count, bytes[place] == UInt8(ascii: "}") {
                place += 1
                return .object([])
            }
            while true {
                let name = try string()
                try expect(":")
                guard !members.contains(where: { $0.name == name }) else { throw fault("\(name) occurs twice") }
                members.append(Member(name: name, value: try value(depth: depth + 1)))
                guard place < bytes.count, bytes[place] == UInt8(ascii: ",") else { break }
                place += 1
            }
            try expect("}")
            return .object(members)
        }

        private mutating func array(_ depth: Int) throws -> TinyJSON {
            try expect("[")
            var elements: [TinyJSON] = []
            if place < bytes.count, bytes[place] == UInt8(ascii: "]") {
                place += 1
                return .array([])
            }
            while true {
                elements.append(try value(depth: depth + 1))
                guard place < bytes.count, bytes[place] == UInt8(ascii: ",") else { break }
                place += 1
            }
            try expect("]")
            return .array(elements)
        }

        private mutating func string() throws -> String {
            try expect("\"")
            var content: [UInt8] = []
            while place < bytes.count, bytes[place] != UInt8(ascii: "\"") {
                guard bytes[place] >= 0x20 else { throw fault("a control character") }
                if bytes[place] == UInt8(ascii: "\\") {
                    guard place + 1 < bytes.count, "\"\\/".utf8.contains(bytes[place + 1]) else {
                        throw fault("an escape that the server has no reason to write")
                    }
                    place += 1
                }
                content.append(bytes[place])
                place += 1
            }
            try expect("\"")
            guard String(validating: content, as: UTF8.self) != nil else { throw fault("not UTF-8") }
            return content.text
        }
    }
}
