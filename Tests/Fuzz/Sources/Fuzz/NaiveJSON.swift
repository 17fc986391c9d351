// Reads JSON by RFC 8259's grammar, recursively and byte by byte, into a tree that keeps every token as it was written.

/// One value. Names and strings are what stands between their quotes, still escaped.
indirect enum NaiveJSON: Equatable {
    /// A number or one of the three literal names.
    case plain([UInt8])
    case string([UInt8])
    case array([NaiveJSON])
    case object([Member])

    struct Member: Equatable {
        var name: [UInt8]
        var value: NaiveJSON
    }

    /// The value that a text is; nil where it is not JSON, or nested deeper than `depthMax`.
    static func read(_ text: [UInt8], depthMax: Int) -> NaiveJSON? {
        var reader = Reader(text: text, depthMax: depthMax)
        return try? reader.all()
    }

    /// The text without white space.
    var compact: [UInt8] {
        switch self {
        case .plain(let text): text
        case .string(let text): Self.quoted(text)
        case .array(let items): Array("[".utf8) + items.map(\.compact).joined(separator: ",".utf8) + "]".utf8
        case .object(let members):
            Array("{".utf8)
                + members.map { Self.quoted($0.name) + ":".utf8 + $0.value.compact }.joined(separator: ",".utf8)
                + "}".utf8
        }
    }

    /// The text with white space wherever some may be.
    var spaced: [UInt8] {
        let space = Array(" \t\r\n".utf8)
        switch self {
        case .plain, .string: return space + compact + space
        case .array(let items):
            return space + "[".utf8 + (items.isEmpty ? space : [])
                + items.map(\.spaced).joined(separator: ",".utf8) + "]".utf8 + space
        case .object(let members):
            let pairs = members.map { space + Self.quoted($0.name) + space + ":".utf8 + $0.value.spaced }
            return space + "{".utf8 + (members.isEmpty ? space : []) + pairs.joined(separator: ",".utf8) + "}".utf8
                + space
        }
    }

    private static func quoted(_ text: [UInt8]) -> [UInt8] { "\"".utf8 + text + "\"".utf8 }

    /// What an escaped text stands for, by way of UTF-16, in which `\u` escapes are written.
    static func unescaped(_ text: [UInt8]) -> [UInt8] {
        if !text.contains(UInt8(ascii: "\\")) { return text }
        var units: [UInt16] = []
        var at = 0
        while at < text.count {
            let plain = text[at...].prefix { $0 != UInt8(ascii: "\\") }
            units += NaiveText.string(plain).utf16
            at = plain.endIndex
            guard at < text.count else { break }
            let kind = text[at + 1]
            at += 2
            switch Unicode.Scalar(kind) {
            case "b": units.append(8)
            case "f": units.append(12)
            case "n": units.append(10)
            case "r": units.append(13)
            case "t": units.append(9)
            case "u":
                units.append(UInt16(NaiveText.string(text[at..<(at + 4)]), radix: 16) ?? 0xFFFD)
                at += 4
            default: units.append(UInt16(kind))
            }
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }

    private struct Refused: Error {}

    private struct Reader {
        let text: [UInt8]
        let depthMax: Int
        var at = 0

        init(text: [UInt8], depthMax: Int) {
            self.text = text
            self.depthMax = depthMax
        }

        mutating func all() throws -> NaiveJSON {
            let value = try value(depth: 0)
            guard at == text.count else { throw Refused() }
            return value
        }

        private var next: Unicode.Scalar? { at < text.count ? Unicode.Scalar(text[at]) : nil }

        private mutating func space() {
            while next == " " || next == "\t" || next == "\r" || next == "\n" { at += 1 }
        }

        private mutating func skip(_ word: String) throws {
            for character in word.unicodeScalars {
                guard next == character else { throw Refused() }
                at += 1
            }
        }

        private mutating func value(depth: Int) throws -> NaiveJSON {
            space()
            defer { space() }
            let start = at
            switch next {
            case "{":
                guard depth < depthMax else { throw Refused() }
                var members: [Member] = []
                try list("}") { reader in
                    reader.space()
                    let name = try reader.string()
                    reader.space()
                    try reader.skip(":")
                    members.append(Member(name: name, value: try reader.value(depth: depth + 1)))
                }
                return .object(members)
            case "[":
                guard depth < depthMax else { throw Refused() }
                var items: [NaiveJSON] = []
                try list("]") { reader in items.append(try reader.value(depth: depth + 1)) }
                return .array(items)
            case "\"": return .string(try string())
            case "t": try skip("true")
            case "f": try skip("false")
            case "n": try skip("null")
            default: try number()
            }
            return .plain(Array(text[start..<at]))
        }

        private mutating func list(_ close: Unicode.Scalar, _ item: (inout Reader) throws -> Void) throws {
            at += 1
            space()
            if next != close {
                try item(&self)
                while next == "," {
                    at += 1
                    try item(&self)
                }
            }
            guard next == close else { throw Refused() }
            at += 1
        }

        private mutating func number() throws {
            if next == "-" { at += 1 }
            if next == "0" { at += 1 } else { try digits() }
            if next == "." {
                at += 1
                try digits()
            }
            if next == "e" || next == "E" {
                at += 1
                if next == "+" || next == "-" { at += 1 }
                try digits()
            }
        }

        private mutating func digits() throws {
            let start = at
            while at < text.count, (0x30...0x39).contains(text[at]) { at += 1 }
            if at == start { throw Refused() }
        }

        private mutating func string() throws -> [UInt8] {
            try skip("\"")
            let start = at
            while next != "\"" {
                guard at < text.count, text[at] >= 0x20 else { throw Refused() }
                at += 1
                guard text[at - 1] == UInt8(ascii: "\\") else { continue }
                guard let kind = next, "\"\\/bfnrtu".unicodeScalars.contains(kind) else { throw Refused() }
                at += 1
                guard kind == "u" else { continue }
                for _ in 0..<4 {
                    guard at < text.count, NaiveText.hexDigit(text[at]) != nil else { throw Refused() }
                    at += 1
                }
            }
            let content = Array(text[start..<at])
            at += 1
            guard NaiveText.isUTF8(content) else { throw Refused() }
            return content
        }
    }
}
