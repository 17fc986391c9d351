/// Reads the goals file: one goal a line, `#` before a comment.

enum GoalReader {
    /// All goals of the file, in order.
    /// - Throws: every line that is not a goal, by file and line.
    static func read(_ input: ReportInput) throws(ReportError) -> [Goal] {
        var goals: [Goal] = []
        var faults: [String] = []
        input.forEachLine { number, line in
            let text = String(decoding: line.indices.map { line[$0] }, as: UTF8.self)
            guard !text.hasPrefix("#") else { return }
            do throws(RunFault) {
                for line in try alternatives(text) { goals.append(try goal(line)) }
            } catch {
                faults.append("\(input.name):\(number): \(error.message)")
            }
        }
        if !faults.isEmpty { throw ReportError(faults) }
        return goals
    }

    /// More than any list of backends and transports multiplies to.
    private static let alternativesMax = 64

    /// The line with each choice of its braces.
    static func alternatives(_ line: String) throws(RunFault) -> [String] {
        var lines = [line]
        while let open = lines[0].firstIndex(of: "{") {
            guard let close = lines[0][open...].firstIndex(of: "}") else { throw RunFault(message: "'{' without '}'") }
            let braces = lines[0][open...close]
            let choices = braces.dropFirst().dropLast().split(separator: "|", omittingEmptySubsequences: false)
            guard choices.count * lines.count <= alternativesMax else {
                throw RunFault(message: "more than \(alternativesMax) alternatives")
            }
            lines = lines.flatMap { line in choices.map { replacing(braces, with: $0, in: line) } }
        }
        return lines
    }

    private static func replacing(_ part: Substring, with other: Substring, in text: String) -> String {
        var output = ""
        var rest = text[...]
        while !rest.isEmpty {
            if rest.hasPrefix(part) {
                output += other
                rest = rest.dropFirst(part.count)
            } else {
                output.append(rest.removeFirst())
            }
        }
        return output
    }

    /// One line without braces.
    private static func goal(_ line: String) throws(RunFault) -> Goal {
        guard let bar = line.firstIndex(of: "|") else { throw RunFault(message: "no '|' after the title") }
        let words = line[line.index(after: bar)...].split(separator: " ").map(String.init)
        guard let place = words.indices.last(where: { Goal.Relation(rawValue: words[$0]) != nil }),
            let relation = Goal.Relation(rawValue: words[place]), place + 2 == words.count,
            let bound = Double(words[place + 1]), bound.isFinite
        else { throw RunFault(message: "it does not end in '<= NUMBER', '>=', '<' or '>'") }
        let factors = try factors(words[..<place].joined(separator: " "))
        return Goal(title: trimmed(line[..<bar]), factors: factors, relation: relation, bound: bound)
    }

    /// `METRIC(LABEL; ROW)`, then any number of them behind `*` or `/`.
    private static func factors(_ text: String) throws(RunFault) -> [Goal.Factor] {
        var factors: [Goal.Factor] = []
        var rest = text[...]
        while true {
            rest = rest.drop { $0 == " " }
            var divides = false
            if !factors.isEmpty {
                guard let sign = rest.popFirst() else { return factors }
                guard sign == "/" || sign == "*" else { throw RunFault(message: "'\(sign)' where / or * should be") }
                divides = sign == "/"
                rest = rest.drop { $0 == " " }
            }
            guard let open = rest.firstIndex(of: "("), let close = rest[open...].firstIndex(of: ")"),
                let middle = rest[open..<close].firstIndex(of: ";")
            else { throw RunFault(message: "no METRIC(LABEL; ROW)") }
            let name = String(rest[..<open])
            guard let metric = Metric(rawValue: name) else {
                let known = Metric.allCases.map(\.rawValue).joined(separator: ", ")
                throw RunFault(message: "no figure is called '\(name)': there are \(known)")
            }
            let label = trimmed(rest[rest.index(after: open)..<middle])
            let row = trimmed(rest[rest.index(after: middle)..<close])
            factors.append(Goal.Factor(metric: metric, label: label, row: row, divides: divides))
            rest = rest[rest.index(after: close)...]
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        let front = text.drop { $0 == " " }
        return String(front.reversed().drop { $0 == " " }.reversed())
    }
}
