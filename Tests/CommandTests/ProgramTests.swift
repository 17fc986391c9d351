/// The built program as a child process: exit codes and messages where no server is needed.

import Foundation
import Testing

/// One run of the program.
struct ProgramRun {
    let status: Int32
    let output: String
    let errors: String

    /// Runs `fanout` with an environment of its own and an empty runtime directory.
    init(_ arguments: [String], input: String? = nil, environment: [String: String] = [:]) throws {
        let process = Process()
        process.executableURL = try Self.binary()
        process.arguments = arguments
        let folder = FileManager.default.temporaryDirectory.appending(path: "fanout-empty-\(UUID().uuidString)").path
        process.environment = ["FANOUT_RUNTIME_DIR": folder].merging(environment) { $1 }
        let (output, errors, stdin) = (Pipe(), Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        process.standardInput = stdin
        // A program that ends without reading its input must not end the tests.
        signal(SIGPIPE, SIG_IGN)
        try process.run()
        try? stdin.fileHandleForWriting.write(contentsOf: Data((input ?? "").utf8))
        try stdin.fileHandleForWriting.close()
        self.output = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        self.errors = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    }

    /// The program lies beside the test bundle, which is mapped into this process.
    static func binary() throws -> URL {
        let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
        let bundle = maps.split(separator: "\n").compactMap { line -> String? in
            guard let slash = line.firstIndex(of: "/"), line.hasSuffix(".xctest") else { return nil }
            return String(line[slash...])
        }.first
        return URL(fileURLWithPath: try #require(bundle)).deletingLastPathComponent().appending(path: "fanout")
    }
}

@Suite("Program")
struct ProgramTests {
    @Test("the version stands on standard output")
    func version() throws {
        let run = try ProgramRun(["--version"])
        #expect(run.status == 0)
        #expect(run.output == "fanout 0.1.0\n")
        #expect(run.errors == "")
    }

    @Test(
        "help of every command stands on standard output and ends well",
        arguments: [
            ["help"], ["--help"], ["serve", "--help"], ["tail", "-h"], ["help", "emit"], ["demo", "--help"],
            ["check", "--help"], ["bench", "--help"],
        ])
    func help(arguments: [String]) throws {
        let run = try ProgramRun(arguments)
        #expect(run.status == 0)
        #expect(run.output.contains("Usage: fanout"))
        #expect(run.errors == "")
    }

    @Test(
        "a wrong command line is 64 and one line",
        arguments: [
            (["srve"], "fanout: unknown command 'srve', did you mean serve? (see fanout help)\n"),
            (
                ["--stdin"],
                "fanout: unknown flag --stdin; a command comes first: fanout COMMAND [flags] (see fanout help)\n"
            ),
            (
                ["tail", "--form", "now"],
                "fanout tail: unknown flag --form, did you mean --from? (see fanout tail --help)\n"
            ),
            (["serve", "--brokers", "x"], "fanout serve: unknown flag --brokers (see fanout serve --help)\n"),
            (["check"], "fanout check: give the file to check: fanout check --config FILE\n"),
            (["emit", "-", "--key", "k"], "fanout emit: --key names one event and cannot go with -\n"),
        ])
    func usage(arguments: [String], message: String) throws {
        let run = try ProgramRun(arguments)
        #expect(run.status == 64)
        #expect(run.errors == message)
        #expect(run.output == "")
    }

    @Test("no command at all prints the help on standard error and is 64")
    func nothing() throws {
        let run = try ProgramRun([])
        #expect(run.status == 64)
        #expect(run.output == "")
        #expect(run.errors.contains("Usage: fanout COMMAND"))
    }

    @Test(
        "what is not an event is 65 although no server runs",
        arguments: ["hello", "[1]", "{\"a\":1", "{\"a\":1},\"channel\":\"x\"", ""])
    func badEvent(event: String) throws {
        let run = try ProgramRun(["emit", event])
        #expect(run.status == 65)
        #expect(run.errors.hasPrefix("fanout emit: "))
        #expect(run.errors.contains(#"An event is a JSON object, such as {"type":"hello"}."#))
        #expect(run.errors.split(separator: "\n").count == 1)
    }

    @Test(
        "no server is 69 and a line that says where and what to do",
        arguments: [
            ["emit", "{}"], ["emit", "-"], ["tail"], ["tail", "/does/not/exist"], ["tail", "http://127.0.0.1:1"],
        ])
    func noServer(arguments: [String]) throws {
        let run = try ProgramRun(arguments, input: "{}\n")
        #expect(run.status == 69)
        #expect(run.errors.contains("cannot connect to "))
        #expect(run.errors.contains("start a server with 'fanout serve'"))
    }

    @Test("a resume file that holds no place is told of although no server runs, and one is not made without a place")
    func resumeFile() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "fanout-\(UUID().uuidString).place").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let absent = try ProgramRun(["tail", "--resume", path])
        #expect(absent.status == 69)
        #expect(!FileManager.default.fileExists(atPath: path))
        for (text, status) in [("", 65), ("now\n", 65), ("0123456789abcdef-7\n", 69)] {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            let run = try ProgramRun(["tail", "--resume", path])
            #expect(run.status == Int32(status))
            #expect(run.errors.hasPrefix("fanout tail: \(status == 65 ? path : "cannot connect to ")"))
            #expect(run.errors.split(separator: "\n").count == 1)
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
        #expect(try ProgramRun(["tail", "--resume", "/"]).status == 66)
        #expect(try ProgramRun(["tail", "--resume", "/does/not/exist"]).status == 73)
        #expect(try ProgramRun(["tail", "--resume", ""]).status == 64)
    }

    @Test("with --quiet-if-absent no server is no failure, and standard input is read to its end")
    func quiet() throws {
        for arguments in [["emit", "{}", "--quiet-if-absent"], ["emit", "-", "--quiet-if-absent"]] {
            let run = try ProgramRun(arguments, input: String(repeating: "{\"a\":1}\n", count: 100_000))
            #expect(run.status == 0)
            #expect(run.output == "")
            #expect(run.errors == "")
        }
    }

    @Test("a wrong configuration is 78, from check and from serve, with every fault")
    func configuration() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "fanout-\(UUID().uuidString).json").path
        try "{\"lisen\":1,\n\"io\":2}".write(toFile: path, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let expected = """
            \(path):1:2: unknown key 'lisen', did you mean 'listen'?
            \(path):2:6: 'io' must be one of "auto", "io_uring", "epoll"

            """
        for command in ["check", "serve"] {
            let run = try ProgramRun([command, "--config", path])
            #expect(run.status == 78)
            #expect(run.errors == expected)
        }
        try "{}".write(toFile: path, atomically: true, encoding: .utf8)
        let right = try ProgramRun(["check", "--config", path])
        #expect(right.status == 0)
        #expect(right.output == "\(path): ok\n")
    }

    @Test("a wrong variable is 78 and named")
    func variable() throws {
        let run = try ProgramRun(["serve"], environment: ["FANOUT_IO": "kqueue"])
        #expect(run.status == 78)
        #expect(run.errors == "fanout serve: FANOUT_IO needs one of auto, io_uring, epoll, not 'kqueue'\n")
    }
}
