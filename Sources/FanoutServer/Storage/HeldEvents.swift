/// Events that have numbers and that nobody has seen yet: those of channels with `visible: synced`, and what follows.

import Wire

/// Publications, and ends of channels, in the order of their numbers, in three flat arrays.
///
/// There is one order for all channels: while an event is held back, everything that gets a number behind it is too.
struct HeldEvents {
    /// One publication, or the end or beginning of a channel.
    struct Entry {
        var channel: UInt32
        /// Events of it; none where `ends` is set.
        var count = 0
        var byteCount = 0
        /// The last event's number: that of the event before it where there is none.
        var last: UInt64
        /// What it is stamped with, and its time, if that is: the channel's rules may change meanwhile.
        var stamp: StampMembers = []
        var time: Int64 = 0
        /// Whether it has to wait for the disk itself, or only for what stands before it.
        var waitsForDisk = false
        /// True where the channel ends, false where it begins anew.
        var ends: Bool?
    }

    private var entries: [Entry] = []
    private var records: [(event: EventRecord, change: StateChange)] = []
    private var bytes: [UInt8] = []
    /// What was taken already from the front of each.
    private var entriesTaken = 0
    private var recordsTaken = 0
    private var bytesTaken = 0
    /// Events and bytes since the last publication.
    private var count = 0
    private var byteCount = 0
    /// The newest number given to an event, if anything is held.
    private(set) var last: UInt64 = 0

    /// What is kept of the arrays when nothing is held.
    private static let bytesKept = 1 << 20
    private static let placesKept = 16_384

    var isEmpty: Bool { entries.count == entriesTaken }

    /// What they hold in memory.
    var bytesHeld: Int {
        bytes.capacity + records.capacity * MemoryLayout<(EventRecord, StateChange)>.stride
            + entries.capacity * MemoryLayout<Entry>.stride
    }

    /// Adds a compacted event to the publication that `finish` will name.
    mutating func add(_ event: UnsafeBufferPointer<UInt8>, _ record: EventRecord, _ change: StateChange = .none) {
        bytes.append(contentsOf: event)
        records.append((record, change))
        count += 1
        byteCount += event.count
    }

    /// Makes a publication of what was added.
    mutating func finish(on channel: UInt32, last: UInt64, _ stamp: Stamp, waitsForDisk: Bool) {
        entries.append(
            Entry(
                channel: channel, count: count, byteCount: byteCount, last: last, stamp: stamp.members,
                time: stamp.timeMilliseconds, waitsForDisk: waitsForDisk))
        count = 0
        byteCount = 0
        self.last = last
    }

    /// Ends a channel, or lets it begin anew, behind what is held.
    mutating func setEnded(_ isEnded: Bool, _ channel: UInt32) {
        entries.append(Entry(channel: channel, last: last, ends: isEnded))
    }

    /// Whether the oldest one need not wait any longer.
    func isReady(synced: UInt64) -> Bool {
        guard !isEmpty else { return false }
        return !entries[entriesTaken].waitsForDisk || entries[entriesTaken].last <= synced
    }

    /// Takes the oldest one, handing over its events in order; there must be one. O(its bytes) on average.
    mutating func take(_ body: (UnsafeBufferPointer<UInt8>, EventRecord, StateChange) -> Void) -> Entry {
        let entry = entries[entriesTaken]
        bytes.withUnsafeBufferPointer { bytes in
            var start = bytesTaken
            for record in records[recordsTaken..<(recordsTaken + entry.count)] {
                let end = start + record.event.length
                body(UnsafeBufferPointer(rebasing: bytes[start..<end]), record.event, record.change)
                start = end
            }
        }
        entriesTaken += 1
        recordsTaken += entry.count
        bytesTaken += entry.byteCount
        if entriesTaken == entries.count {
            forget()
        } else if isMostlyTaken {
            // What was taken goes when it is the larger part: each byte is moved once on average.
            entries.removeFirst(entriesTaken)
            records.removeFirst(recordsTaken)
            bytes.removeFirst(bytesTaken)
            (entriesTaken, recordsTaken, bytesTaken) = (0, 0, 0)
        }
        return entry
    }

    private var isMostlyTaken: Bool {
        let places = entriesTaken + recordsTaken
        return bytesTaken >= Self.bytesKept && bytesTaken * 2 >= bytes.count
            || places >= Self.placesKept && places * 2 >= entries.count + records.count
    }

    private mutating func forget() {
        let isModest = bytesHeld <= Self.bytesKept
        entries.removeAll(keepingCapacity: isModest)
        records.removeAll(keepingCapacity: isModest)
        bytes.removeAll(keepingCapacity: isModest)
        (entriesTaken, recordsTaken, bytesTaken) = (0, 0, 0)
    }
}
