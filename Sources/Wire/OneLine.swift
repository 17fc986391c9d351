/// Text from elsewhere as an operator may read it.

/// Makes one line of any text, so that nothing from outside can forge a line, move the cursor or fill the screen.
package enum OneLine {
    /// Characters of a line; what follows is cut.
    package static let charactersMax = 512

    /// The text with its control characters escaped (`\xa` is a line feed), cut to `charactersMax`. O(line).
    package static func of(_ text: String) -> String {
        var line = ""
        var count = 0
        for scalar in text.unicodeScalars {
            if count == charactersMax { return line + "…" }
            if isControl(scalar.value) {
                line += "\\x" + String(scalar.value, radix: 16)
            } else {
                line.unicodeScalars.append(scalar)
            }
            count += 1
        }
        return line
    }

    /// C0 and C1 controls, and what a terminal or an editor takes for the end of a line or a change of direction:
    /// U+2028, U+2029, U+202A to U+202E, U+2066 to U+2069.
    private static func isControl(_ value: UInt32) -> Bool {
        switch value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
