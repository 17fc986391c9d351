/// Resume files: what is taken for a place, what is refused, and that a file is whole or not there.

import FanoutClient
import Foundation
import Glibc
import Testing
import Wire

private func cursor(_ text: String) throws -> Cursor { try #require(Cursor(text)) }

/// A folder of one test, removed with everything in it.
private final class Folder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "resume-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var file: String { path + "/place" }
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }
    var text: String { (try? String(contentsOfFile: file, encoding: .utf8)) ?? "none" }
    func write(_ text: String) throws { try text.write(toFile: file, atomically: false, encoding: .utf8) }
}

/// What opening a file says is wrong with it.
private func faultOfOpening(_ path: String) -> ResumeFileFault? {
    do throws(ResumeFileFault) {
        _ = try ResumeFile(path)
        return nil
    } catch {
        return error
    }
}

@Suite("Resume file")
struct ResumeFileTests {
    @Test("the first place makes the file, later ones overwrite it, and the next reader finds the last")
    func places() throws {
        let folder = try Folder()
        do {
            var file = try ResumeFile(folder.file)
            #expect(file.place == nil)
            #expect(folder.names == [], "a reader that has no place yet leaves nothing")
            for text in ["00000000000000aa-0", "00000000000000aa-18446744073709551615", "00000000000000bb-7"] {
                try file.store(cursor(text))
                #expect(folder.text.utf8.count == 38)
                #expect(folder.text == text + String(repeating: "\n", count: 38 - text.utf8.count))
            }
            #expect(folder.names == ["place"])
        }
        let again = try ResumeFile(folder.file)
        #expect(again.place == Cursor("00000000000000bb-7"))
    }

    @Test("a place is written where it stands: the file keeps its inode, and an unchanged place costs no write")
    func inPlace() throws {
        let folder = try Folder()
        try folder.write("00000000000000aa-1\n")
        var before = stat()
        stat(folder.file, &before)
        var file = try ResumeFile(folder.file)
        try file.store(cursor("00000000000000aa-2"))
        var after = stat()
        stat(folder.file, &after)
        #expect(before.st_ino == after.st_ino)
        // Somebody else's change stays until there is something to write.
        try folder.write("x")
        try file.store(cursor("00000000000000aa-2"))
        #expect(folder.text == "x")
        try file.store(cursor("00000000000000aa-3"))
        #expect(folder.text.hasPrefix("00000000000000aa-3\n"))
    }

    @Test("blanks that people and editors add behind a place are not minded")
    func blanks() throws {
        let folder = try Folder()
        for text in ["00000000000000aa-5", "00000000000000aa-5\r\n", "00000000000000aa-5  \n\n\t\n"] {
            try folder.write(text)
            let file = try ResumeFile(folder.file)
            #expect(file.place == Cursor("00000000000000aa-5"))
        }
    }

    @Test(
        "what holds no place is an error and is left as it was",
        arguments: [
            "", "\n \n", "now", "start", "00000000000000aa-", "00000000000000aa-05", "00000000000000AA-5", "aa-5",
            "00000000000000aa-5 00000000000000aa-6", "\n00000000000000aa-5", "00000000000000aa-99999999999999999999",
            "root:x:0:0:root:/root:/bin/bash\n", String(repeating: "00000000000000aa-5\n", count: 20),
            "00000000000000aa-5" + String(repeating: "\n", count: 200), "\u{0}\u{0}\u{0}",
        ])
    func malformed(text: String) throws {
        let folder = try Folder()
        try folder.write(text)
        let fault = try #require(faultOfOpening(folder.file))
        #expect(fault.kind == .notACursor)
        #expect(fault.message.contains(folder.file))
        let isBlank = text.allSatisfy(\.isWhitespace)
        #expect(fault.message.contains(isBlank ? "is empty" : "does not hold a cursor"))
        #expect(folder.text == text)
    }

    @Test("bytes of any kind never trap")
    func noise() throws {
        let folder = try Folder()
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            var bytes = Array("00000000000000aa-5\n".utf8)
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            try Data(bytes).write(to: URL(fileURLWithPath: folder.file))
            _ = faultOfOpening(folder.file)
        }
    }

    @Test("a folder, a pipe and a device are no place to keep one")
    func notFiles() throws {
        let folder = try Folder()
        #expect(faultOfOpening(folder.path)?.kind == .unreadable)
        mkfifo(folder.file, 0o600)
        #expect(faultOfOpening(folder.file)?.kind == .unreadable)
        #expect(faultOfOpening("/dev/null")?.kind == .unreadable)
    }

    @Test("a file that could not be made later is told of at once")
    func noFolder() throws {
        let folder = try Folder()
        let fault = try #require(faultOfOpening(folder.path + "/no/place"))
        #expect(fault.kind == .cannotCreate)
        #expect(fault.message.contains("No such file or directory"))
    }

    @Test("a second reader is refused, from the first place on until the first reader ends")
    func locked() throws {
        let folder = try Folder()
        do {
            var first = try ResumeFile(folder.file)
            var second = try ResumeFile(folder.file)
            try first.store(cursor("00000000000000aa-1"))
            #expect(faultOfOpening(folder.file)?.kind == .inUse)
            // Both began without a file: one of them makes it.
            do throws(ResumeFileFault) {
                try second.store(Cursor(epoch: Epoch(rawValue: 1), seq: 2))
                Issue.record("two readers keep their places in one file")
            } catch {
                #expect(error.kind == .inUse)
            }
            #expect(folder.text.hasPrefix("00000000000000aa-1\n"))
            #expect(folder.names == ["place"])
        }
        #expect(faultOfOpening(folder.file) == nil)
    }

    @Test("a file that was removed meanwhile is an error, not a place kept nowhere")
    func removed() throws {
        let folder = try Folder()
        var file = try ResumeFile(folder.file)
        try file.store(cursor("00000000000000aa-1"))
        unlink(folder.file)
        do throws(ResumeFileFault) {
            try file.store(Cursor(epoch: Epoch(rawValue: 0xAA), seq: 2))
            Issue.record("a place was kept in a file without a name")
        } catch {
            #expect(error.kind == .cannotWrite)
            #expect(error.message.contains("00000000000000aa-1"))
        }
        #expect(folder.names == [])
    }
}
