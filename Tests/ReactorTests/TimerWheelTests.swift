/// The timer wheel against a model, on a clock of the test's own.

import Testing

@testable import Reactor

@Suite("Timer wheel")
struct TimerWheelTests {
    @Test("against a sorted list, over many rounds", arguments: 1...20)
    func model(_ seed: UInt64) throws {
        var random = SplitMix(state: seed)
        var now: UInt64 = random.next() % 100_000
        var wheel = try TimerWheel(capacity: 200, tickMilliseconds: 16, now: now)
        // Deadlines, and the ticks in which they fire: what has passed when it is set fires in the next one.
        var model: [UInt32: (deadline: UInt64, tick: UInt64)] = [:]
        func set(_ timer: UInt32, at deadline: UInt64) {
            wheel.set(timer, at: deadline)
            model[timer] = (deadline, max((deadline + 15) / 16, now / 16 + 1))
        }
        for _ in 0..<3000 {
            switch random.next() % 10 {
            case 0..<5:
                let timer = UInt32(random.next() % 200)
                // Past, near, one round away, far.
                let spans: [UInt64] = [1, 50, 1000, 16_384, 20_000, 100_000, 10_000_000]
                let deadline = now + random.next() % spans[Int(random.next() % 7)]
                set(timer, at: deadline > 30 ? deadline - 30 : deadline)
            case 5:
                let timer = UInt32(random.next() % 200)
                wheel.clear(timer)
                model[timer] = nil
            default:
                let steps: [UInt64] = [1, 16, 100, 3000, 17_000, 60_000]
                now += random.next() % steps[Int(random.next() % 6)]
                wheel.advance(to: now)
                while let timer = wheel.popDue() {
                    let removed = model.removeValue(forKey: timer)
                    let due = try #require(removed)
                    #expect(due.deadline <= now)
                    #expect(due.tick <= now / 16)
                    // A due timer may be set again at once.
                    if random.next() % 4 == 0 {
                        set(timer, at: now + 5)
                    }
                }
                #expect(model.values.allSatisfy { $0.tick > now / 16 })
            }
            #expect(wheel.count == model.count)
            let next = wheel.nextTime()
            let first = model.values.map(\.tick).min()
            #expect((next == nil) == (first == nil))
            if let next, let first { #expect(next <= first * 16) }
        }
    }

    @Test("timers of one tick fire in the order in which they were set")
    func order() throws {
        var wheel = try TimerWheel(capacity: 10, tickMilliseconds: 16, now: 0)
        for timer in [3, 1, 4, 0, 5] as [UInt32] { wheel.set(timer, at: 10) }
        wheel.clear(4)
        wheel.advance(to: 15)
        #expect(wheel.popDue() == nil)
        wheel.advance(to: 16)
        #expect(wheel.hasDue == true)
        #expect(wheel.popDue() == 3)
        #expect(wheel.popDue() == 1)
        wheel.clear(0)
        #expect(wheel.popDue() == 5)
        #expect(wheel.popDue() == nil)
        #expect(wheel.count == 0)
        #expect(wheel.nextTime() == nil)
    }

    @Test("a deadline beyond the end of time is kept")
    func far() throws {
        var wheel = try TimerWheel(capacity: 2, tickMilliseconds: 16, now: 1000)
        wheel.set(0, at: .max)
        wheel.advance(to: 1 << 40)
        #expect(wheel.popDue() == nil)
        #expect(wheel.isSet(0) == true)
    }
}
