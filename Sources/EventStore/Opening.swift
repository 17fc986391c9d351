/// Opening a database: its tables, its channels, and whether its numbering may go on.

import CSQLite
import Planted
import Wire

extension EventStore {
    /// Opens the database of a folder, and makes both where there are none.
    ///
    /// The numbering goes on only after a clean end and where the file is the one that was closed. In every other case
    /// a new epoch begins, and numbers go on behind all that may have been used, so that no number means two events.
    /// - Parameter nowMs: the wall clock in milliseconds since 1970.
    /// - Throws: `corrupt` for damage, which is set aside, and `quarantined` from then on (with `beginsNewLog` a new
    ///   log begins instead); `locked` where another process has it; `newer` and `foreign` for what stays untouched.
    package static func open(
        _ configuration: StoreConfiguration, nowMs: Int64
    ) throws(StoreFault) -> EventStore {
        let isReal = configuration.vfs == nil
        if isReal, !configuration.beginsNewLog, FileIdentity(of: configuration.path) == nil,
            let name = StoreFolder.quarantined(in: configuration.directory)
        {
            throw StoreFault(
                .quarantined, operation: "open", path: configuration.path,
                detail: "a damaged database was set aside as \(name)")
        }
        do {
            return try LogOpening(configuration, nowMs: nowMs, setAside: nil).open()
        } catch {
            guard isReal, error.kind == .corrupt else { throw error }
            let name = try StoreFolder.quarantine(configuration.path, timeMs: nowMs)
            guard configuration.beginsNewLog else {
                throw StoreFault(
                    .corrupt, code: error.code, operation: error.operation, path: error.path,
                    detail: "\(error.detail), so it is set aside as \(name)")
            }
            return try LogOpening(configuration, nowMs: nowMs, setAside: name).open()
        }
    }

    /// Sets a damaged database aside, so that the next start refuses until the operator has said what shall be. To be
    /// called when the store that found the damage is gone.
    /// - Returns: the file's new name.
    package static func quarantine(
        _ configuration: StoreConfiguration, nowMs: Int64
    ) throws(StoreFault) -> String {
        try StoreFolder.quarantine(configuration.path, timeMs: nowMs)
    }
}

/// One attempt to open a database.
private struct LogOpening {
    private let configuration: StoreConfiguration
    private let nowMs: Int64
    private let setAside: String?

    init(_ configuration: StoreConfiguration, nowMs: Int64, setAside: String?) {
        self.configuration = configuration
        self.nowMs = nowMs
        self.setAside = setAside
    }

    /// The row of `log`.
    private struct Log {
        var epoch: Epoch
        var firstSeq: UInt64
        var head: UInt64
        var isClean: Bool
        var device: UInt64
        var inode: UInt64
        var beganMs: Int64
        var forgottenSeq: UInt64

        /// The last number of the numbering of which nothing is lost. One without events has lost nothing: readers may
        /// have its beginning as their place.
        func last(_ stored: UInt64) -> UInt64 { max(stored, firstSeq - 1) }
    }

    func open() throws(StoreFault) -> EventStore {
        if configuration.vfs == nil { try StoreFolder.make(configuration) }
        // Before SQLite opens the file, which may change it.
        let identity = configuration.vfs == nil ? FileIdentity(of: configuration.path) : nil
        let database = try Database(path: configuration.path, vfs: configuration.vfs)
        try Schema.prepare(database)
        let statements = try Statements(database)
        var channels = ChannelTable(retention: configuration.retention)
        try load(&channels, from: database)
        let log = try readLog(database)
        let highWater = try HighWater.read(configuration.highWaterPath, vfs: configuration.vfs)
        let stored = try storedHead(database, channels, log)
        let beginning = judge(log, highWater, stored: stored, identity)
        let given =
            beginning == .uncleanEnd
            ? try given(log, highWater, stored: stored, identity, in: database) : nil
        let mayBeUsed = isPlanted("numbersUsedAgain") ? 0 : highWater?.number ?? 0
        let used = given ?? max(stored, mayBeUsed, (log?.firstSeq ?? 1) - 1)
        let epochs: Epochs
        do {
            epochs = try begin(beginning, log, stored: stored, given: given, used: used, identity, in: database)
        } catch {
            guard error.isPassing else { throw error }
            // The space that the log takes may be all there is.
            try database.checkpoint(emptying: true)
            epochs = try begin(beginning, log, stored: stored, given: given, used: used, identity, in: database)
        }
        let reserved = used + StoreLimits.reservedNumbers
        try HighWater(number: reserved, seal: HighWater.isOpen).write(
            configuration.highWaterPath, vfs: configuration.vfs)
        return EventStore(
            configuration: configuration, database: database, statements: statements, channels: channels,
            opening: StoreOpening(
                beginning: beginning, epochs: epochs, head: used,
                channels: channels.rows.values.map(StoredChannel.init).sorted { $0.name < $1.name },
                forgottenSeq: log?.forgottenSeq ?? 0,
                setAside: setAside, sqliteVersion: String(cString: sqlite3_libversion())),
            reserved: reserved)
    }

    private func load(_ channels: inout ChannelTable, from database: Database) throws(StoreFault) {
        let rows = try database.prepare(
            "SELECT id, name, ended, events, bytes, first_seq, last_seq, pruned_seq FROM channel")
        while try rows.step() {
            let name = try rows.text(1)
            guard ChannelName(name) != nil, channels[name] == nil else {
                throw database.damaged("a channel's name that is none, or two channels of one name")
            }
            guard channels.rows.count < StoreLimits.channelsMax else {
                throw database.damaged("more than \(StoreLimits.channelsMax) channels")
            }
            var values = ChannelRow.Values()
            values.isEnded = rows.integer(2) != 0
            values.events = Int64(try rows.number(3))
            values.bytes = Int64(try rows.number(4))
            values.firstSeq = try rows.number(5)
            values.lastSeq = try rows.number(6)
            values.prunedSeq = try rows.number(7)
            channels.load(id: Int64(try rows.number(0)), name: name, values: values)
        }
    }

    /// Nil in a database that was made just now.
    private func readLog(_ database: Database) throws(StoreFault) -> Log? {
        let row = try database.prepare(
            "SELECT epoch, first_seq, head, clean, device, inode, began_ms, forgotten_seq FROM log WHERE id = 1")
        guard try row.step() else { return nil }
        return Log(
            epoch: try epoch(row, 0, database), firstSeq: max(1, try row.number(1)), head: try row.number(2),
            isClean: row.integer(3) == 1, device: UInt64(bitPattern: row.integer(4)),
            inode: UInt64(bitPattern: row.integer(5)), beganMs: row.integer(6),
            forgottenSeq: try row.number(7))
    }

    private func epoch(_ row: Statement, _ column: Int32, _ database: Database) throws(StoreFault) -> Epoch {
        let text = Array(try row.bytes(column))
        guard let epoch = Epoch(text.span) else { throw database.damaged("an epoch that is none") }
        return epoch
    }

    /// The greatest number that the database knows of.
    private func storedHead(
        _ database: Database, _ channels: ChannelTable, _ log: Log?
    ) throws(StoreFault) -> UInt64 {
        let row = try database.prepare("SELECT coalesce(max(seq), 0) FROM event")
        guard try row.step() else { throw database.damaged("no greatest event") }
        let events = try row.number(0)
        let channels = channels.rows.values.map(\.values.lastSeq).max() ?? 0
        return max(events, channels, log?.head ?? 0)
    }

    private func judge(
        _ log: Log?, _ highWater: HighWater?, stored: UInt64, _ identity: FileIdentity?
    ) -> LogBeginning {
        guard let log else { return .first }
        if isPlanted("epochKeptAfterUncleanEnd") { return .goesOn }
        guard log.isClean else { return .uncleanEnd }
        if let identity, identity.device != log.device || identity.inode != log.inode { return .otherFile }
        guard let highWater, highWater.seal != HighWater.isOpen, highWater.number == stored else {
            return .otherNumbers
        }
        return highWater.seal == identity?.changed ?? 0 ? .goesOn : .changedFile
    }

    /// The greatest number that a numbering without a clean end has given, where that is known for certain.
    private func given(
        _ log: Log?, _ highWater: HighWater?, stored: UInt64, _ identity: FileIdentity?, in database: Database
    ) throws(StoreFault) -> UInt64? {
        guard let log, let highWater, let said = configuration.used,
            identity.map({ $0.device == log.device && $0.inode == log.inode }) ?? true
        else { return nil }
        if said.epoch != log.epoch {
            // One that began behind what is said here, and did not come so far as to say so itself, has given none.
            guard said.seq == log.firstSeq - 1, try isPast(said.epoch, database) else { return nil }
        }
        // What is stored was given, and what was given had been reserved; else a file was put back.
        return log.last(stored) <= said.seq && said.seq <= highWater.number ? said.seq : nil
    }

    /// Says in the database, and on the disk, that it is in use, and what its numbering is now.
    private func begin(
        _ beginning: LogBeginning, _ log: Log?, stored: UInt64, given: UInt64?, used: UInt64,
        _ identity: FileIdentity?, in database: Database
    ) throws(StoreFault) -> Epochs {
        var past = try incarnations(database, before: log?.firstSeq ?? .max)
        var present: Epochs
        if let log, beginning == .goesOn {
            present = Epochs(present: log.epoch, firstSeq: log.firstSeq, past: past)
        } else {
            let ended = log.map {
                Incarnation(epoch: $0.epoch, firstSeq: $0.firstSeq, lastSeq: $0.last(stored), usedSeq: given)
            }
            if let ended { past.append(ended) }
            present = Epochs(present: newEpoch(besides: past), firstSeq: used + 1, past: past)
        }
        try database.transaction { () throws(StoreFault) in
            if let log, beginning != .goesOn, let ended = past.last {
                try end(ended, beganMs: log.beganMs, beginning, in: database)
            }
            let row = try database.prepare(
                """
                INSERT OR REPLACE INTO log(id, epoch, first_seq, head, clean, device, inode, began_ms, forgotten_seq)
                VALUES (1, ?1, ?2, ?3, 0, ?4, ?5, ?6, ?7)
                """)
            try row.bind(1, present.present.description)
            try row.bind(2, present.firstSeq)
            try row.bind(3, stored)
            try row.bind(4, identity?.device ?? 0)
            try row.bind(5, identity?.inode ?? 0)
            try row.bind(6, beginning == .goesOn ? log?.beganMs ?? nowMs : nowMs)
            try row.bind(7, log?.forgottenSeq ?? 0)
            try row.run()
        }
        let excess = present.past.count - StoreLimits.incarnationsMax
        if excess > 0 { present.past.removeFirst(excess) }
        return present
    }

    /// Makes the log's numbering one of the past.
    private func end(
        _ ended: Incarnation, beganMs: Int64, _ why: LogBeginning, in database: Database
    ) throws(StoreFault) {
        let row = try database.prepare(
            """
            INSERT OR REPLACE INTO incarnation(epoch, first_seq, last_seq, used_seq, began_ms, ended_ms, why)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            """)
        try row.bind(1, ended.epoch.description)
        try row.bind(2, ended.firstSeq)
        try row.bind(3, ended.lastSeq)
        try row.bind(4, ended.usedSeq)
        try row.bind(5, beganMs)
        try row.bind(6, nowMs)
        try row.bind(7, why.rawValue)
        try row.run()
        try database.execute(
            """
            DELETE FROM incarnation WHERE epoch NOT IN (
                SELECT epoch FROM incarnation ORDER BY first_seq DESC LIMIT \(StoreLimits.incarnationsMax))
            """, "forget old numberings of")
    }

    /// - Parameter before: the first number of the one that followed them.
    private func incarnations(_ database: Database, before: UInt64) throws(StoreFault) -> [Incarnation] {
        // Those that ended before they had given a number all begin with the same one.
        let rows = try database.prepare(
            """
            SELECT epoch, first_seq, last_seq, used_seq FROM incarnation
            ORDER BY first_seq DESC, last_seq DESC, began_ms DESC, ended_ms DESC LIMIT \(StoreLimits.incarnationsMax)
            """)
        var found: [Incarnation] = []
        while try rows.step() {
            // Readers skip what is lost: nothing of the next one may be among it, whatever the file says.
            let next = found.last?.firstSeq ?? before
            found.append(
                Incarnation(
                    epoch: try epoch(rows, 0, database), firstSeq: try rows.number(1), lastSeq: try rows.number(2),
                    usedSeq: min(try rows.number(3), max(next, 1) - 1)))
        }
        return found.reversed()
    }

    private func isPast(_ epoch: Epoch, _ database: Database) throws(StoreFault) -> Bool {
        let row = try database.prepare("SELECT 1 FROM incarnation WHERE epoch = ?1")
        try row.bind(1, epoch.description)
        return try row.step()
    }

    private func newEpoch(besides past: [Incarnation]) -> Epoch {
        var epoch = configuration.newEpoch
        while past.contains(where: { $0.epoch == epoch }) { epoch = Epoch(rawValue: epoch.rawValue &+ 1) }
        return epoch
    }
}
