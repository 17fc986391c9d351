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

/// Publications on their way to the database, in a few flat arrays: once these have grown, a publication allocates
/// nothing.
package struct StoreBatch: Sendable {
    struct Entry: Sendable {
        var publication: Publication
        /// Indices into `events`; empty where `ends` is set.
        var events: Range<Int>
        /// True ends the channel, false begins it again, nil stores events.
        var ends: Bool?
        var lastSeq: UInt64 { publication.firstSeq + UInt64(events.count) - 1 }
    }

    struct Event: Sendable {
        /// Where the kind and the line begin in `bytes`. The line ends where the next event's kind begins.
        var kindStart: Int
        var lineStart: Int
        var lineEnd: Int
        var hasKind: Bool
    }

    private(set) var entries: [Entry] = []
    private(set) var events: [Event] = []
    private(set) var bytes: [UInt8] = []
    /// How many events belong to finished publications.
    private var finished = 0

    package init() {}

    /// Publications that are whole.
    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }
    /// Events of whole publications.
    package var eventCount: Int { finished }
    /// What the batch holds in memory for events and their kinds.
    package var byteCount: Int { bytes.count }
    /// The greatest number of any event in it; 0 in a batch without events.
    package private(set) var lastSeq: UInt64 = 0

    /// Adds an event to the publication that `finish` will name: its line as subscribers saw it, without a line feed,
    /// and its kind.
    package mutating func add(line: Span<UInt8>, kind: Span<UInt8>?) {
        let kindStart = bytes.count
        if let kind { append(kind) }
        let lineStart = bytes.count
        append(line)
        events.append(
            Event(kindStart: kindStart, lineStart: lineStart, lineEnd: bytes.count, hasKind: kind != nil))
    }

    /// Makes a publication of the events added since the last one. Without any it is forgotten: there is nothing to
    /// store.
    package mutating func finish(_ publication: Publication) {
        guard events.count > finished else { return }
        let entry = Entry(publication: publication, events: finished..<events.count)
        entries.append(entry)
        finished = events.count
        lastSeq = max(lastSeq, entry.lastSeq)
    }

    /// Ends a channel in its place among the publications, or begins it again; and all of it is to be on the disk.
    package mutating func setEnded(_ isEnded: Bool, channel: String) {
        let publication = Publication(channel: channel, firstSeq: 1, timeMs: 0, level: .synced)
        entries.append(Entry(publication: publication, events: finished..<finished, ends: isEnded))
    }

    /// Asks for everything stored so far to be on the disk, whatever was asked for when it was stored.
    package mutating func sync() {
        let publication = Publication(channel: "", firstSeq: 1, timeMs: 0, level: .synced)
        entries.append(Entry(publication: publication, events: finished..<finished))
    }

    /// Adds another batch's publications behind this one's; neither may have unfinished events.
    package mutating func append(contentsOf other: StoreBatch) {
        if isEmpty, events.isEmpty {
            self = other
            return
        }
        let firstEvent = events.count
        let firstByte = bytes.count
        for entry in other.entries {
            var entry = entry
            entry.events = (entry.events.lowerBound + firstEvent)..<(entry.events.upperBound + firstEvent)
            entries.append(entry)
        }
        for event in other.events {
            var event = event
            event.kindStart += firstByte
            event.lineStart += firstByte
            event.lineEnd += firstByte
            events.append(event)
        }
        bytes.append(contentsOf: other.bytes)
        finished = events.count
        lastSeq = max(lastSeq, other.lastSeq)
    }

    /// Forgets everything. Memory is kept for the next time, but not what only a burst needed.
    package mutating func removeAll() {
        let isModest = bytes.capacity <= 4 << 20 && events.capacity <= 16_384
        entries.removeAll(keepingCapacity: isModest)
        events.removeAll(keepingCapacity: isModest)
        bytes.removeAll(keepingCapacity: isModest)
        finished = 0
        lastSeq = 0
    }

    private mutating func append(_ span: Span<UInt8>) {
        span.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    }
}
