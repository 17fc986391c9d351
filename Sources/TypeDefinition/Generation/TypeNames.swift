/// Names for what is generated: valid, different from each other, and the same every time.

struct TypeNames {
    private var taken: Set<String>

    /// - Parameter reserved: names that mean something already.
    init(reserved: Set<String> = []) {
        taken = reserved
    }

    /// The name itself, or with the first number behind it that nobody has.
    mutating func unique(_ name: String) -> String {
        var candidate = name
        var number = 2
        while !taken.insert(candidate).inserted {
            candidate = "\(name)\(number)"
            number += 1
        }
        return candidate
    }

    /// `session.created` as `SessionCreated`: the ASCII letters and digits of the text, each run with a capital.
    static func upper(_ text: [UInt8]) -> String {
        let name = parts(text).map(capitalized).joined()
        guard let first = name.utf8.first else { return "Value" }
        return first.isDigit ? "_" + name : name
    }

    /// `session.created` as `sessionCreated`, and `ID` as `id`.
    static func lower(_ text: [UInt8]) -> String {
        let parts = parts(text)
        guard let first = parts.first else { return "value" }
        let isAllCapitals = first.utf8.allSatisfy { !(UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0) }
        let begin = isAllCapitals ? first.lowercased() : first.prefix(1).lowercased() + first.dropFirst()
        let name = begin + parts.dropFirst().map(capitalized).joined()
        return name.utf8.first.map(\.isDigit) == true ? "_" + name : name
    }

    private static func parts(_ text: [UInt8]) -> [String] {
        text.split { !isLetter($0) && !$0.isDigit }.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func capitalized(_ part: String) -> String { part.prefix(1).uppercased() + part.dropFirst() }

    static func isLetter(_ byte: UInt8) -> Bool {
        UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
    }
}
