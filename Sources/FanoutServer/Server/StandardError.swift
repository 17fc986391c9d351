/// Standard error, written to by a server that must not wait for whoever reads it.

import Glibc

/// Writes lines to standard error as long as it takes them: a pipe that nobody reads, a stopped terminal or a full disk
/// costs the lines and never the server. Loop thread only.
final class StandardError {
    /// A write of at most this many bytes to a pipe that has room does not block (POSIX `PIPE_BUF`).
    private static let pieceBytesMax = 4096

    private let descriptor: Int32
    private var linesLost = 0
    /// The last line was taken in part.
    private var isTorn = false

    /// Standard error, or in tests another descriptor.
    init(descriptor: Int32 = STDERR_FILENO) { self.descriptor = descriptor }

    /// Writes a line, or loses what standard error does not take within `milliseconds`. The next line that it takes is
    /// preceded by the number of those that were lost.
    func write(_ line: String, patience milliseconds: Int32 = 0) {
        let loss =
            linesLost == 0
            ? "" : "fanout: warning: \(linesLost) lines before this one are lost: standard error did not take them\n"
        linesLost = put(loss + line, milliseconds) ? 0 : linesLost + 1
    }

    /// False if the line was not written to its end.
    private func put(_ line: String, _ milliseconds: Int32) -> Bool {
        let bytes = Array(((isTorn ? "\n" : "") + line + "\n").utf8)
        var done = 0
        defer { if done > 0 { isTorn = done < bytes.count } }
        while done < bytes.count {
            var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            let ready = poll(&wait, 1, milliseconds)
            if ready < 0, errno == EINTR { continue }
            guard ready == 1, wait.revents & Int16(POLLOUT) != 0 else { return false }
            let piece = min(Self.pieceBytesMax, bytes.count - done)
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, piece) }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}
