/// Horizontal bars side by side for each row, from zero, with the range of the rounds drawn over each.

struct BarPlot {
    /// One bar.
    struct Bar {
        var label: String
        var spread: Spread
    }

    /// Bars that belong together.
    struct Row {
        var title: String
        var bars: [Bar]
    }

    var title: String
    /// What the axis measures, with its unit.
    var unit: String
    /// True exactly when more is better.
    var isRate: Bool
    var rows: [Row]
    /// Everybody in the report, by whom the colours are given out: who has one keeps it in all plots.
    var labels: [String]

    private static let barHeight = 16.0
    private static let rowGap = 16.0
    private static let axisWidth = 460.0
    private static let margin = 16.0

    func svg() -> String {
        let classes = Palette.classes(labels)
        let labelWidth = rows.flatMap { $0.bars.map { SVGCanvas.width($0.label, size: 11) } }.max() ?? 0
        let left = Self.margin + max(labelWidth, 60) + 8
        let axis = FigureText.axis(most: rows.flatMap { $0.bars.map(\.spread.most) }.max() ?? 0)
        let top = 66.0
        let rowHeights = rows.map { 20 + Double($0.bars.count) * Self.barHeight + Self.rowGap }
        let bottom = top + rowHeights.reduce(0, +)
        let width = left + Self.axisWidth + 150
        var canvas = SVGCanvas(width: width, height: bottom + 24, title: title, description: description)
        func x(_ value: Double) -> Double { left + value / axis.end * Self.axisWidth }

        canvas.text(Self.margin, 26, title, "h")
        let better = isRate ? "more is better" : "less is better"
        canvas.text(Self.margin, 46, "\(unit): \(better). Bars are medians, lines the range of the rounds.", "s")
        let ticks = (0...max(Int((axis.end / axis.step).rounded()), 1)).map { Double($0) * axis.step }
        for tick in ticks { canvas.text(x(tick), bottom + 10, FigureText.tick(tick), "s", .middle) }
        var y = top
        for row in rows {
            canvas.text(Self.margin, y + 12, row.title, "b")
            y += 20
            let end = y + Double(row.bars.count) * Self.barHeight
            for tick in ticks { canvas.line(x(tick), y - 2, x(tick), end + 2, tick == 0 ? "axis" : "grid") }
            for bar in row.bars {
                draw(bar, at: y, x, class: classes[bar.label] ?? 0, on: &canvas)
                canvas.text(left - 8, y + 12, bar.label, "s", .end)
                y += Self.barHeight
            }
            y += Self.rowGap
        }
        return canvas.svg()
    }

    private func draw(_ bar: Bar, at y: Double, _ x: (Double) -> Double, class number: Int, on canvas: inout SVGCanvas)
    {
        let spread = bar.spread
        canvas.box(x(0), y + 2, max(x(spread.median) - x(0), 1), Self.barHeight - 4, "c\(number)")
        let middle = y + Self.barHeight / 2
        if spread.most > spread.least {
            canvas.line(x(spread.least), middle, x(spread.most), middle, "reach")
            for end in [spread.least, spread.most] { canvas.line(x(end), middle - 3, x(end), middle + 3, "reach") }
        }
        canvas.text(x(max(spread.most, spread.median)) + 6, y + 12, spread.text(FigureText.short), "s")
    }

    private var description: String {
        let rows = rows.map { row in
            "\(row.title): "
                + row.bars.map { "\($0.label) \($0.spread.text(FigureText.short))" }.joined(separator: ", ")
        }
        return "\(unit). " + rows.joined(separator: ". ")
    }
}
