/// The tables, and how the tables of one version become those of the next.

/// What the file holds. The appendix of EVENTS.md describes it for readers of the file.
enum Schema {
    /// `PRAGMA application_id`: which databases are this program's ("fano").
    static let applicationID: Int64 = 0x6661_6E6F
    /// `PRAGMA user_version` of the tables that this version reads and writes.
    static let version = migrations.count

    /// Must come before the first table; what is set here stays with the file.
    ///
    /// The exclusive lock comes before the write-ahead log: so the log's index is in this process's memory, there is no
    /// third file, and a second process is refused at its first read.
    static let beforeTables = """
        PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
        """

    /// What every connection sets. Debian's SQLite overwrites what is deleted: retention would write every page twice.
    ///
    /// `wal_autocheckpoint` must not be among them: it would take away the hook by which `Database` counts frames, and
    /// that hook has ended SQLite's own checkpoints already.
    static let perConnection = """
        PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-4096; PRAGMA secure_delete=OFF;
        PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0; PRAGMA synchronous=FULL;
        """

    /// Each makes of one version the next; the first makes the first of nothing.
    ///
    /// `event.seq` is the server's one order over all channels, so it is the key, and the index of a channel's events
    /// needs the channel only: SQLite keeps the key behind it. `key.last_seq` is that of the publication's last event:
    /// the oldest keys are at the table's beginning.
    ///
    /// The second version adds the channels' state. Rows of `state` have a number of their own, and stand in the order
    /// in which they came: their keys are digests, so an index of lines by them would spread new rows over all its
    /// pages, and lines of more than a quarter of a page would stand in its branches.
    static let migrations = [
        """
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
        """,
        """
        CREATE TABLE state(
            id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, key BLOB, seq INTEGER NOT NULL, line BLOB NOT NULL,
            UNIQUE(channel, key)
        ) STRICT;
        CREATE TABLE snapshot(channel INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
        """,
    ]

    /// Locks the database, and brings its tables to this version. All or nothing.
    static func prepare(_ database: Database) throws(StoreFault) {
        try database.execute("PRAGMA locking_mode=EXCLUSIVE;", "lock")
        let found = try database.integer("PRAGMA user_version")
        try checkOwnership(of: database, version: found)
        try database.execute(found == 0 ? beforeTables : "PRAGMA journal_mode=WAL;", "configure")
        try database.execute(perConnection, "configure")
        let mode = try database.text("PRAGMA journal_mode")
        guard mode == "wal" else {
            throw StoreFault(
                .unexpected, operation: "configure", path: database.path, detail: "the journal's mode is \(mode)")
        }
        if found < version {
            try database.transaction { () throws(StoreFault) in
                try migrate(database, from: Int(found))
                try database.execute(
                    "PRAGMA application_id=\(applicationID); PRAGMA user_version=\(version);", "make the tables of")
            }
        }
        try checkTables(of: database)
    }

    private static func migrate(_ database: Database, from version: Int) throws(StoreFault) {
        for migration in migrations[version...] { try database.execute(migration, "make the tables of") }
    }

    /// That the tables are those that the migrations make, to the letter. Statements mean what they say on no others:
    /// a table without its index would be searched from end to end, and a trigger would write what nobody asked for.
    private static func checkTables(of database: Database) throws(StoreFault) {
        let model = try Database(path: ":memory:", vfs: nil)
        try migrate(model, from: 0)
        guard try tables(of: database) == tables(of: model) else {
            throw StoreFault(
                .foreign, operation: "open", path: database.path,
                detail: "its tables or indices are not those of version \(version)")
        }
    }

    /// Every table, index, view and trigger but SQLite's own, as it was asked for. More than there should be are not
    /// read to the end.
    private static func tables(of database: Database) throws(StoreFault) -> [String] {
        let rows = try database.prepare(
            """
            SELECT substr(type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, ''), 1, 4096)
            FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name LIMIT 64
            """)
        var tables: [String] = []
        while try rows.step() { tables.append(try rows.text(0)) }
        return tables
    }

    private static func checkOwnership(of database: Database, version found: Int64) throws(StoreFault) {
        let owner = try database.integer("PRAGMA application_id")
        let tables = try database.integer("SELECT count(*) FROM sqlite_schema")
        let isEmpty = found == 0 && owner == 0 && tables == 0
        guard isEmpty || owner == applicationID, found >= 0 else {
            throw StoreFault(
                .foreign, operation: "open", path: database.path, detail: "a database of another program")
        }
        guard found <= version else {
            throw StoreFault(
                .newer, operation: "open", path: database.path,
                detail: "its tables have version \(found), and this program knows them up to \(version)")
        }
        if owner == applicationID, found == 0 { throw database.damaged("tables without a version") }
    }
}
