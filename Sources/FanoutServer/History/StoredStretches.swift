/// Stretches of the past that were read from the database, kept while readers who come back are served from them.

import EventStore
import Planted
import Wire

/// Events between two numbers, as the database had them.
struct StoredStretch {
    /// The channels that were asked for, sorted; nil for all. It has every event of theirs between `first` and `last`
    /// that retention had not removed.
    var channels: [String]?
    var first: UInt64
    var last: UInt64
    var page: StoredPage
    /// What the page's channels are called; nil for what is no name.
    private(set) var names: [ChannelName?]
    /// It stays until so many turns of readers have come since the start.
    var pinnedUntil: UInt64 = 0
    /// When it was last used: the greater, the later.
    fileprivate(set) var usedAt: UInt64 = 0

    init(_ page: StoredPage, of channels: [String]?, first: UInt64, last: UInt64) {
        self.page = page
        self.channels = channels
        self.first = first
        self.last = last
        names = page.channels.map { ChannelName($0) }
    }

    /// What it takes in memory.
    var byteCount: Int {
        page.bytes.capacity + page.rows.capacity * MemoryLayout<StoredPage.Row>.stride
            + page.channels.count * Self.channelBytes
    }
    /// A channel's name, twice, with what its arrays take.
    private static let channelBytes = 2 * (ChannelName.byteCountMax + 64)

    /// The place of the first row with this number or a greater one. O(log rows).
    func firstRow(from seq: UInt64) -> Int {
        var low = 0
        var high = page.rows.count
        while low < high {
            let middle = (low + high) / 2
            if page.rows[middle].seq < seq { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Which of the page's channels patterns name; none of these means every channel. O(channels x patterns).
    func wanted(_ patterns: [ChannelPattern]) -> [Bool] {
        if patterns.isEmpty { return Array(repeating: true, count: names.count) }
        return names.map { name in name.map { name in patterns.contains { $0.matches(name) } } ?? false }
    }
}

extension StoredPage {
    /// Whether a row's kind is one of those; none means every kind, and rows without.
    func isWanted(_ row: Row, _ types: [[UInt8]]) -> Bool {
        if types.isEmpty { return true }
        guard let kind = row.kind else { return false }
        let text = bytes.span.extracting(kind)
        let isEscaped = bytes[kind].contains(UInt8(ascii: "\\")) && !isPlanted("storedKindTakenAsWritten")
        return SubscriberGroup.accepts(text, isEscaped: isEscaped, types)
    }
}

/// The stretches that were read last. One that somebody waits for stays until that reader has had its turn: others
/// could push it out for ever.
struct StoredStretches {
    /// Stretches kept, and pages asked for, together: 4 MiB of ordinary pages.
    static let countMax = 16

    private(set) var stretches: [StoredStretch] = []
    private var clock: UInt64 = 0
    /// What they take in memory.
    private(set) var bytesHeld = 0

    /// The place of the stretch that speaks for an event of these channels; nil asks for all. O(stretches).
    mutating func find(_ seq: UInt64, of channels: [String]?) -> Int? {
        let found = stretches.firstIndex {
            $0.first <= seq && seq <= $0.last && ($0.channels == nil || $0.channels == channels)
        }
        if let found {
            clock += 1
            stretches[found].usedAt = clock
        }
        return found
    }

    /// How many are waited for, when so many turns of readers have come.
    func pinnedCount(turns: UInt64) -> Int { stretches.count { $0.pinnedUntil > turns } }

    /// Puts a stretch in; the one that was used longest ago and is not waited for makes room.
    mutating func insert(_ stretch: StoredStretch, turns: UInt64) {
        if stretches.count >= Self.countMax,
            let oldest = stretches.indices.filter({ stretches[$0].pinnedUntil <= turns })
                .min(by: { stretches[$0].usedAt < stretches[$1].usedAt })
        {
            bytesHeld -= stretches[oldest].byteCount
            stretches.remove(at: oldest)
        }
        clock += 1
        stretches.append(stretch)
        stretches[stretches.count - 1].usedAt = clock
        bytesHeld += stretch.byteCount
    }

    /// Forgets all of them.
    mutating func removeAll() {
        stretches.removeAll()
        bytesHeld = 0
    }
}
