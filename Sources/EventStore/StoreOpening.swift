/// What a log was found to be when it was opened.

/// Whether the numbering of a log goes on, and if not, why.
package enum LogBeginning: String, Sendable, Equatable {
    /// The database was made.
    case first
    /// The last end was clean, and the file is the one that was closed: the numbering goes on.
    case goesOn = "goes_on"
    /// The last end was not clean: numbers may have been used that were not kept.
    case uncleanEnd = "unclean_end"
    /// The file is a copy of the one that was closed, or was moved from another file system.
    case otherFile = "other_file"
    /// The file was written to, or put back, after it was closed.
    case changedFile = "changed_file"
    /// The file beside the database says that numbers were used that the database does not know, or is missing.
    case otherNumbers = "other_numbers"
}

/// What is known of a log at its start.
package struct StoreOpening: Sendable, Equatable {
    /// Whether the numbering goes on.
    package var beginning: LogBeginning
    /// The numbering, and those before.
    package var epochs: Epochs
    /// No event was given a number greater than this: the next one is this plus one.
    package var head: UInt64
    /// The channels, by name.
    package var channels: [StoredChannel]
    /// The newest event that retention has removed of channels that had ended, and are no more; 0 is none.
    package var forgottenSeq: UInt64
    /// A damaged file that was set aside now, by its new name.
    package var setAside: String?
    /// The version of SQLite.
    package var sqliteVersion: String
}
