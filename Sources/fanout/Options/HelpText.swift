/// The text of `fanout COMMAND --help`, made from the command's table.

extension CommandTable {
    /// The help, at most 100 columns wide, with a newline at its end.
    package func helpText() -> String {
        var text = "fanout \(name) - " + Wrapping.wrap(about, indent: 0, first: 10 + name.count) + "\n"
        text += "\nUsage: fanout \(name)" + (usage.isEmpty ? "" : " " + usage) + "\n"
        var group = ""
        for flag in flags {
            if flag.group != group {
                group = flag.group
                text += "\n\(group):\n"
            }
            text += flag.helpLines()
        }
        if !flags.contains(where: { $0.group == "Other" }) { text += "\nOther:\n" }
        text += "  --help, -h\n" + Wrapping.indent + "Prints this text.\n"
        text += "\nExamples:\n"
        for example in examples {
            text += "  \(example.line)\n" + Wrapping.indent + Wrapping.wrap(example.about, indent: 6, first: 6) + "\n"
        }
        text += "\nExit codes:\n"
        for code in [ExitCode.success, ExitCode.usage] + exitCodes {
            text += "  \(code)" + (code < 100 ? code < 10 ? "   " : "  " : " ") + ExitCode.meaning(code) + "\n"
        }
        text += "\nEnvironment:\n  " + environmentText() + "\n"
        return text
    }

    private func environmentText() -> String {
        guard let sample = flags.first(where: { $0.placeholder != nil }) else { return "None." }
        let text =
            "Every flag can be set by a variable: FANOUT_ and its name in capitals with underscores, such as "
            + "\(sample.variable) for --\(sample.name). A flag wins over its variable"
            + (name != "check" && flags.count > 1 && flags.contains { $0.name == "config" }
                ? ", a variable over the configuration file." : ".")
        return Wrapping.wrap(text, indent: 2, first: 2)
    }
}

extension Flag {
    fileprivate func helpLines() -> String {
        var about = self.about
        if repeats { about += " May be given more than once." }
        if let standard { about += " Default: \(standard)." }
        return "  --\(name)" + (placeholder.map { " \($0)" } ?? "") + "\n"
            + Wrapping.indent + Wrapping.wrap(about, indent: 6, first: 6) + "\n"
    }
}

/// Breaks text into lines.
enum Wrapping {
    static let columnsMax = 100
    static let indent = "      "

    /// `text` with line ends instead of some blanks; later lines begin with `indent` blanks, the first one has `first`
    /// columns before it already.
    static func wrap(_ text: String, indent: Int, first: Int) -> String {
        var result = ""
        var column = first
        for word in text.split(separator: " ") {
            if !result.isEmpty {
                if column + 1 + word.count > columnsMax {
                    result += "\n" + String(repeating: " ", count: indent)
                    column = indent
                } else {
                    result += " "
                    column += 1
                }
            }
            result += word
            column += word.count
        }
        return result
    }
}
