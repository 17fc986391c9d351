// Random texts against the naive reader: the same are accepted, and their compacted forms are equal.

import Testing
import Wire

@Suite("The JSON scanner against a naive reader")
struct JSONMutationTests {
    /// A random valid text, with random white space between its tokens.
    private struct Generator {
        var random: JSONTestRandom

        mutating func value(depth: Int) -> String {
            switch Int.random(in: 0..<(depth > 5 ? 6 : 10), using: &random) {
            case 0: return ["true", "false", "null"].randomElement(using: &random)!
            case 1: return ["0", "-0", "12", "-3.25", "1e9", "0.5E-3", "100", "7e+2"].randomElement(using: &random)!
            case 2, 3, 4, 5: return string()
            case 6, 7:
                let items = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    space() + value(depth: depth + 1) + space()
                }
                return "[" + (items.isEmpty ? space() : items.joined(separator: ",")) + "]"
            default: return object(depth: depth)
            }
        }

        mutating func object(depth: Int) -> String {
            let items = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                space() + string() + space() + ":" + space() + value(depth: depth + 1) + space()
            }
            return "{" + (items.isEmpty ? space() : items.joined(separator: ",")) + "}"
        }

        mutating func string() -> String {
            let pieces = [
                "a", "bc", "xyz", "12345678", "type", "seq", "é", "ж", "日", "😀", "\u{7FF}", "\u{FFFF}", "\u{10FFFF}",
                "\u{7F}", " ", "$",
                #"\n"#, #"\""#, #"\\"#, #"\/"#, #"\u0041"#, #"\ud83d\ude00"#, #"\ud800"#, #"\u0000"#, "{", "}", "[",
                ",", ":",
            ]
            return "\""
                + (0..<Int.random(in: 0...6, using: &random)).map { _ in pieces.randomElement(using: &random)! }
                .joined() + "\""
        }

        mutating func space() -> String {
            Int.random(in: 0..<4, using: &random) > 0
                ? "" : ["", " ", "\n", "\t", "\r\n", "  "].randomElement(using: &random)!
        }
    }

    /// Changes a text in one place: a byte replaced, inserted or removed, a piece doubled or cut away.
    private func mutate(_ text: inout [UInt8], _ random: inout JSONTestRandom) {
        let interesting =
            Array("{}[]\",:\\utrfn0123456789.eE+-/ \n\t$abcdef".utf8) + [
                0x00, 0x1F, 0x7F, 0x80, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF,
            ]
        let byte =
            Bool.random(using: &random)
            ? interesting.randomElement(using: &random)! : UInt8.random(in: 0...255, using: &random)
        guard !text.isEmpty else { return text.append(byte) }
        let place = Int.random(in: 0..<text.count, using: &random)
        let end = min(text.count, place + Int.random(in: 1...6, using: &random))
        switch Int.random(in: 0..<6, using: &random) {
        case 0, 1: text[place] = byte
        case 2: text.insert(byte, at: place)
        case 3: text.remove(at: place)
        case 4: text.insert(contentsOf: text[place..<end], at: place)
        default: text.removeSubrange(place..<end)
        }
    }

    private func check(_ text: [UInt8], seed: UInt64) {
        let expected = NaiveJSON.compact(text)
        let fault = faultOfText(text)
        #expect((fault == nil) == (expected != nil), "seed \(seed): \(text)")
        if let fault { #expect(0...text.count ~= fault.offset, "seed \(seed): \(text)") }
        guard let expected, expected.first == UInt8(ascii: "{") else { return }
        do throws(EventFault) {
            // No rules: only the text counts here.
            let event = try compactedEvent(
                text, rules: EventRules(stamp: [], discriminator: Array("no such name".utf8)))
            #expect(event.text == expected, "seed \(seed): \(text)")
            // What is compact stays as it is.
            #expect(
                try compactedEvent(event.text, rules: EventRules(stamp: [], discriminator: Array("no such name".utf8)))
                    .text == expected)
        } catch {
            Issue.record("seed \(seed): \(error) for \(text)")
        }
    }

    @Test("random valid texts are accepted and compacted alike", arguments: [UInt64(1), 2, 3, 4])
    func valid(seed: UInt64) {
        var generator = Generator(random: JSONTestRandom(seed: seed))
        for _ in 0..<1500 {
            check(Array((generator.space() + generator.object(depth: 0) + generator.space()).utf8), seed: seed)
        }
    }

    @Test("texts with a few random changes are accepted or refused alike", arguments: [UInt64(11), 12, 13, 14])
    func mutated(seed: UInt64) {
        var generator = Generator(random: JSONTestRandom(seed: seed))
        var random = JSONTestRandom(seed: ~seed)
        for _ in 0..<4000 {
            var text = Array(generator.object(depth: 2).utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random) { mutate(&text, &random) }
            check(text, seed: seed)
        }
    }

    @Test("random bytes of the grammar's alphabet are accepted or refused alike")
    func soup() {
        var random = JSONTestRandom(seed: 99)
        let alphabet = Array(#"{}[]",:0123-.e\utn "#.utf8)
        for _ in 0..<30_000 {
            check(
                (0..<Int.random(in: 0...7, using: &random)).map { _ in alphabet.randomElement(using: &random)! },
                seed: 99)
        }
    }

    @Test("strings of random bytes are accepted or refused alike")
    func randomStrings() {
        var random = JSONTestRandom(seed: 7)
        let alphabet: [UInt8] = [
            0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0,
            0xF1, 0xF3, 0xF4, 0xF5,
        ]
        for _ in 0..<30_000 {
            let inside = (0..<Int.random(in: 0...12, using: &random)).map { _ in alphabet.randomElement(using: &random)!
            }
            check(Array(#"{"a":""#.utf8) + inside + Array(#""}"#.utf8), seed: 7)
        }
    }
}
