/// The segments, their references and the pool they come from and go back to.

import Glibc

/// Owns every segment. Segments are named by their index, which is stable while anything refers to them.
///
/// Loop thread only. Nothing is asked of the system once the pool holds enough segments for the traffic; what a burst
/// took beyond the pool is given back when nothing refers to it any more.
struct SegmentStore: ~Copyable {
    /// A pooled segment's size. Small, because 40 unsent bytes can keep a whole segment alive.
    static let segmentBytes = 64 * 1024
    /// Free segments that are kept as they are for reuse: 4 MiB, two seconds of a busy stream.
    static let pooledMax = 64
    /// Frames in one segment. 4,096 of 16 bytes fill it; without an end, marks of tiny frames would cost eight times
    /// what the frames do.
    static let marksMax = 4096
    /// Marks come into being by the page.
    static let marksPerPage = pageBytes / MemoryLayout<FrameMark>.stride
    static let pageBytes = 4096

    let segmentBytes: Int
    private let slots: SegmentSlots
    private var table: UnsafeMutablePointer<Segment>
    private var tableCapacity = 64
    private var tableCount = 0
    private var freeIndices: [UInt32] = []
    /// Free segments of the usual size: with their pages, and with none.
    private var pool: [UInt32] = []
    private var bare: [UInt32] = []
    /// Bytes of all segments that something refers to.
    private(set) var bytesHeld = 0
    /// Bytes of their marks.
    private(set) var markBytesHeld = 0

    init(segmentBytes: Int = SegmentStore.segmentBytes) {
        self.segmentBytes = segmentBytes
        slots = SegmentSlots(segmentBytes: segmentBytes)
        table = .allocate(capacity: tableCapacity)
    }

    deinit {
        for index in 0..<tableCount where table[index].capacity > segmentBytes && table[index].chain != .constant {
            SegmentSlots.unmapLarge(table[index].base, capacity: Int(table[index].capacity))
        }
        table.deallocate()
    }

    subscript(index: UInt32) -> Segment {
        unsafeAddress { UnsafePointer(table + Int(index)) }
        unsafeMutableAddress { table + Int(index) }
    }

    /// The start of the table, for loops that must not pay for a look-up. Valid until the next `take`.
    var unsafeTable: UnsafeMutablePointer<Segment> { table }

    /// One more than the highest index in use. It follows the most segments that were ever held: 56 bytes for each.
    var indexEnd: Int { tableCount }

    /// Free segments that still have their pages.
    var pooledCount: Int { pool.count }

    /// What a segment costs: its bytes and its marks. Constant bytes cost nothing.
    func cost(_ index: UInt32) -> Int {
        let segment = table + Int(index)
        guard segment.pointee.chain != .constant else { return 0 }
        return Int(segment.pointee.capacity) + Self.markBytes(segment.pointee)
    }

    /// A segment with room for `bytesMin` and one reference, the caller's. O(1); asks the system for memory when the
    /// pool is empty or the frame is larger than a pooled segment.
    mutating func take(chain: Chain, bytesMin: Int) -> UInt32 {
        let index: UInt32
        if bytesMin > segmentBytes {
            let (base, marks) = SegmentSlots.mapLarge(capacity: bytesMin)
            index = insert(Segment(base: base, capacity: UInt32(bytesMin), chain: chain, marks: marks))
        } else if let pooled = pool.popLast() ?? bare.popLast() {
            index = pooled
        } else {
            let (base, marks) = slots.next()
            index = insert(Segment(base: base, capacity: UInt32(segmentBytes), chain: chain, marks: marks))
        }
        let segment = table + Int(index)
        segment.pointee.chain = chain
        segment.pointee.references = 1
        bytesHeld += Int(segment.pointee.capacity)
        markBytesHeld += Self.markBytes(segment.pointee)
        return index
    }

    /// A segment over bytes that live as long as the process. It is never released.
    mutating func adopt(constant bytes: UnsafeBufferPointer<UInt8>) -> UInt32 {
        insert(
            Segment(
                base: UnsafeMutablePointer(mutating: bytes.baseAddress!), capacity: UInt32(bytes.count),
                used: UInt32(bytes.count), references: 1, chain: .constant))
    }

    /// Gives back one reference; at none the segment is free for other frames.
    mutating func release(_ index: UInt32) {
        let segment = table + Int(index)
        precondition(segment.pointee.references > 0, "a segment was released more often than referred to")
        segment.pointee.references -= 1
        if segment.pointee.references == 0 { retire(index) }
    }

    /// Remembers that an event's frame ends at `used`. Allocates nothing: the page is there, or comes when touched.
    mutating func mark(_ index: UInt32, seq: UInt64, writtenAt: UInt32) {
        let segment = table + Int(index)
        let place = segment.pointee.markCount
        precondition(place < Self.marksMax, "a segment has more frames than it may")
        segment.pointee.marks![Int(place)] = FrameMark(end: segment.pointee.used, writtenAt: writtenAt, seq: seq)
        segment.pointee.markCount = place + 1
        if place == segment.pointee.marksTouched {
            segment.pointee.marksTouched += UInt32(Self.marksPerPage)
            markBytesHeld += Self.pageBytes
        }
    }

    private static func markBytes(_ segment: Segment) -> Int {
        Int(segment.marksTouched) * MemoryLayout<FrameMark>.stride
    }

    private mutating func insert(_ segment: Segment) -> UInt32 {
        if let index = freeIndices.popLast() {
            table[Int(index)] = segment
            return index
        }
        if tableCount == tableCapacity {
            let grown = UnsafeMutablePointer<Segment>.allocate(capacity: tableCapacity * 2)
            grown.moveInitialize(from: table, count: tableCount)
            table.deallocate()
            table = grown
            tableCapacity *= 2
        }
        (table + tableCount).initialize(to: segment)
        tableCount += 1
        return UInt32(tableCount - 1)
    }

    private mutating func retire(_ index: UInt32) {
        let segment = table + Int(index)
        precondition(segment.pointee.chain != .constant, "constant bytes live as long as the process")
        bytesHeld -= Int(segment.pointee.capacity)
        markBytesHeld -= Self.markBytes(segment.pointee)
        segment.pointee.used = 0
        segment.pointee.markCount = 0
        if Int(segment.pointee.capacity) > segmentBytes {
            SegmentSlots.unmapLarge(segment.pointee.base, capacity: Int(segment.pointee.capacity))
            segment.pointee.marks = nil
            segment.pointee.marksTouched = 0
            segment.pointee.capacity = 0
            freeIndices.append(index)
        } else if pool.count < Self.pooledMax {
            pool.append(index)
        } else {
            slots.giveBack(segment.pointee.base)
            segment.pointee.marksTouched = 0
            bare.append(index)
        }
    }
}
