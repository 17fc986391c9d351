// Who is cut, and by which limit: the whole table.
import Testing

@testable import FanoutServer

@Suite("LagDecision")
struct LagDecisionTests {
    private func limits(events: Int, bytes: Int, age: Int) -> Configuration.LagLimits {
        var limits = Configuration.LagLimits()
        (limits.events, limits.bytes, limits.ageMilliseconds) = (events, bytes, age)
        return limits
    }

    private func decide(
        events: Int = 0, bytes: Int = 0, age: Int = 0, stalled: Int = 0, _ limits: Configuration.LagLimits
    ) -> LagDecision {
        LagDecision.decide(
            Lag(events: events, bytes: bytes, ageMilliseconds: age, stalledMilliseconds: stalled), limits: limits)
    }

    /// The limits that say cut, in the order in which one is named.
    private func reasons(events: Int, bytes: Int, age: Int, stalled: Int) -> [LagReason] {
        let mayWait = stalled < 250
        return [
            age > 5000 ? .age : nil, events > (mayWait ? 20 : 10) ? .events : nil,
            bytes > (mayWait ? 2000 : 1000) ? .bytes : nil,
        ].compactMap { $0 }
    }

    @Test("every combination of events, bytes, age and stall")
    func table() {
        for events in [0, 1, 9, 10, 11, 19, 20, 21, 1000] {
            for bytes in [0, 999, 1000, 1001, 1999, 2000, 2001, 1 << 30] {
                for age in [0, 4999, 5000, 5001, 100_000] {
                    for stalled in [0, 249, 250, 251, 60_000] {
                        let expected = reasons(events: events, bytes: bytes, age: age, stalled: stalled).first
                        let decision = decide(
                            events: events, bytes: bytes, age: age, stalled: stalled,
                            limits(events: 10, bytes: 1000, age: 5000))
                        #expect(
                            decision == expected.map { .cut($0) } ?? .keep,
                            "\(events) events, \(bytes) bytes, \(age) ms old, stalled for \(stalled) ms")
                    }
                }
            }
        }
    }

    @Test(
        "a limit of N keeps N and cuts N + 1, whatever N is",
        arguments: [1, 2, 3, 255, 256, 4096, 1 << 20, Configuration.LagLimits.most])
    func boundaries(limit: Int) {
        let huge = Configuration.LagLimits.most
        let alone: [(LagReason, Configuration.LagLimits)] = [
            (.events, limits(events: limit, bytes: huge, age: huge)),
            (.bytes, limits(events: huge, bytes: limit, age: huge)),
            (.age, limits(events: huge, bytes: huge, age: limit)),
        ]
        for (reason, limits) in alone {
            for lag in [0, 1, limit - 1, limit, limit + 1, 2 * limit, 2 * limit + 1] {
                for stalled in [0, 249, 250] {
                    let decision =
                        switch reason {
                        case .events: decide(events: lag, stalled: stalled, limits)
                        case .bytes: decide(bytes: lag, stalled: stalled, limits)
                        default: decide(age: lag, stalled: stalled, limits)
                        }
                    let bound = reason == .age || stalled == 250 ? limit : 2 * limit
                    #expect(
                        decision == (lag > bound ? .cut(reason) : .keep), "\(reason) \(lag) of \(limit), \(stalled)")
                }
            }
        }
    }

    @Test("limits without bounds are no arithmetic trap")
    func extremes() {
        let noBytes = limits(events: 1, bytes: .max, age: .max)
        #expect(decide(events: 2, bytes: 1 << 31, age: 1 << 31, noBytes) == .keep)
        #expect(decide(events: 2, bytes: 1 << 31, age: 1 << 31, stalled: 250, noBytes) == .cut(.events))
        let noEvents = limits(events: .max, bytes: 1, age: .max)
        #expect(decide(events: .max, bytes: 1 << 31, age: .max, noEvents) == .cut(.bytes))
        #expect(decide(events: .max, bytes: .max, age: .max, limits(events: .max, bytes: .max, age: .max)) == .keep)
        #expect(decide(limits(events: 1, bytes: 1, age: 1)) == .keep)
    }

    @Test("every reason has a word of its own, and each is counted for each transport alone")
    func counts() {
        #expect(Set(LagReason.allCases.map(\.label.description)).count == LagReason.allCases.count)
        var counts = LagCounts()
        for (number, reason) in LagReason.allCases.enumerated() {
            for transport in Transport.allCases {
                for _ in 0...(number * Transport.allCases.count + Int(transport.rawValue)) {
                    counts.add(reason, transport)
                }
            }
        }
        var sum: UInt64 = 0
        for (number, reason) in LagReason.allCases.enumerated() {
            for transport in Transport.allCases {
                let expected = UInt64(number * Transport.allCases.count + Int(transport.rawValue) + 1)
                #expect(counts[reason, transport] == expected)
                sum += expected
            }
        }
        #expect(counts.total == sum)
    }
}
