/// The formula of the server's memory: what it can come to, as numbers that EVENTS.md publishes and tests hold it to.

import Reactor
import Wire

/// Bounds, as pure functions. Everything that varies is counted in `MemoryHeld`; what is here is what it is counted by,
/// and what comes on top.
///
/// ```
///  heap   <= baseBytes + connections x connectionBytes + max_memory + history + turnBytes + databaseBytes
///  kernel <= connections x (2 x SO_SNDBUF + receive buffer)
/// ```
enum MemoryFormula {
    /// The program itself, its rings and receive buffers, the pool of free segments (8 MiB with their marks), the area
    /// in which a batch is checked, what is remembered of who reads which channel (4 MiB), and what the allocator may
    /// keep of what was freed (4 MiB, and parts of pages that hold something still).
    static let baseBytes = 44 << 20
    /// What one connection can cost beside what is counted: its records in both tables, its first input buffer, its
    /// first block of runs, its places in lists, and what it is told in the turn in which it comes.
    static let connectionBytes = 4 << 10
    /// What one turn can add before the budget is looked at again: events of 1.5 MiB in three formats in segments that
    /// are half full, their marks, runs for 524,288 deliveries and a batch, and the copies of a body.
    static let turnBytes = 32 << 20
    /// What a database adds: events on their way to the disk, in arrays that may have room for twice as many, and half
    /// of that again while one grows; what is said of each; the same events in the history, in segments that may be
    /// half full; SQLite's cache, and pages that were read for readers.
    static let databaseBytes = 256 << 20
    /// The least that `max_memory` may be.
    static let memoryLeast = 16 << 20
    /// What of the past is held if nothing is said, where `max_memory` is no less; and the least that may be asked for.
    static let historyDefaultBytes = 64 << 20
    static let historyLeast = 1 << 20
    /// What the history can come to beyond its limit: the segment that is being written, with an event of 256 KiB.
    static let historySlackBytes = 1 << 20
    /// The default where a quarter of the machine, or of the process's cgroup, is less.
    static let memoryDefaultLeast = 64 << 20

    /// Input, subscriptions and channels get a quarter each at most; whatever waits for readers has the rest.
    static func share(of memoryMax: Int) -> Int { memoryMax / 4 }

    /// The most that the process's own memory can come to.
    static func heapBytesMax(connections: Int, memoryMax: Int, history: Int, hasDatabase: Bool = false) -> Int {
        baseBytes + connections * connectionBytes + memoryMax + turnBytes
            + (history == 0 ? 0 : history + historySlackBytes) + (hasDatabase ? databaseBytes : 0)
    }

    /// The most that the kernel can hold for TCP connections and for those on unix sockets. On TCP that is what is sent
    /// and what is received; on unix sockets what a peer writes is charged to that peer.
    static func kernelBytesMax(tcp: Int, unix: Int) -> Int {
        tcp * 2 * (Engine.sendBufferTCPBytes + Engine.receiveBufferTCPBytes) + unix * 2 * Engine.sendBufferUnixBytes
    }

    /// The most that can wait for one subscriber: a reader that goes on reading is kept up to twice its limit, and what
    /// one turn brings is judged at its end.
    static func ringBytesMax(limitBytes: Int, turnBytes: Int = turnBytes) -> Int {
        let (twice, overflows) = limitBytes.multipliedReportingOverflow(by: 2)
        return overflows ? .max : twice + turnBytes
    }

    // MARK: What things cost

    /// An array's own bytes and what the allocator adds.
    private static let arrayBytes = 48

    /// A channel: its record (in a table that is copied to grow), its name, its place among the names.
    static func channelBytes(_ name: ChannelName) -> Int {
        3 * MemoryLayout<Channel>.stride + 64 + arrayBytes + name.bytes.count
    }

    /// A list of all channels, while it is made and copied into an answer.
    static func channelListBytesMax(_ channels: borrowing ChannelTable) -> Int {
        3 * (channels.nameBytes + channels.count * 128) + channels.count * 8
    }

    /// The body of a page of history: its lines, and around them a cursor for each and for the whole.
    static func historyBodyBytesMax(_ page: HistoryPage) -> Int {
        page.bytes.count + page.seqs.count * (page.hasUnnumbered ? Cursor.byteCountMax + 3 : 0) + 512
    }

    /// A page of history, while it is copied into an answer; it was found itself, and what holds it may have grown.
    static func historyBytesMax(_ page: HistoryPage) -> Int { 4 * historyBodyBytesMax(page) + page.seqs.count * 32 }

    /// A group of subscribers that want the same, but for its members.
    static func groupBytes(_ group: SubscriberGroup) -> Int {
        var bytes = groupFixedBytes + group.key.count + group.discriminator.count
        for pattern in group.patternsOrEverything { bytes += patternBytes(pattern) }
        for type in group.types { bytes += arrayBytes + type.count }
        return bytes
    }

    /// The most that a subscription can cost: as a group of its own.
    static func groupBytesMax(_ subscription: Subscription) -> Int {
        // The key names everything a second time.
        var bytes = groupFixedBytes + 256 + patternBytes(.everything)
        for pattern in subscription.patterns { bytes += patternBytes(pattern) + pattern.bytes.count + 1 }
        for type in subscription.types { bytes += arrayBytes + 2 * type.count + 24 }
        return bytes + SlotList.capacityMin * MemoryLayout<UInt32>.stride
    }

    private static var groupFixedBytes: Int {
        3 * MemoryLayout<SubscriberGroup>.stride + 3 * arrayBytes + 64
    }

    /// A pattern, and its place in the index.
    private static func patternBytes(_ pattern: ChannelPattern) -> Int {
        arrayBytes + pattern.bytes.count + PatternIndex.bytesMax(pattern)
    }
}
