/// What the operator reads on standard error.

import Glibc

/// Writes one line per message. Loop thread only.
///
/// Control bytes are escaped and long values cut, so that nothing from outside can forge a line; the same message is
/// written at most once per second, with the number of those that were left out.
final class Log {
    /// Characters of a message; what follows is cut.
    static let lineBytesMax = 512
    /// Different messages remembered for the once-a-second rule.
    static let remembersMax = 64

    private let level: Configuration.LogLevel
    private let write: (String) -> Void
    private let seconds: () -> UInt64
    private var recent: [String: (second: UInt64, held: Int)] = [:]

    /// A log. `write` gets each line without its newline; `seconds` is a clock.
    init(level: Configuration.LogLevel, seconds: @escaping () -> UInt64, write: @escaping (String) -> Void) {
        self.level = level
        self.seconds = seconds
        self.write = write
    }

    func error(_ message: @autoclosure () -> String) { log(.error, message) }
    func warning(_ message: @autoclosure () -> String) { log(.warning, message) }
    func info(_ message: @autoclosure () -> String) { log(.info, message) }
    func debug(_ message: @autoclosure () -> String) { log(.debug, message) }

    private func log(_ level: Configuration.LogLevel, _ message: () -> String) {
        guard level.rawValue <= self.level.rawValue else { return }
        let text = Self.safe(message())
        let now = seconds()
        var held = 0
        if let last = recent[text] {
            if last.second == now {
                recent[text] = (now, last.held + 1)
                return
            }
            held = last.held
        }
        if recent.count >= Self.remembersMax { recent.removeAll(keepingCapacity: true) }
        recent[text] = (now, 0)
        write("fanout: \(Self.name(level)): \(text)" + (held > 0 ? " (and \(held) times more)" : ""))
    }

    /// The text on one line, without control bytes, cut to a length.
    static func safe(_ text: String) -> String {
        var safe = ""
        var count = 0
        for scalar in text.unicodeScalars {
            if count == lineBytesMax { return safe + "…" }
            if scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0) {
                safe += "\\x" + String(scalar.value, radix: 16)
            } else {
                safe.unicodeScalars.append(scalar)
            }
            count += 1
        }
        return safe
    }

    private static func name(_ level: Configuration.LogLevel) -> StaticString {
        switch level {
        case .error: "error"
        case .warning: "warning"
        case .info: "info"
        case .debug: "debug"
        }
    }

    /// Writes a line to standard error, whole or not at all as far as that can be had.
    static func toStandardError(_ line: String) {
        var bytes = Array(line.utf8)
        bytes.append(UInt8(ascii: "\n"))
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}
