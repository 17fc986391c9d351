// When keep-alives are due, as numbers.
import Testing

@testable import FanoutServer
@testable import Reactor

@Suite("Times of keep-alives")
struct KeepAliveTimesTests {
    @Test("each is due in the last fifth of the period, whatever that and the silence are", arguments: [1, 15, 3600])
    func bounds(seconds: Int) {
        let times = KeepAliveTimes(seconds: seconds)
        var random = SeededRandom(seed: 5)
        for _ in 0..<20_000 {
            let now = UInt64(random.below(1 << 40))
            let quiet = UInt64(random.below(Int(times.period - times.early)))
            let next = times.next(UInt32(random.below(1 << 24)), now: now, quiet: quiet, &random)
            let last = now + times.period - quiet
            #expect(next > now && next <= last && next >= last - times.early)
        }
    }

    @Test("readers that came in one second are spread over the period, and get one in each and no more")
    func converges() {
        let times = KeepAliveTimes(seconds: 15)
        var random = SeededRandom(seed: 9)
        var due: [UInt64] = []
        for slot in 0..<19_000 as Range<UInt32> {
            var next = 1_000_000 + UInt64(random.below(1000))
            for _ in 0..<20 { next = times.next(slot, now: next, quiet: 0, &random) }
            #expect(times.next(slot, now: next + 20, quiet: 0, &random) == next + 15_000, "20 ms late is made up for")
            due.append(next % 15_000)
        }
        let groups = Dictionary(grouping: due, by: { $0 }).mapValues(\.count)
        #expect(groups.count == 100)
        #expect(groups.values.allSatisfy { 185...195 ~= $0 }, "\(groups.values.sorted())")
    }

    @Test("who came in one second is due over a fifth of the period, from the first time on")
    func first() {
        let times = KeepAliveTimes(seconds: 15)
        var random = SeededRandom(seed: 1)
        let due = (0..<19_000 as Range<UInt32>).map { times.next($0, now: 5_000, quiet: 0, &random) }
        let groups = Dictionary(grouping: due, by: { $0 }).mapValues(\.count)
        #expect(groups.count >= 20)
        #expect(groups.values.max()! < 19_000 / 12, "\(groups)")
    }
}
