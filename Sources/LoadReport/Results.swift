/// All runs, sorted into rows and labels, and what can be asked of them.

import Wire

/// The runs of one label in one row.
struct Cell {
    /// By round; at most one each.
    var runs: [Run] = []

    /// Those that count: a run that failed has no figures.
    var good: [Run] { runs.filter { $0.failure == nil } }
    /// How many do not count.
    var failed: Int { runs.count - good.count }

    /// The figure of each round that has it.
    func rounds(_ metric: Metric) -> [Int: Double] {
        var values: [Int: Double] = [:]
        for run in good { values[run.round] = run.figures[metric] }
        return values
    }

    func spread(_ metric: Metric) -> Spread? {
        Spread(Array(rounds(metric).values))
    }

    /// All rounds together.
    var histogram: Histogram { good.reduce(Histogram()) { $0 + $1.histogram } }
}

/// One row of the workload table.
struct Row {
    /// Its whole name, by which goals call it.
    var name: String
    /// Who was measured, in the order of the tables.
    var labels: [String] = []
    var cells: [String: Cell] = [:]

    /// The heading it stands under; empty without one.
    var group: String { Row.parts(name).group }
    /// What it is called under that heading.
    var title: String { Row.parts(name).title }
    var measure: Measure { cells.values.lazy.flatMap(\.runs).first { $0.failure == nil }?.measure ?? .delivery }

    private static func parts(_ name: String) -> (group: String, title: String) {
        let bytes = Array(name.utf8)
        for index in bytes.indices.dropFirst() where bytes[index] == UInt8(ascii: " ") {
            guard bytes[index - 1] == UInt8(ascii: ":"), index + 1 < bytes.count else { continue }
            return (
                String(decoding: bytes[..<(index - 1)], as: UTF8.self),
                String(decoding: bytes[(index + 1)...], as: UTF8.self)
            )
        }
        return ("", name)
    }

    /// Figure of `label` through that of `base`, round by round.
    func ratio(_ metric: Metric, _ label: String, to base: String) -> Spread? {
        guard let own = cells[label]?.rounds(metric), let theirs = cells[base]?.rounds(metric) else { return nil }
        return Spread(own.compactMap { round, value in theirs[round].flatMap { $0 > 0 ? value / $0 : nil } })
    }
}

/// Every run that was read.
struct Results {
    /// In the order in which they were first met.
    private(set) var rows: [Row] = []
    private(set) var labels: [String] = []
    /// Labels that were not measured, and why.
    private(set) var skipped: [(label: String, reason: String)] = []
    /// Where the runs were made: each name with its values, first met first.
    private(set) var origin: [(name: String, values: [String])] = Run.originNames.map { ($0, []) }
    private let chosenBase: String?

    /// Reads the lines of all inputs. Of two runs with the same label, row and round the later one counts; a run that
    /// does not say its round is a round of its own. `base` is whom all are held against.
    init(_ inputs: [ReportInput], base: String?) throws(ReportError) {
        chosenBase = base
        var runs: [Run] = []
        var faults: [String] = []
        for input in inputs {
            input.forEachLine { number, line in
                do throws(RunFault) {
                    runs.append(try Run(line: line))
                } catch {
                    faults.append("\(input.name):\(number): \(error.message)")
                }
            }
        }
        if runs.isEmpty, faults.isEmpty { faults.append("\(inputs.first?.name ?? "report"): there are no runs") }
        if !faults.isEmpty { throw ReportError(faults) }
        for run in runs { add(run) }
        for index in rows.indices { rows[index].labels = labels.filter { rows[index].cells[$0] != nil } }
        if let base, !labels.contains(base) {
            throw ReportError(["no run has the label \"\(base)\"; there are: \(labels.joined(separator: ", "))"])
        }
    }

    private mutating func add(_ run: Run) {
        if let reason = run.skipped {
            skipped.removeAll { $0.label == run.label }
            skipped.append((run.label, reason))
            return
        }
        for index in origin.indices {
            guard let value = run.origin[origin[index].name], !origin[index].values.contains(value) else { continue }
            origin[index].values.append(value)
        }
        if !labels.contains(run.label) { labels.append(run.label) }
        let index = rows.firstIndex { $0.name == run.row } ?? rows.endIndex
        if index == rows.endIndex { rows.append(Row(name: run.row)) }
        var cell = rows[index].cells[run.label] ?? Cell()
        var run = run
        if run.round == 0 {
            run.round = (cell.runs.last?.round ?? 0) + 1
        } else {
            cell.runs.removeAll { $0.round == run.round }
        }
        cell.runs.insert(run, at: cell.runs.firstIndex { $0.round > run.round } ?? cell.runs.endIndex)
        rows[index].cells[run.label] = cell
    }

    subscript(row name: String) -> Row? {
        rows.first { $0.name == name }
    }

    /// The rows under each heading, in order.
    var groups: [(name: String, rows: [Row])] {
        var groups: [(name: String, rows: [Row])] = []
        for row in rows {
            if let index = groups.firstIndex(where: { $0.name == row.group }) {
                groups[index].rows.append(row)
            } else {
                groups.append((row.group, [row]))
            }
        }
        return groups
    }

    /// Whom `label` is held against in `row`: the chosen base, else the floor on the same backend, else the first.
    func base(of label: String, in row: Row) -> String? {
        let floor = label.hasSuffix("io_uring") ? "floor io_uring" : "floor epoll"
        return [chosenBase, floor, "floor epoll", row.labels.first].compactMap { $0 }.first { row.cells[$0] != nil }
    }

    /// What heads the column of ratios of these rows.
    func ratioTitle(_ rows: [Row]) -> String {
        let bases = Set(rows.flatMap { row in row.labels.compactMap { base(of: $0, in: row) } })
        if let one = bases.first, bases.count == 1 { return "× \(one)" }
        if bases.allSatisfy({ $0.hasPrefix("floor") }) { return "× floor" }
        return bases.contains { $0.hasPrefix("floor") } ? "× floor, else × first" : "× first of the row"
    }

    /// Runs that failed, one line each.
    var failures: [String] {
        rows.flatMap { row in
            row.labels.flatMap { label in
                (row.cells[label]?.runs ?? []).compactMap { run in
                    run.failure.map { "\(row.name), \(label), round \(run.round): \($0)" }
                }
            }
        }
    }
}
