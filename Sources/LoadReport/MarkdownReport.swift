/// The report as files: a Markdown page and the plots it shows.

extension Report {
    /// `RESULTS.md` and `plots/*.svg`, whose names follow from headings and rows.
    /// - Complexity: linear in the runs and the plots' points.
    package func documents() -> [ReportDocument] {
        var plots: [ReportDocument] = []
        var page = "# Results\n\n" + origin + Self.howToRead
        for group in results.groups {
            page += group.name.isEmpty ? "\n" : "\n## \(Table.escaped(Self.capitalized(group.name)))\n\n"
            page += tables(group.rows).map(\.markdown).joined(separator: "\n")
            for plot in self.plots(of: group.name, group.rows, taken: plots.map(\.path)) {
                page += "\n![\(Table.escaped(plot.title))](\(plot.document.path))\n"
                plots.append(plot.document)
            }
        }
        if !outcomes.isEmpty { page += "\n## Reach\n\n" + Self.aboutGoals + "\n" + Self.table(outcomes).markdown }
        if !failures.isEmpty {
            page += "\n## Failed runs\n\nTheir figures are not in the medians.\n\n"
            for failure in failures { page += "- \(Table.escaped(failure))\n" }
        }
        return [ReportDocument(path: "RESULTS.md", text: page)] + plots
    }

    /// Where and when the runs were made, and who is missing.
    private var origin: String {
        let titles = ["cpu": "processor", "cores": "cores", "kernel": "kernel", "commit": "commit", "date": "date"]
        var text = ""
        for (name, values) in results.origin where !values.isEmpty {
            text += "- \(titles[name] ?? name): \(Table.escaped(values.joined(separator: ", ")))\n"
        }
        let rounds = results.rows.flatMap { $0.cells.values.map(\.good.count) }
        if let least = rounds.min(), let most = rounds.max() {
            text += "- rounds: \(least == most ? "\(most)" : "\(least) to \(most)")\n"
        }
        for (label, reason) in results.skipped {
            text += "- not measured: \(Table.escaped(label)) (\(Table.escaped(reason)))\n"
        }
        return text.isEmpty ? "" : text + "\n"
    }

    private static let howToRead = """
        **CPU per delivery** is the server's processor time, user and system, of all its threads and processes, from
        the first measured event until the last reader has the last one. Every figure is the median of the rounds, with
        the least and the greatest behind it; **×** is the ratio to the base within the same round, again as median
        and range. Read the ratios: they compare what ran one after the other, while the microseconds drift with the
        machine. The base is the floor, the least program that does the same sends, on the same I/O backend (on epoll
        for programs that are neither). Latency is from publishing (paced: from when it was due) to receipt; of it the
        median over the rounds is given. Every delivery was checked: complete, in order, unchanged.

        """

    private static let aboutGoals = """
        Each goal is computed round by round from the figures of the same round; median and range over the rounds. A
        goal is met when the median meets it.

        """

    private static func capitalized(_ text: String) -> String {
        text.prefix(1).uppercased() + text.dropFirst()
    }

    /// The plots of one heading: bars of the chief figure for each measure, and latency curves of each paced row.
    private func plots(
        of group: String, _ rows: [Row], taken: [String]
    ) -> [(title: String, document: ReportDocument)] {
        var plots: [(title: String, document: ReportDocument)] = []
        func add(_ title: String, _ name: String, _ svg: String) {
            let names = taken + plots.map(\.document.path)
            var path = "plots/\(Self.fileName(name)).svg"
            var number = 2
            while names.contains(path) {
                path = "plots/\(Self.fileName(name))-\(number).svg"
                number += 1
            }
            plots.append((title, ReportDocument(path: path, text: svg)))
        }
        for measure in Measure.allCases {
            let rows = rows.filter { $0.measure == measure }
            let bars = rows.map { row in
                BarPlot.Row(
                    title: row.title,
                    bars: row.labels.compactMap { label in
                        row.cells[label]?.spread(measure.chief).map { BarPlot.Bar(label: label, spread: $0) }
                    })
            }
            guard bars.contains(where: { !$0.bars.isEmpty }) else { continue }
            let title = group.isEmpty ? measure.chief.title : Self.capitalized(group)
            let plot = BarPlot(
                title: title, unit: measure.chief.title, isRate: measure.chief.isRate,
                rows: bars.filter { !$0.bars.isEmpty }, labels: results.labels)
            add("\(title): \(measure.chief.title)", group.isEmpty ? measure.chief.rawValue : group, plot.svg())
        }
        for row in rows {
            let curves = row.labels.compactMap { label -> LatencyCurve? in
                guard let cell = row.cells[label], cell.good.contains(where: { $0.rate > 0 }) else { return nil }
                let histogram = cell.histogram
                return histogram.total > 0 ? LatencyCurve(label: label, histogram: histogram) : nil
            }
            guard !curves.isEmpty else { continue }
            let title = group.isEmpty ? row.title : "\(Self.capitalized(group)): \(row.title)"
            add(
                "Latency, \(title)", "latency \(group) \(row.title)",
                LatencyPlot.svg(title: title, curves: curves, labels: results.labels))
        }
        return plots
    }

    /// `text` as a file's name: ASCII letters and digits in lower case, single dashes between them.
    static func fileName(_ text: String) -> String {
        var name = ""
        for byte in text.utf8.prefix(100) {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): name.unicodeScalars.append(Unicode.Scalar(byte + 32))
            // A thousands comma parts nothing.
            case UInt8(ascii: ","): break
            default: if !name.isEmpty, !name.hasSuffix("-") { name.append("-") }
            }
        }
        if name.hasSuffix("-") { name.removeLast() }
        return name.isEmpty ? "plot" : name
    }
}
