// Opening and closing: whether the numbering goes on, and what is refused.

import CSQLite
import Foundation
import Testing
import Wire

@testable import EventStore

@Suite("Opening")
struct OpeningTests {
    private static let first = Epoch(rawValue: 1)
    private static let second = Epoch(rawValue: 2)

    /// Stores three events and closes.
    private static func fill(_ folder: TestFolder) throws {
        try folder.open { store throws in
            try store.publish(["a", "b", "c"])
            try store.close(used: 3, isWhole: true)
        }
    }

    @Test("after a clean end the numbering goes on, and the log's file is empty")
    func cleanEnd() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try folder.open { store throws in
            #expect(store.opening.beginning == .first)
            #expect(store.opening.head == 0)
            try store.publish(["a", "b"], on: "x")
            try store.close(used: 5, isWhole: true)
        }
        try folder.open(epoch: 2) { store throws in
            #expect(store.opening.beginning == .goesOn)
            #expect(store.epochs == Epochs(present: Self.first, firstSeq: 1))
            #expect(store.opening.head == 5)
            #expect(store.opening.channels.map(\.lastSeq) == [2])
            try store.publish(["c"], on: "x")
            #expect(try store.everything() == ["1 x a", "2 x b", "6 x c"])
        }
    }

    @Test("after an unclean end a new epoch begins, behind every number that may have been used")
    func uncleanEnd() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try folder.open { try $0.publish(["a", "b", "c"]) }
        for epoch in UInt64(2)...3 {
            try folder.open(epoch: epoch) { store throws in
                #expect(store.opening.beginning == .uncleanEnd)
                #expect(store.opening.head == StoreLimits.reservedNumbers * (epoch - 1))
                #expect(store.epochs.present == Epoch(rawValue: epoch))
                #expect(store.epochs.past[0] == Incarnation(epoch: Self.first, firstSeq: 1, lastSeq: 3))
                #expect(store.epochs.past.count == Int(epoch) - 1)
                // Who had got nothing but the beginning of a numbering has lost nothing of it.
                let beginning = Cursor(epoch: Epoch(rawValue: 2), seq: StoreLimits.reservedNumbers)
                #expect(store.epochs.place(of: beginning, head: store.head) == .after(StoreLimits.reservedNumbers))
                let lost = store.epochs.place(of: Cursor(epoch: Self.first, seq: 9), head: store.head)
                #expect(lost == .rewound(from: 4, to: 9))
            }
        }
    }

    @Test("an end that lost what readers may have seen is not a clean one")
    func lossyEnd() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try folder.open { store throws in
            try store.publish(["a"])
            try store.close(used: 2, isWhole: false)
        }
        try folder.open(epoch: 2) { #expect($0.opening.beginning == .uncleanEnd) }
    }

    @Test("a copy that is put back begins a new epoch, even one of a clean end")
    func copies() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try Self.fill(folder)
        let backup = "\(folder.path)/backup"
        try FileManager.default.copyItem(atPath: folder.database, toPath: backup)
        try folder.open(epoch: 9) { store throws in
            #expect(store.opening.beginning == .goesOn)
            try store.publish(["lost"])
            try store.close(used: 4, isWhole: true)
        }
        // The copy is made while the file is there: else it could get the same inode.
        try FileManager.default.copyItem(atPath: backup, toPath: "\(folder.database)-copy")
        try FileManager.default.removeItem(atPath: folder.database)
        try FileManager.default.moveItem(atPath: "\(folder.database)-copy", toPath: folder.database)
        try folder.open(epoch: 2) { store throws in
            #expect(store.opening.beginning == .otherFile)
            #expect(store.epochs.present == Self.second)
            #expect(store.epochs.past == [Incarnation(epoch: Self.first, firstSeq: 1, lastSeq: 3)])
            // The file beside it knows that 4 was used.
            #expect(store.opening.head == 4)
            try store.publish(["new"])
            #expect(try store.everything().last == "5 events new")
        }
    }

    @Test("a copy that is written over the file, or over both files, begins a new epoch")
    func overwritten() throws {
        for withHighWater in [false, true] {
            let folder = try TestFolder()
            defer { folder.remove() }
            try Self.fill(folder)
            let database = try Data(contentsOf: URL(fileURLWithPath: folder.database))
            let highWater = "\(folder.path)/data/high-water"
            let mark = try Data(contentsOf: URL(fileURLWithPath: highWater))
            try folder.open(epoch: 9) { store throws in
                try store.publish(["lost"])
                try store.close(used: 4, isWhole: true)
            }
            // A file system counts the time of a change in steps of some milliseconds.
            usleep(30_000)
            for (path, bytes) in [(folder.database, database)] + (withHighWater ? [(highWater, mark)] : []) {
                let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
                try file.truncate(atOffset: 0)
                try file.write(contentsOf: bytes)
                try file.close()
            }
            try folder.open(epoch: 2) { store throws in
                #expect(store.opening.beginning == (withHighWater ? .changedFile : .otherNumbers))
                #expect(store.epochs.present == Self.second)
                #expect(store.opening.head == (withHighWater ? 3 : 4))
            }
        }
    }

    @Test("without the file beside it a database begins a new epoch")
    func noHighWater() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try Self.fill(folder)
        try FileManager.default.removeItem(atPath: "\(folder.path)/data/high-water")
        try folder.open(epoch: 2) { #expect($0.opening.beginning == .otherNumbers) }
    }

    @Test("numbers go on behind the file beside a database that is gone")
    func noDatabase() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try Self.fill(folder)
        try FileManager.default.removeItem(atPath: folder.database)
        try folder.open(epoch: 2) { store throws in
            #expect(store.opening.beginning == .first)
            #expect(store.opening.head == 3)
        }
    }

    @Test("an epoch that was there before is not begun again")
    func epochTwice() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        for expected in UInt64(1)...3 {
            try folder.open(epoch: 1) { #expect($0.epochs.present == Epoch(rawValue: expected)) }
        }
    }

    @Test("the files are for their user only")
    func permissions() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try folder.open { store throws in
            try store.publish(["a"])
            for (name, mode) in [("", 0o700), ("/events.db", 0o600), ("/events.db-wal", 0o600)] {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder.path)/data\(name)")
                #expect(attributes[.posixPermissions] as? Int == mode, "\(name)")
            }
        }
    }

    @Test("a second store of the same folder is refused while the first one lives")
    func locked() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try folder.open { store throws in
            #expect(faultOf { try folder.open { _ in } }?.kind == .locked)
            try store.publish(["a"])
        }
        try folder.open { _ in }
    }

    @Test("other programs' databases and newer ones are refused, and not touched")
    func foreign() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try FileManager.default.createDirectory(atPath: "\(folder.path)/data", withIntermediateDirectories: true)
        let scripts = [
            ("CREATE TABLE other(x)", StoreFault.Kind.foreign), ("PRAGMA user_version=1", .foreign),
            ("PRAGMA application_id=7; PRAGMA user_version=1; CREATE TABLE other(x)", .foreign),
            ("PRAGMA application_id=\(Schema.applicationID); PRAGMA user_version=\(Schema.version + 1)", .newer),
        ]
        for (script, kind) in scripts {
            try? FileManager.default.removeItem(atPath: folder.database)
            let database = try Database(path: folder.database, vfs: nil)
            try database.execute(script, "test")
            try database.close()
            let before = try Data(contentsOf: URL(fileURLWithPath: folder.database))
            #expect(faultOf { try folder.open(newLog: true) { _ in } }?.kind == kind, "\(script)")
            #expect(try Data(contentsOf: URL(fileURLWithPath: folder.database)) == before)
        }
    }

    @Test("a database with other tables or indices than its version's is refused, and stays where it is")
    func otherTables() throws {
        let scripts = [
            "DROP INDEX event_by_channel", "CREATE INDEX event_by_time ON event(time_ms)", "DROP TABLE producer",
            "ALTER TABLE log ADD COLUMN more INTEGER", "CREATE VIEW newest AS SELECT max(seq) FROM event",
            "CREATE TRIGGER late AFTER INSERT ON event BEGIN DELETE FROM event; END",
        ]
        for script in scripts {
            let folder = try TestFolder()
            defer { folder.remove() }
            try Self.fill(folder)
            let database = try Database(path: folder.database, vfs: nil)
            try database.execute(script, "test")
            try database.close()
            #expect(faultOf { try folder.open(newLog: true) { _ in } }?.kind == .foreign, "\(script)")
            #expect(folder.exists("events.db"))
        }
    }

    @Test("a damaged file is refused and set aside, and a new log begins when that is asked for")
    func damaged() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try Self.fill(folder)
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.database))
        try file.write(contentsOf: Data(repeating: 0x55, count: 200))
        try file.close()
        let fault = faultOf { try folder.open { _ in } }
        #expect(fault?.kind == .corrupt)
        #expect(fault?.detail.hasSuffix("so it is set aside as \(folder.database).corrupt-1000") == true)
        #expect(faultOf { try folder.open { _ in } }?.kind == .quarantined)
        #expect(!folder.exists("events.db"))
        try folder.open(epoch: 2, newLog: true) { store throws in
            #expect(store.epochs.present == Self.second)
            #expect(store.opening.head == 3)
        }
        // Once there is a log again, nobody needs to say so.
        try folder.open(epoch: 3) { _ in }
        #expect(folder.exists("events.db.corrupt-1000"))
    }

    @Test("a damaged file is set aside at once where a new log may begin, and a healthy one never")
    func newLog() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try Self.fill(folder)
        try folder.open(newLog: true) { store throws in
            #expect(store.opening.setAside == nil)
            #expect(try store.everything().count == 3)
        }
        try Data("no database".utf8).write(to: URL(fileURLWithPath: folder.database))
        try folder.open(epoch: 2, newLog: true) { store throws in
            #expect(store.opening.setAside == "\(folder.database).corrupt-1000")
            #expect(try store.everything() == [])
        }
    }

    @Test("a file that is gone, or another in its place, takes no writes, and reading goes on")
    func moved() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        try folder.open { store throws in
            try store.publish(["a"])
            let elsewhere = "\(folder.path)/elsewhere"
            for name in ["events.db", "events.db-wal"] {
                let path = "\(folder.path)/data/\(name)"
                try FileManager.default.moveItem(atPath: path, toPath: elsewhere)
                #expect(faultOf { try store.publish(["b"]) }?.kind == .readOnly)
                try Data().write(to: URL(fileURLWithPath: path))
                #expect(faultOf { try store.publish(["b"]) }?.kind == .readOnly)
                #expect(faultOf { try store.probe() }?.kind == .readOnly)
                #expect(try store.everything() == ["1 events a"])
                try FileManager.default.removeItem(atPath: path)
                try FileManager.default.moveItem(atPath: elsewhere, toPath: path)
                try store.probe()
            }
            try store.publish(["b"])
        }
    }

    @Test("numbers are reserved ahead of use, and on the disk before they are used")
    func reserving() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            #expect(store.reserved == StoreLimits.reservedNumbers)
            try store.reserve(behind: 60_000)
            #expect(store.reserved == StoreLimits.reservedNumbers)
            try store.reserve(behind: 70_000)
            #expect(store.reserved == 70_000 + StoreLimits.reservedNumbers)
            #expect(try HighWater.read(TestDisk.highWater, vfs: disk.name)?.number == store.reserved)
        }
        try disk.open(epoch: 2) { #expect($0.opening.head == 70_000 + StoreLimits.reservedNumbers) }
    }
}
