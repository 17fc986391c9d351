/// Pooled blocks of runs: where a backlog goes that does not fit into the connection's own record.

import Glibc

/// Fixed-size blocks in chunks, linked by index. A connection without a backlog owns none, and a chunk in which no
/// block is in use goes back to the system, so that ten thousand laggards leave nothing behind.
struct RunBlocks: ~Copyable {
    /// Runs in a block.
    static let runsPerBlock = 31
    /// Blocks in a chunk: 47 KiB, so that few blocks that stay keep little.
    static let blocksPerChunk = 128
    /// What a chunk takes of the system: whole pages.
    static let chunkBytes = (blocksPerChunk * MemoryLayout<Block>.stride + 4095) / 4096 * 4096
    /// "No block", and "no chunk".
    static let none = UInt32.max

    struct Block {
        var next: UInt32 = RunBlocks.none
        var runs: InlineArray<31, OutboundRun> = InlineArray(repeating: OutboundRun(segment: 0, start: 0, count: 0))
    }

    /// One chunk. Those with a free block are a doubly linked list; those without memory a singly linked one.
    private struct Chunk {
        var base: UnsafeMutablePointer<Block>?
        var inUse = 0
        /// Blocks that were ever in use, and the first of those that are free.
        var touched = 0
        var firstFree = RunBlocks.none
        var next = RunBlocks.none
        var previous = RunBlocks.none
    }

    private var chunks: [Chunk] = []
    private var firstWithRoom = RunBlocks.none
    private var firstWithoutMemory = RunBlocks.none
    /// A chunk in which nothing is in use, kept for the next block: a backlog that comes and goes costs no system call.
    private var spare = RunBlocks.none
    private var chunksHeld = 0
    /// Blocks in use.
    private(set) var inUse = 0

    /// Bytes of the chunks in which a block is in use.
    var bytesHeld: Int { (chunksHeld - (spare == Self.none ? 0 : 1)) * Self.chunkBytes }

    deinit {
        for chunk in chunks {
            if let base = chunk.base { munmap(base, Self.chunkBytes) }
        }
    }

    subscript(index: UInt32) -> Block {
        unsafeAddress { UnsafePointer(block(index)) }
        unsafeMutableAddress { block(index) }
    }

    private func block(_ index: UInt32) -> UnsafeMutablePointer<Block> {
        chunks[Int(index) / Self.blocksPerChunk].base! + Int(index) % Self.blocksPerChunk
    }

    /// A block with no successor. O(1).
    mutating func take() -> UInt32 {
        if firstWithRoom == Self.none { addChunk() }
        let place = firstWithRoom
        var chunk = chunks[Int(place)]
        let within: UInt32
        if chunk.firstFree != Self.none {
            within = chunk.firstFree
            chunk.firstFree = chunk.base![Int(within)].next
            chunk.base![Int(within)].next = Self.none
        } else {
            within = UInt32(chunk.touched)
            (chunk.base! + chunk.touched).initialize(to: Block())
            chunk.touched += 1
        }
        chunk.inUse += 1
        chunks[Int(place)] = chunk
        if chunk.inUse == Self.blocksPerChunk { unlink(place) }
        inUse += 1
        return place * UInt32(Self.blocksPerChunk) + within
    }

    /// Gives a block back. O(1).
    mutating func release(_ index: UInt32) {
        let place = index / UInt32(Self.blocksPerChunk)
        let within = index % UInt32(Self.blocksPerChunk)
        var chunk = chunks[Int(place)]
        precondition(chunk.inUse > 0, "a block was released that nobody had")
        chunk.base![Int(within)].next = chunk.firstFree
        chunk.firstFree = within
        chunk.inUse -= 1
        chunks[Int(place)] = chunk
        if chunk.inUse == Self.blocksPerChunk - 1 { link(place) }
        if chunk.inUse == 0 {
            unlink(place)
            if spare == Self.none { spare = place } else { giveBack(place) }
        }
        inUse -= 1
    }

    private mutating func addChunk() {
        if spare != Self.none {
            link(spare)
            spare = Self.none
            return
        }
        let pages = mmap(nil, Self.chunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let pages, pages != MAP_FAILED else { preconditionFailure("the system has no memory for a backlog") }
        let base = pages.bindMemory(to: Block.self, capacity: Self.blocksPerChunk)
        chunksHeld += 1
        let place: UInt32
        if firstWithoutMemory != Self.none {
            place = firstWithoutMemory
            firstWithoutMemory = chunks[Int(place)].next
            chunks[Int(place)] = Chunk(base: base)
        } else {
            place = UInt32(chunks.count)
            chunks.append(Chunk(base: base))
        }
        link(place)
    }

    private mutating func giveBack(_ place: UInt32) {
        munmap(chunks[Int(place)].base, Self.chunkBytes)
        chunksHeld -= 1
        chunks[Int(place)] = Chunk(next: firstWithoutMemory)
        firstWithoutMemory = place
    }

    private mutating func link(_ place: UInt32) {
        chunks[Int(place)].next = firstWithRoom
        chunks[Int(place)].previous = Self.none
        if firstWithRoom != Self.none { chunks[Int(firstWithRoom)].previous = place }
        firstWithRoom = place
    }

    private mutating func unlink(_ place: UInt32) {
        let (next, previous) = (chunks[Int(place)].next, chunks[Int(place)].previous)
        if next != Self.none { chunks[Int(next)].previous = previous }
        if previous == Self.none { firstWithRoom = next } else { chunks[Int(previous)].next = next }
    }
}
