/// Events as careless producers write them, and what is left of them without white space.

import Reactor

/// One event: the text to publish and what every reader must get of it.
struct MadeEvent {
    var text: [UInt8]
    /// The text without white space outside strings.
    var compact: [UInt8]
    /// The value of the discriminator, unescaped; nil where there is none.
    var kind: String?
    /// The value of its `key`, with its type in front; nil where it has none.
    var key: String?
}

/// Makes events, no two of them alike.
struct EventMaker {
    static let kinds = ["alpha", "beta", "gamma"]
    /// Lengths around which the encodings change.
    static let edges = [125, 126, 4096, 65_535, 65_536]

    var random: SeededRandom
    /// The largest event that this world can afford.
    let bytesMax: Int
    /// How many keys its events name, if they name any.
    private let keys: Int
    private var keyRandom: SeededRandom
    private var made = 0

    init(random: SeededRandom, bytesMax: Int, keys: Int = 0) {
        self.random = random
        self.bytesMax = bytesMax
        self.keys = keys
        var copy = random
        keyRandom = copy.fork()
    }

    mutating func event(discriminator: String, channelBytes: Int) -> MadeEvent {
        made += 1
        var members = [#""id":"\#(made)""#]
        var kind: String?
        if random.chance(0.9) {
            let name = random.pick(Self.kinds)
            kind = name
            // The same kind, spelt with an escape now and then.
            let spelling = random.chance(0.1) ? "\\u00" + hex(name.utf8.first!) + name.dropFirst() : name
            members.insert("\"\(discriminator)\":\"\(spelling)\"", at: random.below(2))
        }
        for _ in 0..<random.below(3) { members.append("\"m\(members.count)\":\(scalar())") }
        let key = key()
        if let key { members.append("\"key\":\(key.text)") }
        if let length = length() {
            // The members, the filler's own 11 bytes, and a stamp with a number of three digits: with them the whole
            // comes out at the edge or a byte or two beside it.
            let rest = members.reduce(11 + 23 + channelBytes) { $0 + $1.utf8.count + 1 }
            let filler = max(0, length - rest + random.below(5) - 2)
            let text = String(repeating: "é", count: random.chance(0.5) ? filler / 2 : 0)
            members.append("\"fill\":\"" + text + String(repeating: "x", count: filler - text.utf8.count) + "\"")
        }
        var text = space() + "{"
        for (place, member) in members.enumerated() { text += (place > 0 ? "," : "") + space() + member + space() }
        text += "}" + space()
        let bytes = Array(text.utf8)
        return MadeEvent(text: bytes, compact: Self.compacted(bytes), kind: kind, key: key?.value)
    }

    /// Copies everything but white space outside strings.
    static func compacted(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var isInString = false
        var isEscaped = false
        text.withUnsafeBufferPointer { text in
            for byte in text {
                if isInString {
                    if isEscaped {
                        isEscaped = false
                    } else if byte == 0x5C {
                        isEscaped = true
                    } else if byte == 0x22 {
                        isInString = false
                    }
                } else if byte == 0x22 {
                    isInString = true
                } else if byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A {
                    continue
                }
                result.append(byte)
            }
        }
        return result
    }

    /// A key as it is written, and what it is: `3`, `"3"` and `"\u0033"` are two keys.
    private mutating func key() -> (text: String, value: String)? {
        guard keys > 0 else { return nil }
        let number = keyRandom.below(keys)
        switch keyRandom.below(4) {
        case 0: return ("\(number)", "number \(number)")
        case 1:
            let escaped = String(number).utf8.map { "\\u00" + hex($0) }.joined()
            return ("\"\(escaped)\"", "string \(number)")
        default: return ("\"\(number)\"", "string \(number)")
        }
    }

    private mutating func length() -> Int? {
        let edge = random.pick(Self.edges)
        guard random.chance(edge > 4096 ? 0.06 : 0.15), edge <= bytesMax else { return nil }
        return edge
    }

    private mutating func scalar() -> String {
        random.pick([
            "0", "-1.50e+3", "true", "null", "[]", "{}", "[1, 2 ,[ 3]]", "{\"a\" : {\"b\":\"}\"}}", "\" \\\" \\\\ \"",
            "\"\\ud83d\\ude00\"", "\"\u{2028}é\"", "\"a b\"", "\"\\n\\/\"", "\"$bye\"",
        ])
    }

    /// White space that a line may hold: no line feed.
    private mutating func space() -> String { random.chance(0.1) ? random.pick([" ", "\t", "  \t "]) : "" }

    private func hex(_ byte: UInt8) -> String { String(byte, radix: 16) }
}
