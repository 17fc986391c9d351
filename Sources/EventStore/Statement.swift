/// One compiled SQL statement: binding, stepping, reading columns.

import CSQLite
import Glibc
import Wire

/// Owns a `sqlite3_stmt*`. Parameters count from 1, columns from 0, as in SQLite.
///
/// After the last row, or when it is abandoned, a statement is `reset`: until then it holds a read transaction. It is a
/// class, as `Database` is: it must be possible to end all statements before the connection.
final class Statement {
    /// Nil once finished; SQLite then answers every use with an error.
    private var handle: OpaquePointer?
    private let database: Database

    init(_ handle: OpaquePointer, of database: Database) {
        self.handle = handle
        self.database = database
    }

    deinit {
        finish()
    }

    /// Gives the statement up, so that the connection can be closed.
    func finish() {
        sqlite3_finalize(handle)
        handle = nil
    }

    /// Binding fails only for want of memory, or where the statement is running: both show when it is stepped, because
    /// a parameter that could not be bound keeps its old value. So it is said at once.
    private func check(_ result: Int32) throws(StoreFault) {
        if result != SQLITE_OK { throw database.fault(result, "bind a value for") }
    }

    func bind(_ index: Int32, _ value: Int64) throws(StoreFault) {
        try check(sqlite3_bind_int64(handle, index, value))
    }

    /// The same bits: numbers of events and producers stay below 2^63.
    func bind(_ index: Int32, _ value: UInt64) throws(StoreFault) {
        try bind(index, Int64(bitPattern: value))
    }

    func bindNull(_ index: Int32) throws(StoreFault) {
        try check(sqlite3_bind_null(handle, index))
    }

    /// Binds a copy of a short text.
    func bind(_ index: Int32, _ text: String) throws(StoreFault) {
        try check(store_bind_text_copy(handle, index, text, Int32(text.utf8.count)))
    }

    /// Binds a copy of a few bytes.
    func bind(_ index: Int32, _ bytes: [UInt8]) throws(StoreFault) {
        try check(store_bind_blob_copy(handle, index, bytes, Int32(bytes.count)))
    }

    func bind(_ index: Int32, _ digest: ContentDigest) throws(StoreFault) {
        try bind(index, digest.bytes)
    }

    /// Binds text that lies at `bytes` until the statement is reset.
    func bind(_ index: Int32, textAt bytes: UnsafeRawBufferPointer) throws(StoreFault) {
        let text = bytes.assumingMemoryBound(to: CChar.self).baseAddress
        try check(store_bind_text(handle, index, text, UInt64(bytes.count)))
    }

    /// Binds bytes that lie at `bytes` until the statement is reset.
    func bind(_ index: Int32, blobAt bytes: UnsafeRawBufferPointer) throws(StoreFault) {
        try check(store_bind_blob(handle, index, bytes.baseAddress, UInt64(bytes.count)))
    }

    /// Goes to the next row; false behind the last one. A statement that failed is reset, and nothing of it is left.
    func step() throws(StoreFault) -> Bool {
        let result = sqlite3_step(handle)
        switch result {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default:
            let fault = database.fault(result, sqlite3_stmt_readonly(handle) != 0 ? "read" : "write to")
            reset()
            throw fault
        }
    }

    /// Steps through a statement that has no rows, and resets it.
    func run() throws(StoreFault) {
        while try step() {}
        reset()
    }

    /// Makes the statement ready for the next use. Its values stay bound, and what they point at must not be used any
    /// more before others are bound.
    func reset() {
        sqlite3_reset(handle)
    }

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    /// The column as SQLite converts it: 0 for what is no number.
    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    /// The column as a number from 0 to `StoreLimits.numberMax`; anything else was not written by this program.
    func number(_ column: Int32) throws(StoreFault) -> UInt64 {
        let value = integer(column)
        guard sqlite3_column_type(handle, column) == SQLITE_INTEGER, value >= 0, value <= StoreLimits.numberMax else {
            throw database.damaged("a number out of range: \(value)")
        }
        return UInt64(value)
    }

    /// The column's bytes, valid until the next step or reset: text in UTF-8, none for NULL.
    func bytes(_ column: Int32) throws(StoreFault) -> UnsafeRawBufferPointer {
        let start = sqlite3_column_blob(handle, column)
        let count = Int(sqlite3_column_bytes(handle, column))
        guard let start else {
            // SQLite answers no pointer for an empty value, and for want of memory.
            if sqlite3_errcode(sqlite3_db_handle(handle)) == SQLITE_NOMEM { throw database.fault(SQLITE_NOMEM, "read") }
            return UnsafeRawBufferPointer(start: nil, count: 0)
        }
        return UnsafeRawBufferPointer(start: start, count: count)
    }

    /// The bytes of a column that must be text.
    func text(at column: Int32) throws(StoreFault) -> UnsafeRawBufferPointer {
        guard sqlite3_column_type(handle, column) == SQLITE_TEXT else { throw database.damaged("a text that is none") }
        return try bytes(column)
    }

    /// The bytes of a column that must be an event's line: subscribers would take a line feed in it for its end.
    func line(at column: Int32) throws(StoreFault) -> UnsafeRawBufferPointer {
        guard sqlite3_column_type(handle, column) == SQLITE_BLOB else { throw database.damaged("a line that is none") }
        let line = try bytes(column)
        if let start = line.baseAddress, memchr(start, 0x0A, line.count) != nil {
            throw database.damaged("an event of more than one line")
        }
        return line
    }

    /// A column that must be a digest.
    func digest(_ column: Int32) throws(StoreFault) -> ContentDigest {
        guard let digest = ContentDigest([UInt8](try bytes(column))) else {
            throw database.damaged("a digest that is none")
        }
        return digest
    }

    /// The column as text; what is no UTF-8 is repaired.
    func text(_ column: Int32) throws(StoreFault) -> String {
        String(decoding: try bytes(column), as: UTF8.self)
    }
}
