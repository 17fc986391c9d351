/// What is kept of a key, and the slab that such rows lie in.

import Glibc
import Wire

/// The newest event of a key, or what is left of one.
struct StateRow: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// The event removed its key.
        static let removed = Flags(rawValue: 1)
        /// A newer event of the key has come, or the whole state was replaced: whoever goes over the rows as they were
        /// before still needs this one.
        static let superseded = Flags(rawValue: 2)
        /// Nothing is in this place.
        static let free = Flags(rawValue: 4)
    }

    static let none = UInt32.max

    var digest: ContentDigest
    var seq: UInt64
    /// The event as readers see it, a JSONL line without its newline; nil only where nothing is.
    var line: UnsafeMutablePointer<UInt8>?
    var count: UInt32
    /// The line's room.
    var capacity: UInt32
    /// Its neighbours in rising `seq`; of a free place, `next` is another one.
    var previous: UInt32
    var next: UInt32
    /// Its neighbours among the removed, or among the superseded.
    var before: UInt32
    var after: UInt32
    var flags: Flags

    static var freed: StateRow {
        StateRow(
            digest: ContentDigest(high: 0, low: 0), seq: 0, line: nil, count: 0, capacity: 0, previous: none,
            next: none, before: none, after: none, flags: .free)
    }

    /// The line. Valid until the row is changed.
    var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: line, count: Int(count)) }
    /// There is this to know of its key now.
    var isLive: Bool { flags.isEmpty }
    var isRemoved: Bool { flags.contains(.removed) }
    var isSuperseded: Bool { flags.contains(.superseded) }

    // MARK: What it costs

    /// A row, its places in the index while that grows, and what the allocator adds to a line.
    static let fixedBytes = MemoryLayout<StateRow>.stride + indexBytes + allocationBytes
    static let indexBytes = 24
    static let allocationBytes = 16

    /// The room that a line gets. As if its number had as many digits as one can have: so what is kept of a key does
    /// not grow by being said again.
    static func capacity(_ count: Int, seq: UInt64) -> Int {
        (count + DecimalText.byteCountMax - DecimalText.byteCount(seq) + 15) & ~15
    }

    /// What it costs altogether.
    var cost: Int { Self.fixedBytes + Int(capacity) }
}

/// Rows by place. Places that were given back are taken again first; memory is only given back altogether.
struct StateSlab: ~Copyable {
    private static let chunkRows = 1024
    static let leastRows = 4

    /// The chunks, of `chunkRows` each, but for the only one of a small slab.
    private var chunks: UnsafeMutablePointer<UnsafeMutablePointer<StateRow>>
    private var chunkCount = 0
    private var chunkRoom = 1
    private(set) var capacity = 0
    /// Places from here on were never used.
    private(set) var end: UInt32 = 0
    private var free = StateRow.none

    init() { chunks = .allocate(capacity: 1) }

    deinit {
        for place in 0..<end { Glibc.free(rows[place].pointee.line) }
        for chunk in 0..<chunkCount { Glibc.free(chunks[chunk]) }
        chunks.deallocate()
    }

    /// Rows without their owner: good until a place is taken.
    struct Rows: BitwiseCopyable {
        fileprivate var chunks: UnsafeMutablePointer<UnsafeMutablePointer<StateRow>>

        subscript(place: UInt32) -> UnsafeMutablePointer<StateRow> {
            chunks[Int(place) / StateSlab.chunkRows] + Int(place) % StateSlab.chunkRows
        }
    }

    var rows: Rows { Rows(chunks: chunks) }

    /// A place, whose row is anything.
    mutating func take() -> UInt32 {
        if free != StateRow.none {
            let place = free
            free = rows[place].pointee.next
            return place
        }
        if Int(end) == capacity { grow() }
        end += 1
        return end - 1
    }

    /// Gives a place back; its line is freed.
    mutating func giveBack(_ place: UInt32) {
        Glibc.free(rows[place].pointee.line)
        rows[place].initialize(to: .freed)
        rows[place].pointee.next = free
        free = place
    }

    private mutating func grow() {
        if capacity < Self.chunkRows {
            capacity = max(Self.leastRows, capacity * 2)
            let size = capacity * MemoryLayout<StateRow>.stride
            chunks[0] = Self.allocated(realloc(chunkCount == 0 ? nil : chunks[0], size))
            chunkCount = 1
            return
        }
        if chunkCount == chunkRoom {
            let grown = UnsafeMutablePointer<UnsafeMutablePointer<StateRow>>.allocate(capacity: chunkRoom * 2)
            grown.moveInitialize(from: chunks, count: chunkCount)
            chunks.deallocate()
            chunks = grown
            chunkRoom *= 2
        }
        (chunks + chunkCount).initialize(
            to: Self.allocated(malloc(Self.chunkRows * MemoryLayout<StateRow>.stride)))
        chunkCount += 1
        capacity += Self.chunkRows
    }

    private static func allocated(_ memory: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<StateRow> {
        guard let memory else { preconditionFailure("no memory for the state of a channel") }
        return memory.assumingMemoryBound(to: StateRow.self)
    }
}
