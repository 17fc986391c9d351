/// `fanout bench --report`: reads files of runs and prints the report, or writes it.

import Glibc
import LoadReport

enum ReportCommand {
    /// A file that could not be read or written.
    private struct FileFault: Error {
        var message: String
        var exitCode: Int32
    }

    /// Reports on `files`, in which each line is one run; `-` is standard input. With `directory`, `RESULTS.md` and
    /// `plots/*.svg` are written there as well as the tables to standard output.
    /// - Returns: the exit status: 1 if any run failed its check, the reason having been told.
    static func run(files: [String], writeTo directory: String?, base: String?, goals: String?) -> Int32 {
        telling {
            var inputs: [ReportInput] = []
            for file in files { inputs.append(try read(file)) }
            var goalInput: ReportInput?
            if let goals { goalInput = try read(goals) }
            let report = try Report(inputs, base: base, goals: goalInput)
            if case .failed(let number) = Output.write(Array(report.terminal().utf8)) {
                throw FileFault(
                    message: "cannot write to standard output: \(reason(number))", exitCode: ExitCode.inputOutput)
            }
            if let directory { try write(report.documents(), to: directory) }
            return report.failures.isEmpty ? ExitCode.success : failedRuns
        }
    }

    /// Writes the latency curve of one run, given as its JSON line.
    /// - Returns: the exit status, the reason having been told.
    static func writeLatencyPlot(line: [UInt8], to path: String) -> Int32 {
        telling {
            let run = ReportInput(name: "this run", bytes: line)
            try write(Report([run]).latencyPlot(), to: path)
            return ExitCode.success
        }
    }

    /// What `body` returns, or what its fault means, which is told.
    private static func telling(_ body: () throws -> Int32) -> Int32 {
        do {
            return try body()
        } catch let error as ReportError {
            for message in error.messages { Output.complain("fanout: \(message)") }
            return ExitCode.data
        } catch let fault as FileFault {
            Output.complain("fanout: \(fault.message)")
            return fault.exitCode
        } catch {
            Output.complain("fanout: \(error)")
            return ExitCode.inputOutput
        }
    }

    /// The exit status when deliveries were missing, repeated or foreign.
    static let failedRuns: Int32 = 1

    private static func read(_ path: String) throws -> ReportInput {
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw fault("read", path, "is the path right?") }
        defer { if path != "-" { close(descriptor) } }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count > 0 {
                bytes += buffer[..<count]
            } else if count == 0 {
                return ReportInput(name: path == "-" ? "standard input" : path, bytes: bytes)
            } else if errno != EINTR {
                throw fault("read", path, "it should be a file of runs, one JSON object a line")
            }
        }
    }

    private static func write(_ documents: [ReportDocument], to directory: String) throws {
        for document in documents {
            var made = directory
            var parts = document.path.split(separator: "/").map(String.init)
            let name = parts.removeLast()
            for part in [""] + parts {
                if !part.isEmpty { made += "/" + part }
                guard mkdir(made, 0o777) == 0 || errno == EEXIST else {
                    throw fault("create the directory", made, "its parent must exist and be writable")
                }
            }
            try write(document.text, to: made + "/" + name)
        }
    }

    private static func write(_ text: String, to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw fault("write", path, "its directory must exist and be writable") }
        defer { close(descriptor) }
        switch Output.write(Array(text.utf8), to: descriptor) {
        case .written: break
        case .readerGone:
            throw FileFault(message: "cannot write \(path): nobody reads it", exitCode: ExitCode.inputOutput)
        case .failed(let number):
            throw FileFault(message: "cannot write \(path): \(reason(number))", exitCode: ExitCode.inputOutput)
        }
    }

    private static func fault(_ doing: String, _ path: String, _ advice: String) -> FileFault {
        let code = doing == "read" ? ExitCode.inputOutput : ExitCode.cannotCreate
        return FileFault(message: "cannot \(doing) \(path): \(reason(errno)); \(advice)", exitCode: code)
    }

    private static func reason(_ number: Int32) -> String {
        String(cString: strerror(number))
    }
}
