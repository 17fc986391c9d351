/// What really happened in a world with a database: every event that was numbered, when, and what became of it.

import Wire

@testable import EventStore

/// Something that a publisher sends as one: an event, or a batch.
final class StoredItem {
    /// One time that it was given numbers.
    struct Numbers {
        var first: UInt64
        var last: UInt64
        var life: Int
        /// The life with which it was lost; nil while it is there.
        var lostWith: Int?
    }

    let channel: Int
    let events: [MadeEvent]
    let isBatch: Bool
    /// An idempotency key, and what its sender asked for.
    var key: String?
    var level: StoredLevel?
    /// How often it was sent and not certainly refused.
    var tries = 0
    var numbers: [Numbers] = []
    /// The greatest level that its present numbers were acked at.
    var acked: StoredLevel?

    init(channel: Int, events: [MadeEvent], isBatch: Bool) {
        self.channel = channel
        self.events = events
        self.isBatch = isBatch
    }

    /// Its numbers, as they were known in a life.
    func numbers(in life: Int) -> Numbers? {
        numbers.last { $0.life <= life && ($0.lostWith ?? .max) >= life }
    }

    /// Where it is now.
    var place: Numbers? { numbers.last.flatMap { $0.lostWith == nil ? $0 : nil } }
}

/// What an ack promises.
enum StoredLevel: String, CaseIterable, Comparable {
    case none, accepted, committed, synced

    static func < (one: Self, other: Self) -> Bool {
        allCases.firstIndex(of: one)! < allCases.firstIndex(of: other)!
    }
}

/// The model of a world with a database. It learns what was numbered from what the server gives its database, and holds
/// that against what publishers sent, and everything else against it.
final class StoredLedger {
    /// An event that has a number.
    struct Event {
        let seq: UInt64
        let life: Int
        let item: StoredItem
        let place: Int
        /// The line as it was given to the database.
        let line: [UInt8]
        /// The life with whose end it was lost; nil while it is there.
        var lostWith: Int?

        var made: MadeEvent { item.events[place] }

        /// Whether it is there for whoever reads in this life.
        func exists(in life: Int) -> Bool { self.life <= life && (lostWith.map { $0 >= life } ?? true) }
    }

    /// Everything that was numbered, by rising numbers, over all lives.
    private(set) var events: [Event] = []
    private(set) var items: [StoredItem] = []
    fileprivate var byPayload: [[UInt8]: (item: StoredItem, place: Int)] = [:]
    /// The newest event that retention has removed, by life and channel. A power cut may bring some back.
    private var prunedIn: [[UInt64]] = []
    var pruned: [UInt64] { prunedIn[prunedIn.count - 1] }
    /// The greatest number that is on its way to readers or has been.
    var head: UInt64 { events.last?.seq ?? 0 }

    /// Notes what is about to be sent for the first time.
    func offer(_ item: StoredItem) {
        items.append(item)
        for (place, event) in item.events.enumerated() { byPayload[event.compact] = (item, place) }
    }

    // MARK: What is numbered

    /// Notes a publication on its way to the database.
    func note(_ entry: StoreBatch.Entry, of batch: StoreBatch, life: Int) throws {
        guard !entry.events.isEmpty else { return }
        let publication = entry.publication
        var seq = publication.firstSeq
        var owner: StoredItem?
        for event in batch.events[entry.events] {
            let line = Array(batch.bytes[event.lineStart..<event.lineEnd])
            let (found, place) = try identify(line, seq: seq, channel: publication.channel)
            guard owner == nil || owner === found, place == Int(seq - publication.firstSeq) else {
                throw Malformed("number \(seq) is stored with events of another publication")
            }
            owner = found
            guard seq > head else { throw Malformed("number \(seq) is given again, after \(head)") }
            if let last = events.last, last.life == life, seq != last.seq + 1 {
                throw Malformed("number \(seq) follows \(last.seq)")
            }
            let kind = event.hasKind ? Array(batch.bytes[event.kindStart..<event.lineStart]).text : nil
            // It may be spelt with escapes.
            guard kind == found.events[place].kind || kind?.contains("\\u00") == true else {
                throw Malformed("number \(seq) is stored as \(kind ?? "?")")
            }
            events.append(Event(seq: seq, life: life, item: found, place: place, line: line))
            seq += 1
        }
        guard let owner, owner.events.count == entry.events.count else {
            throw Malformed("number \(publication.firstSeq) begins half a publication")
        }
        if let place = owner.place {
            let key = owner.key ?? "no key"
            throw Malformed("what is number \(place.first) is number \(publication.firstSeq) too: \(key)")
        }
        guard owner.numbers.count < owner.tries else {
            throw Malformed("number \(publication.firstSeq) was sent \(owner.tries) times")
        }
        owner.numbers.append(.init(first: publication.firstSeq, last: seq - 1, life: life))
    }

    /// Which event a line is, which must be stamped with this number and channel.
    private func identify(_ line: [UInt8], seq: UInt64, channel: String) throws -> (item: StoredItem, place: Int) {
        var reader = StreamReader(.jsonl)
        reader.append(line + [0x0A])
        let payload: [UInt8]
        switch try reader.next() {
        case .event(let stamp, let name, _, let bytes, _):
            guard stamp == seq, name == channel else { throw Malformed("number \(seq) on \(channel): \(line.excerpt)") }
            payload = bytes
        case .unstamped(let bytes, _):
            guard channel == Channels.bareChannel else { throw Malformed("no stamp on number \(seq) on \(channel)") }
            payload = bytes
        default: throw Malformed("number \(seq) is no event: \(line.excerpt)")
        }
        guard let found = byPayload[payload], Channels.names[found.item.channel] == channel else {
            throw Malformed("number \(seq) on \(channel) was never sent there: \(payload.excerpt)")
        }
        return found
    }

    // MARK: What is known of numbers

    /// The place of the first event with a greater number.
    func index(after seq: UInt64) -> Int {
        var low = 0
        var high = events.count
        while low < high {
            let middle = (low + high) / 2
            if events[middle].seq <= seq { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func event(_ seq: UInt64) -> Event? {
        let index = index(after: seq) - 1
        return index >= 0 && events[index].seq == seq ? events[index] : nil
    }

    /// The events for a reader in a life that lie behind `after`, up to `upTo`.
    func wanted(_ wanted: Wanted, in life: Int, after: UInt64, upTo: UInt64) -> [UInt64] {
        var found: [UInt64] = []
        var index = index(after: after)
        while index < events.count, events[index].seq <= upTo {
            let event = events[index]
            index += 1
            if event.exists(in: life), wanted.wants(channel: event.item.channel, kind: event.made.kind) {
                found.append(event.seq)
            }
        }
        return found
    }

    func isPruned(_ seq: UInt64) -> Bool {
        guard let event = event(seq) else { return false }
        return seq <= pruned[event.item.channel]
    }

    /// A new life, with what has been removed at its start, by channel.
    func begin(pruned: [UInt64]) { prunedIn.append(pruned) }

    func notePruned(_ seq: UInt64, of channel: Int) { prunedIn[prunedIn.count - 1][channel] = seq }

    /// The newest event that a reader could have had in a life, if it had not been removed.
    func newestPruned(for wanted: Wanted, in life: Int) -> UInt64 {
        let wanted = wanted.ofAnyKind
        return prunedIn[life].indices.reduce(0) {
            wanted.wants(channel: $1, kind: nil) ? max($0, prunedIn[life][$1]) : $0
        }
    }

    // MARK: A restart

    /// What a database has, event by event. Says what is wrong with it, given how the life before ended.
    func restarted(_ stored: [UInt64: (channel: String, line: [UInt8])], after life: Int, end: StoredEnd) throws {
        var known = 0
        var lost: UInt64?
        for index in events.indices where events[index].lostWith == nil {
            let event = events[index]
            let name = Channels.names[event.item.channel]
            guard let found = stored[event.seq] else {
                if event.seq <= pruned[event.item.channel] { continue }
                if event.life < life {
                    throw Malformed("number \(event.seq) had outlived an end, and is lost with life \(life)")
                }
                if let acked = event.item.acked, event.item.place?.life == life, end.keeps(acked) {
                    throw Malformed("number \(event.seq) was acked as \(acked), and is lost by \(end)")
                }
                lost = lost ?? event.seq
                events[index].lostWith = life
                continue
            }
            known += 1
            guard lost == nil else { throw Malformed("number \(event.seq) is there, \(lost ?? 0) before it is lost") }
            guard found.channel == name, found.line == event.line else {
                throw Malformed("number \(event.seq) is \(found.line.excerpt), it was \(event.line.excerpt)")
            }
        }
        guard known == stored.count else {
            throw Malformed("\(stored.count - known) events are in the database that nobody published")
        }
        if lost != nil, end == .stopped { throw Malformed("number \(lost ?? 0) is lost by a clean end") }
        for item in items {
            guard let last = item.numbers.indices.last, item.numbers[last].lostWith == nil else { continue }
            let range = item.numbers[last].first...item.numbers[last].last
            let isLost = range.map { seq in event(seq)?.lostWith != nil }
            guard isLost.allSatisfy({ $0 == isLost[0] }) else { throw Malformed("half of the batch \(range) is lost") }
            guard isLost[0] else { continue }
            item.numbers[last].lostWith = life
            item.acked = nil
        }
    }

    /// Whether nothing was lost with this life, the one that ended last.
    func isWhole(_ life: Int) -> Bool { events.last?.lostWith != life }

    /// The last number of a life, and of those before it, that is still there.
    func lastKept(in life: Int) -> UInt64 {
        events.last { $0.life <= life && $0.lostWith == nil }?.seq ?? 0
    }
}

/// How a life ended.
enum StoredEnd: Equatable {
    /// In order, by a signal.
    case stopped
    /// The process was killed, or ended because its database could not go on.
    case killed
    /// The power went.
    case powerCut

    /// Whether what was acked at a level must be there afterwards.
    func keeps(_ level: StoredLevel) -> Bool {
        switch self {
        case .stopped: true
        case .killed: level >= .committed
        case .powerCut: level >= .synced
        }
    }
}

extension StoredLedger {
    /// An event without a stamp, as it was known in a life.
    func event(bare payload: [UInt8], in life: Int) -> Event? {
        guard let (item, place) = byPayload[payload], Channels.names[item.channel] == Channels.bareChannel,
            let numbers = item.numbers(in: life)
        else { return nil }
        return event(numbers.first + UInt64(place))
    }
}
