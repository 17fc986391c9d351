/// The segments, their references and the pool they come from and go back to.

import Glibc

/// Owns every segment. Segments are named by their index, which is stable while anything refers to them.
///
/// Loop thread only. Nothing is allocated once the pool holds enough segments for the traffic.
struct SegmentStore: ~Copyable {
    /// A pooled segment's size. Small, because 40 unsent bytes can keep a whole segment alive.
    static let segmentBytes = 64 * 1024
    /// Free segments that are kept for reuse: 4 MiB, two seconds of a busy stream.
    static let pooledMax = 64

    private var table: UnsafeMutablePointer<Segment>
    private var tableCapacity = 64
    private var tableCount = 0
    private var freeIndices: [UInt32] = []
    private var pool: [UInt32] = []
    /// Bytes of all segments that something refers to.
    private(set) var bytesHeld = 0

    init() {
        table = .allocate(capacity: tableCapacity)
    }

    deinit {
        for index in 0..<tableCount where table[index].capacity > 0 && table[index].chain != .constant {
            table[index].base.deallocate()
            table[index].marks?.deallocate()
        }
        table.deallocate()
    }

    subscript(index: UInt32) -> Segment {
        unsafeAddress { UnsafePointer(table + Int(index)) }
        unsafeMutableAddress { table + Int(index) }
    }

    /// The start of the table, for loops that must not pay for a look-up. Valid until the next `take`.
    var unsafeTable: UnsafeMutablePointer<Segment> { table }

    /// A segment with room for `bytesMin` and one reference, the caller's. O(1); allocates when the pool is empty
    /// or the frame is larger than a pooled segment.
    mutating func take(chain: Chain, bytesMin: Int) -> UInt32 {
        if bytesMin <= Self.segmentBytes, let index = pool.popLast() {
            table[Int(index)].chain = chain
            table[Int(index)].references = 1
            bytesHeld += Self.segmentBytes
            return index
        }
        let capacity = max(bytesMin, Self.segmentBytes)
        let segment = Segment(
            base: .allocate(capacity: capacity), capacity: UInt32(capacity), references: 1, chain: chain)
        bytesHeld += capacity
        return insert(segment)
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

    /// Remembers that an event's frame ends at `used`.
    mutating func mark(_ index: UInt32, seq: UInt64, writtenAt: UInt32) {
        let segment = table + Int(index)
        if segment.pointee.markCount == segment.pointee.markCapacity {
            // Kept with the pooled segment, so this stops once it has seen the smallest frames it will hold.
            let capacity = max(64, segment.pointee.markCapacity * 2)
            let grown = UnsafeMutablePointer<FrameMark>.allocate(capacity: Int(capacity))
            if let marks = segment.pointee.marks {
                grown.update(from: marks, count: Int(segment.pointee.markCount))
                marks.deallocate()
            }
            segment.pointee.marks = grown
            segment.pointee.markCapacity = capacity
        }
        segment.pointee.marks![Int(segment.pointee.markCount)] = FrameMark(
            end: segment.pointee.used, writtenAt: writtenAt, seq: seq)
        segment.pointee.markCount += 1
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
        segment.pointee.used = 0
        segment.pointee.markCount = 0
        if Int(segment.pointee.capacity) == Self.segmentBytes, pool.count < Self.pooledMax {
            pool.append(index)
        } else {
            segment.pointee.base.deallocate()
            segment.pointee.marks?.deallocate()
            segment.pointee.marks = nil
            segment.pointee.markCapacity = 0
            segment.pointee.capacity = 0
            freeIndices.append(index)
        }
    }
}
