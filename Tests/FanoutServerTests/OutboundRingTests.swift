// The ring of one connection in every layout, against plain arrays.
import Testing

@testable import FanoutServer
@testable import Reactor

@Suite("OutboundRing")
struct OutboundRingTests {
    /// How the runs of a layout lie to one another.
    enum Layout: CaseIterable {
        /// No two are adjacent.
        case apart
        /// All are: one growing run.
        case adjacent
        /// Pairs are.
        case pairs
        /// Each in a segment of its own.
        case segments

        func run(_ index: Int) -> OutboundRun {
            let place = UInt32(index)
            return switch self {
            case .apart: OutboundRun(segment: 1, start: place * 10, count: 1 + place % 3)
            case .adjacent: OutboundRun(segment: 1, start: place * 2, count: 2)
            case .pairs: OutboundRun(segment: 1, start: place / 2 * 10 + place % 2 * 2, count: 2)
            case .segments: OutboundRun(segment: place, start: 0, count: 2)
            }
        }
    }

    /// A ring with some runs, after `skip` runs have passed through it: so the middle begins anywhere in its block.
    private func filled(_ layout: Layout, runs: Int, skip: Int = 0) -> RingModel {
        var model = RingModel()
        for index in 0..<skip + runs {
            model.append(layout.run(index))
            if index < skip, index >= 2 { model.consume(Int(layout.run(index - 2).count)) }
        }
        return model
    }

    @Test("every number of runs, consumed up to every byte, then filled again", arguments: Layout.allCases)
    func everyByte(layout: Layout) {
        for runs in 0...70 {
            var bytes = 0
            for index in 0..<runs { bytes += Int(layout.run(index).count) }
            for taken in 0...bytes {
                var model = filled(layout, runs: runs)
                model.consume(taken)
                model.check()
                // The first is adjacent to what was there, if anything is; the others are not.
                model.append(layout.run(runs))
                model.append(OutboundRun(segment: 9999, start: 5, count: 4))
                model.check()
                model.drain()
                #expect(model.fault == nil, "\(runs) runs, \(taken) taken")
            }
        }
    }

    @Test("every number of runs behind every place in a block, consumed one byte at a time", arguments: Layout.allCases)
    func everyPlace(layout: Layout) {
        for skip in 0...66 {
            for runs in [0, 1, 2, 3, 30, 31, 32, 33, 34, 61, 62, 63, 64, 65, 70] {
                var model = filled(layout, runs: runs, skip: skip)
                model.check()
                while !model.bytes.isEmpty { model.consume(1) }
                model.check()
                model.append(layout.run(0))
                model.drain()
                #expect(model.fault == nil, "\(runs) runs behind \(skip)")
            }
        }
    }

    @Test("a send sees the first runs up to every number of runs and bytes", arguments: Layout.allCases)
    func first(layout: Layout) {
        for runs in [0, 1, 2, 3, 16, 17, 31, 32, 33, 34, 63, 64, 65, 70] {
            var model = filled(layout, runs: runs, skip: runs % 7)
            for runsMax in 1...72 {
                for bytesMax in [1, 2, 3, 4, 5, 63, 64, 65, 100, 1000] as [UInt32] {
                    model.checkFirst(runsMax: runsMax, bytesMax: bytesMax)
                }
            }
            for bytesMax in 1...150 as ClosedRange<UInt32> { model.checkFirst(runsMax: 16, bytesMax: bytesMax) }
            model.drain()
            #expect(model.fault == nil, "\(runs) runs")
        }
    }

    @Test("blocks that are given back are used again, and a full ring leaves none behind")
    func blocksComeHome() {
        var model = RingModel()
        for round in 0..<50 {
            for index in 0..<200 { model.append(Layout.apart.run(index)) }
            #expect(model.blocks.inUse == 7)
            if round % 2 == 0 { model.drain() } else { model.consume(model.bytes.count) }
            #expect(model.blocks.inUse == 0)
        }
        #expect(model.fault == nil)
    }

    @Test("rings that share a pool of blocks do not touch each other's")
    func sharedBlocks() {
        var blocks = RunBlocks()
        var rings = Array(repeating: OutboundRing(), count: 5)
        var expected = Array(repeating: [UInt32](), count: 5)
        var random = SeededRandom(seed: 7)
        for step in 0..<20_000 {
            let index = random.below(5)
            if random.chance(0.52) {
                let run = OutboundRun(segment: UInt32(step), start: UInt32(index), count: 1)
                _ = rings[index].append(run, blocks: &blocks)
                expected[index].append(UInt32(step))
            } else if !expected[index].isEmpty {
                let count = random.length(upTo: expected[index].count)
                var taken: [UInt32] = []
                _ = rings[index].consume(UInt32(count), blocks: &blocks) { taken.append($0.segment) }
                guard taken == Array(expected[index].prefix(count)) else {
                    Issue.record("ring \(index) lost its order at step \(step)")
                    return
                }
                expected[index].removeFirst(count)
            }
        }
        for index in rings.indices { rings[index].drain(blocks: &blocks) { _ in } }
        #expect(blocks.inUse == 0)
    }

    @Test("long random sequences agree with the model", arguments: 0..<20)
    func random(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var model = RingModel()
        var next: UInt32 = 0
        var segment: UInt32 = 0
        let grows = random.chance(0.5)
        for _ in 0..<3000 {
            switch random.below(10) {
            case 0..<(grows ? 6 : 4):
                if random.chance(0.3) { next += 5 }
                if random.chance(0.1) {
                    segment += 1
                    next = 0
                }
                let count = UInt32(random.magnitude(1...100))
                model.append(OutboundRun(segment: segment, start: next, count: count))
                next += count
            case 9 where random.chance(0.02):
                model.drain()
            default:
                if !model.bytes.isEmpty { model.consume(random.length(upTo: model.bytes.count)) }
            }
            model.checkFirst(runsMax: random.within(1...20), bytesMax: UInt32(random.magnitude(1...4000)))
            if model.fault != nil { break }
        }
        model.drain()
        #expect(model.fault == nil)
    }
}
