// The repository's own files, as the tidy tests see them. Bytes rather than characters: there are many of them, and
// debug builds are slow.

import Foundation

/// One text file of the repository.
struct SourceFile: Sendable {
    /// Path from the repository's root, with slashes.
    let path: String
    let text: [UInt8]
    /// Where each line is, without its line feed. The last one is empty where the file ends with a line feed.
    let lines: [Range<Int>]
    /// The same bytes with comments and the insides of string literals blanked, so that words in prose do not count.
    let code: [UInt8]

    init(path: String, text: [UInt8]) {
        self.path = path
        self.text = text
        var lines: [Range<Int>] = []
        var start = 0
        for end in Self.places(of: "\n", in: text) {
            lines.append(start..<end)
            start = end + 1
        }
        self.lines = lines + [start..<text.count]
        code = path.hasSuffix(".swift") ? SwiftScanner.blanked(text) : text
    }

    /// The target that a Swift file belongs to: the second component of its path.
    var module: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    var name: String { path.split(separator: "/").last.map(String.init) ?? "" }

    /// The modules that this file imports.
    var imports: [String] {
        let statement =
            #/
            ^\s* (?:@\w+(?:\(\w+\))?\s+)* (?:\w+\s+)? import\s+ (?:(?:struct|class|enum|func|var|let)\s+)? (\w+)
            /#
        return lines(with: ["import"], in: code).compactMap { index in
            codeLine(index).firstMatch(of: statement).map { String($0.1) }
        }
    }

    /// The line with this index (from 0) as written.
    func line(_ index: Int) -> String { String(decoding: text[lines[index]], as: UTF8.self) }

    /// The line with this index, comments and strings blanked.
    func codeLine(_ index: Int) -> String { String(decoding: code[lines[index]], as: UTF8.self) }

    /// The line with this index, as `path:line: text`.
    func place(_ index: Int) -> String { "\(path):\(index + 1): \(line(index).drop { $0 == " " })" }

    /// Where `pattern` occurs in the code, as `path:line: text`. Each match must contain one of `words`: only lines
    /// that have one are looked at closely.
    func places(of pattern: Regex<Substring>, with words: [String]) -> [String] {
        lines(with: words, in: code).filter { codeLine($0).contains(pattern) }.map(place)
    }

    /// The indices of the lines in which one of `words` begins, in order. `bytes` is `text` or `code`.
    func lines(with words: [String], in bytes: [UInt8]) -> [Int] {
        let places = words.flatMap { Self.places(of: $0, in: bytes) }.sorted()
        var found: [Int] = []
        var index = 0
        for place in places {
            while lines[index].upperBound < place { index += 1 }
            if found.last != index { found.append(index) }
        }
        return found
    }

    private static func places(of word: String, in bytes: [UInt8]) -> [Int] {
        let word = Array(word.utf8)
        var places: [Int] = []
        bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            let end = base + bytes.count
            var start = base
            while let found = memchr(start, CInt(word[0]), end - start).map(UnsafeRawPointer.init) {
                start = found + 1
                guard end - found >= word.count else { return }
                if memcmp(found, word, word.count) == 0 { places.append(found - base) }
            }
        }
        return places
    }
}

/// Finds and reads files, from this file's own place; each file once, whatever the number of tests.
enum SourceTree {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The Swift files of the program and its library.
    static let sources = files(["Sources"])
    /// The Swift files.
    static let swift = files(["Sources", "Tests", "bench", "examples"])
    /// Everything that people write: Swift, C, scripts, pages, documents.
    static let all = rootFiles() + files(["Sources", "Tests", "bench", "examples", "scripts"], written)

    private static let written = [".swift", ".c", ".h", ".js", ".html", ".css", ".py", ".sh", ".md"]
    private static let folders = ["Sources", "Tests", "bench", "examples", "scripts"]
    private static let cache: [SourceFile] = folders.flatMap { folder in
        let names = FileManager.default.enumerator(atPath: root.appendingPathComponent(folder).path)
        return (names?.allObjects as? [String] ?? []).compactMap { name in
            written.contains(where: name.hasSuffix) ? read("\(folder)/\(name)") : nil
        }
    }.sorted { $0.path < $1.path }

    /// Every file below `folders` whose name ends in one of `endings`, in the order of their paths.
    static func files(_ folders: [String], _ endings: [String] = [".swift"]) -> [SourceFile] {
        cache.filter { file in
            folders.contains { file.path.hasPrefix($0 + "/") } && endings.contains(where: file.path.hasSuffix)
        }
    }

    /// Files of the root folder itself.
    private static func rootFiles() -> [SourceFile] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root.path)) ?? []
        let texts = names.filter { $0.hasSuffix(".md") || $0.hasSuffix(".swift") || $0 == "Makefile" }
        return texts.sorted().compactMap(read)
    }

    private static func read(_ path: String) -> SourceFile? {
        guard let data = try? Data(contentsOf: root.appendingPathComponent(path)) else { return nil }
        return SourceFile(path: path, text: Array(data))
    }
}

/// As much of Swift's lexical structure as it takes to tell code from prose.
struct SwiftScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private let output: UnsafeMutableBufferPointer<UInt8>
    private var at = 0

    /// Swift text with comments and the insides of string literals replaced by spaces; line feeds stay, and so does
    /// the place of everything else.
    static func blanked(_ text: [UInt8]) -> [UInt8] {
        var blanked = text
        text.withUnsafeBufferPointer { bytes in
            blanked.withUnsafeMutableBufferPointer { output in
                var scanner = SwiftScanner(bytes: bytes, output: output)
                scanner.run()
            }
        }
        return blanked
    }

    private mutating func run() {
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "/"):
                if starts("//") {
                    while at < bytes.count, bytes[at] != 10 { skip(1) }
                } else if starts("/*") {
                    skip(through: "*/", escapes: false)
                } else {
                    at += 1
                }
            case UInt8(ascii: "#") where starts("#\""):
                skip(2)
                skip(through: "\"#", escapes: false)
            case UInt8(ascii: "\""):
                let quotes: StaticString = starts("\"\"\"") ? "\"\"\"" : "\""
                skip(quotes.utf8CodeUnitCount)
                skip(through: quotes, escapes: true)
            default:
                at += 1
            }
        }
    }

    private func starts(_ word: StaticString) -> Bool {
        let size = word.utf8CodeUnitCount
        guard bytes.count - at >= size, let base = bytes.baseAddress else { return false }
        return memcmp(base + at, word.utf8Start, size) == 0
    }

    private mutating func skip(_ count: Int) {
        for _ in 0..<min(count, bytes.count - at) {
            if bytes[at] != 10 { output[at] = 32 }
            at += 1
        }
    }

    private mutating func skip(through end: StaticString, escapes: Bool) {
        while at < bytes.count, !starts(end) { skip(escapes && bytes[at] == UInt8(ascii: "\\") ? 2 : 1) }
        skip(end.utf8CodeUnitCount)
    }
}
