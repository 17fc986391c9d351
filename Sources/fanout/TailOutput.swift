/// What `tail` prints, and the place behind it in the resume file.

import FanoutClient
import Glibc
import Wire

/// Gathers the lines of one read, writes them at once and then notes how far they went.
struct TailOutput: ~Copyable {
    private var file: ResumeFile?
    private var bytes: [UInt8] = []
    /// Where lines end in `bytes`, each with the place behind it.
    private var marks: [(end: Int, place: Cursor)] = []

    /// Keeps places in `file`, if there is one.
    init(keepingPlaceIn file: consuming ResumeFile?) {
        self.file = file
    }

    /// True exactly when something waits to be written.
    var isPending: Bool { !bytes.isEmpty || !marks.isEmpty }

    /// Adds a line; `place` is behind it.
    mutating func append(_ line: [UInt8], place: Cursor?) {
        bytes += line
        bytes.append(UInt8(ascii: "\n"))
        note(place)
    }

    /// Everything before `place` is printed, or told otherwise.
    mutating func note(_ place: Cursor?) {
        guard file != nil, let place else { return }
        marks.append((bytes.count, place))
    }

    /// Writes what is pending, then the place. A signal that comes in between ends the process behind both; what a
    /// reader that does not read leaves unwritten then is not noted.
    /// - Returns: the exit code where that ends the command, the reason having been told.
    mutating func flush() -> Int32? {
        guard isPending else { return nil }
        StopSignals.hold()
        defer { StopSignals.release() }
        var done = 0
        var exitCode: Int32?
        switch Output.write(bytes, to: STDOUT_FILENO, done: &done, unless: { StopSignals.isAsked }) {
        case .written: break
        case .readerGone: exitCode = ExitCode.success
        case .failed(let number):
            Output.complain("fanout tail: cannot write: \(String(cString: strerror(number)))")
            exitCode = ExitCode.inputOutput
        }
        if let mark = marks.last(where: { $0.end <= done }) {
            do throws(ResumeFileFault) {
                try file?.store(mark.place)
            } catch {
                Output.complain("fanout tail: \(error.message)")
                exitCode = error.exitCode
            }
        }
        bytes.removeAll(keepingCapacity: true)
        marks.removeAll(keepingCapacity: true)
        return exitCode
    }
}

extension ResumeFileFault {
    /// The exit code that tells a script what kind of failure it was.
    var exitCode: Int32 {
        switch kind {
        case .notACursor: ExitCode.data
        case .unreadable: ExitCode.noInput
        case .inUse, .cannotCreate: ExitCode.cannotCreate
        case .cannotWrite: ExitCode.inputOutput
        }
    }
}
