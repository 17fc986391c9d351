/// Latency curves: percentile to the right in steps of nines, latency upwards, both logarithmic.

import Glibc

/// One server's latencies.
package struct LatencyCurve: Sendable {
    /// Whose they are.
    package var label: String
    /// What they were.
    package var histogram: Histogram

    /// `label` as the legend shows it.
    package init(label: String, histogram: Histogram) {
        self.label = label
        self.histogram = histogram
    }
}

/// Draws latency curves.
package enum LatencyPlot {
    private static let ticks: [(share: Double, text: String)] = [
        (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"),
    ]
    private static let plotWidth = 560.0
    private static let plotHeight = 300.0
    private static let points = 240

    /// An SVG file with a curve for each. A curve ends where fewer than ten deliveries lie beyond it; one that has no
    /// deliveries is left out.
    /// - Parameter labels: everybody in the report, so that each has one colour in all plots; without it, the curves'.
    /// - Complexity: linear in curves times buckets.
    package static func svg(title: String, curves: [LatencyCurve], labels: [String] = []) -> String {
        let lines = curves.map { ($0.label, samples($0.histogram)) }.filter { !$0.1.isEmpty }
        let all = lines.flatMap { $0.1.map(\.microseconds) }
        // Whole decades, at least one; what came within a microsecond is drawn at one.
        let low = log10(max(all.min() ?? 1, 1)).rounded(.down)
        let high = max(log10(max(all.max() ?? 10, 1)).rounded(.up), low + 1)
        let left = 70.0
        let top = 62.0
        let legend = left + plotWidth + 18
        let legendWidth = lines.map { SVGCanvas.width($0.0) }.max() ?? 0
        var canvas = SVGCanvas(
            width: legend + legendWidth + 60, height: top + plotHeight + 52, title: title,
            description: lines.map { "\($0.0): \(summary($0.1))" }.joined(separator: ". "))
        func x(_ nines: Double) -> Double { left + (nines - nine(0.5)) / (nine(0.9999) - nine(0.5)) * plotWidth }
        func y(_ microseconds: Double) -> Double {
            top + plotHeight - (log10(max(microseconds, 1)) - low) / (high - low) * plotHeight
        }
        canvas.text(16, 26, title, "h")
        canvas.text(16, 46, "Latency from publishing to receipt, by percentile. Less is better.", "s")
        for (share, text) in ticks {
            canvas.line(x(nine(share)), top, x(nine(share)), top + plotHeight, "grid")
            canvas.text(x(nine(share)), top + plotHeight + 18, text, "s", .middle)
        }
        canvas.text(left + plotWidth / 2, top + plotHeight + 38, "share of deliveries that came within", "s", .middle)
        var decade = low
        while decade <= high {
            let value = pow(10, decade)
            canvas.line(left, y(value), left + plotWidth, y(value), decade == low ? "axis" : "grid")
            canvas.text(left - 8, y(value) + 4, tick(value), "s", .end)
            // Within few decades there is room for more.
            for part in [2.0, 5.0] where high - low <= 2 && decade < high {
                canvas.line(left, y(value * part), left + plotWidth, y(value * part), "grid")
                canvas.text(left - 8, y(value * part) + 4, tick(value * part), "s", .end)
            }
            decade += 1
        }
        let classes = Palette.classes(labels + lines.map(\.0))
        for (index, (label, samples)) in lines.enumerated() {
            let number = classes[label] ?? 0
            canvas.path(samples.map { (x($0.nines), y($0.microseconds)) }, "l l\(number)")
            let line = top + 10 + Double(index) * 20
            canvas.line(legend, line, legend + 22, line, "l l\(number)")
            canvas.text(legend + 30, line + 4, label)
        }
        return canvas.svg()
    }

    private static func tick(_ microseconds: Double) -> String {
        if microseconds < 999 { return FigureText.tick(microseconds.rounded()) + " µs" }
        let isShort = microseconds < 999_000
        return FigureText.tick(microseconds / (isShort ? 1e3 : 1e6)) + (isShort ? " ms" : " s")
    }

    /// -log10 of what lies beyond `share`: 1 for 90 %, 2 for 99 %.
    private static func nine(_ share: Double) -> Double { -log10(1 - share) }

    private static func samples(_ histogram: Histogram) -> [(nines: Double, microseconds: Double)] {
        let end = min(nine(0.9999), log10(max(histogram.total, 1) / 10))
        guard end > nine(0.5) else { return [] }
        return (0...points).compactMap { index in
            let nines = nine(0.5) + (end - nine(0.5)) * Double(index) / Double(points)
            return histogram.microseconds(at: 1 - pow(10, -nines)).map { (nines, $0) }
        }
    }

    private static func summary(_ samples: [(nines: Double, microseconds: Double)]) -> String {
        guard let first = samples.first, let last = samples.last else { return "" }
        let share = FigureText.fixed(100 - 100 * pow(10, -last.nines), decimals: 2)
        return "\(FigureText.time(microseconds: first.microseconds)) at 50 %, "
            + "\(FigureText.time(microseconds: last.microseconds)) at \(share) %"
    }
}
