// The form of the files: sizes, first lines, words that say that something is unfinished, undocumented declarations.

import Testing

@Suite("Form")
struct FormTests {
    private static let columnsMax = 120
    private static let linesMax = 450

    private let sources = SourceTree.sources
    private let swift = SourceTree.swift

    @Test("no Swift line is longer than 120 columns")
    func columns() {
        let long = swift.flatMap { file in
            // A line has at least as many bytes as columns.
            let long = file.lines.indices.filter { file.lines[$0].count > Self.columnsMax }
            return long.filter { file.line($0).count > Self.columnsMax }.map(file.place)
        }
        #expect(long == [])
    }

    @Test("no Swift file is longer than 450 lines")
    func lines() {
        let long = swift.filter { $0.lines.count - 1 > Self.linesMax }.map { "\($0.path): \($0.lines.count - 1) lines" }
        #expect(long == [])
    }

    @Test("no tabs, no white space at a line's end, one line feed at a file's end")
    func whiteSpace() {
        let untidy = swift.flatMap { file in
            let ends = file.lines.suffix(2).map(\.isEmpty) == [false, true]
            return file.lines(with: ["\t", " \n"], in: file.text).map(file.place)
                + (ends ? [] : ["\(file.path): its end"])
        }
        #expect(untidy == [])
    }

    @Test("every Swift file begins with a line that says what it is")
    func firstLines() {
        #expect(swift.filter { !$0.line(0).hasPrefix("//") }.map(\.path) == [])
    }

    @Test("nothing is marked as unfinished")
    func marks() {
        // Put together here, so that this file does not mark itself.
        let words = ["TO" + "DO", "FIX" + "ME", "HA" + "CK", "XX" + "X"]
        let marked = SourceTree.all.flatMap { file in
            file.lines(with: words, in: file.text).filter { index in
                file.line(index).split { !$0.isLetter }.contains { words.contains("\($0)") }
            }.map(file.place)
        }
        #expect(marked == [])
    }

    @Test("nothing in the sources traps where an error could be thrown")
    func traps() {
        let pattern = #/\btry!|\bas!|\bfatalError\s*\(/#
        #expect(sources.flatMap { $0.places(of: pattern, with: ["try!", "as!", "fatalError"]) } == [])
    }

    @Test("what other modules may use is documented")
    func documentation() {
        #expect(sources.flatMap(undocumented) == [])
    }

    /// Declarations at `package` or `public` without a doc comment. A run of properties without an empty line between
    /// them may share the first one's; initialisers that cannot fail, and witnesses of the standard protocols, speak
    /// for themselves.
    private func undocumented(_ file: SourceFile) -> [String] {
        let declaration =
            #/
            ^\s* (?:@\S+\s+)* (?:package|public)(?:\([a-z]+\))? \s+
            (?:(?:package|private|internal|static|final|mutating|borrowing|consuming|indirect|unowned|lazy|nonisolated)
               (?:\([a-z]+\))? \s+)*
            (func|struct|enum|class|protocol|typealias|var|let|init|subscript)\b
            /#
        let plain = #/\bvar (?:description|debugDescription|rawValue)\b|\bfunc (?:==|<|hash)\s*\(|\binit\((?!.*throws)/#
        var places: [String] = []
        var previous = 0
        var wasDocumented = false
        for number in file.lines(with: ["package", "public"], in: file.code) {
            let line = file.codeLine(number)
            guard let match = line.firstMatch(of: declaration) else { continue }
            let isInRun = wasDocumented && !file.lines[previous..<number].contains(where: \.isEmpty)
            let mayShare = isInRun && ["var", "let"].contains(match.1)
            wasDocumented = mayShare || hasComment(above: number, in: file) || line.contains(plain)
            previous = number
            if !wasDocumented { places.append(file.place(number)) }
        }
        return places
    }

    /// Whether the line above, attributes and conditions left out, is a doc comment. The comment that opens a file
    /// counts for the first declaration after it, with imports and empty lines between them.
    private func hasComment(above number: Int, in file: SourceFile) -> Bool {
        var isFirst = false
        for index in (0..<number).reversed() {
            let text = file.line(index).drop { $0 == " " }
            if text.hasPrefix("///") { return !isFirst || (0...index).allSatisfy { file.line($0).hasPrefix("///") } }
            if text.isEmpty || text.hasPrefix("import ") {
                isFirst = true
            } else if !text.hasPrefix("@"), !text.hasPrefix("#if") {
                return false
            }
        }
        return false
    }
}
