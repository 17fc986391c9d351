/// What Swift takes for a name or a literal.

enum SwiftIdentifier {
    /// Names that an enum's cases cannot have, or that mean something else there.
    static let enumMembers: Set<String> = [
        "allCases", "encode", "hash", "hashValue", "init", "none", "rawValue", "self", "some",
    ]
    /// Names that a struct's members cannot have.
    static let structMembers: Set<String> = ["encode", "init", "self"]

    private static let keywords: Set<String> = [
        "actor", "any", "as", "associatedtype", "async", "await", "borrowing", "break", "case", "catch", "class",
        "consuming", "continue", "default", "defer", "deinit", "do", "else", "enum", "extension", "fallthrough",
        "false", "fileprivate", "for", "func", "guard", "if", "import", "in", "indirect", "inout", "internal", "is",
        "let", "macro", "nil", "nonisolated", "open", "operator", "precedencegroup", "private", "protocol", "public",
        "repeat", "rethrows", "return", "static", "struct", "subscript", "super", "switch", "throw", "throws", "true",
        "try", "typealias", "var", "where", "while",
    ]

    /// The name, in backticks where it is a keyword.
    static func escaped(_ name: String) -> String { keywords.contains(name) ? "`\(name)`" : name }

    /// A text as a string literal.
    static func literal(_ text: [UInt8]) -> String {
        var literal = "\""
        for scalar in text.string.unicodeScalars {
            switch scalar {
            case "\"", "\\": literal += "\\" + String(scalar)
            case "\u{20}"..."\u{7E}": literal.unicodeScalars.append(scalar)
            default: literal += "\\u{" + String(scalar.value, radix: 16) + "}"
            }
        }
        return literal + "\""
    }
}
