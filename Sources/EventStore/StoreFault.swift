/// Why the database could not do something: the one error of this module.

import CLinux
import CSQLite
import Glibc

/// An operation of the store that failed, with what failed, where, why, and what the operator can do.
package struct StoreFault: Error, Sendable, Equatable, CustomStringConvertible {
    /// What a failure means for what comes next.
    package enum Kind: Sendable, Equatable {
        /// No space. Nothing was written; the same operation succeeds when there is space again.
        case full
        /// The file, its file system or its place does not take writes, or the file is not where it was opened.
        case readOnly
        /// The kernel could not bring bytes to the disk. It must not be asked again (it may say yes and not have them):
        /// the process ends, and what the disk has is read at the next start.
        case notSynced
        /// It holds more of something than may be read.
        case tooMuch
        /// Reading or writing failed otherwise.
        case io
        /// The file is damaged.
        case corrupt
        /// A damaged file was set aside earlier, and nobody has said that a new log may begin.
        case quarantined
        /// Another process has the database open.
        case locked
        /// The file was written by a newer version of this program.
        case newer
        /// The file is a database of another program.
        case foreign
        /// The file or its folder cannot be opened or made.
        case cannotOpen
        /// No memory.
        case noMemory
        /// SQLite refused what this program asked: a fault of this program.
        case unexpected
    }

    /// What the failure means.
    package let kind: Kind
    /// SQLite's extended result code; 0 where SQLite was not asked.
    package let code: Int32
    /// The kernel's reason, positive; 0 where it gave none.
    package let errno: Int32
    /// What was attempted.
    package let operation: String
    /// The file or folder.
    package let path: String
    /// More words, SQLite's mostly; may be empty.
    package let detail: String

    /// A failure that is known for what it is.
    package init(
        _ kind: Kind, code: Int32 = 0, errno: Int32 = 0, operation: String, path: String, detail: String = ""
    ) {
        self.kind = kind
        self.code = code
        self.errno = errno
        self.operation = operation
        self.path = path
        self.detail = detail
    }

    /// A failure from SQLite's extended result code and the errno that goes with it.
    package init(code: Int32, errno: Int32, operation: String, path: String, detail: String) {
        self.init(
            Kind(code: code, errno: errno), code: code, errno: errno, operation: operation, path: path, detail: detail)
    }

    /// Whether the same operation may succeed later without a restart: `full` and `readOnly`.
    package var isPassing: Bool { kind == .full || kind == .readOnly }

    /// What the operator can do; empty where nothing sensible can be said.
    package var advice: String {
        switch kind {
        case .full: "free space on its file system, or give its channels a smaller retention"
        case .readOnly: "make the file and its file system writable, and leave the files where they are"
        case .notSynced: "look at the disk, then start again: what reached it is found and told to readers"
        case .io: "look at the disk and its file system"
        case .tooMuch: "start with a bigger --max-memory"
        case .corrupt, .quarantined: "restore a backup, or begin a new log with --new-log"
        case .locked: "only one server may use a data folder: end the other one, or name another folder"
        case .newer: "start the newer version, or name another folder"
        case .foreign: "name another folder"
        case .cannotOpen: openingAdvice
        case .noMemory: "give the process more memory"
        case .unexpected: "report this as a fault of the program"
        }
    }

    private var openingAdvice: String {
        switch errno {
        case ENOENT: "make the folder that it is to be in, or name another one"
        case ENOTDIR: "name a folder"
        case EMFILE, ENFILE: "let the process open more files"
        case EAGAIN: "let the user have more threads"
        default: "let this user read and write the folder and what is in it, or name another one"
        }
    }

    /// One line: what, where, why, and what to do.
    package var description: String {
        var reason = detail
        if errno != 0 {
            let name = linux_error_name(errno).map { String(cString: $0) } ?? "errno \(errno)"
            reason += "\(reason.isEmpty ? "" : ", ")\(name) (\(String(cString: strerror(errno))))"
        }
        if reason.isEmpty { reason = String(cString: sqlite3_errstr(code)) }
        return "\(operation) \(path): \(reason); \(advice)"
    }
}

extension StoreFault.Kind {
    /// What one of SQLite's extended result codes means here. The kernel's reason decides where SQLite only says that
    /// input or output failed.
    init(code: Int32, errno: Int32) {
        switch code {
        case SQLiteCode.fsync, SQLiteCode.directoryFsync: self = .notSynced
        case SQLiteCode.ioNoMemory: self = .noMemory
        default: self = Self.byClass(code & 0xFF, errno: errno)
        }
    }

    private static func byClass(_ code: Int32, errno: Int32) -> Self {
        switch code {
        case SQLITE_FULL: .full
        case SQLITE_READONLY: .readOnly
        // The program's own statements break no rule of a sound file.
        case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_TOOBIG: .corrupt
        case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: .locked
        case SQLITE_NOMEM: .noMemory
        case SQLITE_IOERR: byErrno(errno) ?? .io
        case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_AUTH: byErrno(errno) ?? .cannotOpen
        default: .unexpected
        }
    }

    private static func byErrno(_ errno: Int32) -> Self? {
        switch errno {
        // A quota and a limit on a file's size are lack of space in other words.
        case ENOSPC, EDQUOT, EFBIG: .full
        case EROFS: .readOnly
        default: nil
        }
    }
}

/// SQLite's extended result codes, which are expressions in its header and so unknown to Swift.
enum SQLiteCode {
    static let fsync = SQLITE_IOERR | 4 << 8
    static let directoryFsync = SQLITE_IOERR | 5 << 8
    static let ioNoMemory = SQLITE_IOERR | 12 << 8
}
