// How long publishers may be held up for readers that catch up.
import Testing

@testable import FanoutServer

@Suite("Publishers' rest")
struct PublisherRestTests {
    @Test("nobody rests while no reader is over its limits")
    func idle() {
        var rest = PublisherRest(now: 1000)
        #expect(rest.update(now: 1500, isWanted: false) == nil)
        #expect(!rest.isResting)
    }

    @Test("a single burst is waited for a quarter of a second at most")
    func burst() {
        var rest = PublisherRest(now: 0)
        var now: UInt64 = 0
        while let again = rest.update(now: now, isWanted: true) { now = again }
        #expect((200...250).contains(now))
        #expect(!rest.isResting)
    }

    @Test("readers that hover at their limits cost publishers an eighth of their time at most")
    func hovering() {
        var rest = PublisherRest(now: 0)
        var rested: UInt64 = 0
        var now: UInt64 = 0
        while now < 100_000 {
            let before = now
            now = rest.update(now: now, isWanted: true) ?? now + 1
            if rest.isResting { rested += now - before }
        }
        #expect(rested <= 100_000 / 8 + PublisherRest.keptMillisecondsMax)
        #expect(rested > 5000)
    }

    @Test("a clock that leaps forward ends the rest and earns no more than may be kept")
    func leap() {
        var rest = PublisherRest(now: 0)
        #expect(rest.update(now: 0, isWanted: true) != nil)
        #expect(rest.update(now: 1 << 40, isWanted: true) == nil)
        #expect(rest.update(now: 1 << 41, isWanted: true) != nil)
    }

    @Test("publishers go on as soon as the readers they rest for have caught up", arguments: [false, true])
    func caughtUp(onEpoll: Bool) throws {
        let server = try SimulatedServer(onEpoll: onEpoll) { $0.limits.events = 4 }
        let reader = try server.connect(SimulatedServer.events)
        server.settle()
        for number in 0..<8 { try server.publish("{\"n\":\(number)}") }
        // Past its limit, and its socket has not been offered anything yet.
        server.engine.judgeLaggards()
        server.engine.updateRest()
        try #require(server.engine.rest.isResting)
        let before = server.kernel.now
        _ = server.engine.turn(wait: true)
        #expect(!server.engine.rest.isResting)
        #expect(server.kernel.now == before, "nobody waited for a clock")
        #expect(reader.takeText().contains("\"n\":7}\n"))
    }
}
