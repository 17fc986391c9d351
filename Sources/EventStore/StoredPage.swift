/// What a reader asks of the database, and what it gets: a page of events.

/// Which events to read, and in which direction.
package struct StoreQuery: Sendable, Equatable {
    /// Where to begin.
    package enum Place: Sendable, Equatable {
        /// The oldest events with greater numbers.
        case after(UInt64)
        /// The newest events with smaller numbers; `UInt64.max` for the newest of all.
        case before(UInt64)
    }

    /// Where to begin, and in which direction.
    package var place: Place
    /// Channels by name; nil for all. Names that nobody has are as good as none.
    package var channels: [String]?
    /// Events wanted at most; a page has no more than `StoreLimits.pageRowsMax` anyway.
    package var rowsMax: Int

    package init(_ place: Place, channels: [String]? = nil, rowsMax: Int = StoreLimits.pageRowsMax) {
        self.place = place
        self.channels = channels
        self.rowsMax = rowsMax
    }
}

/// Events in the order of their numbers, with all that it takes to send them.
package struct StoredPage: Sendable, Equatable {
    /// One event.
    package struct Row: Sendable, Equatable {
        /// Its number.
        package var seq: UInt64
        /// Index into `channels`.
        package var channel: Int
        /// Milliseconds since 1970, as its publisher's server had them.
        package var timeMs: Int64
        /// Where in `bytes` its kind is; nil without one.
        package var kind: Range<Int>?
        /// Where in `bytes` its line is, as subscribers saw it, without a line feed.
        package var line: Range<Int>
    }

    /// The names of the channels that occur in `rows`.
    package internal(set) var channels: [String] = []
    package internal(set) var rows: [Row] = []
    package internal(set) var bytes: [UInt8] = []
    /// How far the page has come. Reading forwards, it or pages before it have every event asked for up to this number;
    /// reading backwards, from this number on. The next page begins here, also where this one has no rows.
    package internal(set) var reached: UInt64
    /// Whether there was nothing more in this direction.
    package internal(set) var isLast = false

    package init(reached: UInt64) {
        self.reached = reached
    }
}
