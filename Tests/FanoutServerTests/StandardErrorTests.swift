// Standard error that does not take what is written to it.
import Glibc
import Testing

@testable import FanoutServer

@Suite("Standard error")
struct StandardErrorTests {
    /// A pipe of one page.
    private static func smallPipe() -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0, "no pipe")
        // F_SETPIPE_SZ, which Glibc leaves out.
        _ = fcntl(ends[1], 1031, 4096)
        return (ends[0], ends[1])
    }

    private static func read(_ descriptor: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    @Test("a pipe that nobody reads loses lines and stops nobody; the next line says how many")
    func fullPipe() {
        let pipe = Self.smallPipe()
        defer {
            close(pipe.reading)
            close(pipe.writing)
        }
        let error = StandardError(descriptor: pipe.writing)
        let line = String(repeating: "x", count: 999)
        for _ in 0..<10 { error.write(line) }
        let first = Self.read(pipe.reading)
        let whole = first.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        #expect(!whole.isEmpty && whole.allSatisfy { $0 == line })
        error.write("here again")
        let lost = 10 - whole.count
        #expect(
            Self.read(pipe.reading)
                == "fanout: warning: \(lost) lines before this one are lost: standard error did not take them\n"
                + "here again\n")
    }

    @Test("a line longer than the pipe is lost after its patience, and its beginning is all that comes")
    func longLine() {
        let pipe = Self.smallPipe()
        defer {
            close(pipe.reading)
            close(pipe.writing)
        }
        StandardError(descriptor: pipe.writing).write(String(repeating: "y", count: 10_000), patience: 1)
        #expect(Self.read(pipe.reading).utf8.allSatisfy { $0 == UInt8(ascii: "y") })
    }

    @Test("a closed descriptor, a closed pipe and a full disk are nothing")
    func elsewhere() {
        signal(SIGPIPE, SIG_IGN)
        let pipe = Self.smallPipe()
        close(pipe.reading)
        StandardError(descriptor: pipe.writing).write("x")
        close(pipe.writing)
        StandardError(descriptor: 1_000_000).write("x")
        let full = open("/dev/full", O_WRONLY | O_CLOEXEC)
        StandardError(descriptor: full).write("x")
        close(full)
    }
}
