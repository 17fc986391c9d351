/// The flags of `bench` that make a report of runs instead of a run.

import FanoutServer

/// What is reported, and where to.
package struct ReportOptions: Sendable {
    /// Files of runs; with none there is no report, but a run.
    var files: [String] = []
    var directory: String?
    var base: String?
    var goals: String?

    /// Whether nothing was said of a report.
    var isEmpty: Bool { files.isEmpty && directory == nil && base == nil && goals == nil }

    /// The flags and their help.
    static let flags: [Flag<ReportOptions>] = [
        .value(
            "report", "FILE", in: "Report", repeats: true,
            "Runs nothing: reads the lines that --json wrote, and prints medians and ranges over the rounds; - is "
                + "standard input."
        ) { options, text throws(FlagValueFault) in
            options.files.append(try FlagValue.text(text))
        },
        .value(
            "write", "DIR", in: "Report", "With --report: also writes RESULTS.md and plots/*.svg into DIR."
        ) { options, text throws(FlagValueFault) in
            options.directory = try FlagValue.text(text)
        },
        .value(
            "base", "LABEL", in: "Report", default: "the floor on the same backend, else the first label of a row",
            "With --report: the label that all others are held against."
        ) { options, text throws(FlagValueFault) in
            options.base = try FlagValue.text(text)
        },
        .value(
            "goals", "FILE", in: "Report",
            "With --report: also says which goals are met. A goal is a line such as "
                + "TITLE | METRIC(LABEL; ROW) / METRIC(LABEL; ROW) <= 1.08."
        ) { options, text throws(FlagValueFault) in
            options.goals = try FlagValue.text(text)
        },
    ]

    /// Makes the report. Returns the exit status.
    func run() -> Int32 {
        ReportCommand.run(files: files, writeTo: directory, base: base, goals: goals)
    }
}
