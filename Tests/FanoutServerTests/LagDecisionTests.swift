// Who is cut: the whole table.
import Testing

@testable import FanoutServer

@Suite("LagDecision")
struct LagDecisionTests {
    private static var limits: Configuration.LagLimits {
        var limits = Configuration.LagLimits()
        (limits.events, limits.bytes, limits.ageMilliseconds) = (10, 1000, 5000)
        return limits
    }

    @Test("every combination of events, bytes, age and stall")
    func table() {
        for events in [0, 1, 9, 10, 11, 19, 20, 21, 1000] {
            for bytes in [0, 999, 1000, 1001, 1999, 2000, 2001, 1 << 30] {
                for age in [0, 4999, 5000, 5001, 100_000] {
                    for stalled in [0, 249, 250, 251, 60_000] {
                        let lag = Lag(events: events, bytes: bytes, ageMilliseconds: age, stalledMilliseconds: stalled)
                        let isOver = events > 10 || bytes > 1000
                        let isFarOver = events > 20 || bytes > 2000
                        let expected: LagDecision =
                            age > 5000 || isFarOver || (isOver && stalled >= 250) ? .cut : .keep
                        #expect(LagDecision.decide(lag, limits: Self.limits) == expected, "\(lag)")
                    }
                }
            }
        }
    }

    @Test("limits without bounds are no arithmetic trap")
    func extremes() {
        var limits = Configuration.LagLimits()
        (limits.events, limits.bytes, limits.ageMilliseconds) = (1, .max, .max)
        let lag = Lag(events: 2, bytes: 1 << 31, ageMilliseconds: 1 << 31, stalledMilliseconds: 0)
        #expect(LagDecision.decide(lag, limits: limits) == .keep)
        (limits.events, limits.bytes) = (.max, 1)
        #expect(LagDecision.decide(lag, limits: limits) == .cut)
    }
}
