// The pace at which a server that cannot accept tries again, as a table.
import Testing

@testable import FanoutServer

@Suite("The rests of accepting")
struct AcceptRestTests {
    /// Runs one or more listeners that are refused at every try, to the millisecond.
    private func tries(listeners: UInt32, milliseconds: UInt64) -> [(slot: UInt32, at: UInt64)] {
        var rest = AcceptRest()
        var tries: [(slot: UInt32, at: UInt64)] = []
        for slot in 0..<listeners { _ = rest.refused(slot, now: 0) }
        for now in 0..<milliseconds {
            for slot in rest.takeDue(now: now) {
                tries.append((slot, now))
                _ = rest.refused(slot, now: now)
            }
        }
        return tries
    }

    @Test("one listener is tried after 100 ms, then after twice as long each time, up to a second")
    func doubling() {
        #expect(tries(listeners: 1, milliseconds: 6_000).map(\.at) == [100, 300, 700, 1500, 2500, 3500, 4500, 5500])
    }

    @Test("no second sees more than twenty tries, and every listener has its turn", arguments: [2, 5, 20, 21, 70])
    func perSecond(_ listeners: UInt32) {
        let tries = tries(listeners: listeners, milliseconds: 20_000)
        for first in tries.indices where first + AcceptRest.triesPerSecondMax < tries.count {
            #expect(tries[first + AcceptRest.triesPerSecondMax].at - tries[first].at >= 1000)
        }
        // As many rounds as the pace allows.
        let roundMilliseconds = UInt64((listeners + 19) / 20) * 1000
        for slot in 0..<listeners {
            let times = tries.filter { $0.slot == slot }.map(\.at)
            #expect(times.count >= 3)
            for (earlier, later) in zip(times, times.dropFirst()) {
                #expect(later - earlier <= roundMilliseconds, "listener \(slot) waited from \(earlier) to \(later)")
            }
        }
    }

    @Test("a success ends long rests: the others are tried 100 ms later, and the next rest is short")
    func success() {
        var rest = AcceptRest()
        var now: UInt64 = 0
        _ = rest.refused(1, now: 0)
        _ = rest.refused(2, now: 0)
        for _ in 0..<5 {
            now = rest.nextTry ?? .max
            for slot in rest.takeDue(now: now) { _ = rest.refused(slot, now: now) }
        }
        #expect(rest.nextTry == now + 1000)
        rest.accepted(now: now + 10)
        #expect(rest.nextTry == now + 110)
        rest.accepted(now: now + 60)
        #expect(rest.nextTry == now + 110, "success upon success postpones nothing")
        let due = rest.takeDue(now: now + 110)
        #expect(due == [1, 2])
        #expect(rest.nextTry == nil)
        _ = rest.refused(2, now: now + 110)
        #expect(rest.nextTry == now + 210)
    }

    @Test("a listener rests once, however often it is refused meanwhile")
    func twice() {
        var rest = AcceptRest()
        var began = [rest.refused(7, now: 5), rest.refused(7, now: 50)]
        #expect(began == [true, false])
        #expect(rest.resting == [7])
        #expect(rest.restsBegun == 1)
        #expect(rest.nextTry == 105)
        let due = [rest.takeDue(now: 104), rest.takeDue(now: 105)]
        #expect(due == [[], [7]])
        began.append(rest.refused(7, now: 106))
        #expect(began.last == true)
        #expect(rest.restsBegun == 2)
    }

    @Test("the log hears of the same error once a minute, of another one at once")
    func warnings() {
        var warning = AcceptWarning()
        let news = [(24, 0), (24, 59_999), (24, 60_000), (23, 60_001), (23, 60_002)].map {
            warning.isNews($0.0, now: $0.1)
        }
        #expect(news == [true, false, true, true, false])
    }
}
