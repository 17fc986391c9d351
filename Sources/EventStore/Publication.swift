/// What is stored: publications, and what tells their repetition.

import Wire

/// How sure a publisher wants to be before it is answered.
package enum StoreLevel: Sendable, Equatable {
    /// Once the transaction is in the write-ahead log: survives the end of the process.
    case committed
    /// Once the log is on the disk: survives the loss of power.
    case synced
}

/// An idempotency key. Names are digests of a channel's name with the key: what was asked for with which key is the
/// business of whoever compares them.
package struct StoreKey: Sendable, Equatable {
    package var name: ContentDigest
    /// The digest of the publication's compacted events.
    package var payload: ContentDigest

    package init(name: ContentDigest, payload: ContentDigest) {
        self.name = name
        self.payload = payload
    }
}

/// A producer, and how far it has come in its own numbering of its events.
package struct StoreProducer: Sendable, Equatable {
    /// A digest of the channel's name with the producer's.
    package var name: ContentDigest
    /// The digest of the publication's compacted events.
    package var payload: ContentDigest
    /// The producer's incarnation, and its own number of the publication's last event.
    package var epoch: UInt64
    package var lastNumber: UInt64

    package init(name: ContentDigest, payload: ContentDigest, epoch: UInt64, lastNumber: UInt64) {
        self.name = name
        self.payload = payload
        self.epoch = epoch
        self.lastNumber = lastNumber
    }
}

/// What a publication leaves in the database beside its events, in the place of what had the same name: it is never
/// compared with anything there.
package struct StoreRows: Sendable, Equatable {
    package var key: StoreKey?
    package var producer: StoreProducer?

    package init(key: StoreKey? = nil, producer: StoreProducer? = nil) {
        self.key = key
        self.producer = producer
    }
}

/// Consecutive numbers, both ends included.
package struct SeqRange: Sendable, Equatable {
    /// The smaller and the greater end; equal for one event.
    package var first: UInt64
    package var last: UInt64

    package init(first: UInt64, last: UInt64) {
        self.first = first
        self.last = last
    }
}

/// What an event is for its channel's state, in which each key has one row: the newest event of that key.
package enum StoreChange: Sendable, Equatable {
    /// Nothing.
    case none
    /// The row of this key.
    case put(ContentDigest)
    /// The end of this key's row.
    case remove(ContentDigest)
    /// The only row.
    case reset(ContentDigest)
}

/// Another key for a row of a channel's state.
package struct StoreRekey: Sendable, Equatable {
    /// The key that it has.
    package var from: ContentDigest
    /// The key that it gets; nil takes the row away.
    package var to: ContentDigest?

    package init(from: ContentDigest, to: ContentDigest?) {
        self.from = from
        self.to = to
    }
}

/// Events of one channel with consecutive numbers that are stored together or not at all.
package struct Publication: Sendable {
    package var channel: String
    /// The first event's number, greater than every number before it in the same store.
    package var firstSeq: UInt64
    /// Milliseconds of the wall clock since 1970.
    package var timeMs: Int64
    package var level: StoreLevel
    package var rows: StoreRows

    package init(
        channel: String, firstSeq: UInt64, timeMs: Int64, level: StoreLevel, rows: StoreRows = StoreRows()
    ) {
        self.channel = channel
        self.firstSeq = firstSeq
        self.timeMs = timeMs
        self.level = level
        self.rows = rows
    }
}
