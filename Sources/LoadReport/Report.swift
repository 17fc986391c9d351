/// The report: runs in, tables and plots out.

/// A file that the report consists of.
package struct ReportDocument: Sendable {
    /// Relative to the directory it is written to: `RESULTS.md`, `plots/….svg`.
    package var path: String
    /// All of it.
    package var text: String
}

/// What was measured, ready to be told. It does no input or output.
package struct Report: Sendable {
    let results: Results
    let outcomes: [Outcome]

    /// Reads runs, one JSON object a line, and goals.
    /// - Parameter base: the label that all are held against. Without it: `floor io_uring` for labels that end in
    ///   `io_uring`, `floor epoll` for all others, else the first label of the row.
    /// - Throws: all lines that are not runs, or not goals; a base that no run has; that there are no runs.
    /// - Complexity: linear in the input, times rows and labels.
    package init(_ inputs: [ReportInput], base: String? = nil, goals: ReportInput? = nil) throws(ReportError) {
        results = try Results(inputs, base: base)
        var wanted: [Goal] = []
        if let goals { wanted = try GoalReader.read(goals) }
        let read = results
        outcomes = wanted.map { $0.outcome(read) }
    }

    /// Runs that failed their check, one line each: row, label, round and why.
    package var failures: [String] { results.failures }

    /// An SVG file with the latency curves of all labels, each over all its runs.
    package func latencyPlot() -> String {
        let curves = results.labels.map { label in
            let cells = results.rows.compactMap { $0.cells[label] }
            return LatencyCurve(label: label, histogram: cells.reduce(Histogram()) { $0 + $1.histogram })
        }
        return LatencyPlot.svg(title: results.rows.count == 1 ? results.rows[0].name : "Latency", curves: curves)
    }

    /// The tables of a heading's rows: one for each measure that it has.
    func tables(_ rows: [Row]) -> [Table] {
        Measure.allCases.compactMap { measure in
            let rows = rows.filter { $0.measure == measure }
            return rows.isEmpty ? nil : table(rows, measure)
        }
    }

    private func table(_ rows: [Row], _ measure: Measure) -> Table {
        let metrics =
            [measure.chief]
            + measure.others.filter { metric in
                rows.contains { row in row.cells.values.contains { $0.spread(metric) != nil } }
            }
        var table = Table(headings: ["row", "server"], textColumns: 2)
        table.headings += [metrics[0].title, results.ratioTitle(rows)] + metrics.dropFirst().map(\.title)
        for row in rows {
            for (index, label) in row.labels.enumerated() {
                guard let cell = row.cells[label] else { continue }
                var cells = [index == 0 ? row.title : "", label]
                for (column, metric) in metrics.enumerated() {
                    cells.append(text(cell, metric, isChief: column == 0))
                    if column == 0 { cells.append(ratio(row, label, metric)) }
                }
                table.rows.append(cells)
            }
        }
        return table
    }

    /// The chief figure has its range and says how many runs failed; of the others the median is enough.
    private func text(_ cell: Cell, _ metric: Metric, isChief: Bool) -> String {
        let spread = cell.spread(metric)
        guard isChief else { return spread.map { metric.text($0.median) } ?? "–" }
        let figure = spread.map { $0.text(metric.text) }
        guard cell.failed > 0 else { return figure ?? "–" }
        let failed = "\(cell.failed) of \(cell.runs.count) failed"
        return figure.map { "\($0), \(failed)" } ?? failed
    }

    private func ratio(_ row: Row, _ label: String, _ metric: Metric) -> String {
        guard let base = results.base(of: label, in: row), base != label else { return "–" }
        return row.ratio(metric, label, to: base)?.text(FigureText.ratio) ?? "–"
    }

    /// Goals and what became of them.
    static func table(_ outcomes: [Outcome]) -> Table {
        var table = Table(headings: ["goal", "", "wanted", "measured"], textColumns: 2)
        for outcome in outcomes {
            let goal = outcome.goal
            let measured = outcome.spread.map { $0.text(goal.text) }
            let place = outcome.worstRow.map { " in \"\($0)\"" } ?? ""
            let failed = outcome.failedRow.map { "every run failed in \"\($0)\"" }
            table.rows.append([
                goal.title, outcome.isMet.map { $0 ? "met" : "not met" } ?? "–",
                "\(goal.relation.sign) \(goal.text(goal.bound))", failed ?? (measured ?? "not measured") + place,
            ])
        }
        return table
    }

    /// Tables for a terminal, of any width.
    package func terminal() -> String {
        var text = ""
        for group in results.groups {
            if !group.name.isEmpty { text += "\n\(group.name)\n\n" }
            text += tables(group.rows).map(\.plain).joined(separator: "\n")
        }
        let measured = outcomes.filter { $0.isMet != nil }
        if !measured.isEmpty { text += "\nGoals\n\n" + Self.table(measured).plain }
        let notes =
            (measured.count < outcomes.count ? ["goals not measured: \(outcomes.count - measured.count)"] : [])
            + results.skipped.map { "not measured: \($0.label) (\($0.reason))" } + failures.map { "failed: \($0)" }
        if !notes.isEmpty { text += "\n" + notes.map { $0 + "\n" }.joined() }
        return text
    }
}
