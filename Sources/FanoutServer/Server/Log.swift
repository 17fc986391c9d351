/// What the operator reads on standard error.

import Wire

/// Writes one line per message. Loop thread only.
///
/// Control bytes are escaped and long values cut, so that nothing from outside can forge a line. Messages of one kind,
/// which are those of one place in the code, are written at most once per second, with the number of those that were
/// left out: whoever provokes them cannot flood the log by making each a little different.
final class Log {
    /// A place in the code that has something to say.
    private struct Kind: Hashable {
        var file: UnsafePointer<UInt8>
        var line: UInt
    }

    /// What a kind said last, when, and how many it would have said since.
    private struct Said {
        var text: String
        var second: UInt64
        var held = 0
    }

    /// Called when the first message is held back: `sayHeld` is to be called a second later.
    var whenHolding: () -> Void = {}

    /// Messages beyond it are not written.
    var level: Configuration.LogLevel
    private let write: (String) -> Void
    private let seconds: () -> UInt64
    private var said: [Kind: Said] = [:]
    private var isHolding = false

    /// A log. `write` gets each line without its newline; `seconds` is a clock.
    init(level: Configuration.LogLevel, seconds: @escaping () -> UInt64, write: @escaping (String) -> Void) {
        self.level = level
        self.seconds = seconds
        self.write = write
    }

    func error(_ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) {
        log(.error, message, Kind(file: file.utf8Start, line: line))
    }

    func warning(_ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) {
        log(.warning, message, Kind(file: file.utf8Start, line: line))
    }

    func info(_ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) {
        log(.info, message, Kind(file: file.utf8Start, line: line))
    }

    func debug(_ message: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line) {
        log(.debug, message, Kind(file: file.utf8Start, line: line))
    }

    /// Says how many messages were held back, where a second has passed: a flood that has ended is counted to its end.
    func sayHeld() {
        isHolding = false
        let now = seconds()
        for (kind, last) in said where last.held > 0 {
            if last.second == now {
                hold()
            } else {
                // The line stands for one of them itself, as every line does.
                write(last.text + Self.more(last.held - 1))
                said[kind] = Said(text: last.text, second: now)
            }
        }
    }

    private func log(_ level: Configuration.LogLevel, _ message: () -> String, _ kind: Kind) {
        guard level.rawValue <= self.level.rawValue else { return }
        let now = seconds()
        if let last = said[kind], last.second == now {
            said[kind]?.held += 1
            return hold()
        }
        let held = said[kind]?.held ?? 0
        let text = "fanout: \(Self.name(level)): \(OneLine.of(message()))"
        said[kind] = Said(text: text, second: now)
        write(text + Self.more(held))
    }

    private func hold() {
        guard !isHolding else { return }
        isHolding = true
        whenHolding()
    }

    private static func more(_ held: Int) -> String { held > 0 ? " (and \(held) more like it)" : "" }

    private static func name(_ level: Configuration.LogLevel) -> StaticString {
        switch level {
        case .error: "error"
        case .warning: "warning"
        case .info: "info"
        case .debug: "debug"
        }
    }
}
