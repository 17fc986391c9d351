// A ring and what should be in it, kept as plain arrays.
@testable import FanoutServer

/// Runs as a list, bytes as (segment, place) pairs. It knows nothing of blocks.
struct RingModel: ~Copyable {
    struct Byte: Equatable {
        var segment: UInt32
        var place: UInt32
    }

    var ring = OutboundRing()
    var blocks = RunBlocks()
    private(set) var bytes: [Byte] = []
    private(set) var runs: [OutboundRun] = []
    /// References that the ring's owner has taken and not given back.
    private(set) var references: [UInt32: Int] = [:]
    /// The first thing that was wrong.
    private(set) var fault: String?

    mutating func note(_ what: String) {
        if fault == nil { fault = what }
    }

    mutating func append(_ run: OutboundRun) {
        let isNew = ring.append(run, blocks: &blocks)
        for offset in 0..<run.count { bytes.append(Byte(segment: run.segment, place: run.start + offset)) }
        if let last = runs.last, last.segment == run.segment, last.end == run.start {
            runs[runs.count - 1].count += run.count
            if isNew { note("an extension took a second reference") }
        } else {
            runs.append(run)
            if !isNew { note("a run of its own took no reference") }
        }
        if isNew { references[run.segment, default: 0] += 1 }
    }

    mutating func consume(_ count: Int) {
        var finished: [OutboundRun] = []
        let ofFront = ring.consume(UInt32(count), blocks: &blocks) { finished.append($0) }
        var left = UInt32(count)
        var expected: [OutboundRun] = []
        while let first = runs.first, left >= first.count {
            left -= first.count
            expected.append(runs.removeFirst())
        }
        if left > 0 {
            runs[0].start += left
            runs[0].count -= left
        }
        bytes.removeFirst(count)
        if ofFront != left { note("\(ofFront) bytes of the front were taken, not \(left)") }
        if !same(finished, expected) { note("finished \(finished), not \(expected)") }
        for run in finished { giveBack(run) }
    }

    mutating func drain() {
        var drained: [OutboundRun] = []
        ring.drain(blocks: &blocks) { drained.append($0) }
        if !same(drained, runs) { note("drained \(drained), not \(runs)") }
        for run in drained { giveBack(run) }
        runs = []
        bytes = []
        check()
        if blocks.inUse != 0 { note("\(blocks.inUse) blocks are in use by an empty ring") }
        if references.values.contains(where: { $0 != 0 }) { note("references did not come home: \(references)") }
    }

    private mutating func giveBack(_ run: OutboundRun) {
        references[run.segment, default: 0] -= 1
        if references[run.segment]! < 0 { note("segment \(run.segment) was given back twice") }
    }

    /// Compares everything that can be seen.
    mutating func check() {
        if Int(ring.byteCount) != bytes.count { note("\(ring.byteCount) bytes, not \(bytes.count)") }
        if Int(ring.runCount) != runs.count { note("\(ring.runCount) runs, not \(runs.count)") }
        if ring.isEmpty != bytes.isEmpty { note("isEmpty is \(ring.isEmpty)") }
        checkFirst(runsMax: .max, bytesMax: .max)
    }

    /// What a send would get, byte by byte.
    mutating func checkFirst(runsMax: Int, bytesMax: UInt32) {
        var seen: [Byte] = []
        var pieces = 0
        ring.forEachFirst(runsMax: runsMax, bytesMax: bytesMax, blocks: blocks) { run in
            pieces += 1
            for offset in 0..<run.count { seen.append(Byte(segment: run.segment, place: run.start + offset)) }
        }
        var inRuns = 0
        for run in runs.prefix(runsMax) { inRuns += Int(run.count) }
        let expected = min(inRuns, Int(bytesMax))
        if seen != Array(bytes.prefix(expected)) { note("runsMax \(runsMax), bytesMax \(bytesMax): \(seen)") }
        if pieces > runsMax { note("\(pieces) pieces for \(runsMax)") }
    }

    private func same(_ left: [OutboundRun], _ right: [OutboundRun]) -> Bool {
        left.elementsEqual(right) { $0.segment == $1.segment && $0.start == $1.start && $0.count == $1.count }
    }
}

extension OutboundRun: CustomStringConvertible {
    public var description: String { "\(segment):\(start)+\(count)" }
}
