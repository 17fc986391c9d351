/// A server that the measurement starts itself, and that ends with it, however it ends.

import CLinux
import ClientSockets
import Glibc

/// Where a server said that it listens.
package struct ReadyLine: Equatable, Sendable {
    /// `ADDRESS:PORT` of HTTP.
    package var http: String?
    /// `ADDRESS:PORT` of raw JSONL.
    package var jsonl: String?
    /// The path of the socket for raw readers.
    package var events: String?
    /// The path of the socket for publishers.
    package var ingest: String?

    /// Reads fanout's line: `… ready · http 127.0.0.1:7575 · …`; nil for another line.
    package init?(_ line: Substring) {
        let parts = line.split(separator: " · ")
        guard parts.count > 1, parts[0].hasSuffix(" ready") else { return nil }
        for part in parts.dropFirst() {
            let words = part.split(separator: " ", maxSplits: 1).map(String.init)
            guard words.count == 2 else { continue }
            switch words[0] {
            case "http" where http == nil: http = words[1]
            case "jsonl" where jsonl == nil: jsonl = words[1]
            case "events" where events == nil: events = words[1]
            case "ingest" where ingest == nil: ingest = words[1]
            default: break
            }
        }
        if http == nil, jsonl == nil, events == nil { return nil }
    }
}

/// A child process with a folder of its own below the temporary directory. Its standard error goes to a file there: a
/// server that nobody listens to must not stand still because of that.
package final class ChildServer {
    /// The folder's path: a server may be told to make its sockets in it.
    package let folder: String
    /// The writing end of its standard input; -1 where it has none.
    package private(set) var input: Int32 = -1
    private var process: pid_t = 0
    private var logPath: String { folder + "/server.log" }

    /// Makes the folder.
    package init() throws(LoadFailure) {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((base + "/fanout-bench-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw LoadFailure(.system, "cannot make a folder in \(base): \(errorText(errno))")
        }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Writes a file into the folder; its path.
    package func write(_ text: String, as name: String) throws(LoadFailure) -> String {
        let path = folder + "/" + name
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw LoadFailure(.system, "cannot write \(path): \(errorText(errno))") }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw LoadFailure(.system, "cannot write \(path): \(errorText(errno))")
        }
        return path
    }

    /// Starts `command`, whose first word is looked for in PATH. `hasInput` gives it a pipe as its standard input. It
    /// has a process group of its own, so that Ctrl-C is for the measurement, which then ends it; and the kernel ends
    /// it where the measurement is killed.
    package func start(_ command: [String], hasInput: Bool) throws(LoadFailure) {
        var ends: [Int32] = [-1, -1]
        if hasInput, pipe(&ends) != 0 { throw LoadFailure(.system, "pipe: \(errorText(errno))") }
        for end in ends where end >= 0 { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { if ends[0] >= 0 { close(ends[0]) } }
        var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = Self.variables.map { strdup($0) } + [nil]
        defer { for pointer in words + variables { free(pointer) } }
        let outcome = linux_start_child(&words, &variables, ends[0], logPath)
        guard outcome > 0 else {
            if ends[1] >= 0 { close(ends[1]) }
            throw LoadFailure(.unavailable, "cannot start \(command[0]): \(errorText(Int32(-outcome)))")
        }
        process = pid_t(outcome)
        input = ends[1]
    }

    /// The environment without this program's own variables: they say how to measure, not how to serve.
    private static var variables: [String] {
        var list: [String] = []
        var place = environ
        while let text = place.pointee {
            let variable = String(cString: text)
            if !variable.hasPrefix("FANOUT_") { list.append(variable) }
            place += 1
        }
        return list
    }

    /// Waits for fanout's ready line; at most 30 seconds.
    package func waitUntilReady(isInterrupted: () -> Bool) throws(LoadFailure) -> ReadyLine {
        var found: ReadyLine?
        try wait(isInterrupted) {
            found = log.split(separator: "\n").lazy.compactMap { ReadyLine($0) }.first
            return found != nil
        }
        guard let found else { throw LoadFailure(.unavailable, "interrupted") }
        return found
    }

    /// Waits until something accepts connections at `destination`; at most 30 seconds.
    package func waitUntilAccepting(at destination: Destination, isInterrupted: () -> Bool) throws(LoadFailure) {
        try wait(isInterrupted) {
            switch openConnection(to: destination, source: nil) {
            case .connected(let descriptor), .inProgress(let descriptor):
                defer { close(descriptor) }
                var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                return Glibc.poll(&poll, 1, 100) == 1 && pendingError(descriptor) == 0
            case .tryLater, .failed: return false
            }
        }
    }

    private func wait(_ isInterrupted: () -> Bool, _ isReady: () -> Bool) throws(LoadFailure) {
        let deadline = nanoseconds() + 30_000_000_000
        while !isReady() {
            if hasEnded { throw LoadFailure(.unavailable, "the server has ended before it was ready\(lastWords)") }
            if isInterrupted() { throw LoadFailure(.unavailable, "interrupted") }
            if nanoseconds() > deadline {
                throw LoadFailure(.unavailable, "the server is not ready after 30 s\(lastWords)")
            }
            usleep(10_000)
        }
    }

    /// Whether it is not there any more.
    private var hasEnded: Bool {
        guard process != 0 else { return true }
        guard waitpid(process, nil, WNOHANG) == process else { return false }
        process = 0
        return true
    }

    /// The server's process and those that it has started, workers for instance.
    package var processes: [pid_t] {
        var all = process == 0 ? [] : [process]
        var next = 0
        while next < all.count, all.count < 1_024 {
            let pid = all[next]
            next += 1
            let text = Self.contents("/proc/\(pid)/task/\(pid)/children", bytesMax: 16_384)
            all += text.split(separator: " ").compactMap { pid_t($0) }
        }
        return all
    }

    /// The end of what it has said, for a message: empty where it said nothing.
    package var lastWords: String {
        let line = log.split(separator: "\n").last { ReadyLine($0) == nil }
        return line.map { "; it said: \($0)" } ?? ""
    }

    private var log: String { Self.contents(logPath, bytesMax: 65_536) }

    private static func contents(_ path: String, bytesMax: Int) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }

    /// Ends it, by SIGKILL where SIGTERM is not heard for 10 seconds, and removes its folder.
    package func stop() {
        if input >= 0 { close(input) }
        input = -1
        if !hasEnded {
            // All that it has started, too: the command may be a shell.
            let group = -process
            kill(group, SIGTERM)
            let deadline = nanoseconds() + 10_000_000_000
            while !hasEnded {
                if nanoseconds() > deadline { kill(group, SIGKILL) }
                usleep(5_000)
            }
        }
        Self.remove(folder)
    }

    /// Removes a folder with what is in it; links are not followed.
    private static func remove(_ path: String) {
        if let list = opendir(path) {
            while let entry = readdir(list) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name == "." || name == ".." { continue }
                let inner = path + "/" + name
                if entry.pointee.d_type == UInt8(DT_DIR) { remove(inner) } else { unlink(inner) }
            }
            closedir(list)
        }
        rmdir(path)
    }

    deinit {
        if process != 0 || input >= 0 { stop() }
    }
}
