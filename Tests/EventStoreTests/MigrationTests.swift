// Files of earlier versions: they are brought to this one's tables, with all that is in them, or not at all.

import CTestDisk
import Testing
import Wire

@testable import EventStore

@Suite("Files of earlier versions")
struct MigrationTests {
    /// What version 1 made a file with, and wrote into it: kept here to the letter, because files of it are out there.
    private static let versionOne = """
        PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
        BEGIN IMMEDIATE;
        CREATE TABLE log(
            id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, first_seq INTEGER NOT NULL,
            head INTEGER NOT NULL, clean INTEGER NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
            began_ms INTEGER NOT NULL, forgotten_seq INTEGER NOT NULL, probes INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE TABLE incarnation(
            epoch TEXT PRIMARY KEY, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, used_seq INTEGER NOT NULL,
            began_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, why TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE channel(
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, ended INTEGER NOT NULL, events INTEGER NOT NULL,
            bytes INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, pruned_seq INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE event(
            seq INTEGER PRIMARY KEY, channel INTEGER NOT NULL, time_ms INTEGER NOT NULL, kind TEXT, line BLOB NOT NULL
        ) STRICT;
        CREATE INDEX event_by_channel ON event(channel);
        CREATE TABLE key(
            last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, name BLOB NOT NULL UNIQUE, digest BLOB NOT NULL,
            time_ms INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE producer(
            name BLOB PRIMARY KEY, digest BLOB NOT NULL, epoch INTEGER NOT NULL, last_pseq INTEGER NOT NULL,
            first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        PRAGMA application_id=1717661295; PRAGMA user_version=1;
        INSERT INTO log(id, epoch, first_seq, head, clean, device, inode, began_ms, forgotten_seq)
        VALUES (1, '0000000000000001', 1, 5, 1, 0, 0, 1000000, 0);
        INSERT INTO channel VALUES (1, 'x', 0, 2, 2, 2, 3, 1), (2, 'y/z', 1, 1, 1, 4, 4, 0);
        INSERT INTO event VALUES (2, 1, 1000000, 'kind', x'61'), (3, 1, 1000000, NULL, x'62'),
            (4, 2, 1000000, NULL, x'63');
        INSERT INTO key VALUES
            (3, 2, x'00000000000000070000000000000001', x'00000000000000070000000000000001', 1000000);
        COMMIT;
        """

    /// A disk with a file of version 1 that was closed in order.
    private static func make() throws -> TestDisk {
        let disk = try TestDisk()
        // The folder's own file is made first.
        try HighWater(number: 5, seal: 0).write(TestDisk.highWater, vfs: disk.name)
        let database = try Database(path: TestDisk.database, vfs: disk.name)
        try database.execute(versionOne, "make")
        try database.checkpoint(emptying: true)
        try database.close()
        return disk
    }

    private static let events = ["2 x a", "3 x b", "4 y/z c"]

    @Test("a file of version 1 goes on with its numbering, its events and its channels, and keeps state from then on")
    func versionOne() throws {
        let disk = try Self.make()
        defer { disk.free() }
        try disk.open(epoch: 2) { store throws in
            #expect(store.opening.beginning == .goesOn && store.opening.head == 5)
            #expect(try store.everything() == Self.events)
            #expect(try store.keys() == ["1 1 2-3"])
            #expect(store.opening.channels.map(\.name).sorted() == ["x", "y/z"])
            #expect(store.channel("y/z")?.isEnded == true && store.channel("x")?.prunedSeq == 1)
            #expect(try store.storedState() == StoredState())
            try store.publish(["d"], on: "x", changes: [.put(StateModel.key(1))])
            try store.checkIntegrity()
            #expect(try store.database.integer("PRAGMA user_version") == 2)
            try store.close(used: store.head, isWhole: true)
        }
        try disk.open(epoch: 3) { store throws in
            #expect(store.opening.beginning == .goesOn)
            #expect(try store.everything() == Self.events + ["6 x d"])
            #expect(try store.storedState().texts == ["6 x 1 d"])
        }
    }

    @Test("whenever power goes while the tables are made new, the file is one of the two versions, whole")
    func powerCuts() throws {
        let disk = try Self.make()
        defer { disk.free() }
        let before = disk.logged
        try disk.open(epoch: 2) { store throws in try store.publish(["d"], on: "x", level: .synced) }
        for at in before...disk.logged {
            for policy in 0..<TEST_DISK_POLICIES {
                let left = try TestDisk(cutting: disk, at: at, policy: policy, seed: UInt64(at))
                defer { left.free() }
                try left.open(epoch: 3) { store throws in
                    try store.checkIntegrity()
                    #expect(try store.everything().prefix(3) == Self.events[...], "cut at \(at), policy \(policy)")
                    try store.publish(["e"], on: "x", changes: [.put(StateModel.key(1))])
                    #expect(try store.storedState().rows.count == 1)
                }
            }
        }
    }

    @Test("whichever call fails while the tables are made new, the next start makes them", arguments: 1...60)
    func failures(call: Int) throws {
        let disk = try Self.make()
        defer { disk.free() }
        disk.fail(call: disk.calls() + call, errno: 5)
        let fault = faultOf { try disk.open(epoch: 2) { _ in } }
        if let fault { #expect([.io, .notSynced, .cannotOpen].contains(fault.kind), "\(fault)") }
        disk.stopFailing()
        try disk.open(epoch: 3) { store throws in
            #expect(try store.everything() == Self.events)
            try store.checkIntegrity()
        }
    }

    @Test("a file that says version 1 and has other tables is left alone")
    func otherTables() throws {
        let disk = try Self.make()
        defer { disk.free() }
        let database = try Database(path: TestDisk.database, vfs: disk.name)
        try database.execute("PRAGMA locking_mode=EXCLUSIVE; DROP INDEX event_by_channel", "test")
        try database.close()
        #expect(faultOf { try disk.open { _ in } }?.kind == .foreign)
    }
}
