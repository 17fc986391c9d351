/// What the store's thread tells the loop.

/// Whether the store takes publications.
package enum StoreState: Sendable, Equatable {
    case running
    /// It cannot write now, and tries again twice a second. Reading goes on. Publications are to be refused before they
    /// get numbers; those that were accepted before wait, and are stored first.
    case refusing(StoreFault)
    /// It has ended: by `close` (nil), or because going on would be wrong. What was asked of it and is not answered by
    /// then never is.
    case ended(StoreFault?)
}

/// What a reader asks the store for, beside publishing.
package enum StoreRequest: Sendable {
    /// A page of events. Answered in `StoreReport.pages`.
    case page(ticket: UInt64, StoreQuery)
    /// How long these channels' events are kept from now on.
    case retention([ChannelRetention])
}

/// How long a channel's events are kept, whether or not the channel exists yet; nil: as long as those of others.
package struct ChannelRetention: Sendable, Equatable {
    package var channel: String
    package var limits: RetentionLimits?

    package init(channel: String, limits: RetentionLimits?) {
        self.channel = channel
        self.limits = limits
    }
}

/// What has happened since the loop last asked. Numbers are always the present ones.
package struct StoreReport: Sendable {
    /// A page, or why there is none.
    package struct Page: Sendable {
        /// The request's.
        package var ticket: UInt64
        /// What was asked for.
        package var result: Result<StoredPage, StoreFault>
    }

    /// What was asked for, in the order of the requests.
    package var pages: [Page] = []
    /// Channels of which retention has removed something, as they are now, and those that are no more.
    package var pruned: [StoredChannel] = []
    package var removed: [String] = []
    /// Every event stored up to here survives the end of the process; and the loss of power.
    package var committed: UInt64 = 0
    package var synced: UInt64 = 0
    /// Numbers up to here may be given to events.
    package var reserved: UInt64 = 0
    package var state = StoreState.running
    /// The name that a damaged database got.
    package var setAside: String?
    /// How much the thread has done since its start.
    package var counts = StoreCounts()

    package init() {}
}

/// What the store's thread has done since its start.
package struct StoreCounts: Sendable, Equatable {
    /// Transactions with publications, and the events in them.
    package var transactions: UInt64 = 0
    /// What was given to the queue and is stored: publications, and ends and beginnings of channels.
    package var entries: UInt64 = 0
    package var events: UInt64 = 0
    /// Transactions that waited for the disk.
    package var syncs: UInt64 = 0
    package var checkpoints: UInt64 = 0
    /// Events that retention has removed.
    package var pruned: UInt64 = 0
    package var pages: UInt64 = 0
    /// Operations that found no space or no right to write.
    package var refusals: UInt64 = 0
    /// Frames of 4 KiB in the write-ahead log, after the last transaction.
    package var walFrames: UInt64 = 0
    /// Bytes of the database file, its write-ahead log left aside, after the last checkpoint.
    package var databaseBytes: UInt64 = 0
    /// The longest transaction with publications, in microseconds.
    package var longestTransactionUs: UInt64 = 0

    package init() {}
}
