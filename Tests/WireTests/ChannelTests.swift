// Channel names and patterns: what is one, what matches, which is more specific.

import Testing
import Wire

@Suite("Channel names")
struct ChannelNameTests {
    private func name(_ bytes: [UInt8]) -> ChannelName? { ChannelName(bytes.span) }

    @Test("names are segments of unreserved characters")
    func valid() {
        for text in [
            "events", "a", "A/b/0", "sessions/42", "a.b_c~d-e", "...", "a/...", ".a", "a.", "-", "~", "_", "0",
            "host/cpu", String(repeating: "x", count: 255), "a" + String(repeating: "/a", count: 127),
        ] {
            #expect(ChannelName(text)?.description == text, "\(text)")
            #expect(name(Array(text.utf8))?.bytes == Array(text.utf8))
        }
        #expect(ChannelName.standard == ChannelName("events"))
    }

    @Test("what could lead out of a folder, or is no name, is refused")
    func invalid() {
        for text in [
            "", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/../b", "a/.", "a/./b", "*", "a/*", "**",
            "a*", "a b", " a", "a ", "a\n", "a\0", "a%2fb", "a:b", "é", "a\\b", "$a", "a,b", "a?b", "a#b", "a&b", "a+b",
            "a@b", "\"a\"", "a\u{7F}",
            String(repeating: "x", count: 256), "a" + String(repeating: "/a", count: 128),
        ] {
            #expect(ChannelName(text) == nil, "\(text)")
        }
        for byte in UInt8.min...UInt8.max {
            let isUnreserved =
                byte < 0x80
                && (Character(Unicode.Scalar(byte)).isLetter || Character(Unicode.Scalar(byte)).isNumber
                    || "._~-".utf8.contains(byte))
            #expect((name([0x61, byte, 0x62]) != nil) == (isUnreserved || byte == UInt8(ascii: "/")), "\(byte)")
        }
    }
}

@Suite("Channel patterns")
struct ChannelPatternTests {
    @Test("a star is a whole segment, and two stars are the last one")
    func valid() {
        for text in ["events", "a/b", "*", "**", "a/*", "*/b", "a/*/c", "a/**", "*/**", "*/*/**", "*/*"] {
            #expect(ChannelPattern(text)?.description == text, "\(text)")
            #expect(ChannelPattern(text)?.isLiteral == !text.contains("*"))
            #expect(ChannelPattern(text)?.isEverything == (text == "**"))
            #expect(ChannelPattern(text)?.name?.description == (text.contains("*") ? nil : text))
        }
        for text in [
            "", "/", "a/", "/**", "**/", "**/a", "a/**/b", "a*", "*a", "***", "a/***", "**/**", "*/", "a//*", "a/..",
            "./*", "a b", "é/*", "a,b", String(repeating: "x", count: 254) + "/*",
        ] {
            #expect(ChannelPattern(text) == nil, "\(text)")
        }
        #expect(ChannelPattern.everything == ChannelPattern("**"))
        #expect(ChannelName("a/b").map(ChannelPattern.init) == ChannelPattern("a/b"))
    }

    @Test("a pattern matches as its segments say")
    func matching() throws {
        let cases: [(String, [String], [String])] = [
            ("events", ["events"], ["event", "eventss", "events/a", "a/events", "Events"]),
            ("a/b", ["a/b"], ["a", "a/b/c", "a/c", "ab", "b/a"]),
            ("*", ["a", "events", "..."], ["a/b", "a/b/c"]),
            ("**", ["a", "a/b", "a/b/c/d"], []),
            ("a/*", ["a/b", "a/c", "a/..."], ["a", "a/b/c", "b/a", "ab"]),
            ("*/b", ["a/b", "b/b"], ["b", "a/c", "a/b/c", "a/bb"]),
            ("a/*/c", ["a/b/c", "a/c/c"], ["a/c", "a/b/c/d", "a/b/d", "b/b/c"]),
            ("a/**", ["a/b", "a/b/c", "a/a"], ["a", "b", "b/a", "ab", "aa/b"]),
            ("*/**", ["a/b", "a/b/c"], ["a"]),
            ("*/*/**", ["a/b/c", "a/b/c/d"], ["a", "a/b"]),
            ("*/*", ["a/b"], ["a", "a/b/c"]),
            ("a/*/**", ["a/b/c", "a/b/c/d"], ["a/b", "a", "b/c/d"]),
        ]
        for (text, matched, unmatched) in cases {
            let pattern = try #require(ChannelPattern(text))
            for name in matched { #expect(pattern.matches(try #require(ChannelName(name))), "\(text) \(name)") }
            for name in unmatched { #expect(!pattern.matches(try #require(ChannelName(name))), "\(text) \(name)") }
        }
    }

    /// Matching from the definition, over lists of segments.
    private func naiveMatch(_ pattern: ArraySlice<String>, _ name: ArraySlice<String>) -> Bool {
        guard let first = pattern.first else { return name.isEmpty }
        if first == "**" { return !name.isEmpty }
        guard let segment = name.first, first == "*" || first == segment else { return false }
        return naiveMatch(pattern.dropFirst(), name.dropFirst())
    }

    @Test("random patterns match random names as the definition says, and of two that match one is more specific")
    func random() throws {
        var random = JSONTestRandom(seed: 3)
        for _ in 0..<5000 {
            let name = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                ["a", "b", "ab"].randomElement(using: &random)!
            }
            func pattern() -> [String] {
                var segments = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    ["a", "b", "ab", "*"].randomElement(using: &random)!
                }
                if Bool.random(using: &random) { segments[segments.count - 1] = "**" }
                return segments
            }
            let texts = [pattern(), pattern()]
            let patterns = try texts.map { try #require(ChannelPattern($0.joined(separator: "/"))) }
            let channel = try #require(ChannelName(name.joined(separator: "/")))
            for (text, pattern) in zip(texts, patterns) {
                #expect(pattern.matches(channel) == naiveMatch(text[...], name[...]), "\(text) \(name)")
            }
            if patterns[0] == patterns[1] {
                #expect(!patterns[0].isMoreSpecific(than: patterns[1]))
            } else if patterns.allSatisfy({ $0.matches(channel) }) {
                #expect(
                    patterns[0].isMoreSpecific(than: patterns[1]) != patterns[1].isMoreSpecific(than: patterns[0]),
                    "\(texts)")
            } else {
                #expect(
                    !(patterns[0].isMoreSpecific(than: patterns[1]) && patterns[1].isMoreSpecific(than: patterns[0])),
                    "\(texts)")
            }
        }
    }

    @Test("the more specific pattern wins, from the left")
    func specificity() throws {
        let ordered = [
            "a/b/c", "a/b/*", "a/b/**", "a/*/c", "a/*/*", "a/*/**", "a/**", "*/b/c", "*/b/**", "*/*/c", "*/*/*", "*/**",
            "**",
        ]
        for (index, text) in ordered.enumerated() {
            for (otherIndex, other) in ordered.enumerated() {
                let pattern = try #require(ChannelPattern(text))
                #expect(
                    pattern.isMoreSpecific(than: try #require(ChannelPattern(other))) == (index < otherIndex),
                    "\(text) \(other)")
            }
        }
    }
}
