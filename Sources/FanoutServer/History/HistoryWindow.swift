/// The newest events, held in memory for readers that come back.

import Glibc
import Planted

/// What is kept of an event beside its line and its mark.
struct HeldEvent: BitwiseCopyable {
    /// Its channel, by index.
    var channel: UInt32
    /// Where the text of its kind begins in the segment.
    var kindStart: UInt32
    /// How long that is, with `kindIsEscaped` added where its text has escapes; `noKind` where it has no kind.
    var kindCount: UInt32

    static let kindIsEscaped: UInt32 = 1 << 31
    static let noKind = UInt32.max
}

/// A segment of lines, and what else is known of its events, whose numbers are consecutive.
struct HistoryBlock: BitwiseCopyable {
    /// The number of its first event.
    var firstSeq: UInt64
    /// The segment. Its marks are the events' in the same order.
    var segment: UInt32
    /// Events in it, at least one.
    var count: UInt32 = 0
    /// One for each.
    var events: UnsafeMutablePointer<HeldEvent>

    var lastSeq: UInt64 { firstSeq + UInt64(count) - 1 }
    /// Pages of `events` that are used.
    var tableBytes: Int {
        let pages = (Int(count) * MemoryLayout<HeldEvent>.stride + SegmentStore.pageBytes - 1) / SegmentStore.pageBytes
        return pages * SegmentStore.pageBytes
    }
}

/// The chain of JSONL lines, as far back as a number of bytes reaches: the history *is* what live readers were sent.
///
/// ```
///  oldest                              newest
///  [block][block][block] ... [block][block]      each holds a reference on its segment
///  ^ firstSeq                             ^ grows with each event
/// ```
/// Events go whole blocks at a time, the oldest first. An event is found by its number in O(log blocks). Loop thread
/// only. Nothing is allocated for an event: the tables lie in address space of which pages come as they are touched.
struct HistoryWindow: ~Copyable {
    /// Room for a block's events, as many as a segment has marks: a whole number of pages.
    private static let tableBytesMax = SegmentStore.marksMax * MemoryLayout<HeldEvent>.stride

    /// What a place of the ring may keep of a block's table when that goes.
    private static let tableBytesKept = 2 * SegmentStore.pageBytes

    /// What may be held, the block that is being written left aside; 0 holds nothing.
    let bytesMax: Int
    /// A ring of blocks.
    private let blocks: UnsafeMutablePointer<HistoryBlock>
    private let capacity: Int
    /// A table for each place of the ring.
    private let tables: UnsafeMutableRawPointer
    private var first = 0
    private(set) var blockCount = 0
    /// Events held.
    private(set) var eventCount: UInt64 = 0
    /// Bytes of segments, marks included, and of tables of events: of all blocks but the newest, which still grows.
    private var sealedSegmentBytes = 0
    private var sealedTableBytes = 0

    /// - Parameters:
    ///   - bytesMax: what may be held; 0 turns the window off.
    ///   - segmentBytes: the usual size of a segment.
    ///   - unstoredBytesMax: bytes of lines that may be on their way to a database, and are held beyond the limit.
    init(bytesMax: Int, segmentBytes: Int, unstoredBytesMax: Int = 0) {
        self.bytesMax = bytesMax
        // Two blocks that follow each other hold more than a segment's bytes: the line that begins the second did not
        // fit into the first.
        capacity = bytesMax / segmentBytes + 2 + 2 * unstoredBytesMax / segmentBytes
        blocks = .allocate(capacity: capacity)
        let pages = mmap(
            nil, capacity * Self.tableBytesMax, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
            0)
        precondition(pages != MAP_FAILED, "no address space for the history")
        tables = pages!
        madvise(tables, capacity * Self.tableBytesMax, MADV_NOHUGEPAGE)
    }

    deinit {
        munmap(tables, capacity * Self.tableBytesMax)
        blocks.deallocate()
    }

    var isOn: Bool { bytesMax > 0 }

    /// A block by its place, 0 is the oldest.
    subscript(place: Int) -> HistoryBlock {
        unsafeAddress {
            precondition(place < blockCount, "no such block")
            return UnsafePointer(blocks + index(place))
        }
    }

    private func index(_ place: Int) -> Int {
        let index = first + place
        return index < capacity ? index : index - capacity
    }

    /// The oldest event held; nil where none is.
    var firstSeq: UInt64? { blockCount == 0 ? nil : blocks[first].firstSeq }

    /// Bytes held of segments, with their marks; and with the tables of events.
    func segmentBytesHeld(_ segments: borrowing SegmentStore) -> Int {
        blockCount == 0 ? 0 : sealedSegmentBytes + segments.cost(self[blockCount - 1].segment)
    }
    func bytesHeld(_ segments: borrowing SegmentStore) -> Int {
        segmentBytesHeld(segments) + sealedTableBytes + (blockCount == 0 ? 0 : self[blockCount - 1].tableBytes)
    }

    /// Takes in an event whose line was just committed to the JSONL chain. Its number is the next one. Amortised O(1).
    mutating func append(_ event: HeldEvent, seq: UInt64, line: OutboundRun, _ segments: inout SegmentStore) {
        if blockCount == 0 || blocks[index(blockCount - 1)].segment != line.segment {
            beginBlock(seq, line, &segments)
        }
        let block = blocks + index(blockCount - 1)
        precondition(seq == block.pointee.firstSeq + UInt64(block.pointee.count), "numbers are consecutive")
        block.pointee.events[Int(block.pointee.count)] = event
        block.pointee.count += 1
        eventCount += 1
    }

    private mutating func beginBlock(_ seq: UInt64, _ line: OutboundRun, _ segments: inout SegmentStore) {
        precondition(line.start == 0, "a block begins with its segment")
        precondition(blockCount < capacity, "the oldest blocks go in time")
        if blockCount > 0 {
            sealedSegmentBytes += segments.cost(self[blockCount - 1].segment)
            sealedTableBytes += self[blockCount - 1].tableBytes
        }
        let table = tables + index(blockCount) * Self.tableBytesMax
        blocks[index(blockCount)] = HistoryBlock(
            firstSeq: seq, segment: line.segment,
            events: table.bindMemory(to: HeldEvent.self, capacity: SegmentStore.marksMax))
        blockCount += 1
        segments[line.segment].references += 1
        segments[line.segment].isHistory = true
    }

    /// The oldest block, if more is held than may be; never the one that is being written, nor one of which events are
    /// not stored, as far as there is room.
    /// - Parameter stored: the newest event that the database has, where there is one.
    func surplus(_ segments: borrowing SegmentStore, stored: UInt64 = .max) -> HistoryBlock? {
        guard blockCount > 1, blockCount == capacity || bytesHeld(segments) > bytesMax else { return nil }
        return blockCount == capacity || blocks[first].lastSeq <= stored ? blocks[first] : nil
    }

    /// Forgets the oldest block; who still has to send bytes of it keeps its segment.
    mutating func removeOldest(_ segments: inout SegmentStore) {
        precondition(blockCount > 1, "the block that is being written stays")
        let block = blocks[first]
        sealedSegmentBytes -= segments.cost(block.segment)
        sealedTableBytes -= block.tableBytes
        // What tiny events took is given back: those that follow may be large ones.
        if block.tableBytes > Self.tableBytesKept { madvise(block.events, Self.tableBytesMax, MADV_DONTNEED) }
        eventCount -= UInt64(block.count)
        segments[block.segment].isHistory = false
        if !isPlanted("goneSegmentKept") { segments.release(block.segment) }
        if isPlanted("goneSegmentReleasedTwice") { segments.release(block.segment) }
        first = first + 1 == capacity ? 0 : first + 1
        blockCount -= 1
    }

    /// The place of the block that holds an event; nil where it is not held. O(log blocks).
    func place(holding seq: UInt64) -> Int? {
        guard blockCount > 0, seq >= blocks[first].firstSeq, seq <= self[blockCount - 1].lastSeq else { return nil }
        var low = 0
        var high = blockCount - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if self[middle].firstSeq <= seq { low = middle } else { high = middle - 1 }
        }
        return low
    }
}

extension HistoryBlock {
    /// The bytes of an event's line, its newline included, by its place in the block. Valid while the block is held.
    func line(_ place: Int, _ segments: borrowing SegmentStore) -> UnsafeBufferPointer<UInt8> {
        let segment = segments[segment]
        let start = place == 0 ? 0 : Int(segment.marks![place - 1].end)
        return UnsafeBufferPointer(start: segment.base + start, count: Int(segment.marks![place].end) - start)
    }

    /// The text of an event's kind, quotes left aside; nil where it has none.
    func kind(
        _ place: Int, _ segments: borrowing SegmentStore
    ) -> (text: UnsafeBufferPointer<UInt8>, isEscaped: Bool)? {
        let event = events[place]
        guard event.kindCount != HeldEvent.noKind else { return nil }
        let count = event.kindCount & ~HeldEvent.kindIsEscaped
        let start = segments[segment].base + Int(event.kindStart)
        return (UnsafeBufferPointer(start: start, count: Int(count)), event.kindCount & HeldEvent.kindIsEscaped != 0)
    }

    /// The run of lines from an event, by its place in the block, to the newest of the block.
    func run(from place: Int, _ segments: borrowing SegmentStore) -> OutboundRun {
        let marks = segments[segment].marks!
        let start = place == 0 ? 0 : marks[place - 1].end
        return OutboundRun(segment: segment, start: start, count: marks[Int(count) - 1].end - start)
    }
}
