/// A table as aligned text and as Markdown.

/// Headings and rows of cells; the first `textColumns` stand to the left, all others to the right.
struct Table {
    var headings: [String]
    var textColumns: Int
    var rows: [[String]] = []

    /// For the terminal: columns two spaces apart, a line below the headings.
    var plain: String {
        var widths = headings.map(\.count)
        for row in rows {
            for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.count) }
        }
        func line(_ cells: [String]) -> String {
            let padded = cells.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.count)
                return column < textColumns ? cell + space : space + cell
            }
            let joined = padded.joined(separator: "  ")
            return String(joined.reversed().drop { $0 == " " }.reversed()) + "\n"
        }
        let rule = String(repeating: "─", count: widths.reduce(0, +) + 2 * (widths.count - 1)) + "\n"
        return line(headings) + rule + rows.map(line).joined()
    }

    /// For a Markdown file.
    var markdown: String {
        func line(_ cells: [String]) -> String {
            "| " + cells.map(Self.escaped).joined(separator: " | ") + " |\n"
        }
        let rule = headings.indices.map { $0 < textColumns ? "---" : "--:" }
        return line(headings) + "|" + rule.joined(separator: "|") + "|\n" + rows.map(line).joined()
    }

    /// `text` as Markdown that shows it: nothing in it is a mark, a link or HTML.
    static func escaped(_ text: String) -> String {
        var output = ""
        for character in text {
            switch character {
            case "&": output += "&amp;"
            case "<": output += "&lt;"
            case "\\", "|", "*", "`", "[", "]": output += "\\\(character)"
            default: output.append(character)
            }
        }
        return output
    }
}
