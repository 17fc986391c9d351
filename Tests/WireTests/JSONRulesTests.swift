// What an event must satisfy on its channel: its discriminator, the reserved names, and which fault is told first.

import Testing
import Wire

@Suite("An event's rules")
struct JSONRulesTests {
    private func kind(_ text: String, rules: EventRules = EventRules()) throws -> String? {
        try compactedEvent(text, rules: rules).kind.map { String(decoding: $0, as: UTF8.self) }
    }

    private func rules(_ discriminator: String, stamp: StampMembers = [.seq, .channel]) -> EventRules {
        EventRules(stamp: stamp, discriminator: Array(discriminator.utf8))
    }

    @Test("the discriminator is found wherever it stands, at the outermost level only")
    func found() throws {
        #expect(try kind(#"{"type":"x"}"#) == "x")
        #expect(try kind(#" { "a" : [ 1 , 2 ] , "type" : "session.created" , "b" : { } } "#) == "session.created")
        #expect(try kind(#"{"type":""}"#) == "")
        #expect(try kind(#"{}"#) == nil)
        #expect(try kind(#"{"a":{"type":"x"}}"#) == nil)
        #expect(try kind(#"{"a":[{"type":"x"}],"b":"type"}"#) == nil)
        #expect(try kind(#"{"a":{"type":1},"type":"y","z":{"type":null}}"#) == "y")
        #expect(try kind(#"{"Type":"x","typ":"y","types":"z"}"#) == nil)
        #expect(try kind(#"{"type":"é😀"}"#) == "é😀")
        #expect(try kind(#"{"kind":"k","type":"t"}"#, rules: rules("kind")) == "k")
        #expect(try kind(#"{"événement":"k"}"#, rules: rules("événement")) == "k")
        #expect(try kind(#"{"":"k"}"#, rules: rules("")) == "k")
        #expect(try kind(#"{"a\"b":"k"}"#, rules: rules("a\"b")) == "k")
    }

    @Test("its place is that in the compacted event, and its escapes are told")
    func placeAndEscapes() throws {
        let plain = try compactedEvent("  {  \"type\"  :  \"x\"  }")
        #expect(plain.record == EventRecord(length: 12, kind: ByteRange(start: 9, count: 1)))
        let escaped = try compactedEvent(#"{ "ty\u0070e" : "a\nb" }"#)
        #expect(escaped.kind == Array(#"a\nb"#.utf8))
        #expect(escaped.record.kindIsEscaped)
        #expect(!plain.record.kindIsEscaped)
        // The name's escapes are not the value's.
        #expect(try compactedEvent(#"{"\u0074ype":"ab"}"#).record.kindIsEscaped == false)
    }

    @Test("a discriminator that is no string is refused at its value")
    func noString() {
        for value in ["1", "-1", "null", "true", "false", "{}", "[]", #"["x"]"#, #"{"type":"x"}"#] {
            #expect(faultOfEvent(#"{"type": \#(value)}"#) == EventFault(.badDiscriminator, at: 9), "\(value)")
            #expect(faultOfEvent(#"{"kind": \#(value)}"#) == nil)
        }
    }

    @Test("a second discriminator is refused at its name, whatever the first one said")
    func twice() {
        #expect(faultOfEvent(#"{"type":"x","type":"x"}"#) == EventFault(.badDiscriminator, at: 12))
        #expect(faultOfEvent(#"{"type":"x","a":1,"t\u0079pe":"y"}"#) == EventFault(.badDiscriminator, at: 18))
        #expect(faultOfEvent(#"{"type":"x","type":1}"#) == EventFault(.badDiscriminator, at: 12))
        #expect(faultOfEvent(#"{"type":"x","a":{"type":"x"}}"#) == nil)
        #expect(faultOfEvent(#"{"a":1,"a":1}"#) == nil)
    }

    @Test("kinds that begin with $ are the server's, however the $ is written")
    func reservedKinds() {
        for value in ["$", "$hello", "$x", #"\u0024"#, #"\u0024bye"#] {
            #expect(faultOfEvent(#"{"type":"\#(value)"}"#) == EventFault(.reservedKind, at: 9), "\(value)")
            #expect(faultOfEvent(#"{"a":"\#(value)","\#(value)":1}"#) == nil)
        }
        for value in ["a$", " $hello", #"\\u0024"#, "＄", "", #"\u0023"#, #"\/$"#, #"\ud800$"#] {
            #expect(faultOfEvent(#"{"type":"\#(value)"}"#) == nil, "\(value)")
        }
        #expect(faultOfEvent(#"{"kind":"$x"}"#) == nil)
        #expect(faultOfEvent(#"{"kind":"$x"}"#, rules: rules("kind"))?.code == .reservedKind)
    }

    @Test("a member that would be stamped is refused, and only such a one")
    func reservedMembers() {
        let names: [(String, StampMembers)] = [("seq", .seq), ("channel", .channel), ("time", .time)]
        let stamps: [StampMembers] = [
            [], [.seq], [.channel], [.time], [.seq, .channel], [.seq, .channel, .time], [.channel, .time],
            [.seq, .time],
        ]
        for (name, member) in names {
            let first = name.unicodeScalars.first!.value
            let spellings = [
                name, #"\u00\#(String(first, radix: 16))"# + name.dropFirst(),
                name.dropLast() + #"\u00\#(String(name.unicodeScalars.last!.value, radix: 16, uppercase: true))"#,
            ]
            for stamp in stamps {
                for spelling in spellings {
                    let fault = faultOfEvent(#"{"a":1, "\#(spelling)":1}"#, rules: rules("type", stamp: stamp))
                    #expect(
                        fault == (stamp.contains(member) ? EventFault(.reservedMember, at: 8) : nil),
                        "\(spelling) \(stamp)")
                }
                for other in [
                    "\(name)s", String(name.dropLast()), name.uppercased(), " \(name)", "\(name)\\u0000",
                    "x\(name.dropFirst())",
                ] {
                    #expect(faultOfEvent(#"{"\#(other)":1}"#, rules: rules("type", stamp: stamp)) == nil, "\(other)")
                }
                #expect(
                    faultOfEvent(
                        #"{"a":{"\#(name)":1},"b":[{"\#(name)":1}],"c":"\#(name)"}"#, rules: rules("type", stamp: stamp)
                    ) == nil)
            }
        }
    }

    @Test("syntax is judged before rules, and of several broken rules the first is told")
    func precedence() {
        #expect(faultOfEvent(#"{"seq":1,"a":}"#) == EventFault(.invalidJSON, at: 13))
        #expect(faultOfEvent(#"{"type":"$x"} x"#) == EventFault(.invalidJSON, at: 14))
        #expect(faultOfEvent(#"{"type":1,"seq":2}"#) == EventFault(.badDiscriminator, at: 8))
        #expect(faultOfEvent(#"{"seq":2,"type":1}"#) == EventFault(.reservedMember, at: 1))
        #expect(faultOfEvent(#"{"type":"$x","channel":1}"#) == EventFault(.reservedKind, at: 9))
    }

    @Test("every fault has a status, a code of its own and a sentence")
    func faults() {
        let statuses: [EventFault.Code: Int] = [
            .invalidJSON: 400, .invalidUTF8: 400, .tooDeep: 400, .notAnObject: 400, .tooLarge: 413,
            .reservedMember: 422,
            .reservedKind: 422, .badDiscriminator: 422,
        ]
        for code in EventFault.Code.allCases {
            let fault = EventFault(code, at: 0)
            #expect(fault.httpStatus == statuses[code])
            #expect("\(fault.message)".isEmpty == false)
        }
    }
}
