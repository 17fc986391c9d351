// Escaping and unescaping, surrogates included, and names compared without either.

import Testing
import Wire

@Suite("Text inside of JSON strings")
struct JSONTextTests {
    private func unescaped(_ text: String) -> String {
        let bytes = Array(text.utf8)
        return String(decoding: JSONText.unescape(bytes.span), as: UTF8.self)
    }

    private func escaped(_ text: [UInt8]) -> String {
        var output: [UInt8] = []
        JSONText.appendEscaped(text.span, to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    @Test("every escape means its character")
    func unescape() {
        let cases = [
            ("", ""), ("plain", "plain"), (#"\"\\\/"#, "\"\\/"), (#"\b\t\n\f\r"#, "\u{8}\t\n\u{C}\r"),
            (#"\u0041\u00e9\u00E9"#, "Aéé"), (#"\u0000"#, "\0"), (#"a\u007fb"#, "a\u{7F}b"),
            (#"\uFFFF\uE000\uD7FF"#, "\u{FFFF}\u{E000}\u{D7FF}"),
            (#"\ud83d\ude00"#, "😀"), (#"x\uD83D\uDE00y"#, "x😀y"), (#"\uD800\uDC00\uDBFF\uDFFF"#, "\u{10000}\u{10FFFF}"),
            ("é日😀", "é日😀"), (#"\\u0041"#, #"\u0041"#), (#"\\\u0041"#, #"\A"#),
        ]
        for (text, plain) in cases { #expect(unescaped(text) == plain, "\(text)") }
    }

    @Test("a surrogate without its partner becomes U+FFFD, and takes nothing with it")
    func loneSurrogates() {
        let cases = [
            (#"\ud800"#, "\u{FFFD}"), (#"\udc00"#, "\u{FFFD}"), (#"\ud800x"#, "\u{FFFD}x"),
            (#"\ud800\n"#, "\u{FFFD}\n"),
            (#"\ud800\u0041"#, "\u{FFFD}A"), (#"\ud800\ud83d\ude00"#, "\u{FFFD}😀"),
            (#"\ude00\ud83d"#, "\u{FFFD}\u{FFFD}"),
            (#"\ud800\ud800"#, "\u{FFFD}\u{FFFD}"), (#"\ud83d\\ude00"#, "\u{FFFD}\\ude00"),
            (#"\ud83d\u"#, "\u{FFFD}\u{FFFD}"),
        ]
        for (text, plain) in cases { #expect(unescaped(text) == plain, "\(text)") }
    }

    @Test("text that no scanner accepted gives some result and never traps")
    func neverTraps() {
        for text in [
            "\\", "\\u", "\\u1", "\\u12", "\\u123", "\\uzzzz", "a\\", "\\ud83d\\", "\\ud83d\\ude0", "\\x",
            "\\ud83d\\udezz",
        ] {
            #expect(unescaped(text).unicodeScalars.count <= text.utf8.count, "\(text)")
        }
    }

    @Test("escaping gives the shortest valid string, and unescaping gives the text back")
    func escape() throws {
        for scalar in (0...0x2FF).compactMap(Unicode.Scalar.init) + ["\u{2028}", "\u{FFFF}", "😀"] {
            let plain = Array("a\(Character(scalar))b".utf8)
            let text = escaped(plain)
            #expect(faultOfText(Array("\"\(text)\"".utf8)) == nil)
            #expect(Array(unescaped(text).utf8) == plain)
        }
        #expect(escaped(Array("\u{8}\t\n\u{C}\r\"\\/é\u{7F}\u{2028}".utf8)) == #"\b\t\n\f\r\"\\/é"# + "\u{7F}\u{2028}")
        #expect(escaped([0x00, 0x01, 0x0B, 0x0E, 0x1B, 0x1F]) == #"\u0000\u0001\u000b\u000e\u001b\u001f"#)
    }

    @Test("comparing needs no unescaping: equal exactly when the unescaped texts are")
    func matches() {
        let texts = [
            "", "seq", #"s\u0065q"#, #"\u0073\u0065\u0071"#, "sEq", "seqs", "se", #"seq\u0000"#, #"\"seq\""#, "é",
            #"\u00e9"#, "e\u{301}", #"\ud83d\ude00"#, "😀", #"\ud83d"#,
        ]
        let plains = ["", "seq", "se", "seqs", "é", "e\u{301}", "😀", "\"seq\"", "\u{FFFD}", "seq\0"]
        for text in texts {
            for plain in plains {
                let bytes = Array(text.utf8)
                let other = Array(plain.utf8)
                let expected = JSONText.unescape(bytes.span) == other
                #expect(JSONText.matches(bytes.span, escaped: true, other.span) == expected, "\(text) \(plain)")
                if !text.contains("\\") {
                    #expect(JSONText.matches(bytes.span, escaped: false, other.span) == expected)
                }
            }
            let bytes = Array(text.utf8)
            #expect(JSONText.matches(bytes.span, escaped: true, "seq") == (unescaped(text) == "seq"))
        }
    }
}
