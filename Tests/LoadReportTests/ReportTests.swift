// Rows, labels, ratios and goals, and the tables that tell them.

import Testing

@testable import LoadReport

@Suite("Report")
struct ReportTests {
    private func results(_ lines: [String], base: String? = nil) throws -> Results {
        try Results([input(lines)], base: base)
    }

    @Test("ratios are taken round by round: a machine that drifts does not change them")
    func ratios() throws {
        // The second round runs twice as slowly: the ratio of the medians would be 6 through 3.
        let results = try results([
            line("floor epoll", "tcp", 1, cost: 2), line("fanout epoll", "tcp", 1, cost: 3),
            line("floor epoll", "tcp", 2, cost: 4), line("fanout epoll", "tcp", 2, cost: 6),
            line("floor epoll", "tcp", 3, cost: 3), line("fanout epoll", "tcp", 4, cost: 9),
        ])
        let row = try #require(results[row: "tcp"])
        #expect(row.ratio(.cost, "fanout epoll", to: "floor epoll") == Spread([1.5, 1.5]))
    }

    @Test("a base of zero gives no ratio, and neither does a failed run")
    func noRatio() throws {
        let results = try results([
            line("a", "tcp", 1, cost: 0), line("b", "tcp", 1, cost: 3), line("a", "tcp", 2, cost: 1),
            line("b", "tcp", 2, cost: 3, more: #","failed":"it ended""#),
        ])
        let row = try #require(results[row: "tcp"])
        #expect(row.ratio(.cost, "b", to: "a") == nil)
        #expect(row.cells["b"]?.failed == 1)
        #expect(row.cells["b"]?.spread(.cost)?.median == 3)
        #expect(results.failures == ["tcp, b, round 2: it ended"])
    }

    @Test("of two runs of one round the later counts; runs without a round are rounds of their own")
    func rounds() throws {
        let results = try results([
            line("a", "x", 1, cost: 5), line("a", "x", 1, cost: 7), line("a", "y", 0, cost: 5),
            line("a", "y", 0, cost: 7),
        ])
        #expect(results[row: "x"]?.cells["a"]?.spread(.cost) == Spread([7]))
        #expect(results[row: "y"]?.cells["a"]?.spread(.cost) == Spread([5, 7]))
    }

    @Test("each backend is held against the floor on it, all others against the floor on epoll, else the first")
    func bases() throws {
        let labels = ["fanout io_uring", "floor epoll", "floor io_uring", "nats"]
        let results = try results(labels.map { line($0, "r", 1, cost: 1) } + [line("nats", "s", 1), line("x", "s", 1)])
        let row = try #require(results[row: "r"])
        #expect(results.base(of: "fanout io_uring", in: row) == "floor io_uring")
        #expect(results.base(of: "nats", in: row) == "floor epoll")
        #expect(results.base(of: "x", in: try #require(results[row: "s"])) == "nats")
        #expect(messages([line("a", "r", 1)], base: "b") == [#"no run has the label "b"; there are: a"#])
    }

    @Test("what is before the first colon and space of a row's name is its heading")
    func headings() {
        #expect((Row(name: "a b: c: d").group, Row(name: "a b: c: d").title) == ("a b", "c: d"))
        #expect((Row(name: "a:b").group, Row(name: "a:b").title) == ("", "a:b"))
        #expect((Row(name: "a: ").group, Row(name: "a: ").title) == ("", "a: "))
        #expect((Row(name: ": a").group, Row(name: ": a").title) == ("", "a"))
    }

    private static let two = [
        line("fanout epoll", "g: r1", 1, cost: 3), line("nchan", "g: r1", 1, cost: 6),
        line("fanout epoll", "g: r2", 1, cost: 4), line("nchan", "g: r2", 1, cost: 5),
        line("fanout epoll", "g: r1", 2, cost: 4), line("nchan", "g: r1", 2, cost: 10),
    ]

    private func outcomes(_ goals: String) throws -> [Outcome] {
        try Report([input(Self.two)], goals: ReportInput(name: "goals", bytes: Array(goals.utf8))).outcomes
    }

    @Test("a goal is computed from the rounds that have all its figures, and judged by the median")
    func goals() throws {
        let met = try #require(try outcomes("t | cost(fanout epoll; g: r1) / cost(nchan; g: r1) <= 0.45").first)
        #expect(met.spread == Spread([0.5, 0.4]))
        #expect(met.isMet == true)
        let four = "t | cost(fanout epoll; g: r1) / cost(nchan; g: r1) * cost(nchan; g: r2) / cost(fanout epoll; g: r2)"
        #expect(try outcomes(four + " > 0.63").first?.spread == Spread([0.625]))
        #expect(try outcomes(four + " > 0.63").first?.isMet == false)
        #expect(try outcomes("t | cost(nobody; g: r1) < 1").first?.isMet == nil)
        #expect(try outcomes("# t\n\n").isEmpty)
    }

    @Test("a goal over every row is judged by the worst of them")
    func everyRow() throws {
        let worst = try #require(try outcomes("t | cost(fanout epoll; *) / cost(nchan; *) < 1").first)
        #expect(worst.worstRow == "g: r2")
        #expect(worst.spread == Spread([0.8]))
        #expect(try outcomes("t | cost(fanout epoll; *) / cost(nchan; *) >= 1").first?.worstRow == "g: r1")
    }

    @Test("a goal is not met where every run of the one it is about failed, whatever other rows say")
    func failedRow() throws {
        let failed = line("fanout epoll", "g: r3", 1, more: #","failed":"x""#)
        let goals = "a | cost(fanout epoll; *) / cost(nchan; *) < 9\nb | cost(fanout epoll; g: r3) < 9"
        let report = try Report(
            [input(Self.two + [failed, line("nchan", "g: r3", 1, cost: 1)])],
            goals: ReportInput(name: "goals", bytes: Array(goals.utf8)))
        #expect(report.outcomes.map(\.isMet) == [false, false])
        #expect(report.terminal().contains("every run failed in \"g: r3\""))
        // Whose base failed, or who took no part, is not judged there.
        #expect(try outcomes("t | cost(fanout epoll; *) / cost(nobody; *) < 9").first?.isMet == nil)
    }

    @Test("braces make one goal of each alternative, the same braces going together")
    func alternatives() throws {
        #expect(try GoalReader.alternatives("{a|b} {1|2} {a|b}") == ["a 1 a", "a 2 a", "b 1 b", "b 2 b"])
        #expect(try GoalReader.alternatives("{}{}") == [""])
        #expect(throws: RunFault.self) { try GoalReader.alternatives("a {b") }
        #expect(throws: RunFault.self) { try GoalReader.alternatives("{1|2|3|4|5|6|7|8|9}{a|b|c|d|e|f|g|h|i}") }
    }

    @Test(
        "a line that is no goal is refused with its place",
        arguments: [
            "t", "t |", "t | <= 1", "t | cost(a; b)", "t | cost(a; b) <=", "t | cost(a; b) <= x",
            "t | cost(a; b) <= inf",
            "t | cost(a b) <= 1", "t | costs(a; b) <= 1", "t | cost(a; b) cost(a; b) <= 1", "t | cost(a; b) / <= 1",
            "t | cost(a; b <= 1", "t | {cost(a; b) <= 1",
        ])
    func badGoals(text: String) {
        let told = messages([line("a", "b", 1, cost: 1)], goals: "# first\n" + text)
        #expect(told.count == 1)
        #expect(told.first?.hasPrefix("goals:2: ") == true)
    }

    @Test("the terminal's tables name rows, servers, ratios, failures and who is missing")
    func terminal() throws {
        let report = try Report(
            [
                input(
                    Self.two + [
                        #"{"label":"redis","skipped":"not installed"}"#,
                        line("nchan", "g: r2", 2, more: #","failed":"x""#),
                    ])
            ],
            goals: ReportInput(name: "goals", bytes: Array("halves | cost(fanout epoll; g: r1) <= 2".utf8)))
        #expect(
            report.terminal() == """

                g

                row  server        CPU per delivery, µs    × fanout epoll
                ─────────────────────────────────────────────────────────
                r1   fanout epoll      3.50 (3.00–4.00)                 –
                     nchan             8.00 (6.00–10.0)  2.25 (2.00–2.50)
                r2   fanout epoll                  4.00                 –
                     nchan          5.00, 1 of 2 failed              1.25

                Goals

                goal             wanted          measured
                ─────────────────────────────────────────
                halves  not met  ≤ 2.00  3.50 (3.00–4.00)

                not measured: redis (not installed)
                failed: g: r2, nchan, round 2: x

                """)
    }
}
