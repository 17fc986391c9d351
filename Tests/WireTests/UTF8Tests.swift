// UTF-8 checked whole and in pieces, against the standard library's decoder, and repaired.

import Testing
import Wire

@Suite("UTF-8")
struct UTF8Tests {
    private static let edges: [UInt8] = [
        0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
        0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
    ]

    private func isValid(_ text: [UInt8], pieces: [Int]) -> Bool {
        var validator = UTF8Validator()
        var start = 0
        for end in pieces + [text.count] {
            guard validator.feed(text.span.extracting(start..<end)) else { return false }
            start = end
        }
        return validator.isComplete
    }

    private func check(_ text: [UInt8]) {
        let expected = String(validating: text, as: UTF8.self) != nil
        #expect(UTF8Check.isValid(text.span) == expected, "\(text)")
        #expect(isValid(text, pieces: Array(1..<max(1, text.count))) == expected, "\(text)")
        for split in 0...text.count { #expect(isValid(text, pieces: [split]) == expected, "\(text)") }
        #expect(UTF8Check.repair(text.span) == Array(String(decoding: text, as: UTF8.self).utf8), "\(text)")
    }

    @Test("every pair of bytes, and the edges of three and four, are judged and repaired as the standard library does")
    func exhaustive() {
        check([])
        for first in UInt8.min...UInt8.max { check([first]) }
        for first in UInt8(0x7F)...UInt8.max { for second in Self.edges { check([first, second]) } }
        for first in UInt8(0xE0)...UInt8.max {
            for second in Self.edges {
                for third in [UInt8(0x41), 0x80, 0xBF, 0xC2] { check([first, second, third]) }
            }
        }
        for first in UInt8(0xF0)...0xF5 {
            for second in Self.edges {
                for third in [UInt8(0x41), 0x80, 0xBF] {
                    for fourth in [UInt8(0x41), 0x80, 0xBF] { check([first, second, third, fourth]) }
                }
            }
        }
    }

    @Test("random texts, whole and split anywhere, are judged and repaired as the standard library does")
    func random() {
        var random = JSONTestRandom(seed: 21)
        for _ in 0..<3000 {
            check((0..<Int.random(in: 0...24, using: &random)).map { _ in Self.edges.randomElement(using: &random)! })
            let text = String(
                String.UnicodeScalarView(
                    (0..<10).compactMap { _ in Unicode.Scalar(UInt32.random(in: 0...0x10FFFF, using: &random)) }))
            check(Array(text.utf8))
        }
    }

    @Test("a text is refused at its first impossible byte, not later")
    func failsFast() {
        for (text, last) in [
            ([0x61, 0xC3, 0x41] as [UInt8], 2), ([0xE0, 0x80], 1), ([0xED, 0xA0], 1), ([0xF4, 0x90], 1), ([0xF5], 0),
            ([0xC0], 0), ([0xC1], 0), ([0x80], 0), ([0xCE, 0xBA, 0xF4, 0x90], 3), ([0xE1, 0x80, 0x41], 2),
            ([0xF0, 0x8F], 1),
        ] {
            var validator = UTF8Validator()
            for index in text.indices {
                let byte = [text[index]]
                #expect(validator.feed(byte.span) == (index < last), "\(text) \(index)")
            }
        }
    }

    @Test("long texts keep their bytes, and the state is small")
    func long() {
        let text = Array(String(repeating: "plain ascii text, then é日😀. ", count: 500).utf8)
        #expect(isValid(text, pieces: []))
        #expect(UTF8Check.repair(text.span) == text)
        #expect(MemoryLayout<UTF8Validator>.size <= 8)
    }
}
