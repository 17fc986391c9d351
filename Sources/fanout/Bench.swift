/// `fanout bench`: measures what a delivery costs, of this server or of another.

import ClientSockets
import FanoutServer
import Glibc
import LoadGenerator
import Synchronization

/// Set by SIGINT, SIGTERM and SIGHUP: the run ends, and what it started is stopped.
private let interrupted = Atomic<Bool>(false)

/// The measurement: its flags, its run, its report.
package enum Bench {
    static func run(_ arguments: [String], environment: Environment) throws(CommandFault) -> Int32 {
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        let given = try table.read(Array(arguments[..<end]))
        if given.wantsHelp { return Output.printHelp(table.helpText()) }
        var options = BenchOptions()
        try table.apply(given, environment: environment, to: &options)
        if !options.report.files.isEmpty { return options.report.run() }
        guard options.report.isEmpty else {
            throw CommandFault("--write, --base and --goals are for --report", exitCode: ExitCode.usage)
        }
        if let plain = given.plain.first { options.urls.append(plain) }
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            Glibc.signal(signal) { _ in interrupted.store(true, ordering: .relaxed) }
        }
        do throws(LoadFailure) {
            return try start(options, Array(arguments[end...].dropFirst()))
        } catch {
            throw CommandFault(error.text, exitCode: error.exitCode)
        }
    }

    /// Measures a server that runs, or starts one: the command given, or this program's own.
    private static func start(_ options: BenchOptions, _ command: [String]) throws(LoadFailure) -> Int32 {
        if command.isEmpty, !options.urls.isEmpty || options.publish.map({ $0 != "stdin" }) ?? false {
            if options.publishesToInput { throw LoadFailure(.usage, "--publish stdin needs a server that is started") }
            return try measure(options, try options.finished(nil))
        }
        // The server inherits the limit.
        _ = raiseDescriptorLimit()
        let child = try ChildServer()
        defer { child.stop() }
        var words = command
        if words.isEmpty {
            words = ["/proc/self/exe", "serve", "--listen", "127.0.0.1:0", "--jsonl", "127.0.0.1:0"]
            words += ["--runtime-dir", child.folder + "/run"] + (options.publishesToInput ? ["--stdin"] : [])
            if options.plan.wantsSnapshot { words += ["--config", try child.write(stateRules, as: "fanout.json")] }
        }
        try child.start(words, hasInput: options.publishesToInput)
        var ready: ReadyLine?
        if options.waitsForPort {
            guard let url = options.urls.first else { throw LoadFailure(.usage, "--ready-port needs a URL") }
            try child.waitUntilAccepting(at: try Place(url).destination(), isInterrupted: isInterrupted)
        } else {
            ready = try child.waitUntilReady(isInterrupted: isInterrupted)
        }
        var plan = try options.finished(ready, input: child.input)
        plan.serverPIDs += child.processes
        do throws(LoadFailure) {
            return try measure(options, plan)
        } catch {
            throw LoadFailure(error.kind, error.text + child.lastWords)
        }
    }

    /// Each event of a run is a row: its number is its key.
    private static let stateRules = #"{"channels":{"**":{"state":{"upsert":{"bench":{"key":"/n"}}}}}}"#

    private static func isInterrupted() -> Bool { interrupted.load(ordering: .relaxed) }

    private static func measure(_ options: BenchOptions, _ plan: LoadPlan) throws(LoadFailure) -> Int32 {
        var plan = plan
        plan.showsProgress = !options.isQuiet && isatty(STDERR_FILENO) == 1
        let run = try LoadRun(plan)
        let result = try run.run(isInterrupted: isInterrupted)
        if !options.isQuiet { Output.print(result.table) }
        // Half a run is nobody's result.
        if result.isInterrupted { return ExitCode.interrupted }
        if let path = options.jsonPath { try append(line(result, options.labels), to: path) }
        if let path = options.svgPath {
            var labels = options.labels
            labels.row = labels.row ?? "Latency"
            labels.label = labels.label ?? "\(result.readers) \(result.transport)"
            let code = ReportCommand.writeLatencyPlot(line: line(result, labels), to: path)
            if code != ExitCode.success { return code }
        }
        return result.faults == 0 ? ExitCode.success : ExitCode.faults
    }

    private static func line(_ result: LoadResult, _ labels: LoadResult.Labels) -> [UInt8] {
        var labels = labels
        labels.date = today()
        var line: [UInt8] = []
        result.appendJSON(labels, Machine(), to: &line)
        line.append(10)
        return line
    }

    private static func append(_ line: [UInt8], to path: String) throws(LoadFailure) {
        let descriptor = path == "-" ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else {
            throw LoadFailure(.system, "cannot write \(path): \(String(cString: strerror(errno)))")
        }
        defer { if path != "-" { close(descriptor) } }
        if case .failed(let code) = Output.write(line, to: descriptor) {
            throw LoadFailure(.system, "cannot write \(path): \(String(cString: strerror(code)))")
        }
    }

    /// The day in UTC, as `2026-11-20`.
    private static func today() -> String {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    }
}

extension LoadFailure {
    /// The exit code that tells a script what kind of failure it was.
    var exitCode: Int32 {
        switch kind {
        case .usage: ExitCode.usage
        case .unavailable: ExitCode.unavailable
        case .system: ExitCode.inputOutput
        }
    }
}
