// Rules by pattern: which win, and what holds for a subscription that spans several.
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("RuleBook")
struct RuleBookTests {
    private func book(_ rules: [(String, (inout Configuration.ChannelRules) -> Void)]) throws -> RuleBook {
        var configuration = Configuration()
        configuration.channelRules = rules.map { pattern, change in
            var rules = Configuration.ChannelRules()
            change(&rules)
            return (pattern, rules)
        }
        return try RuleBook(configuration)
    }

    private func kinds(_ names: [String]) throws -> RuleBook {
        try book(names.map { name in (name, { $0.discriminator = name }) })
    }

    private func text(_ rules: CompiledRules) -> String { String(decoding: rules.event.discriminator, as: UTF8.self) }

    @Test("the most specific pattern wins, in whatever order they stand", arguments: [false, true])
    func specificity(isReversed: Bool) throws {
        let names = ["**", "a/**", "a/*", "a/b", "*/b", "a/*/c", "*/*", "*"]
        let book = try kinds(isReversed ? names.reversed() : names)
        for (channel, winner) in [
            ("a/b", "a/b"), ("a/x", "a/*"), ("a/x/y", "a/**"), ("a/x/c", "a/*/c"), ("x/b", "*/b"), ("x/y", "*/*"),
            ("x", "*"),
            ("x/y/z", "**"), ("a", "*"),
        ] {
            let name = try #require(ChannelName(channel))
            #expect(text(book[name]) == winner, "\(channel)")
        }
    }

    private func common(_ book: RuleBook, _ patterns: [String]) -> CompiledRules {
        book.common(to: patterns.compactMap { ChannelPattern($0) })
    }

    @Test("a subscription to one channel or one configured pattern has its rules, to different ones the standard")
    func common() throws {
        let book = try kinds(["kind", "kind/**", "b"])
        #expect(text(common(book, ["kind"])) == "kind")
        #expect(text(common(book, ["kind/x/y"])) == "kind/**")
        #expect(text(common(book, ["kind/**"])) == "kind/**")
        #expect(text(common(book, ["kind", "b"])) == "type")
        #expect(text(common(book, ["kind", "unknown"])) == "type")
        #expect(text(common(book, ["kind", "kind"])) == "kind")
        #expect(text(common(book, ["unknown"])) == "type")
        #expect(text(common(book, [])) == "type")
    }

    @Test("what a pattern of the configuration says of every channel holds for a subscription to all of them")
    func everything() throws {
        let book = try kinds(["**"])
        #expect(text(common(book, ["**"])) == "**")
        #expect(text(common(book, [])) == "**")
    }

    @Test("$ records of a pattern some of whose channels are named differently have the standard member")
    func mixed() throws {
        let book = try kinds(["**", "a/**", "a/b/*", "c/*"])
        #expect(text(common(book, [])) == "type")
        #expect(text(common(book, ["a/**"])) == "type")
        #expect(text(common(book, ["a/b/*"])) == "a/b/*", "what is less specific does not matter")
        let apart = try kinds(["a/**", "c/*", "a"])
        #expect(text(common(apart, ["a/**"])) == "a/**")
        #expect(text(common(apart, ["c/*"])) == "c/*")
    }

    @Test("the order in which channels are named makes no difference to what holds for them")
    func order() throws {
        let book = try book([
            (
                "a",
                { rules in
                    rules.control = false
                    rules.from = .start
                    rules.onLag = .gap
                    rules.limits = Configuration.LagLimits()
                    rules.limits?.events = 7
                }
            ), ("b", { _ in }),
        ])
        let (one, other) = (common(book, ["a", "b"]), common(book, ["b", "a"]))
        #expect(one.control == other.control)
        #expect(one.start == other.start)
        #expect(one.onLag == other.onLag)
        #expect(one.limits == other.limits)
        #expect(one.control && one.start == .now && one.onLag == nil && one.limits == nil)
        #expect(common(book, ["a", "a"]).onLag == .gap)
    }

    @Test("a pattern or stamp that is none is refused")
    func faults() {
        #expect(throws: StartError.self) { try kinds(["a//b"]) }
        #expect(throws: StartError.self) { try book([("a", { $0.stamp = ["sequence"] })]) }
    }

    @Test(
        "state rules that the file's reader would refuse are refused of an embedding program too",
        arguments: ["two rules", "pointer", "table", "reserved", "empty", "terminal", "many"])
    func stateFaults(fault: String) throws {
        func state(_ change: (inout Configuration.StateRules) -> Void) throws -> RuleBook {
            var rules = Configuration.StateRules()
            change(&rules)
            return try book([("a", { $0.state = rules })])
        }
        let key = Configuration.StateKey(pointer: "/id")
        _ = try state {
            $0.upsert = ["a": key, "b": key]; $0.remove = ["c": key]; $0.replace = ["d"]; $0.snapshot = ["e"]
        }
        #expect(throws: StartError.self) {
            switch fault {
            case "two rules":
                try state {
                    $0.upsert = ["a": key]; $0.remove = ["a": key]
                }
            case "pointer": try state { $0.upsert = ["a": Configuration.StateKey(pointer: "")] }
            case "table": try state { $0.upsert = ["a": Configuration.StateKey(pointer: "/a", table: "")] }
            case "reserved": try state { $0.replace = ["$hello"] }
            case "empty": try state { $0.snapshot = [""] }
            case "terminal": try book([("a", { $0.terminal = ["$bye"] })])
            default: try book([("a", { $0.terminal = (0...1024).map(String.init) })])
            }
        }
    }
}
