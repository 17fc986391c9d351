/// What one connection has yet to send: a first-in, first-out ring of runs.

import Planted

/// The ring of one connection. Adjacent frames become one run, so a subscriber that gets everything is one growing run.
///
/// ```
///  front      middle: linked blocks of runs      back
///  [run] ---> [run run run ...] -> [run ...] --> [run]   new bytes extend `back`, or `front` while it is alone
/// ```
/// The bytes of a send in flight are the first ones: they are taken off only when it is over.
struct OutboundRing: BitwiseCopyable {
    // What a ring of one run uses comes first: it shares a cache line with what else a delivery touches (Connection).
    private(set) var front = OutboundRun(segment: 0, start: 0, count: 0)
    /// Runs in the ring.
    private(set) var runCount: UInt32 = 0
    /// Bytes in the ring.
    private(set) var byteCount: UInt32 = 0
    private var back = OutboundRun(segment: 0, start: 0, count: 0)
    private var firstBlock = RunBlocks.none
    private var lastBlock = RunBlocks.none
    /// Runs already taken from the first block, and runs put into the last one.
    private var firstTaken: UInt16 = 0
    private var lastFilled: UInt16 = 0

    var isEmpty: Bool { runCount == 0 }

    /// Blocks that the runs between the first and the last one lie in.
    var blockCount: Int {
        guard firstBlock != RunBlocks.none else { return 0 }
        let places = Int(runCount) - 2 + Int(firstTaken)
        return (places + RunBlocks.runsPerBlock - 1) / RunBlocks.runsPerBlock
    }

    /// Adds bytes at the end. True if they became a run of their own, which then holds a reference on its segment:
    /// the caller adds it. O(1).
    // Once for each delivery: most often to an empty ring, in a burst to one run that goes on.
    @inline(__always)
    mutating func append(_ run: OutboundRun, blocks: inout RunBlocks) -> Bool {
        if runCount == 0 {
            front = run
            runCount = 1
            byteCount = run.count
            return true
        }
        byteCount += run.count
        if runCount == 1, front.segment == run.segment, front.end == run.start {
            front.count += run.count
            return false
        }
        return appendBehind(run, &blocks)
    }

    /// Adds a run that does not go on where the only one ends. Its bytes are counted already.
    @inline(never)
    private mutating func appendBehind(_ run: OutboundRun, _ blocks: inout RunBlocks) -> Bool {
        if runCount > 1 {
            if back.segment == run.segment, back.end == run.start {
                back.count += run.count
                return false
            }
            pushMiddle(back, &blocks)
        }
        back = run
        runCount += 1
        return true
    }

    /// Takes the only run out.
    @inline(__always)
    mutating func removeOnly() {
        assert(runCount == 1, "the ring has one run")
        runCount = 0
        byteCount = 0
    }

    /// Takes the first `count` bytes off. `finished` is called for each run that has no bytes left, so that its
    /// reference can be given back. Returns how many bytes were taken off the run that is now in front.
    mutating func consume(
        _ count: UInt32, blocks: inout RunBlocks, finished: (OutboundRun) -> Void
    ) -> UInt32 {
        precondition(count <= byteCount, "more bytes were sent than were queued")
        var left = count
        byteCount -= count
        while left > 0 {
            if left < front.count {
                front.start += left
                front.count -= left
                return left
            }
            left -= front.count
            let done = front
            popFront(&blocks)
            finished(done)
        }
        return 0
    }

    /// The first runs, at most `runsMax` of them and about `bytesMax` bytes, for one send.
    func forEachFirst(
        runsMax: Int, bytesMax: UInt32, blocks: borrowing RunBlocks, _ body: (OutboundRun) -> Void
    ) {
        guard runCount > 0 else { return }
        var bytesLeft = bytesMax
        func take(_ run: OutboundRun) -> Bool {
            var run = run
            run.count = min(run.count, bytesLeft)
            bytesLeft -= run.count
            body(run)
            return bytesLeft > 0
        }
        guard take(front), runCount > 1, runsMax > 1 else { return }
        var room = runsMax - 1
        var block = firstBlock
        var index = firstTaken
        for _ in 0..<(runCount - 2) {
            guard room > 0 else { return }
            if Int(index) == RunBlocks.runsPerBlock {
                block = blocks[block].next
                index = 0
            }
            guard take(blocks[block].runs[Int(index)]) else { return }
            index += 1
            room -= 1
        }
        if room > 0 { _ = take(back) }
    }

    /// The blocks that the runs between the first and the last one lie in, for a count from scratch.
    func forEachBlock(_ blocks: borrowing RunBlocks, _ body: (UInt32) -> Void) {
        var block = firstBlock
        while block != RunBlocks.none {
            body(block)
            block = block == lastBlock ? RunBlocks.none : blocks[block].next
        }
    }

    /// Takes every run out, first to last, leaving the ring empty.
    mutating func drain(blocks: inout RunBlocks, _ body: (OutboundRun) -> Void) {
        while runCount > 0 {
            let run = front
            byteCount -= run.count
            popFront(&blocks)
            body(run)
        }
    }

    private mutating func popFront(_ blocks: inout RunBlocks) {
        runCount -= 1
        if runCount == 0 { return }
        if firstBlock == RunBlocks.none {
            front = back
            return
        }
        front = blocks[firstBlock].runs[Int(firstTaken)]
        firstTaken += 1
        if firstBlock == lastBlock, firstTaken == lastFilled {
            blocks.release(firstBlock)
            firstBlock = RunBlocks.none
            lastBlock = RunBlocks.none
        } else if Int(firstTaken) == RunBlocks.runsPerBlock - (isPlanted("ringBlockOffByOne") ? 1 : 0) {
            let next = blocks[firstBlock].next
            blocks.release(firstBlock)
            firstBlock = next
            firstTaken = 0
        }
    }

    private mutating func pushMiddle(_ run: OutboundRun, _ blocks: inout RunBlocks) {
        if firstBlock == RunBlocks.none {
            firstBlock = blocks.take()
            lastBlock = firstBlock
            firstTaken = 0
            lastFilled = 0
        } else if Int(lastFilled) == RunBlocks.runsPerBlock {
            let next = blocks.take()
            blocks[lastBlock].next = next
            lastBlock = next
            lastFilled = 0
        }
        blocks[lastBlock].runs[Int(lastFilled)] = run
        lastFilled += 1
    }
}
