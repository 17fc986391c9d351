/// Which events of the past a page has: looked for in memory, and in what was read from the database.

import EventStore
import Wire

/// Events that somebody asked for.
struct HistoryPage: Equatable {
    /// Their numbers, in the order in which they were found.
    var seqs: [UInt64] = []
    /// Their lines, newlines included, one behind the other; and where each ends.
    var bytes: [UInt8] = []
    var ends: [Int] = []
    /// Whether there is one among them that does not say its number itself.
    var hasUnnumbered = false
    /// How far the search has come, where something that matches may lie beyond, in its direction. nil: it is over.
    var reached: UInt64?

    /// The places of the events, in the order of their numbers.
    func rising(_ newestFirst: Bool) -> [Int] { newestFirst ? seqs.indices.reversed() : Array(seqs.indices) }

    /// The line at a place, its newline included.
    func line(_ place: Int) -> ArraySlice<UInt8> { bytes[(place == 0 ? 0 : ends[place - 1])..<ends[place]] }
}

/// A search through the past, in one direction, that goes on where it was left.
struct HistorySearch {
    /// The bytes of a page: those of a batch, so that what can be published together comes back together.
    static let pageBytesMax = 1 << 20

    /// What is looked for.
    let wanted: Subscription
    let newestFirst: Bool
    /// Events wanted, and how much is looked at for them at most.
    let countMax: Int
    let workMax: Int
    /// What is still to be looked at; nil when the search is over.
    private(set) var rest: ClosedRange<UInt64>?
    private(set) var page = HistoryPage()
    /// Events looked at, patterns tried, and kinds by the dozen.
    private(set) var work = 0
    private var matcher: ChannelMatcher

    init(
        _ stretch: ClosedRange<UInt64>?, of wanted: Subscription, newestFirst: Bool, countMax: Int, workMax: Int
    ) {
        self.wanted = wanted
        self.newestFirst = newestFirst
        self.countMax = countMax
        self.workMax = workMax
        rest = stretch
        matcher = ChannelMatcher(wanted.patterns)
    }

    /// The number to look at next.
    var next: UInt64? { newestFirst ? rest?.upperBound : rest?.lowerBound }

    /// What it has found takes in memory.
    var byteCount: Int { page.bytes.capacity + (page.seqs.capacity + page.ends.capacity) * 8 }

    /// Everything up to a number, in the direction of the search, was looked at.
    mutating func pass(through seq: UInt64) {
        guard let rest else { return }
        if newestFirst {
            self.rest = seq > rest.lowerBound ? rest.lowerBound...min(rest.upperBound, seq - 1) : nil
        } else {
            self.rest = seq < rest.upperBound ? max(rest.lowerBound, seq + 1)...rest.upperBound : nil
        }
    }

    /// Ends the search where it is; what it has not looked at may be asked for later.
    mutating func stop() {
        guard let next else { return }
        page.reached = newestFirst ? next + 1 : next - 1
        rest = nil
    }

    /// Counts an event that is looked at; false where that was too much already, and the search is over.
    fileprivate mutating func mayLook() -> Bool {
        if work + matcher.tried >= workMax {
            stop()
            return false
        }
        // A handful of kinds costs nothing beside the event itself.
        work += 1 + wanted.types.count / 16
        return true
    }

    fileprivate mutating func matches(_ channel: UInt32, _ channels: borrowing ChannelTable) -> Bool {
        matcher.matches(channel, channels)
    }

    /// Takes in an event that is wanted; false where the page is full without it, and the search is over.
    fileprivate mutating func add(
        _ seq: UInt64, _ line: UnsafeBufferPointer<UInt8>, isNumbered: Bool
    ) -> Bool {
        let byteCount = line.count + (line.last == UInt8(ascii: "\n") ? 0 : 1)
        let isFull = page.bytes.count + byteCount > Self.pageBytesMax && !page.seqs.isEmpty
        if isFull || page.seqs.count == countMax {
            page.reached = page.seqs.last
            rest = nil
            return false
        }
        page.seqs.append(seq)
        page.bytes.append(contentsOf: line)
        if byteCount > line.count { page.bytes.append(UInt8(ascii: "\n")) }
        page.ends.append(page.bytes.count)
        if !isNumbered { page.hasUnnumbered = true }
        return true
    }

    /// What was done so far, in the unit of a turn's work.
    var workDone: Int { work + matcher.tried }
}

extension Hub {
    /// Looks through what memory holds of the rest of a search, as far as that begins there. O(events looked at and
    /// patterns tried).
    func look(in search: inout HistorySearch) {
        while let seq = search.next, let place = window.place(holding: seq) {
            let block = window[place]
            var seq = seq
            while seq >= block.firstSeq, seq <= block.lastSeq, search.rest?.contains(seq) ?? false {
                guard search.mayLook() else { return }
                let inBlock = Int(seq - block.firstSeq)
                let channel = block.events[inBlock].channel
                // What retention has removed from the database is gone.
                let isKept = !records || seq > channels[channel].prunedSeq
                if isKept, search.matches(channel, channels), isWanted(block, inBlock, search.wanted.types) {
                    let line = block.line(inBlock, delivery.log.segments)
                    let isNumbered = channels[channel].rules.event.stamp.contains(.seq)
                    guard search.add(seq, line, isNumbered: isNumbered) else { return }
                }
                search.pass(through: seq)
                seq = search.newestFirst ? seq - 1 : seq + 1
            }
        }
    }

    /// Looks through a page that was read from the database for the rest of a search. O(rows).
    func look(through stored: StoredPage, in search: inout HistorySearch) {
        let indices = stored.channels.map { name in ChannelName(name).flatMap { channels.index(of: $0) } }
        for place in search.newestFirst ? stored.rows.indices.reversed() : Array(stored.rows.indices) {
            let row = stored.rows[place]
            guard search.rest?.contains(row.seq) ?? false else { continue }
            guard search.mayLook() else { return }
            guard let channel = indices[row.channel], search.matches(channel, channels),
                stored.isWanted(row, search.wanted.types)
            else {
                search.pass(through: row.seq)
                continue
            }
            // The channel's rules may have been others when it was published.
            let isNumbered =
                channels[channel].rules.event.stamp.contains(.seq)
                && stored.bytes[row.line].starts(with: Self.numberedPrefix)
            let isAdded = stored.bytes.withUnsafeBufferPointer {
                search.add(row.seq, UnsafeBufferPointer(rebasing: $0[row.line]), isNumbered: isNumbered)
            }
            guard isAdded else { return }
            search.pass(through: row.seq)
        }
        search.pass(through: stored.reached)
    }
    private static let numberedPrefix = Array("{\"seq\":".utf8)

    private func isWanted(_ block: HistoryBlock, _ place: Int, _ types: [[UInt8]]) -> Bool {
        if types.isEmpty { return true }
        guard let kind = block.kind(place, delivery.log.segments) else { return false }
        return SubscriberGroup.accepts(kind.text.span, isEscaped: kind.isEscaped, types)
    }
}
