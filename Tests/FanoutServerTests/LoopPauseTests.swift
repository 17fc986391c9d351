// How long something has waited, when the server itself has not.
import Testing

@testable import FanoutServer

@Suite("LoopPause")
struct LoopPauseTests {
    private func low(_ time: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: time) }

    /// Turns at these times; the first is the start.
    private func pause(_ turns: [UInt64]) -> LoopPause {
        var pause = LoopPause(now: turns[0])
        for turn in turns.dropFirst() { pause.noteTurn(now: turn) }
        return pause
    }

    @Test("without a pause everything that passes counts")
    func none() {
        let pause = pause([5000, 6000, 7000, 8000])
        for then: UInt64 in [0, 4999, 5000, 7999, 8000] {
            #expect(pause.waited(since: low(then), now: 8000) == Int(8000 - then))
        }
    }

    @Test("what waited before a pause has waited less by it, what came after it has not")
    func one() {
        let pause = pause([5000, 5100, 25_100, 25_200])
        #expect(pause.waited(since: 5000, now: 25_200) == 200, "100 ms before it, 100 ms after it")
        #expect(pause.waited(since: 5100, now: 25_200) == 100)
        #expect(pause.waited(since: 15_000, now: 25_200) == 100, "came while nothing moved")
        #expect(pause.waited(since: 25_100, now: 25_200) == 100)
        #expect(pause.waited(since: 25_150, now: 25_200) == 50)
        #expect(pause.waited(since: 25_200, now: 25_200) == 0)
        #expect(pause.waited(since: 5000, now: 35_200) == 10_200, "time goes on for a stopped reader")
    }

    @Test("a second without a turn is none, a millisecond more is one")
    func least() {
        #expect(pause([0, 1000]).waited(since: 0, now: 1000) == 1000)
        #expect(pause([0, 1001]).waited(since: 0, now: 1001) == 0)
    }

    @Test("only the last pause is remembered")
    func last() {
        let pause = pause([0, 5000, 5001, 8001])
        #expect(pause.waited(since: 0, now: 8001) == 5001)
        #expect(pause.waited(since: 5000, now: 8001) == 1)
    }

    @Test("the low 32 bits of a time are enough, across every turn of theirs", arguments: [0, 1, 1 << 32, 3 << 32])
    func wrap(turn: UInt64) {
        let wraps = turn + (1 << 32)
        for then in [wraps - 2000, wraps - 1, wraps, wraps + 1] {
            let now = wraps + 5000
            #expect(pause([then, then + 1]).waited(since: low(then), now: now) == Int(now - then))
            // A pause that ended in an earlier turn of the bits makes no difference.
            #expect(pause([turn, turn + 90_000]).waited(since: low(now - 10), now: now + 10) == 20)
        }
        let stopped = pause([wraps - 10, wraps + 60_000])
        #expect(stopped.waited(since: low(wraps - 20), now: wraps + 60_000) == 10)
        #expect(stopped.waited(since: low(wraps - 20), now: wraps + 4_000_000_000) == 3_999_940_010)
    }
}
