/// Timers of a loop, against the real clock.

import Testing

@testable import Reactor

@Suite("Timers", .serialized)
struct TimerTests {
    @Test("timers fire in order, once, and never early", arguments: TestBackend.everywhere)
    func order(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let loop = driver.loop
        let delays: [UInt64] = [120, 40, 80, 0, 40, 200]
        let timers = delays.map { _ in loop.makeTimer() }
        driver.turn()
        let start = loop.now
        for (timer, delay) in zip(timers, delays) { loop.setTimer(timer, at: start + delay) }
        var fired: [Int] = []
        driver.onCompletion = { completion in
            guard completion.kind == .timer, let index = timers.firstIndex(of: completion.timer) else { return }
            #expect(loop.now >= start + delays[index])
            #expect(completion.socket == .none)
            fired.append(index)
        }
        try driver.run { fired.count == 6 }
        driver.settle()
        #expect(fired == [3, 1, 4, 2, 0, 5])
    }

    @Test("set anew, only the last deadline counts; cleared, none", arguments: TestBackend.everywhere)
    func again(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let loop = driver.loop
        let (moved, cleared, last) = (loop.makeTimer(), loop.makeTimer(), loop.makeTimer())
        let start = loop.now
        loop.setTimer(moved, at: start + 20)
        loop.setTimer(moved, at: start + 150)
        loop.setTimer(cleared, at: start + 20)
        loop.setTimer(last, at: start + 300)
        loop.clearTimer(cleared)
        loop.clearTimer(cleared)
        var when: UInt64 = 0
        driver.onCompletion = { completion in
            if completion.timer == moved { when = loop.now }
            #expect(completion.timer != cleared)
        }
        try driver.run { driver.all(.timer).contains { $0.timer == last } }
        #expect(when >= start + 150)
        #expect(driver.all(.timer).count == 2)
    }

    @Test("a due timer that is cleared by an earlier one does not fire", arguments: TestBackend.everywhere)
    func clearedWhenDue(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let loop = driver.loop
        let (first, second, third) = (loop.makeTimer(), loop.makeTimer(), loop.makeTimer())
        driver.onCompletion = { completion in
            if completion.timer == first {
                loop.clearTimer(second)
                loop.setTimer(third, at: loop.now + 40)
            }
        }
        for timer in [first, second, third] { loop.setTimer(timer, at: loop.now) }
        try driver.run { driver.all(.timer).contains { $0.timer == third } }
        #expect(driver.all(.timer).map(\.timer) == [first, third])
    }

    @Test("a timer that sets itself anew does not hold up the turn", arguments: TestBackend.everywhere)
    func repeating(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let timer = driver.loop.makeTimer()
        driver.onCompletion = { [unowned driver] _ in driver.loop.setTimer(timer, at: 0) }
        driver.loop.setTimer(timer, at: 0)
        try driver.run { driver.all(.timer).count == 3 }
    }

    @Test("a socket's timer names it, and ends with it", arguments: TestBackend.everywhere)
    func ofSocket(_ backend: TestBackend) throws {
        let driver = try Driver(backend)
        let loop = driver.loop
        let listener = try driver.listen(.tcp)
        let (socket, _) = try driver.connect(to: listener)
        loop.setTimer(TimerID(socket), at: loop.now + 10)
        try driver.run { driver.all(.timer).count == 1 }
        #expect(driver.all(.timer)[0].socket == socket)
        loop.setTimer(TimerID(socket), at: loop.now + 30)
        loop.close(socket, .graceful)
        loop.setTimer(TimerID(socket), at: loop.now)
        driver.settle(milliseconds: 100)
        #expect(driver.all(.timer).count == 1)
        #expect(driver.all(.closed).count == 1)
        // The next socket of the slot starts without.
        let (next, _) = try driver.connect(to: listener)
        #expect(next.slot == socket.slot)
        driver.settle()
        #expect(driver.all(.timer).count == 1)
    }

    @Test("thousands of timers all fire, none early", arguments: TestBackend.everywhere)
    func thousands(_ backend: TestBackend) throws {
        let driver = try Driver(backend) { $0.timersMax = 20_000 }
        let loop = driver.loop
        let start = loop.now
        var deadlines: [TimerID: UInt64] = [:]
        for number in 0..<10_000 {
            let timer = loop.makeTimer()
            let deadline = start + UInt64(number * 7919 % 700)
            deadlines[timer] = deadline
            loop.setTimer(timer, at: deadline)
        }
        var isEarly = false
        driver.onCompletion = { completion in
            guard let deadline = deadlines.removeValue(forKey: completion.timer) else {
                Issue.record("a timer fired twice")
                return
            }
            isEarly = isEarly || loop.now < deadline
        }
        try driver.run { deadlines.isEmpty }
        #expect(!isEarly)
    }

    @Test("a waiting loop wakes for a timer without help", arguments: TestBackend.everywhere)
    func waits(_ backend: TestBackend) throws {
        let loop = try backend.makeLoop()
        let timer = loop.makeTimer()
        let start = loop.now
        loop.setTimer(timer, at: start + 60)
        var turns = 0
        var hasFired = false
        while !hasFired {
            loop.turn(wait: true)
            turns += 1
            while let completion = loop.next() { hasFired = hasFired || completion.kind == .timer }
        }
        #expect(loop.now >= start + 60)
        #expect(turns <= 3)
    }
}
