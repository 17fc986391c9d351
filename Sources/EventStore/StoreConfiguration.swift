/// Where the database is, and its limits.

import Wire

/// Limits that are not a user's to set.
package enum StoreLimits {
    /// The greatest number of an event, far from where counting could overflow.
    static let numberMax: Int64 = 1 << 62
    /// SQLite's limit for a row of the file. An event is far smaller; a longer row is not this program's.
    static let rowBytesMax = 16 << 20
    /// What of that is not the event's line and kind.
    static let rowBytesBeside = 1024
    /// Channels that a file may have. A server has fewer.
    package static let channelsMax = 1 << 17
    /// Pages that the loop has not taken: beyond it no more are read.
    static let untakenPagesMax = 64
    /// Events in one transaction; a publication is never split, so one that has more is a transaction of its own.
    package static let transactionEventsMax = 1000
    /// Rows of one page, and rows that one step of retention removes.
    package static let pageRowsMax = 500
    /// Bytes of one page, except that a page holds at least one event.
    package static let pageBytesMax = 256 * 1024
    /// Rows that one page looks at where only some channels are asked for and they are many.
    static let scannedRowsMax = 4096
    /// Up to so many channels are read through their indices, each of them in turn.
    static let mergedChannelsMax = 64
    /// Numbers that are taken of each of these at least, so that a page is not cut short by a busy channel.
    static let mergedNumbersMin = 64
    /// Line bytes that one step of retention removes, roughly: long lines are chains of pages, which must be read.
    static let prunedBytesMax: Int64 = 4 << 20
    /// Channels that one step of retention looks at where nothing is due.
    static let channelsLookedAtMax = 256
    /// Pages that one step gives back to the file system.
    static let vacuumedPagesMax = 128
    /// What a row of the state counts beside its line.
    static let stateRowBytes = 64
    /// Incarnations that are remembered.
    static let incarnationsMax = 4096
    /// How far ahead of use numbers are reserved. Half of it is left when the next step is taken.
    package static let reservedNumbers: UInt64 = 131_072
}

/// How long a channel's events are kept: each limit that is set holds.
package struct RetentionLimits: Equatable, Sendable {
    /// Events kept at most.
    package var events: Int64?
    /// Milliseconds that an event is kept, by its own time.
    package var ageMs: Int64?
    /// Bytes of lines kept at most.
    package var bytes: Int64?

    /// Nil keeps everything.
    package init(events: Int64? = nil, ageMs: Int64? = nil, bytes: Int64? = nil) {
        self.events = events
        self.ageMs = ageMs
        self.bytes = bytes
    }

    var isUnlimited: Bool { events == nil && ageMs == nil && bytes == nil }
}

/// The greatest number that a numbering has given.
package struct UsedNumber: Equatable, Sendable {
    /// The numbering.
    package var epoch: Epoch
    /// That number, or the one before its first.
    package var seq: UInt64

    package init(epoch: Epoch, seq: UInt64) {
        self.epoch = epoch
        self.seq = seq
    }
}

/// What `EventStore.open` is told.
package struct StoreConfiguration: Sendable {
    /// The folder. It holds `events.db`, `events.db-wal` while the database is open, and `high-water`.
    package var directory: String
    /// The epoch to begin if one must be begun; drawn at random by the caller.
    package var newEpoch: Epoch
    /// Whether a damaged file may be set aside and a new log begun. Says nothing about a healthy one.
    package var beginsNewLog = false
    /// How far the last numbering was used, where something knows that outlived its process. It is believed only after
    /// an unclean end, of the numbering that the log names, and within what was reserved of it.
    package var used: UsedNumber?
    /// What channels without limits of their own keep.
    package var retention = RetentionLimits()
    /// How many idempotency keys are remembered, at least: the newest of all channels.
    package var keysKept = 100_000
    /// Bytes of the channels' state that are read at most, `StoreLimits.stateRowBytes` counted for each row.
    package var stateBytesMax = Int.max
    /// SQLite's name for the file system to use, for tests; nil is the operating system's.
    package var vfs: String?

    package init(directory: String, newEpoch: Epoch) {
        self.directory = directory
        self.newEpoch = newEpoch
    }

    /// How many more keys than that there are before the oldest are forgotten.
    var keysBeyond: Int { keysKept / 10 + 1 }
    /// The database.
    var path: String { "\(directory)/events.db" }
    /// The device and inode of the database file; nil where there is none. One stat(2).
    package var fileIdentity: (device: UInt64, inode: UInt64)? {
        FileIdentity(of: path).map { ($0.device, $0.inode) }
    }
    /// The file that says up to where numbers may have been used.
    var highWaterPath: String { "\(directory)/high-water" }
}
