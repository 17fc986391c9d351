/// One connection to one SQLite database: opening, statements, the write-ahead log, closing.

import CSQLite

/// Owns a `sqlite3*`. For one thread at a time.
///
/// A class, because the store and its statements end in an order that only running code can say: `close` needs every
/// statement to be gone, and tells whether it succeeded.
final class Database {
    /// The file.
    let path: String
    /// The VFS by name; nil for the operating system's own.
    let vfs: String?
    /// Nil once closed.
    private(set) var handle: OpaquePointer?
    /// How many frames the write-ahead log held after the last commit. SQLite writes to it.
    private let frames: UnsafeMutablePointer<Int32>

    /// Opens the file, and makes it where there is none.
    init(path: String, vfs: String?) throws(StoreFault) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        let result = sqlite3_open_v2(path, &opened, flags, vfs)
        guard result == SQLITE_OK, let opened else {
            let fault = Database.fault(result, of: opened, operation: "open", path: path)
            sqlite3_close_v2(opened)
            throw fault
        }
        self.path = path
        self.vfs = vfs
        handle = opened
        frames = .allocate(capacity: 1)
        frames.initialize(to: 0)
        let hardened = store_harden(opened, Int32(StoreLimits.rowBytesMax))
        guard hardened == SQLITE_OK else {
            throw Database.fault(hardened, of: opened, operation: "configure", path: path)
        }
        store_count_frames(opened, frames)
    }

    deinit {
        // Waits for statements that still live, and rolls back what was not committed.
        sqlite3_close_v2(handle)
        frames.deallocate()
    }

    /// How many frames the write-ahead log holds that no checkpoint has taken.
    var walFrames: Int { Int(frames.pointee) }

    /// How many rows the last statement that changes rows changed.
    var changes: Int { Int(sqlite3_changes(handle)) }

    /// Whether a transaction is open.
    var isInTransaction: Bool { handle != nil && sqlite3_get_autocommit(handle) == 0 }

    /// The failure `result` of this connection's last operation.
    func fault(_ result: Int32, _ operation: String) -> StoreFault {
        Database.fault(result, of: handle, operation: operation, path: path)
    }

    /// That the file holds what no version of this program writes there.
    func damaged(_ what: String) -> StoreFault {
        StoreFault(.corrupt, operation: "read", path: path, detail: what)
    }

    private static func fault(
        _ result: Int32, of handle: OpaquePointer?, operation: String, path: String
    ) -> StoreFault {
        guard let handle else {
            return StoreFault(code: result, errno: 0, operation: operation, path: path, detail: "")
        }
        let detail = String(cString: sqlite3_errmsg(handle))
        // What the disk could not read is no damage: the file must not be set aside for it.
        if [SQLITE_CORRUPT, SQLITE_NOTADB].contains(result & 0xFF) {
            let errno = store_read_errno(handle)
            if errno != 0 {
                return StoreFault(.io, code: result, errno: errno, operation: operation, path: path, detail: detail)
            }
        }
        // SQLite keeps the errno of the last input or output that failed: it says nothing about other failures.
        let isKernels = [SQLITE_IOERR, SQLITE_CANTOPEN].contains(result & 0xFF)
        return StoreFault(
            code: result, errno: isKernels ? sqlite3_system_errno(handle) : 0, operation: operation, path: path,
            detail: detail)
    }

    /// Runs statements of which only success matters; rows are ignored.
    func execute(_ sql: String, _ operation: String) throws(StoreFault) {
        let result = sqlite3_exec(handle, sql, nil, nil, nil)
        if result != SQLITE_OK { throw fault(result, operation) }
    }

    /// Compiles one statement. It is kept for long: SQLite is told so.
    ///
    /// A statement that does not compile means that the file's tables are not those of its version.
    func prepare(_ sql: String) throws(StoreFault) -> Statement {
        var statement: OpaquePointer?
        let result = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard result == SQLITE_OK, let statement else {
            let fault = fault(result, "read the tables of")
            throw result == SQLITE_ERROR ? damaged(fault.detail) : fault
        }
        return Statement(statement, of: self)
    }

    /// The one value of a query that has one row.
    func integer(_ sql: String) throws(StoreFault) -> Int64 {
        let statement = try prepare(sql)
        guard try statement.step() else { throw damaged("no answer to \(sql)") }
        return statement.integer(0)
    }

    /// The one value of a query that has one row, as text.
    func text(_ sql: String) throws(StoreFault) -> String {
        let statement = try prepare(sql)
        guard try statement.step() else { throw damaged("no answer to \(sql)") }
        return try statement.text(0)
    }

    /// Runs `body` in a transaction that writes. Whatever fails, nothing of it is left.
    func transaction(_ body: () throws(StoreFault) -> Void) throws(StoreFault) {
        try execute("BEGIN IMMEDIATE", "begin to write")
        do {
            try body()
            try commit()
        } catch {
            rollBack()
            throw error
        }
    }

    private func commit() throws(StoreFault) {
        let result = sqlite3_exec(handle, "COMMIT", nil, nil, nil)
        if result == SQLITE_OK { return }
        // All that a commit touches is the log. Of a failure there SQLite keeps no errno, or that of an earlier one.
        let isKernels = result & 0xFF == SQLITE_IOERR
        throw StoreFault(
            code: result, errno: isKernels ? store_log_errno(handle) : 0, operation: "commit", path: path,
            detail: String(cString: sqlite3_errmsg(handle)))
    }

    /// Undoes the open transaction, if SQLite has not done so by itself. In the write-ahead log that means forgetting.
    func rollBack() {
        if isInTransaction { sqlite3_exec(handle, "ROLLBACK", nil, nil, nil) }
    }

    /// Copies what the write-ahead log holds into the database file, and syncs both. With `emptying`, the log's file
    /// is cut to nothing afterwards.
    func checkpoint(emptying: Bool) throws(StoreFault) {
        guard handle != nil else { return }
        let mode = emptying ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE
        let result = sqlite3_wal_checkpoint_v2(handle, nil, mode, nil, nil)
        if result != SQLITE_OK { throw fault(result, "checkpoint") }
        frames.pointee = 0
    }

    /// Closes the file. Every statement must be gone. Does nothing the second time.
    func close() throws(StoreFault) {
        guard handle != nil else { return }
        let result = sqlite3_close(handle)
        if result != SQLITE_OK { throw fault(result, "close") }
        handle = nil
    }
}
