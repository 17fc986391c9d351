// How far numbers were used, as the next process is told: what is believed of a file that anybody may have put there.
import CLinux
import EventStore
import Foundation
import Testing
import Wire

@testable import FanoutServer

/// Whether this machine has such memory: the tests say nothing where not.
private let memoryIsThere = access(UsedNumbers.directory, W_OK) == 0 && linux_is_tmpfs(UsedNumbers.directory)

@Suite("Numbers that were used", .enabled(if: memoryIsThere))
struct UsedNumbersTests {
    /// A database that no other test has.
    private let file: (device: UInt64, inode: UInt64) = (UInt64(getpid()) << 32, UInt64.random(in: 1...UInt64.max))
    private var path: String { "\(UsedNumbers.directory)/fanout-\(geteuid())-\(file.device)-\(file.inode)" }

    private func opened() -> UsedNumber? { UsedNumbers(of: file, isNew: false)?.known }

    /// Writes the three words of a file as a server would have them.
    private func put(_ words: [UInt64], mode: Int = 0o600) throws {
        let bytes = words.withUnsafeBytes { Data($0) }
        #expect(FileManager.default.createFile(atPath: path, contents: bytes))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    @Test("what was said is known after the end of the one who said it, whatever end that was")
    func saidAndKnown() throws {
        let first = try #require(UsedNumbers(of: file, isNew: true))
        defer { first.remove() }
        #expect(first.known == nil && opened() == nil)
        first.begin(Epoch(rawValue: 7), at: 100)
        #expect(opened() == UsedNumber(epoch: Epoch(rawValue: 7), seq: 100))
        for seq in [101, 131_072, 1 << 40] as [UInt64] {
            first.note(seq)
            #expect(opened() == UsedNumber(epoch: Epoch(rawValue: 7), seq: seq))
        }
        let second = try #require(UsedNumbers(of: file, isNew: false))
        second.begin(Epoch(rawValue: 8), at: 1 << 40)
        #expect(opened() == UsedNumber(epoch: Epoch(rawValue: 8), seq: 1 << 40))
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(attributes[.size] as? Int == UsedNumbers.byteCount)
    }

    @Test("after a clean end there is no file, and whoever still has it open learns nothing from it")
    func removed() throws {
        let first = try #require(UsedNumbers(of: file, isNew: true))
        first.begin(Epoch(rawValue: 7), at: 100)
        let late = try #require(UsedNumbers(of: file, isNew: false))
        first.remove()
        #expect(late.known == nil)
        #expect(!FileManager.default.fileExists(atPath: path))
        #expect(UsedNumbers(of: file, isNew: false) == nil)
    }

    @Test("a start that ended while it wrote its numbering, and bytes that are none, say nothing")
    func garbage() throws {
        defer { unlink(path) }
        for words in [
            [0, 0, 0], [UsedNumbers.magic, 7, .max], [UsedNumbers.magic + 1, 7, 9], [.max, .max, .max], [7, 7, 7],
        ] as [[UInt64]] {
            try put(words)
            let used = try #require(UsedNumbers(of: file, isNew: false))
            #expect(used.known == nil, "\(words)")
            used.begin(Epoch(rawValue: 3), at: 4)
            #expect(opened() == UsedNumber(epoch: Epoch(rawValue: 3), seq: 4))
        }
    }

    @Test("a file of another size, for others too, with two names, or that is none, is not opened but replaced")
    func otherFiles() throws {
        let good = [UsedNumbers.magic, 7, 9]
        let elsewhere = path + "-elsewhere"
        defer {
            unlink(path)
            unlink(elsewhere)
        }
        let ways: [(String, () throws -> Void)] = [
            ("too small", { try put(Array(good.dropLast())) }), ("empty", { try put([]) }),
            ("too large", { try put(good + [1]) }), ("for others", { try put(good, mode: 0o644) }),
            (
                "two names",
                {
                    try put(good)
                    #expect(link(path, elsewhere) == 0)
                }
            ),
            (
                "a link",
                {
                    try put(good)
                    #expect(rename(path, elsewhere) == 0 && symlink(elsewhere, path) == 0)
                }
            ),
            ("a pipe", { #expect(mkfifo(path, 0o600) == 0) }),
        ]
        for (what, make) in ways {
            unlink(path)
            unlink(elsewhere)
            try make()
            #expect(opened() == nil, "\(what)")
            let made = try #require(UsedNumbers(of: file, isNew: true), "\(what)")
            made.begin(Epoch(rawValue: 1), at: 2)
            #expect(opened() == UsedNumber(epoch: Epoch(rawValue: 1), seq: 2), "\(what)")
        }
        unlink(path)
        #expect(mkdir(path, 0o700) == 0)
        #expect(opened() == nil && UsedNumbers(of: file, isNew: true) == nil)
        rmdir(path)
    }

    @Test("another user's file is not opened, and stays", .enabled(if: geteuid() == 0))
    func foreignOwner() throws {
        defer { unlink(path) }
        try put([UsedNumbers.magic, 7, 9])
        #expect(opened() != nil)
        #expect(chown(path, 65_534, 65_534) == 0)
        #expect(opened() == nil)
    }

    @Test("a folder on a disk, or none, has no such file")
    func elsewhere() {
        for folder in ["/proc", "/nowhere", "/proc/self/fd"] {
            #expect(UsedNumbers(of: file, isNew: true, in: folder) == nil)
            #expect(UsedNumbers(of: file, isNew: false, in: folder) == nil)
        }
    }
}
