// Runs as lines of text, for the tests.

@testable import LoadReport

/// One line with the members that matter.
func line(
    _ label: String, _ row: String, _ round: Int, cost: Double? = nil, more: String = ""
) -> String {
    let figure = cost.map { "\($0)" } ?? "null"
    return """
        {"label":"\(label)","row":"\(row)","round":\(round),"readers":10,"deliveries":100,"faults":0,\
        "server_cpu_us_per_delivery":\(figure)\(more)}
        """
}

/// A file of these lines.
func input(_ lines: [String], name: String = "runs.jsonl") -> ReportInput {
    ReportInput(name: name, bytes: Array(lines.map { $0 + "\n" }.joined().utf8))
}

/// What reading says is wrong; empty if nothing is.
func messages(_ lines: [String], goals: String? = nil, base: String? = nil) -> [String] {
    do throws(ReportError) {
        let goals = goals.map { ReportInput(name: "goals", bytes: Array($0.utf8)) }
        _ = try Report([input(lines)], base: base, goals: goals)
        return []
    } catch {
        return error.messages
    }
}
