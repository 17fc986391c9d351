// The words of a subscription, in a query and in $subscribe.
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("Subscription")
struct SubscriptionParserTests {
    private func set(_ pairs: [(String, String)]) throws(SubscriptionFault) -> Subscription {
        var subscription = Subscription()
        for (name, value) in pairs { try subscription.set(Array(name.utf8), Array(value.utf8)) }
        return subscription
    }

    private func line(_ text: String) throws(SubscriptionFault) -> Subscription? {
        let bytes = Array(text.utf8)
        return try Subscription.inLine(bytes.span)
    }

    @Test("every name, in both places, says the same")
    func names() throws {
        let query = try set([
            ("channel", "a"), ("channel", "b/*"), ("types", "x,y"), ("on_lag", "gap"), ("on_gap", "fail"),
            ("control", "off"), ("lag_events", "5"), ("lag_bytes", "6"), ("lag_ms", "7"),
            ("from", "00000000000000e1-7"),
        ])
        let object = try #require(
            try line(
                """
                {"$subscribe":{"channel":["a","b/*"],"types":["x","y"],"on_lag":"gap","on_gap":"fail","control":"off",\
                "last_event_id":"00000000000000e1-7","lag_events":5,"lag_bytes":"6","lag_ms":7}}
                """))
        for subscription in [query, object] {
            #expect(subscription.patterns.map(\.description) == ["a", "b/*"])
            #expect(subscription.types == [Array("x".utf8), Array("y".utf8)])
            #expect(subscription.onLag == .gap && subscription.failsOnGap && subscription.control == false)
            #expect(subscription.lag == LagWish(events: 5, bytes: 6, ageMilliseconds: 7))
            #expect(subscription.start == .after(Cursor(epoch: SimulatedServer.epoch, seq: 7)))
            #expect(!subscription.isEverything)
        }
    }

    @Test("defaults: every channel, every kind, what the channel says")
    func defaults() throws {
        for subscription in [try set([]), try #require(try line("{\"$subscribe\":{}}")), try set([("types", "")])] {
            #expect(subscription.isEverything && subscription.patterns.isEmpty && subscription.types.isEmpty)
            #expect(subscription.start == nil && subscription.onLag == nil && subscription.control == nil)
            #expect(!subscription.failsOnGap && subscription.lag == LagWish())
        }
        #expect(try set([("channel", "a"), ("channel", "**")]).isEverything)
        #expect(try !set([("channel", "**"), ("types", "x")]).isEverything)
    }

    @Test("a comma separates types in a string; in a list it is part of one")
    func commas() throws {
        #expect(try set([("types", ",a,,b,")]).types == [Array("a".utf8), Array("b".utf8)])
        #expect(try line("{\"$subscribe\":{\"types\":\"a,b\"}}")?.types.count == 2)
        #expect(try line("{\"$subscribe\":{\"types\":[\"a,b\"]}}")?.types == [Array("a,b".utf8)])
        #expect(throws: SubscriptionFault.badPattern) { try set([("channel", "a,b")]) }
    }

    @Test(
        "what is wrong has its code",
        arguments: [
            ("channel", "", "bad_channel"), ("channel", "a/", "bad_channel"), ("channel", "**/a", "bad_channel"),
            ("channel", "..", "bad_channel"), ("channel", "a b", "bad_channel"), ("from", "", "bad_cursor"),
            ("from", "Now", "bad_cursor"), ("from", "00000000000000E1-7", "bad_cursor"),
            ("from", "00000000000000e1-07", "bad_cursor"),
            ("from", "00000000000000e1-18446744073709551616", "bad_cursor"),
            ("from", "e1-7", "bad_cursor"), ("last_event_id", "x", "bad_cursor"), ("from", "snapshots", "bad_cursor"),
            ("on_lag", "", "bad_on_lag"), ("on_lag", "conflated", "bad_on_lag"), ("on_gap", "ignore", "bad_on_gap"),
            ("lag_events", "many", "bad_lag_limit"), ("lag_ms", "٣", "bad_lag_limit"),
            ("control", "maybe", "bad_control"), ("Channel", "a", "unknown_parameter"), ("", "", "unknown_parameter"),
            ("type", "a", "unknown_parameter"),
        ])
    func faults(name: String, value: String, code: String) {
        do throws(SubscriptionFault) {
            _ = try set([(name, value)])
            Issue.record("\(name)=\(value) was taken")
        } catch {
            #expect(error.code.description == code)
        }
    }

    @Test("128 channels and 128 types are taken, one more of either is not")
    func many() throws {
        let channels = (0..<128).map { ("channel", "c/\($0)") }
        let types = (0..<128).map(String.init).joined(separator: ",")
        #expect(try set(channels + [("types", types)]).patterns.count == 128)
        #expect(throws: SubscriptionFault.tooManyPatterns) { try set(channels + [("channel", "x")]) }
        #expect(throws: SubscriptionFault.tooManyPatterns) { try set([("types", types + ",x")]) }
        let list = (0..<129).map { "\"\($0)\"" }.joined(separator: ",")
        #expect(throws: SubscriptionFault.tooManyPatterns) { try line("{\"$subscribe\":{\"types\":[\(list)]}}") }
    }

    @Test("a header that is no cursor is an unknown epoch; the largest numbers are cursors")
    func headers() {
        for (text, start) in [
            ("00000000000000e1-7", Subscription.Start.after(Cursor(epoch: SimulatedServer.epoch, seq: 7))),
            ("ffffffffffffffff-18446744073709551615", .after(Cursor(epoch: Epoch(rawValue: .max), seq: .max))),
            ("ffffffffffffffff-18446744073709551616", .unknown), ("now", .unknown), ("7", .unknown), (" ", .unknown),
        ] {
            var subscription = Subscription()
            subscription.setLastEventID(Array(text.utf8))
            #expect(subscription.start == start, "\(text)")
        }
    }

    @Test("a cursor at the end of all numbers is ahead, and traps nothing")
    func hugeCursor() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .sse, query: "from=00000000000000e1-18446744073709551615")
        #expect(reader.take().last?.object["why"] as? String == "ahead")
    }
}
