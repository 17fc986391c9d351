/// Standard output and standard error: whole lines, written at once.

import Glibc

enum Output {
    /// How a write to standard output ended.
    enum Outcome: Equatable {
        case written
        /// The reader of the pipe has gone away, as `head` does.
        case readerGone
        case failed(errno: Int32)
    }

    /// Writes all the bytes to a descriptor, waiting where it is nonblocking and full.
    static func write(_ bytes: [UInt8], to descriptor: Int32 = STDOUT_FILENO) -> Outcome {
        var done = 0
        return write(bytes, to: descriptor, done: &done) { false }
    }

    /// Writes all the bytes; `done` says how many have been, however it ends. A signal may interrupt a wait: then it
    /// ends early, as `written`, if `stops` says so.
    static func write(
        _ bytes: [UInt8], to descriptor: Int32, done: inout Int, unless stops: () -> Bool
    ) -> Outcome {
        while done < bytes.count, !stops() {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, bytes.count - done) }
            if count >= 0 {
                done += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EPIPE: return .readerGone
            case EAGAIN:
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&wait, 1, -1)
            default: return .failed(errno: errno)
            }
        }
        return .written
    }

    /// Prints a line on standard output.
    @discardableResult
    static func print(_ line: String) -> Outcome {
        write(Array((line + "\n").utf8))
    }

    /// Prints a line on standard error.
    static func complain(_ line: String) {
        _ = write(Array((line + "\n").utf8), to: STDERR_FILENO)
    }

    /// Prints help, which ends the command well.
    static func printHelp(_ text: String) -> Int32 {
        switch write(Array(text.utf8)) {
        case .written, .readerGone: ExitCode.success
        case .failed: ExitCode.inputOutput
        }
    }
}
