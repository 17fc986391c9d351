/// Every statement that runs more than once, compiled when the database is opened.

/// The compiled statements. That they compile says that the file has the tables of its version.
struct Statements {
    let insertEvent: Statement
    let insertChannel: Statement
    let updateChannel: Statement
    let deleteChannel: Statement
    let putKey: Statement
    let newestKeyBeyond: Statement
    let deleteKeys: Statement
    let putProducer: Statement
    let eventsAfter: Statement
    let eventsBefore: Statement
    let event: Statement
    let channelAfter: Statement
    let channelBefore: Statement
    let oldest: Statement
    let deleteEvents: Statement
    let probe: Statement
    let putState: Statement
    let removeState: Statement
    let clearState: Statement
    let addSnapshotRow: Statement
    let putSnapshot: Statement
    let clearSnapshot: Statement

    init(_ database: Database) throws(StoreFault) {
        insertEvent = try database.prepare(
            "INSERT INTO event(seq, channel, time_ms, kind, line) VALUES (?1, ?2, ?3, ?4, ?5)")
        insertChannel = try database.prepare(
            """
            INSERT INTO channel(id, name, ended, events, bytes, first_seq, last_seq, pruned_seq)
            VALUES (?1, ?8, ?2, ?3, ?4, ?5, ?6, ?7)
            """)
        updateChannel = try database.prepare(
            """
            UPDATE channel SET ended = ?2, events = ?3, bytes = ?4, first_seq = ?5, last_seq = ?6, pruned_seq = ?7
            WHERE id = ?1
            """)
        deleteChannel = try database.prepare("DELETE FROM channel WHERE id = ?1")
        putKey = try database.prepare(
            "INSERT OR REPLACE INTO key(last_seq, first_seq, name, digest, time_ms) VALUES (?1, ?2, ?3, ?4, ?5)")
        newestKeyBeyond = try database.prepare("SELECT last_seq FROM key ORDER BY last_seq DESC LIMIT 1 OFFSET ?1")
        deleteKeys = try database.prepare(
            """
            DELETE FROM key
            WHERE last_seq IN (SELECT last_seq FROM key WHERE last_seq <= ?1 ORDER BY last_seq LIMIT ?2)
            """)
        putProducer = try database.prepare(
            """
            INSERT OR REPLACE INTO producer(name, digest, epoch, last_pseq, first_seq, last_seq)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            """)
        eventsAfter = try database.prepare(
            "SELECT seq, channel, time_ms, kind, line FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2")
        eventsBefore = try database.prepare(
            "SELECT seq, channel, time_ms, kind, line FROM event WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")
        event = try database.prepare("SELECT seq, channel, time_ms, kind, line FROM event WHERE seq = ?1")
        channelAfter = try database.prepare(
            "SELECT seq FROM event WHERE channel = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")
        channelBefore = try database.prepare(
            "SELECT seq FROM event WHERE channel = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3")
        oldest = try database.prepare(
            "SELECT seq, time_ms, length(line) FROM event WHERE channel = ?1 ORDER BY seq LIMIT ?2")
        deleteEvents = try database.prepare("DELETE FROM event WHERE channel = ?1 AND seq <= ?2")
        putState = try database.prepare(
            """
            INSERT INTO state(channel, key, seq, line) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT(channel, key) DO UPDATE SET seq = ?3, line = ?4
            """)
        removeState = try database.prepare("DELETE FROM state WHERE channel = ?1 AND key = ?2")
        clearState = try database.prepare("DELETE FROM state WHERE channel = ?1")
        addSnapshotRow = try database.prepare(
            "INSERT INTO state(channel, key, seq, line) VALUES (?1, NULL, ?2, ?3)")
        putSnapshot = try database.prepare("INSERT OR REPLACE INTO snapshot(channel, seq) VALUES (?1, ?2)")
        clearSnapshot = try database.prepare("DELETE FROM snapshot WHERE channel = ?1")
        probe = try database.prepare("UPDATE log SET probes = probes + 1 WHERE id = 1")
    }

    /// Gives all statements up, before the database is closed.
    func finish() {
        let all = [
            insertEvent, insertChannel, updateChannel, deleteChannel, putKey, newestKeyBeyond, deleteKeys, putProducer,
            eventsAfter, eventsBefore, event, channelAfter, channelBefore, oldest, deleteEvents, probe, putState,
            removeState, clearState, addSnapshotRow, putSnapshot, clearSnapshot,
        ]
        for statement in all { statement.finish() }
    }
}
