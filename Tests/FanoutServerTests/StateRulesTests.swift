// What an event does to its channel's state, and how its key is told from others.
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("State rules")
struct StateRulesTests {
    private func rules(channel: String? = nil, _ configure: (inout Configuration.StateRules) -> Void) throws
        -> StateRules
    {
        var rules = Configuration.StateRules()
        configure(&rules)
        return try StateRules(rules, discriminator: Array("kind".utf8), channel: channel)
    }

    /// What a publisher's text does, compacted as the server does it.
    private func change(_ rules: StateRules, _ text: String) throws -> StateChange {
        let bytes = Array(text.utf8)
        return try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: bytes.count) { output in
            let base = try #require(output.baseAddress)
            let record = try JSONScanner.compact(
                bytes.span, rules: EventRules(discriminator: Array("kind".utf8)), into: base)
            let event = UnsafeBufferPointer(start: base, count: record.length)
            return try rules.change(record, event.span)
        }
    }

    private var people: StateRules {
        get throws {
            try rules {
                $0.upsert = ["joined": .init(pointer: "/who"), "moved": .init(pointer: "/who")]
                $0.remove = ["left": .init(pointer: "/from/who")]
                $0.replace = ["weather"]
                $0.snapshot = ["all"]
            }
        }
    }

    private func key(_ change: StateChange) -> ContentDigest? {
        switch change {
        case .none: nil
        case .put(let key), .remove(let key), .reset(let key): key
        }
    }

    @Test("kinds share their keys; a remove names the key where it has it")
    func kinds() throws {
        let joined = try change(people, #"{"kind":"joined","who":"ann"}"#)
        guard case .put(let ann) = joined else { throw Missing() }
        #expect(try change(people, #"{"kind":"moved","who":"ann","to":1}"#) == .put(ann))
        #expect(try change(people, #"{"from":{"who":"ann"},"kind":"left"}"#) == .remove(ann))
        #expect(try change(people, #"{"kind":"joined","who":"bob"}"#) != .put(ann))
        #expect(try change(people, #"{"kind":"shouted","who":"ann"}"#) == .none)
        #expect(try change(people, #"{"who":"ann"}"#) == .none, "an event without a kind")
    }

    private struct Missing: Error {}

    @Test("a key is its characters, however they are written, and of its type")
    func identity() throws {
        let plain = try change(people, #"{"kind":"joined","who":"a/b"}"#)
        #expect(try change(people, #"{"k\u0069nd":"j\u006fined","wh\u006f":"\u0061\/b"}"#) == plain)
        let values = [
            #""a/b""#, #""1""#, "1", "1.0", "10e-1", "true", #""true""#, "false", "null", #""null""#, #""""#, "-1",
        ]
        let keys = try values.map { key(try change(people, #"{"kind":"joined","who":\#($0)}"#)) }
        #expect(Set(keys).count == values.count && !keys.contains(nil))
    }

    @Test("an event without its key is refused, with the kind and the pointer")
    func noKey() throws {
        for (value, what) in [
            (#""x":1"#, "not there"), (#""who":{"a":1}"#, "an object"), (#""who":[1]"#, "an array"),
        ] {
            let fault = #expect(throws: PublishFault.self) {
                try change(people, "{\"kind\":\"joined\",\(value)}")
            }
            #expect(fault?.status == 422 && fault?.code == "state_key")
            #expect(fault?.message.contains("'joined'") == true && fault?.message.contains("/who") == true)
            #expect(fault?.message.contains(what) == true, "\(fault?.message ?? "")")
        }
    }

    @Test("a replaced kind is a key by itself, and so is the whole state")
    func replace() throws {
        let weather = try change(people, #"{"kind":"weather","who":{"a":1}}"#)
        #expect(try change(people, #"{"kind":"weather"}"#) == weather)
        guard case .put(let first) = weather, case .reset(let second) = try change(people, #"{"kind":"all"}"#)
        else { throw Missing() }
        #expect(first != second)
        #expect(try change(people, #"{"kind":"joined","who":"weather"}"#) != weather)
    }

    @Test("tables keep keys apart; one named after the channel is the one without a name")
    func tables() throws {
        func upserts(_ table: String?, channel: String? = "dash") throws -> StateChange {
            let rules = try rules(channel: channel) { $0.upsert = ["a": .init(pointer: "/k", table: table)] }
            return try change(rules, #"{"kind":"a","k":"x"}"#)
        }
        #expect(try upserts(nil) == upserts("dash"))
        #expect(try upserts(nil) != upserts("other"))
        #expect(try upserts("") != upserts(nil) && upserts("") != upserts("other"))
        #expect(try upserts("a", channel: nil) != upserts("b", channel: nil))
    }

    @Test("a pointer to nothing in particular, a pointer that is none and a kind said twice are refused at the start")
    func faults() throws {
        let bad: [(inout Configuration.StateRules) -> Void] = [
            { $0.upsert = ["a": .init(pointer: "")] }, { $0.remove = ["a": .init(pointer: "a")] },
            { $0.upsert = ["a": .init(pointer: "/~2")] }, { $0.replace = ["a", "a"] },
            {
                $0.upsert = ["a": .init(pointer: "/k")]
                $0.snapshot = ["a"]
            },
            {
                $0.upsert = ["a": .init(pointer: "/k")]
                $0.remove = ["a": .init(pointer: "/k")]
            },
        ]
        for configure in bad { #expect(throws: StartError.self) { try rules(configure) } }
    }

    @Test("the line that readers see does what the event did")
    func lines() throws {
        let texts = [
            #"{"kind":"joined","who":"ann"}"#, #"{"from":{"who":"\u0061nn"},"kind":"left"}"#, #"{"kind":"weather"}"#,
            #"{"kind":"all"}"#, #"{"kind":"shouted"}"#, #"{}"#,
        ]
        for text in texts {
            let stamp = #"{"seq":7,"channel":"a","time":"2026-01-01T00:00:00.000Z","x":0,"#
            let stamped = Array((stamp + text.dropFirst()).utf8)
            #expect(try people.change(line: stamped.span) == change(people, text), "\(text)")
        }
        let cut = Array(#"{"seq":7,"kind":"joined","who":"#.utf8)
        #expect(try people.change(line: cut.span) == .none)
    }

    @Test("only what follows from every event is derived")
    func derived() throws {
        #expect(try people.isDerived)
        #expect(try !rules { $0.snapshot = ["all"] }.isDerived)
        #expect(try rules { $0.replace = ["a"] }.isDerived)
        #expect(try rules { $0.remove = ["a": .init(pointer: "/k")] }.isDerived)
    }
}

@Suite("A table of kinds")
struct KindTableTests {
    @Test("every kind is found by its number, escaped or not, and no other one")
    func find() {
        let kinds = ["b", "a", "done", "failed", "dänisch", "", "a/b", "\u{1F600}"]
        let table = KindTable(kinds)
        for (number, kind) in kinds.enumerated() {
            let plain = Array(kind.utf8)
            #expect(table.find(plain.span, isEscaped: false) == number)
            let escaped = kind.utf16.map { unit in
                let digits = String(unit, radix: 16)
                return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
            let text = Array(escaped.joined().utf8)
            #expect(table.find(text.span, isEscaped: true) == number)
        }
        for other in ["c", "Done", "don", "donee", "x"] {
            let text = Array(other.utf8)
            #expect(table.find(text.span, isEscaped: false) == nil)
            #expect(table.find(text.span, isEscaped: true) == nil)
        }
        let nothing: [UInt8] = []
        #expect(KindTable([]).find(nothing.span, isEscaped: false) == nil)
    }
}
