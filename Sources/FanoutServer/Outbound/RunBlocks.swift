/// Pooled blocks of runs: where a backlog goes that does not fit into the connection's own record.

/// Fixed-size blocks in one growable table, linked by index. A connection without a backlog owns none.
struct RunBlocks: ~Copyable {
    /// Runs in a block.
    static let runsPerBlock = 31
    /// "No block".
    static let none = UInt32.max

    struct Block {
        var next: UInt32 = RunBlocks.none
        var runs: InlineArray<31, OutboundRun> = InlineArray(repeating: OutboundRun(segment: 0, start: 0, count: 0))
    }

    private var table: UnsafeMutablePointer<Block>
    private var capacity = 64
    private var count = 0
    private var firstFree = RunBlocks.none
    /// Blocks in use.
    private(set) var inUse = 0

    init() { table = .allocate(capacity: capacity) }

    deinit { table.deallocate() }

    subscript(index: UInt32) -> Block {
        unsafeAddress { UnsafePointer(table + Int(index)) }
        unsafeMutableAddress { table + Int(index) }
    }

    /// A block with no successor. Amortised O(1).
    mutating func take() -> UInt32 {
        inUse += 1
        if firstFree != Self.none {
            let index = firstFree
            firstFree = table[Int(index)].next
            table[Int(index)].next = Self.none
            return index
        }
        if count == capacity {
            let grown = UnsafeMutablePointer<Block>.allocate(capacity: capacity * 2)
            grown.moveInitialize(from: table, count: count)
            table.deallocate()
            table = grown
            capacity *= 2
        }
        (table + count).initialize(to: Block())
        count += 1
        return UInt32(count - 1)
    }

    /// Gives a block back.
    mutating func release(_ index: UInt32) {
        inUse -= 1
        table[Int(index)].next = firstFree
        firstFree = index
    }
}
