/// What is on its way to the database, in the order in which it happened.

import Wire

/// Publications on their way to the database, in a few flat arrays: once these have grown, a publication allocates
/// nothing.
package struct StoreBatch: Sendable {
    struct Entry: Sendable {
        var publication: Publication
        var action = Action.events
        /// Indices into `events`: the publication's events, or a snapshot's rows.
        var events: Range<Int>
        /// Indices into `changes`: what the events are for their channel's state.
        var changes = 0..<0
        /// Events that are to be stored as such.
        var eventCount: Int { action == .events ? events.count : 0 }
        var lastSeq: UInt64 { publication.firstSeq + UInt64(events.count) - 1 }
    }

    /// What is to be done with an entry's channel.
    enum Action: Sendable, Equatable {
        /// Its events are stored; where there are none, everything is to be on the disk.
        case events
        /// It ends, or begins again.
        case ends(Bool)
        /// The rows are its state, as of `firstSeq`.
        case snapshot
        /// It has no state any more.
        case clearsState
        /// Rows of its state get other keys: indices into `rekeys`.
        case rekeys(Range<Int>)
    }

    struct Event: Sendable {
        /// Where the kind and the line begin in `bytes`. The line ends where the next event's kind begins.
        var kindStart: Int
        var lineStart: Int
        var lineEnd: Int
        var hasKind: Bool
    }

    /// What one event is for its channel's state.
    struct Change: Sendable {
        /// Its index in `events`.
        var event: Int
        /// Never `.none`.
        var change: StoreChange
    }

    private(set) var entries: [Entry] = []
    private(set) var events: [Event] = []
    private(set) var bytes: [UInt8] = []
    /// By rising `event`.
    private(set) var changes: [Change] = []
    private(set) var rekeys: [StoreRekey] = []
    /// How many events belong to finished publications.
    private var finished = 0
    private var finishedChanges = 0

    package init() {}

    /// Publications that are whole.
    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }
    /// Events of whole publications, and rows of snapshots.
    package var eventCount: Int { finished }
    /// What the batch holds in memory for events and their kinds.
    package var byteCount: Int { bytes.count }
    /// The greatest number of any event in it; 0 in a batch without events.
    package private(set) var lastSeq: UInt64 = 0

    /// Adds an event to the publication that `finish` will name: its line as subscribers saw it, without a line feed,
    /// its kind, and what it is for its channel's state.
    package mutating func add(line: Span<UInt8>, kind: Span<UInt8>?, change: StoreChange = .none) {
        if change != .none { changes.append(Change(event: events.count, change: change)) }
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
        var entry = Entry(publication: publication, events: finished..<events.count)
        entry.changes = finishedChanges..<changes.count
        entries.append(entry)
        finished = events.count
        finishedChanges = changes.count
        lastSeq = max(lastSeq, entry.lastSeq)
    }

    /// Ends a channel in its place among the publications, or begins it again; and all of it is to be on the disk.
    package mutating func setEnded(_ isEnded: Bool, channel: String) {
        add(.ends(isEnded), of: channel)
    }

    /// Makes the lines added since the last publication a channel's whole state, as of an event of any channel; the
    /// channel is made where there is none. No line is no state, but that is as of an event, too.
    package mutating func setSnapshot(channel: String, asOf seq: UInt64, level: StoreLevel) {
        let publication = Publication(channel: channel, firstSeq: seq, timeMs: 0, level: level)
        entries.append(Entry(publication: publication, action: .snapshot, events: finished..<events.count))
        finished = events.count
        finishedChanges = changes.count
    }

    /// Takes a channel's state away.
    package mutating func clearState(channel: String) {
        add(.clearsState, of: channel, level: .committed)
    }

    /// Gives rows of a channel's state other keys, or takes them away; what is not named stays. Two rows may change
    /// their keys for each other's; no row may come to the key of one that stays.
    package mutating func rekey(channel: String, _ rows: [StoreRekey]) {
        let first = rekeys.count
        rekeys.append(contentsOf: rows)
        add(.rekeys(first..<rekeys.count), of: channel, level: .committed)
    }

    private mutating func add(_ action: Action, of channel: String, level: StoreLevel = .synced) {
        let publication = Publication(channel: channel, firstSeq: 1, timeMs: 0, level: level)
        entries.append(Entry(publication: publication, action: action, events: finished..<finished))
    }

    /// Asks for everything stored so far to be on the disk, whatever was asked for when it was stored.
    package mutating func sync() {
        add(.events, of: "")
    }

    /// Adds another batch's publications behind this one's; neither may have unfinished events.
    package mutating func append(contentsOf other: StoreBatch) {
        if isEmpty, events.isEmpty {
            self = other
            return
        }
        let firstEvent = events.count
        let firstByte = bytes.count
        let firstChange = changes.count
        let firstRekey = rekeys.count
        for entry in other.entries {
            var entry = entry
            entry.events = entry.events.moved(by: firstEvent)
            entry.changes = entry.changes.moved(by: firstChange)
            if case .rekeys(let rows) = entry.action { entry.action = .rekeys(rows.moved(by: firstRekey)) }
            entries.append(entry)
        }
        for event in other.events {
            var event = event
            event.kindStart += firstByte
            event.lineStart += firstByte
            event.lineEnd += firstByte
            events.append(event)
        }
        for var change in other.changes {
            change.event += firstEvent
            changes.append(change)
        }
        rekeys.append(contentsOf: other.rekeys)
        bytes.append(contentsOf: other.bytes)
        finished = events.count
        finishedChanges = changes.count
        lastSeq = max(lastSeq, other.lastSeq)
    }

    /// Forgets everything. Memory is kept for the next time, but not what only a burst needed.
    package mutating func removeAll() {
        let isModest = bytes.capacity <= 4 << 20 && events.capacity <= 16_384
        entries.removeAll(keepingCapacity: isModest)
        events.removeAll(keepingCapacity: isModest)
        bytes.removeAll(keepingCapacity: isModest)
        changes.removeAll(keepingCapacity: isModest)
        rekeys = []
        finished = 0
        finishedChanges = 0
        lastSeq = 0
    }

    private mutating func append(_ span: Span<UInt8>) {
        span.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    }
}

extension Range<Int> {
    fileprivate func moved(by distance: Int) -> Range<Int> { (lowerBound + distance)..<(upperBound + distance) }
}
