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

    @Test("nothing from outside can forge a line, and a long message is cut")
    func safe() {
        let (log, lines, _) = log()
        log.info("a\nfanout: error: forged\u{1b}[31m" + String(repeating: "x", count: 10_000))
        let line = lines()[0]
        #expect(line.hasPrefix("fanout: info: a\\xafanout: error: forged\\x1b[31mxx"))
        #expect(line.count < 600 && line.hasSuffix("…"))
    }

    @Test("messages of one kind come once a second, however different, with the number of those left out")
    func once() {
        let (log, lines, clock) = log()
        func refused(_ name: String) { log.warning("refused: \(name)") }
        for index in 0..<5 { refused("\(index)") }
        log.warning("other")
        clock.second += 1
        refused("a")
        refused("b")
        clock.second += 7
        refused("c")
        clock.second += 1
        refused("d")
        #expect(
            lines() == [
                "fanout: warning: refused: 0", "fanout: warning: other",
                "fanout: warning: refused: a (and 4 more like it)", "fanout: warning: refused: c (and 1 more like it)",
                "fanout: warning: refused: d",
            ])
    }

    @Test("a flood that has ended is counted to its end")
    func held() {
        let (log, lines, clock) = log()
        var holds = 0
        log.whenHolding = { holds += 1 }
        func refused(_ name: String) { log.warning("refused: \(name)") }
        for index in 0..<1000 { refused("\(index)") }
        #expect(holds == 1)
        log.sayHeld()
        #expect(holds == 2, "the second has not passed yet")
        clock.second += 1
        log.sayHeld()
        clock.second += 1
        log.sayHeld()
        #expect(lines() == ["fanout: warning: refused: 0", "fanout: warning: refused: 0 (and 998 more like it)"])
        #expect(holds == 2)
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
}
