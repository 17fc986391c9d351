/// The database of events: its state, and what all its operations share.

import Wire

/// Events, channels, idempotency keys and numberings in one SQLite file, and the operations on them.
///
/// Every operation runs to its end on the calling thread, and may wait for the disk. One thread at a time: in a server
/// that of `StoreThread`. What fails is a `StoreFault`, and then nothing of the operation is left, in the file or
/// here. Operations are in `Appending`, `Remembered`, `Reading`, `Retention`, `Upkeep` and `Closing`.
package final class EventStore {
    let configuration: StoreConfiguration
    let database: Database
    let statements: Statements
    var channels: ChannelTable
    /// What the log was found to be.
    package let opening: StoreOpening
    /// The numbering, and those before.
    package let epochs: Epochs

    /// The greatest number of a stored event, or of an event that was given a number earlier.
    package internal(set) var head: UInt64
    /// Every event up to here that is stored is on the disk.
    package internal(set) var syncedHead: UInt64
    /// Numbers up to here may be given to events; more must be reserved first.
    package internal(set) var reserved: UInt64
    /// False once it was closed, or closing it has failed half-way.
    var isOpen = true
    /// Whether the disk has everything that is committed, also what is no event.
    var isAllSynced = true
    /// What `PRAGMA synchronous` is.
    private var level = StoreLevel.synced
    /// The database and its write-ahead log, as they were opened; nil on a file system of a test.
    private let identity: FileIdentity?
    private let walIdentity: FileIdentity?
    /// Channels that this pass of retention has still to look at.
    var pruning: [ChannelRow] = []
    /// Keys stored since they were last counted; of those before the start it is not known.
    var newKeys: Int
    /// Keys up to this number are to be forgotten; 0 where none is.
    var dueKeys: UInt64 = 0
    /// Which changes of channels' state the open transaction has to write.
    var stateWrites = StateWrites()

    init(
        configuration: StoreConfiguration, database: Database, statements: Statements, channels: ChannelTable,
        opening: StoreOpening, reserved: UInt64
    ) {
        self.configuration = configuration
        self.database = database
        self.statements = statements
        self.channels = channels
        self.opening = opening
        epochs = opening.epochs
        head = opening.head
        syncedHead = opening.head
        self.reserved = reserved
        newKeys = configuration.keysBeyond
        let isReal = configuration.vfs == nil
        identity = isReal ? FileIdentity(of: configuration.path) : nil
        walIdentity = isReal ? FileIdentity(of: "\(configuration.path)-wal") : nil
    }

    /// The path of the database, for messages.
    package var path: String { configuration.path }
    /// Bytes of the database file; 0 on a file system of a test. One stat(2).
    var databaseBytes: UInt64 { identity == nil ? 0 : FileIdentity.byteCount(of: configuration.path) }
    /// Frames of 4 KiB that the write-ahead log holds.
    package var walFrames: Int { database.walFrames }

    /// Makes transactions from now on return before or after the disk has them.
    func setLevel(_ level: StoreLevel) throws(StoreFault) {
        if level == self.level { return }
        try database.execute(
            level == .synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", "configure")
        self.level = level
    }

    /// That the files are where they were opened. What is written to files without a name would be gone at the next
    /// start. Two stat(2).
    func checkPlace() throws(StoreFault) {
        guard let identity else { return }
        try checkPlace(identity, configuration.path)
        if let walIdentity { try checkPlace(walIdentity, "\(configuration.path)-wal") }
    }

    private func checkPlace(_ identity: FileIdentity, _ path: String) throws(StoreFault) {
        let present = FileIdentity(of: path)
        if present?.isSameFile(as: identity) == true { return }
        throw StoreFault(
            .readOnly, operation: "write to", path: path,
            detail: present == nil ? "the file is gone" : "another file is in its place")
    }

    /// A transaction that changes channels' rows: what it did to them is kept or undone with it.
    func write(_ level: StoreLevel, _ body: () throws(StoreFault) -> Void) throws(StoreFault) {
        try checkPlace()
        try setLevel(level)
        do {
            try database.transaction { () throws(StoreFault) in
                try body()
                for row in channels.touched { try write(row) }
            }
        } catch {
            channels.rollBack()
            throw error
        }
        channels.commit()
        if level == .committed { isAllSynced = false }
    }

    private func write(_ row: ChannelRow) throws(StoreFault) {
        let values = row.values
        guard row.isNew || values != row.saved else { return }
        guard values.events >= 0, values.bytes >= 0 else {
            throw database.damaged("channel \(row.name) holds more than it says")
        }
        let statement = row.isNew ? statements.insertChannel : statements.updateChannel
        try statement.bind(1, row.id)
        try statement.bind(2, Int64(values.isEnded ? 1 : 0))
        try statement.bind(3, values.events)
        try statement.bind(4, values.bytes)
        try statement.bind(5, values.firstSeq)
        try statement.bind(6, values.lastSeq)
        try statement.bind(7, values.prunedSeq)
        if row.isNew { try statement.bind(8, row.name) }
        try statement.run()
    }

    /// What is held of a channel; nil where it is not known.
    package func channel(_ name: String) -> StoredChannel? { channels[name].map(StoredChannel.init) }

    /// Gives a channel limits of its own, whether or not it exists yet; nil takes them back.
    package func setRetention(_ limits: RetentionLimits?, of channel: String) {
        channels.setLimits(limits, of: channel)
    }
}

/// What a log holds of one channel.
package struct StoredChannel: Equatable, Sendable {
    /// Its name.
    package let name: String
    /// Whether it takes no more events.
    package let isEnded: Bool
    /// Events held, and the bytes of their lines.
    package let events: Int64
    package let bytes: Int64
    /// The first event held; 0 where none is.
    package let firstSeq: UInt64
    /// The last event there ever was; 0 where there was none.
    package let lastSeq: UInt64
    /// The newest event that retention has removed; 0 where there is none.
    package let prunedSeq: UInt64

    init(_ row: ChannelRow) {
        name = row.name
        isEnded = row.values.isEnded
        events = row.values.events
        bytes = row.values.bytes
        firstSeq = row.values.firstSeq
        lastSeq = row.values.lastSeq
        prunedSeq = row.values.prunedSeq
    }
}
