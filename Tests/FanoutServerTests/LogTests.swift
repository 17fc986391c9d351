// The operator's log: one safe line per message, no floods.
import Testing

@testable import FanoutServer

@Suite("Log")
struct LogTests {
    private final class Clock { var second: UInt64 = 5 }

    private func log(_ level: Configuration.LogLevel = .debug) -> (log: Log, lines: () -> [String], clock: Clock) {
        final class Lines { var all: [String] = [] }
        let (lines, clock) = (Lines(), Clock())
        return (Log(level: level, seconds: { clock.second }, write: { lines.all.append($0) }), { lines.all }, clock)
    }

    @Test("nothing from outside can forge a line")
    func safe() {
        #expect(
            Log.safe("a\nb\r\tc\u{0}\u{1b}[31m\u{7f}\u{85}\u{9f}é") == "a\\xab\\xd\\x9c\\x0\\x1b[31m\\x7f\\x85\\x9fé")
        #expect(Log.safe("") == "")
        for scalar in 0..<0x120 {
            let text = Log.safe("x\(Unicode.Scalar(scalar)!)y")
            #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) })
        }
    }

    @Test("a line of 512 characters is whole, a longer one is cut and says so")
    func cut() {
        let exact = String(repeating: "x", count: Log.lineBytesMax)
        #expect(Log.safe(exact) == exact)
        #expect(Log.safe(exact + "y") == exact + "…")
    }

    @Test("the same message comes once a second, with the number of those left out")
    func once() {
        let (log, lines, clock) = log()
        for _ in 0..<5 { log.warning("full") }
        log.warning("other")
        clock.second += 1
        log.warning("full")
        log.warning("full")
        clock.second += 7
        log.warning("full")
        clock.second += 1
        log.warning("full")
        #expect(
            lines() == [
                "fanout: warning: full", "fanout: warning: other", "fanout: warning: full (and 4 times more)",
                "fanout: warning: full (and 1 times more)", "fanout: warning: full",
            ])
    }

    @Test("levels below the one asked for are not even put together")
    func levels() {
        let (log, lines, _) = log(.warning)
        var built = 0
        func message(_ text: String) -> String {
            built += 1
            return text
        }
        log.error(message("e"))
        log.warning(message("w"))
        log.info(message("i"))
        log.debug(message("d"))
        #expect(lines() == ["fanout: error: e", "fanout: warning: w"])
        #expect(built == 2)
    }

    @Test("a thousand different messages in a second are remembered in bounded space")
    func many() {
        let (log, lines, _) = log()
        for index in 0..<1000 { log.info("message \(index)") }
        #expect(lines().count == 1000)
    }
}
