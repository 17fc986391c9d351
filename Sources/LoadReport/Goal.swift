/// Goals: what ratios and figures should be, read from lines of text and computed from the runs.

/// One goal, as its line in the goals file says it:
///
///     Title | cost(fanout epoll; one at a time: TCP) / cost(floor epoll; one at a time: TCP) <= 1.08
///
/// The left side is figures multiplied and divided, each `METRIC(LABEL; ROW)`; the right side is a number. A row `*`
/// stands for every row in which all the labels were measured: then the worst row is the one that is judged. `{a|b}`
/// makes one goal of each alternative; the same braces in a line go together.
struct Goal {
    /// One figure of the left side.
    struct Factor {
        var metric: Metric
        var label: String
        var row: String
        var divides: Bool
    }

    /// How the left side should stand to the right one.
    enum Relation: String, CaseIterable {
        case atMost = "<=", atLeast = ">=", below = "<", above = ">"

        func holds(_ value: Double, _ bound: Double) -> Bool {
            switch self {
            case .atMost: value <= bound
            case .atLeast: value >= bound
            case .below: value < bound
            case .above: value > bound
            }
        }

        var isUpper: Bool { self == .atMost || self == .below }
        var sign: String { self == .atMost ? "≤" : self == .atLeast ? "≥" : rawValue }
    }

    var title: String
    var factors: [Factor]
    var relation: Relation
    var bound: Double

    /// True exactly when the left side has no unit.
    var isRatio: Bool { factors.contains(where: \.divides) }
    /// How the bound and what was measured are written.
    func text(_ value: Double) -> String {
        isRatio ? FigureText.ratio(value) : factors.first?.metric.text(value) ?? FigureText.short(value)
    }
}

/// What became of a goal.
struct Outcome {
    var goal: Goal
    /// Nil where no round has all the figures.
    var spread: Spread?
    /// For a goal over every row: the row it was judged by.
    var worstRow: String?
    /// A row in which every run failed of somebody whom the goal is about: then it is not met, whatever others say.
    var failedRow: String?

    var isMet: Bool? { failedRow != nil ? false : spread.map { goal.relation.holds($0.median, goal.bound) } }
}

extension Goal {
    /// What the runs say of it: the median over rounds of the left side, each round by itself.
    func outcome(_ results: Results) -> Outcome {
        guard factors.contains(where: { $0.row == "*" }) else {
            return Outcome(
                goal: self, spread: spread(results, everyRow: nil), failedRow: failedRow(results, everyRow: nil))
        }
        var worst = Outcome(goal: self)
        for row in results.rows {
            worst.failedRow = worst.failedRow ?? failedRow(results, everyRow: row)
            guard let spread = spread(results, everyRow: row) else { continue }
            let isWorse = worst.spread.map {
                relation.isUpper ? spread.median > $0.median : spread.median < $0.median
            }
            if isWorse ?? true {
                worst.spread = spread
                worst.worstRow = row.name
            }
        }
        return worst
    }

    /// The row where all others took part and somebody above the line has no run that counts; nil where there is none.
    private func failedRow(_ results: Results, everyRow: Row?) -> String? {
        let places = factors.map { ($0, $0.row == "*" ? everyRow : results[row: $0.row]) }
        guard places.allSatisfy({ factor, row in row?.cells[factor.label] != nil }) else { return nil }
        let failed = places.first { factor, row in !factor.divides && row?.cells[factor.label]?.good.isEmpty == true }
        return failed?.1?.name
    }

    private func spread(_ results: Results, everyRow: Row?) -> Spread? {
        var product: [Int: Double]?
        for factor in factors {
            let row = factor.row == "*" ? everyRow : results[row: factor.row]
            guard let rounds = row?.cells[factor.label]?.rounds(factor.metric) else { return nil }
            guard let before = product else {
                product = factor.divides ? rounds.compactMapValues { $0 > 0 ? 1 / $0 : nil } : rounds
                continue
            }
            product = before.reduce(into: [:]) { after, entry in
                guard let value = rounds[entry.key], !factor.divides || value > 0 else { return }
                after[entry.key] = factor.divides ? entry.value / value : entry.value * value
            }
        }
        return product.flatMap { Spread(Array($0.values)) }
    }
}
