// What the scanner looks at in stretches of bytes, tried at every length and every place of a stretch.

import Testing
import Wire

@Suite("The JSON scanner's stretches")
struct JSONStretchTests {
    private let rules = EventRules(stamp: [], discriminator: Array("no such name".utf8))

    /// A text is accepted, or refused, as the naive reader does it; what is accepted comes out alike.
    private func check(_ text: [UInt8]) {
        let expected = NaiveJSON.compact(text)
        #expect((faultOfText(text) == nil) == (expected != nil), "\(text)")
        let found = try? compactedEvent(text, rules: rules)
        #expect(found?.text == expected, "\(text)")
    }

    @Test("a byte that matters is found in a string of any length at any place")
    func strings() throws {
        for length in 0...50 {
            check(Array("{\"a\":\"".utf8) + [UInt8](repeating: 0x78, count: length) + Array("\"}".utf8))
            for place in 0..<length {
                var inside = [UInt8](repeating: 0x78, count: length)
                // Plain ones at the bounds of what is plain, then those that are not.
                for byte: UInt8 in [0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7F] {
                    inside[place] = byte
                    let text = Array("{\"a\":\"".utf8) + inside + Array("\"}".utf8)
                    #expect(try compactedEvent(text, rules: rules).text == text)
                }
                for (byte, code): (UInt8, EventFault.Code) in [
                    (0x00, .invalidJSON), (0x1F, .invalidJSON), (0x80, .invalidUTF8), (0xFF, .invalidUTF8),
                ] {
                    inside[place] = byte
                    let text = Array("{\"a\":\"".utf8) + inside + Array("\"}".utf8)
                    #expect(faultOfText(text) == EventFault(code, at: 6 + place))
                }
                inside[place] = UInt8(ascii: "\\")
                check(Array("{\"a\":\"".utf8) + inside + Array("\"}".utf8))
                inside[place] = UInt8(ascii: "\"")
                let fault = faultOfText(Array("{\"a\":\"".utf8) + inside + Array("\"}".utf8))
                #expect(fault == EventFault(.invalidJSON, at: 7 + place))
            }
        }
    }

    @Test("a string that is cut off anywhere is cut off there")
    func cut() {
        let whole = Array("{\"a\":\"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        for length in 6...whole.count {
            #expect(faultOfText(Array(whole[..<length])) == EventFault(.invalidJSON, at: length))
        }
    }

    @Test("numbers of any length end where they end")
    func numbers() {
        let behind = ["", ".", ".5", ".e1", "e", "e5", "E+", "E-07", "x", "-", "/", ":", "0", "\u{80}", " ", "e1.5"]
        let inFront = ["", "-", "0", "-0", "0.", "1.", "1e", "2E-", "00"]
        for length in 0...36 {
            let digits = String("123456789098765432101234567890123456".prefix(length))
            for end in behind {
                for start in inFront {
                    check(Array("{\"a\":\(start)\(digits)\(end)}".utf8))
                    check(Array("{\"a\":[\(start)\(digits)\(end),1234567890123456]}".utf8))
                }
                #expect((faultOfText(Array((digits + end).utf8)) == nil) == isJSON(digits + end))
            }
        }
        // Every byte behind a digit, and in front of eight that are none.
        for byte in UInt8.min...UInt8.max {
            check(Array("{\"a\":12".utf8) + [byte] + Array("3456789}".utf8))
            check(Array("{\"a\":1234567".utf8) + [byte] + Array("}        ".utf8))
            check(Array("{\"a\":1".utf8) + [byte, 0xFA, 0xFF] + Array("2345678}".utf8))
        }
    }

    private func isJSON(_ text: String) -> Bool { NaiveJSON.compact(Array(text.utf8)) != nil }

    @Test("every pair of bytes that begins a character is judged as the standard library does it")
    func characters() {
        let tails: [[UInt8]] = [
            [], [0x80], [0xBF, 0x80], [0x80, 0xBF], [0x7F, 0x80], [0xC2, 0x80], [0x80, 0xC0],
        ]
        for lead in UInt8(0x80)...0xFF {
            for second in UInt8.min...0xFF {
                for tail in tails {
                    let inside = [lead, second] + tail
                    if inside.contains(UInt8(ascii: "\"")) || inside.contains(UInt8(ascii: "\\")) { continue }
                    if inside.contains(where: { $0 < 0x20 }) { continue }
                    let isValid = String(validating: inside, as: UTF8.self) != nil
                    let text = [UInt8(ascii: "\"")] + inside + [UInt8(ascii: "\"")]
                    // At the very end, where less than a word is left, and before more.
                    #expect((faultOfText(text) == nil) == isValid, "\(inside)")
                    let array = [UInt8(ascii: "[")] + text + Array(",1,2,3]".utf8)
                    #expect((faultOfText(array) == nil) == isValid, "\(inside)")
                }
            }
        }
    }

    @Test("white space anywhere between tokens goes, whatever length the stretches between have")
    func stretches() throws {
        for length in 0...20 {
            let name = String(repeating: "n", count: length)
            let value = String(repeating: "v", count: 20 - length)
            let tokens = ["{", "\"\(name)\"", ":", "\"\(value)\"", ",", "\"type\"", ":", "\"kind\"", "}"]
            let tight = Array(tokens.joined().utf8)
            for gaps in 0..<1 << (tokens.count + 1) where gaps % 7 == length % 7 {
                var text = gaps & 1 == 1 ? " " : ""
                for (index, token) in tokens.enumerated() {
                    text += token + (gaps >> (index + 1) & 1 == 1 ? "\t \r" : "")
                }
                let event = try compactedEvent(Array(text.utf8))
                #expect(event.text == tight)
                #expect(event.kind == Array("kind".utf8))
            }
        }
    }
}
