/// Generated source text, put together line by line.

/// Lines and how far they are indented.
struct SourceText {
    private(set) var text = ""
    private var depth = 0
    private let step: String

    init(indentedBy step: String) {
        self.step = step
    }

    /// Adds a line as it is, at the present indentation.
    mutating func plain(_ line: String) {
        text += String(repeating: step, count: depth) + line + "\n"
    }

    /// Adds a line; a `{` at its end indents what follows, a `}` at its beginning ends that.
    mutating func line(_ line: String = "") {
        if line.hasPrefix("}") { depth -= 1 }
        text += line.isEmpty ? "\n" : String(repeating: step, count: depth) + line + "\n"
        if line.hasSuffix("{") { depth += 1 }
    }
}

extension [UInt8] {
    /// The text that the bytes are.
    var string: String { String(decoding: self, as: UTF8.self) }

    /// The text as a literal in double quotes, as JSON writes it: in ASCII, so that no editor shows it otherwise.
    var literal: String {
        var literal = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"", "\\": literal += "\\" + String(scalar)
            case "\u{20}"..."\u{7E}": literal.unicodeScalars.append(scalar)
            default:
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    literal += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                }
            }
        }
        return literal + "\""
    }
}
