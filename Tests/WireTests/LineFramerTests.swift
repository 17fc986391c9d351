// Lines cut out of a stream, however it arrives, and the limit.

import Testing
import Wire

@Suite("Lines in a stream")
struct LineFramerTests {
    /// What became of a stream.
    private struct Framed: Equatable {
        var lines: [[UInt8]]
        var rest: [UInt8]
        var tooLong: Bool
    }

    /// Feeds pieces as a connection would: what has no end yet is kept and moved to the front.
    private func lines(_ pieces: [[UInt8]], max: Int) -> Framed {
        var kept: [UInt8] = []
        var searched = 0
        var lines: [[UInt8]] = []
        for piece in pieces {
            kept += piece
            var start = 0
            scan: while true {
                switch LineFramer.next(kept.span, from: start, searched: &searched, lineBytesMax: max) {
                case .line(let place, let next):
                    lines.append(Array(kept[place.range]))
                    start = next
                case .incomplete: break scan
                case .tooLong: return Framed(lines: lines, rest: [], tooLong: true)
                }
            }
            kept.removeFirst(start)
        }
        return Framed(lines: lines, rest: kept, tooLong: false)
    }

    @Test("lines are what lies between the newlines")
    func whole() {
        let result = lines([Array("a\n\nbc\r\nd".utf8)], max: 10)
        #expect(result.lines == ["a", "", "bc\r"].map { Array($0.utf8) })
        #expect(result.rest == Array("d".utf8))
        #expect(lines([[]], max: 10).lines.isEmpty)
        #expect(lines([Array("\n".utf8)], max: 0).lines == [[]])
    }

    @Test("whole, byte by byte and at random splits give the same lines")
    func splits() {
        var random = JSONTestRandom(seed: 1)
        for _ in 0..<300 {
            let text = (0..<Int.random(in: 0...200, using: &random)).map { _ in
                [UInt8(0x0A), 0x61, 0x62, 0x0D, 0x8A, 0x0B, 0x00].randomElement(using: &random)!
            }
            let max = Int.random(in: 0...20, using: &random)
            let expected = lines([text], max: max)
            let byByte = lines(text.map { [$0] }, max: max)
            #expect(byByte == expected)
            var pieces: [[UInt8]] = []
            var rest = text[...]
            while !rest.isEmpty {
                let count = Int.random(in: 1...min(30, rest.count), using: &random)
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            #expect(lines(pieces, max: max) == expected)
            // An independent view of the same text.
            let parts = text.split(separator: 0x0A, omittingEmptySubsequences: false)
            let complete = parts.dropLast()
            if parts.allSatisfy({ $0.count <= max }) {
                #expect(expected.lines == complete.map(Array.init))
                #expect(expected.rest == Array(parts.last!))
                #expect(!expected.tooLong)
            } else {
                #expect(expected.tooLong)
                #expect(expected.lines == complete.prefix { $0.count <= max }.map(Array.init))
            }
        }
    }

    private func step(_ text: [UInt8], from start: Int = 0, _ searched: inout Int, max: Int) -> LineFramer.Step {
        LineFramer.next(text.span, from: start, searched: &searched, lineBytesMax: max)
    }

    @Test("the limit is accepted and one byte more is not, as soon as it is there")
    func limit() {
        let line = [UInt8](repeating: 0x61, count: 20)
        var searched = 0
        #expect(step(line + [0x0A], &searched, max: 20) == .line(ByteRange(start: 0, count: 20), next: 21))
        #expect(step(line, &searched, max: 20) == .incomplete)
        #expect(searched == 20)
        #expect(step(line + [0x61], &searched, max: 20) == .tooLong)
        searched = 0
        #expect(step(line + [0x61, 0x0A], &searched, max: 20) == .tooLong)
        searched = 0
        #expect(step(line, &searched, max: .max) == .incomplete)
    }

    @Test("bytes that were searched are not looked at again")
    func searchedOnce() {
        // A newline put where nothing is looked for any more shows that the search goes on from where it was.
        var text = [UInt8](repeating: 0x61, count: 40)
        var searched = 0
        #expect(step(text, from: 3, &searched, max: 100) == .incomplete)
        #expect(searched == 37)
        text[10] = 0x0A
        text += [0x61, 0x0A]
        #expect(step(text, from: 3, &searched, max: 100) == .line(ByteRange(start: 3, count: 38), next: 42))
        #expect(searched == 0)
    }

    @Test("lines of white space are blank")
    func blank() {
        func isBlank(_ text: String) -> Bool { LineFramer.isBlank(Array(text.utf8).span) }
        for text in ["", " ", "\r", " \t\r "] { #expect(isBlank(text)) }
        for text in ["x", " x", "\u{B}", "\0", "\u{A0}"] { #expect(!isBlank(text)) }
    }
}
