// The Markdown page and the SVG plots: well formed, escaped, without numbers that are none.

import Testing

@testable import LoadReport

@Suite("Documents")
struct DocumentTests {
    /// A name with everything that HTML, XML and Markdown would take for their own.
    private static let wild = #"<b onload=\"x\">&'|*`[]()]]> -- ü \\ 漢"#

    private func documents(_ lines: [String], goals: String = "") throws -> [ReportDocument] {
        try Report([input(lines)], goals: ReportInput(name: "goals", bytes: Array(goals.utf8))).documents()
    }

    private static let paced = #","rate":20,"histogram":[[50,900],[100,90],[400,10]],"latency_us":{"p99":100}"#

    @Test("every plot is well-formed XML, whatever the names are")
    func wellFormed() throws {
        let lines = [1, 2].flatMap { round in
            ["plain", Self.wild].flatMap { name in
                [
                    line(name, "\(name): \(name)", round, cost: 3 + Double(round), more: Self.paced),
                    line(name, "storm", round, more: #","deliveries2":0,"connects_per_second":5"#),
                ]
            }
        }
        let plots = try documents(lines).dropFirst()
        #expect(plots.count >= 4)
        for plot in plots {
            #expect(faultOfXML(plot.text) == nil, "\(plot.path)")
            #expect(!plot.text.contains("nan") && !plot.text.contains("inf"), "\(plot.path)")
        }
        #expect(Set(plots.map(\.path)).count == plots.count)
    }

    @Test("the check of XML finds what is wrong")
    func notWellFormed() {
        #expect(faultOfXML("<a><b x=\"1\"/>t &amp; u</a>") == nil)
        for bad in [
            "<a>", "<a></b>", "</a>", "<a>&</a>", "<a>&bogus;</a>", "<a x=1/>", "<a x=\"<\"/>", "<a/><b/>", "t", "<a",
            "<a x=\"1\" x=\"2\"/>", "<a>\u{1}</a>",
        ] {
            #expect(faultOfXML(bad) != nil, "\(bad)")
        }
    }

    @Test(
        "figures that are zero, tiny or huge are drawn without numbers that are none",
        arguments: [
            [0.0, 0], [1e-300, 1e-300], [1e300, 1e-300], [0, 1e15], [5, 5], [5e-324, 5e-324], [1.7e308, 1],
        ])
    func extremes(costs: [Double]) throws {
        let histogram = #","rate":1,"histogram":[[0,1],[1e300,1e300]]"#
        let documents = try documents(costs.enumerated().map { line("a", "r", $0 + 1, cost: $1, more: histogram) })
        #expect(documents.count == 3)
        for document in documents {
            let words = document.text.lowercased().split { !$0.isLetter }
            #expect(!words.contains("nan") && !words.contains("inf") && !words.contains("infinity"))
        }
        for plot in documents.dropFirst() { #expect(faultOfXML(plot.text) == nil) }
    }

    @Test("bars begin at zero and are as long as their figures")
    func bars() throws {
        let plot = try #require(try documents([line("a", "r", 1, cost: 2), line("b", "r", 1, cost: 4)]).last?.text)
        let widths = plot.split(separator: "\n").filter { $0.hasPrefix("<rect class=\"c") }.compactMap { bar in
            bar.firstMatch(of: /x="([0-9.]+)" y="[0-9.]+" width="([0-9.]+)"/).flatMap { match in
                Double(match.1).flatMap { x in Double(match.2).map { (x, $0) } }
            }
        }
        try #require(widths.count == 2)
        #expect(widths[0].0 == widths[1].0)
        #expect(abs(widths[1].1 - 2 * widths[0].1) < 0.2)
    }

    @Test("a plot takes nothing from elsewhere and has light and dark colours")
    func selfContained() throws {
        for plot in try documents([line("a", "r", 1, cost: 2, more: Self.paced)]).dropFirst() {
            let text = plot.text.split(separator: "http://www.w3.org/2000/svg").joined()
            for word in ["http", "url(", "@import", "<script", "href", "font-face"] { #expect(!text.contains(word)) }
            #expect(text.contains("prefers-color-scheme:dark"))
        }
    }

    @Test("the page names the machine, the rounds, every heading, its plots and the goals")
    func page() throws {
        let more = #","cpu":"A|B","cores":2,"kernel":"6.1","commit":"abc","date":"2026-01-02""#
        let documents = try documents(
            [
                line("floor epoll", "one: r", 1, cost: 2, more: more),
                line("fanout epoll", "one: r", 1, cost: 3, more: more),
            ],
            goals: "near | cost(fanout epoll; one: r) / cost(floor epoll; one: r) <= 1.4\nfar | cost(x; y) < 1")
        #expect(documents.map(\.path) == ["RESULTS.md", "plots/one.svg"])
        for part in [
            "- processor: A\\|B\n- cores: 2\n- kernel: 6.1\n- commit: abc\n- date: 2026-01-02\n- rounds: 1\n",
            "## One\n",
            "| r | floor epoll | 2.00 | – |\n|  | fanout epoll | 3.00 | 1.50 |\n",
            "![One: CPU per delivery, µs](plots/one.svg)", "| near | not met | ≤ 1.40 | 1.50 |\n",
            "| far | – | &lt; 1.00 | not measured |\n",
        ] {
            #expect(documents[0].text.contains(part), "\(part)")
        }
    }

    @Test("Markdown shows a name as it is: no mark, link or tag of its own")
    func markdown() {
        #expect(Table.escaped(#"<a|b>&*`[]\"#) == #"&lt;a\|b>&amp;\*\`\[\]\\"#)
    }

    @Test(
        "file names are plain whatever the heading is",
        arguments: [
            ("One at a time", "one-at-a-time"), ("SSE, 1,000 readers, 20 events/s", "sse-1000-readers-20-events-s"),
            ("../../etc/passwd", "etc-passwd"), ("漢字", "plot"), ("", "plot"), ("a--b -", "a-b"),
        ])
    func fileNames(text: String, name: String) {
        #expect(Report.fileName(text) == name)
    }

    @Test("a curve ends where fewer than ten deliveries lie beyond it")
    func curveEnds() {
        var few = Histogram()
        _ = few.append(upper: 10, count: 15)
        let plot = LatencyPlot.svg(title: "t", curves: [LatencyCurve(label: "few", histogram: few)])
        #expect(!plot.contains("<path"))
        var many = Histogram()
        _ = many.append(upper: 10, count: 1000)
        let curve = LatencyPlot.svg(title: "t", curves: [LatencyCurve(label: "many", histogram: many)])
        #expect(curve.contains("<path"))
        #expect(curve.contains("at 99.00 %"))
    }
}

/// What keeps `text` from being one XML element with text and elements in it; nil if nothing does.
private func faultOfXML(_ text: String) -> String? {
    var open: [Substring] = []
    var rest = text[...]
    var hasRoot = false
    if text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\n" && $0 != "\t" }) {
        return "a control character"
    }
    while let first = rest.first {
        guard first == "<" else {
            let words = rest.prefix { $0 != "<" }
            if open.isEmpty, words.contains(where: { !$0.isWhitespace }) { return "text outside: \(words)" }
            for piece in words.split(separator: "&", omittingEmptySubsequences: false).dropFirst() {
                if !["amp;", "lt;", "gt;", "quot;"].contains(where: piece.hasPrefix) { return "a bare &: \(piece)" }
            }
            rest = rest.dropFirst(words.count)
            continue
        }
        guard let end = rest.firstIndex(of: ">") else { return "a tag without an end" }
        let tag = rest[rest.index(after: rest.startIndex)..<end]
        rest = rest[rest.index(after: end)...]
        if tag.hasPrefix("/") {
            guard open.popLast() == tag.dropFirst() else { return "</\(tag.dropFirst())> closes nothing" }
            continue
        }
        guard let match = tag.wholeMatch(of: /([a-z]+)((?: +[a-zA-Z0-9-]+="[^"<]*")*)(\/?)/) else {
            return "bad tag <\(tag)>"
        }
        let names = match.2.matches(of: /([a-zA-Z0-9-]+)="/).map(\.1)
        if Set(names).count != names.count { return "an attribute twice in <\(tag)>" }
        if open.isEmpty, hasRoot { return "a second element" }
        hasRoot = true
        if match.3.isEmpty { open.append(match.1) }
    }
    return open.isEmpty && hasRoot ? nil : "not closed: \(open)"
}
