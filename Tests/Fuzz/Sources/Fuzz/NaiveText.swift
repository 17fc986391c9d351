// Text by the plainest means: what the naive readers share. None of it is fast, and none of it is Wire's.

enum NaiveText {
    static let tokenCharacters = ByteSet(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+-.^_`|~")

    static func isToken(_ text: [UInt8]) -> Bool { !text.isEmpty && text.allSatisfy(tokenCharacters.contains) }

    static func string(_ text: some Sequence<UInt8>) -> String { String(decoding: Array(text), as: UTF8.self) }

    static func lowercase(_ text: [UInt8]) -> String {
        string(text.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 })
    }

    static func split(_ text: [UInt8], _ separator: Character) -> [[UInt8]] {
        text.split(separator: separator.asciiValue ?? 0, omittingEmptySubsequences: false).map { Array($0) }
    }

    static func trimmed(_ text: [UInt8]) -> [UInt8] {
        let rest = text.drop { $0 == 0x20 || $0 == 0x09 }
        return Array(rest.reversed().drop { $0 == 0x20 || $0 == 0x09 }.reversed())
    }

    static func elements(_ list: [UInt8]) -> [String] { split(list, ",").map { lowercase(trimmed($0)) } }

    /// The number that a text of digits is; nil for anything else and beyond `Int`.
    static func number(_ text: [UInt8]) -> Int? {
        text.allSatisfy { (0x30...0x39).contains($0) } ? Int(string(text)) : nil
    }

    static func isUTF8(_ text: [UInt8]) -> Bool { String(validating: text, as: UTF8.self) != nil }

    /// Whether some text in UTF-8 begins with these bytes: tries all there is to add that matters.
    static func mayBeginUTF8(_ text: [UInt8]) -> Bool {
        if isUTF8(text) { return true }
        let bounds: [UInt8] = [0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF]
        // What comes before the last three bytes must be whole characters already, unless it cuts one.
        for first in bounds {
            if isUTF8(text + [first]) { return true }
            for second in bounds {
                if isUTF8(text + [first, second]) { return true }
                for third in bounds where isUTF8(text + [first, second, third]) { return true }
            }
        }
        return false
    }

    static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    static func percentDecoded(_ text: [UInt8]) -> [UInt8]? {
        var pieces = split(text, "%")
        var decoded = pieces.removeFirst()
        for piece in pieces {
            guard piece.count >= 2, let high = hexDigit(piece[0]), let low = hexDigit(piece[1]) else { return nil }
            decoded += [high * 16 + low] + piece.dropFirst(2)
        }
        return isUTF8(decoded) ? decoded : nil
    }

    /// A path, decoded as one that a server may compare with its routes.
    static func path(_ path: [UInt8]) -> [UInt8]? {
        guard let decoded = percentDecoded(path), !decoded.contains(where: { $0 < 0x20 || $0 == 0x7F }),
            !lowercase(path).contains("%2f")
        else { return nil }
        return decoded
    }

    static func pairs(_ query: [UInt8]) -> [(name: [UInt8], value: [UInt8])] {
        split(query, "&").filter { !$0.isEmpty }.map { pair in
            let name = Array(pair.prefix { $0 != UInt8(ascii: "=") })
            return (name, Array(pair.dropFirst(name.count + 1)))
        }
    }
}

extension NaiveText {
    static func isBase64(_ text: Substring) -> Bool {
        text.utf8.allSatisfy("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8.contains)
    }

    /// A media type in lower case and its parameters.
    static func mediaType(_ text: [UInt8]) -> (type: String, parameters: [String]) {
        var parts = split(text, ";").map { lowercase(trimmed($0)) }
        return (parts.removeFirst(), parts)
    }

    /// Whether a list of media types has this one; the first mention decides, by the first weight that it has.
    static func isAccepted(_ list: [UInt8], _ type: String) -> Bool {
        let found = split(list, ",").map { mediaType($0) }.first { $0.type == type }
        guard let found else { return false }
        guard let weight = found.parameters.first(where: { $0.hasPrefix("q=") && $0 != "q=" }) else { return true }
        return !weight.dropFirst(2).allSatisfy { $0 == "0" || $0 == "." }
    }
}

/// Some of the ASCII characters.
struct ByteSet {
    private var members = [Bool](repeating: false, count: 256)

    init(_ characters: String) {
        for byte in characters.utf8 { members[Int(byte)] = true }
    }

    func contains(_ byte: UInt8) -> Bool { members[Int(byte)] }
}

/// `host[:port]`, by RFC 3986 section 3.2.
struct NaiveHost {
    var name: [UInt8]
    var port: Int?

    init?(_ text: [UInt8]) {
        guard !text.isEmpty else { return nil }
        var rest: [UInt8]
        if text[0] == UInt8(ascii: "[") {
            guard let end = text.firstIndex(of: UInt8(ascii: "]")), end > 1 else { return nil }
            name = Array(text[...end])
            rest = Array(text[(end + 1)...])
            guard name[1..<end].allSatisfy({ NaiveText.hexDigit($0) != nil || $0 == 0x3A || $0 == 0x2E }) else {
                return nil
            }
        } else {
            name = Array(text.prefix { $0 != UInt8(ascii: ":") })
            rest = Array(text[name.count...])
            guard NaiveHost.isRegistered(name) else { return nil }
        }
        guard !rest.isEmpty else { return }
        guard rest.removeFirst() == UInt8(ascii: ":"), (1...5).contains(rest.count),
            let port = NaiveText.number(rest), port < 65_536
        else { return nil }
        self.port = port
    }

    private static let registeredCharacters = ByteSet(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=")

    private static func isRegistered(_ name: [UInt8]) -> Bool {
        var parts = NaiveText.split(name, "%")
        for index in parts.indices.dropFirst() {
            guard parts[index].count >= 2, parts[index].prefix(2).allSatisfy({ NaiveText.hexDigit($0) != nil }) else {
                return false
            }
            parts[index].removeFirst(2)
        }
        return !name.isEmpty && parts.joined().allSatisfy(registeredCharacters.contains)
    }

    var isLoopback: Bool {
        let text = NaiveText.lowercase(name)
        if text == "localhost" || text == "[::1]" { return true }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0).map { "\($0)" } == String($0) }
    }

    /// `scheme://host[:port]` and nothing else.
    static func origin(_ text: [UInt8]) -> (scheme: [UInt8], host: NaiveHost)? {
        let scheme = Array(text.prefix { $0 != UInt8(ascii: ":") })
        guard NaiveText.isToken(scheme), Character(Unicode.Scalar(scheme[0])).isLetter,
            Array(text.dropFirst(scheme.count).prefix(3)) == Array("://".utf8),
            let host = NaiveHost(Array(text.dropFirst(scheme.count + 3)))
        else { return nil }
        return (scheme, host)
    }
}
