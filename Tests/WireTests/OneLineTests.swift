// Text from elsewhere, on one line.
import Testing

@testable import Wire

@Suite("One line")
struct OneLineTests {
    @Test("control characters are escaped, everything else stays")
    func controls() {
        let text = "a\nb\r\tc\u{0}\u{1b}[31m\u{7f}\u{85}\u{9f}é\u{2028}\u{202e}\u{2066}\u{1f600}"
        #expect(OneLine.of(text) == "a\\xab\\xd\\x9c\\x0\\x1b[31m\\x7f\\x85\\x9fé\\x2028\\x202e\\x2066\u{1f600}")
        #expect(OneLine.of("") == "")
        for scalar in 0..<0x120 {
            let text = OneLine.of("x\(Unicode.Scalar(scalar)!)y")
            #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) })
        }
    }

    @Test("512 characters are whole, a longer text is cut and says so")
    func cut() {
        let exact = String(repeating: "x", count: OneLine.charactersMax)
        #expect(OneLine.of(exact) == exact)
        #expect(OneLine.of(exact + "y") == exact + "…")
    }
}
