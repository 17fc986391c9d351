// The window of the newest events: what it finds, what goes, and when memory comes back.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("History window")
struct HistoryWindowTests {
    /// A chain of lines with a window over it, and what must be in it, block by block.
    private final class Model {
        var log: FrameLog
        var window: HistoryWindow
        private(set) var blocks: [(segment: UInt32, lines: [[UInt8]])] = []
        private(set) var first: UInt64 = 1
        private(set) var head: UInt64 = 0
        /// What went, in order.
        private(set) var gone: [UInt64] = []

        init(bytesMax: Int, segmentBytes: Int) {
            log = FrameLog(segmentBytes: segmentBytes)
            window = HistoryWindow(bytesMax: bytesMax, segmentBytes: segmentBytes)
        }

        /// Writes a line of so many bytes, newline included, and puts it into the window as the hub does.
        func write(_ byteCount: Int, _ event: HeldEvent = HeldEvent(channel: 0, kindStart: 0, kindCount: 0)) {
            let (run, bytes) = log.reserve(.jsonl, byteCount: byteCount)
            head += 1
            let line = (0..<byteCount).map { UInt8(truncatingIfNeeded: Int(head) &* 31 &+ $0) }
            bytes.update(from: line, count: byteCount)
            log.commit(run, seq: head)
            if blocks.last?.segment != run.segment { blocks.append((run.segment, [])) }
            blocks[blocks.count - 1].lines.append(line)
            window.append(event, seq: head, line: run, &log.segments)
            while let block = window.surplus(log.segments) {
                #expect(block.firstSeq == first && Int(block.count) == blocks[0].lines.count)
                gone += block.firstSeq...block.lastSeq
                first = block.lastSeq + 1
                blocks.removeFirst()
                window.removeOldest(&log.segments)
            }
        }

        private func start(_ run: OutboundRun) -> UnsafePointer<UInt8>? {
            UnsafePointer(log.segments[run.segment].base + Int(run.start))
        }

        /// Asks for every number there is or was, and compares all that is said of it.
        func check() {
            #expect(window.firstSeq == first && window.eventCount == head + 1 - first)
            #expect(window.blockCount == blocks.count)
            for seq in [0] + gone.suffix(3) + [head + 1, head + 2, .max] { #expect(window.place(holding: seq) == nil) }
            var seq = first
            for (place, block) in blocks.enumerated() {
                #expect(window[place].firstSeq == seq && window[place].segment == block.segment)
                for (inBlock, line) in block.lines.enumerated() {
                    #expect(window.place(holding: seq) == place)
                    #expect(Array(window[place].line(inBlock, log.segments)) == line)
                    let run = window[place].run(from: inBlock, log.segments)
                    #expect(run.segment == block.segment && run.end == log.segments[block.segment].used)
                    #expect(start(run) == window[place].line(inBlock, log.segments).baseAddress)
                    seq += 1
                }
                #expect(window[place].lastSeq == seq - 1)
            }
            #expect(seq == head + 1)
        }
    }

    @Test("every event that is held is found, at each block's first and last one, and no other", arguments: 1...8)
    func lookUp(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let model = Model(bytesMax: 60_000, segmentBytes: 1024)
        for _ in 0..<40 {
            for _ in 0..<random.magnitude(1...63) { model.write(random.magnitude(2...1500)) }
            model.check()
        }
        #expect(model.gone == Array(1..<model.first) && model.first > 100, "the oldest went, in order")
    }

    @Test("the oldest blocks go whole as soon as more is held than may be, and no sooner")
    func eviction() {
        let model = Model(bytesMax: 100_000, segmentBytes: 4096)
        var heldBefore = 0
        for _ in 0..<2000 {
            let goneBefore = model.gone.count
            model.write(200)
            let held = model.window.bytesHeld(model.log.segments)
            #expect(held <= 100_000)
            if model.gone.count > goneBefore {
                // What went made room for the block that was begun, or a page of it, and for nothing else.
                #expect(heldBefore + 4096 + SegmentStore.pageBytes + 512 * 12 > 100_000, "\(heldBefore) were held")
            }
            heldBefore = held
        }
        #expect(model.gone.count > 1000)
    }

    @Test("an event of 256 KiB has a block of its own; the newest block stays, however little may be held")
    func largeEvents() {
        let model = Model(bytesMax: 20_000, segmentBytes: 4096)
        for byteCount in [100, 262_144 + 60, 100, 100, 262_144 + 60, 262_144 + 60, 100] {
            model.write(byteCount)
            model.check()
        }
        #expect(
            model.gone.count == 6, "a large one leaves no room for those before it, and has none with others after it")
        model.write(100)
        model.check()
        #expect(model.gone.count == 6)
    }

    @Test("thousands of tiny events in one segment: the table of a block grows with them, and is counted")
    func tinyEvents() {
        let model = Model(bytesMax: 1 << 20, segmentBytes: SegmentStore.segmentBytes)
        for _ in 0..<SegmentStore.marksMax { model.write(3) }
        #expect(model.window.blockCount == 1)
        let held = model.window.bytesHeld(model.log.segments)
        #expect(
            held == SegmentStore.segmentBytes + SegmentStore.marksMax * 16 + SegmentStore.marksMax * 12)
        model.write(3)
        #expect(model.window.blockCount == 2, "a segment has only so many frames")
        model.check()
    }

    @Test("what goes is given back once, at once where nobody sends of it, else by the last who does")
    func givenBack() {
        let model = Model(bytesMax: 40_000, segmentBytes: 4096)
        for _ in 0..<20 { model.write(200) }
        let segment = model.window[0].segment
        // Somebody sends of it.
        model.log.segments[segment].references += 1
        for _ in 0..<200 { model.write(200) }
        #expect(model.window[0].firstSeq > 20 && !model.log.segments[segment].isHistory)
        #expect(model.log.segments[segment].references == 1)
        let tail = Set((0..<model.window.blockCount).map { model.window[$0].segment } + [segment])
        #expect(model.log.segments.bytesHeld == tail.count * 4096)
        model.log.segments.release(segment)
        #expect(model.log.segments.bytesHeld == (tail.count - 1) * 4096)
        model.check()
    }

    @Test("with no bytes for it nothing is held, and a stream that is read begins its segment anew as ever")
    func off() throws {
        let model = try HubModel(historyBytes: 0)
        try model.attach(1, [], .jsonlUnix)
        for number in 0..<5000 {
            try model.publish("{\"n\":\(number)}", kind: nil, on: "a")
            _ = model.takeBytes(1)
        }
        #expect(!model.hub.window.isOn && model.hub.window.blockCount == 0)
        #expect(model.hub.oldestHeld == 5001)
        #expect(model.delivery.log.segments.bytesHeld == SegmentStore.segmentBytes)
        #expect(model.hub.newestPruned(for: []) == 5000)
    }

    @Test("the newest event of each channel that went is remembered; those of others are not missed with them")
    func pruned() throws {
        let model = try HubModel(segmentBytes: 1024, historyBytes: 30_000)
        var seqs: [String: [UInt64]] = [:]
        func check() throws {
            let oldest = model.hub.oldestHeld
            for (channel, seqs) in seqs {
                let patterns = [try #require(ChannelPattern(channel))]
                #expect(model.hub.newestPruned(for: patterns) == seqs.last { $0 < oldest } ?? 0, "\(channel)")
            }
            #expect(model.hub.newestPruned(for: []) == oldest - 1)
            let both = try [#require(ChannelPattern("a")), #require(ChannelPattern("b/*"))]
            let newest = (seqs["a"] ?? []) + (seqs["b/x"] ?? [])
            #expect(model.hub.newestPruned(for: both) == newest.filter { $0 < oldest }.max() ?? 0)
        }
        for number in 0..<600 {
            let channel = number % 100 == 3 ? "a" : number % 7 == 0 ? "b/x" : "c"
            seqs[channel, default: []].append(try model.publish("{\"n\":\(number)}", kind: nil, on: channel).last)
            if number % 20 == 0 { try check() }
        }
        try check()
        #expect(model.hub.oldestHeld > 300)
        let never = [try #require(ChannelPattern("never"))]
        #expect(model.hub.newestPruned(for: never) == 0)
    }

    @Test("nothing is held twice: the window's segments are those that readers of lines are sent")
    func oneCopy() throws {
        let model = try HubModel(historyBytes: 1 << 20)
        try model.attach(1, [], .jsonlUnix)
        for number in 0..<2000 { try model.publish("{\"n\":\(number)}", kind: nil, on: "a") }
        let held = model.delivery.log.segments.bytesHeld + model.delivery.log.segments.markBytesHeld
        #expect(held == model.hub.window.segmentBytesHeld(model.delivery.log.segments))
        var lines: [UInt8] = []
        for place in 0..<model.hub.window.blockCount {
            let run = model.hub.window[place].run(from: 0, model.delivery.log.segments)
            let base = model.delivery.log.segments[run.segment].base + Int(run.start)
            lines += UnsafeBufferPointer(start: base, count: Int(run.count))
        }
        #expect(lines == model.takeBytes(1))
    }
}
