// The chains of segments: reuse, sealing, large frames, the pool.
import Glibc
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("FrameLog")
struct FrameLogTests {
    private static let segmentBytes = SegmentStore.segmentBytes

    /// Writes a frame of one letter and keeps a reference, as a connection would.
    private func write(_ log: inout FrameLog, _ chain: Chain, _ count: Int, _ letter: UInt8 = 65, seq: UInt64? = nil)
        -> OutboundRun
    {
        let (run, bytes) = log.reserve(chain, byteCount: count)
        for index in 0..<count { bytes[index] = letter }
        log.commit(run, seq: seq)
        log.segments[run.segment].references += 1
        return run
    }

    private func holds(_ log: borrowing FrameLog, _ run: OutboundRun, _ letter: UInt8) -> Bool {
        let expected = [UInt8](repeating: letter, count: Int(run.count))
        return memcmp(log.segments[run.segment].base + Int(run.start), expected, expected.count) == 0
    }

    @Test("frames of one chain lie one behind the other, those of different chains apart")
    func adjacency() {
        var log = FrameLog()
        let first = write(&log, .jsonl, 10)
        let other = write(&log, .sse, 10)
        let second = write(&log, .jsonl, 20)
        #expect(first.segment == second.segment && first.end == second.start)
        #expect(other.segment != first.segment)
        for run in [first, other, second] { log.segments.release(run.segment) }
    }

    @Test("a tail that nobody refers to is written again from its start, and its marks are gone")
    func tailReuse() {
        var log = FrameLog()
        let first = write(&log, .jsonl, 100, seq: 1)
        log.segments.release(first.segment)
        let second = write(&log, .jsonl, 50, seq: 2)
        #expect(second.segment == first.segment && second.start == 0)
        #expect(log.segments[second.segment].markCount == 1)
        #expect(log.segments[second.segment].lastEvent(after: 0, by: 50) == 2)
        let third = write(&log, .jsonl, 50, seq: 3)
        #expect(third.start == 50, "somebody refers to the tail, so it is not begun anew")
        log.segments.release(second.segment)
        log.segments.release(third.segment)
    }

    @Test("bytes that somebody refers to never change")
    func bytesStay() {
        var log = FrameLog()
        var kept: [(run: OutboundRun, letter: UInt8)] = []
        for round in 0..<400 {
            let letter = UInt8(truncatingIfNeeded: round)
            kept.append((write(&log, .jsonl, 1 + round * 37 % 5000, letter, seq: UInt64(round + 1)), letter))
            if round % 3 == 0 { log.segments.release(kept.remove(at: round * 7 % kept.count).run.segment) }
            for (run, letter) in kept where !holds(log, run, letter) {
                Issue.record("bytes of \(run) changed in round \(round)")
                return
            }
        }
        for (run, _) in kept { log.segments.release(run.segment) }
        #expect(log.segments.bytesHeld == Self.segmentBytes, "only the tail is left")
    }

    @Test("a frame that does not fit seals the tail; the tail goes when its last reader has it")
    func sealing() {
        var log = FrameLog()
        let first = write(&log, .jsonl, Self.segmentBytes - 10)
        let second = write(&log, .jsonl, 10)
        #expect(second.segment == first.segment, "it fits exactly")
        let third = write(&log, .jsonl, 1)
        #expect(third.segment != first.segment && third.start == 0)
        #expect(log.segments[first.segment].references == 2)
        #expect(log.segments.bytesHeld == 2 * Self.segmentBytes)
        log.segments.release(first.segment)
        log.segments.release(second.segment)
        #expect(log.segments.bytesHeld == Self.segmentBytes)
        log.segments.release(third.segment)
    }

    @Test("a frame larger than a segment has one of its own size, which is not pooled")
    func oversized() {
        var log = FrameLog()
        let large = write(&log, .sse, 300_000, 66)
        #expect(log.segments[large.segment].capacity == 300_000)
        let isWhole = holds(log, large, 66)
        #expect(isWhole)
        let next = write(&log, .sse, 10)
        #expect(next.segment != large.segment)
        log.segments.release(large.segment)
        #expect(log.segments.bytesHeld == Self.segmentBytes)
        let again = write(&log, .webSocket, 10)
        #expect(Int(log.segments[again.segment].capacity) == Self.segmentBytes)
        log.segments.release(next.segment)
        log.segments.release(again.segment)
    }

    @Test("the pool keeps 64 segments and no more, and hands them out before it allocates")
    func pool() {
        var store = SegmentStore()
        let taken = (0..<100).map { _ in store.take(chain: .jsonl, bytesMin: 1) }
        #expect(store.bytesHeld == 100 * Self.segmentBytes)
        for index in taken { store.release(index) }
        #expect(store.bytesHeld == 0)
        #expect(store.pooledCount == SegmentStore.pooledMax)
        let again = (0..<100).map { _ in store.take(chain: .sse, bytesMin: Self.segmentBytes) }
        #expect(Set(again).count == 100, "no index is given out twice")
        #expect(again.allSatisfy { store[$0].chain == .sse && store[$0].used == 0 && store[$0].markCount == 0 })
        for index in again { store.release(index) }
    }

    @Test("a pooled segment keeps nothing of its former life")
    func pooledIsClean() {
        var log = FrameLog()
        let first = write(&log, .jsonl, Self.segmentBytes, seq: 1)
        let second = write(&log, .jsonl, Self.segmentBytes, seq: 2)
        log.segments.release(first.segment)
        let control = log.reserve(.control, byteCount: 5).run
        #expect(control.segment == first.segment)
        #expect(log.segments[control.segment].chain == .control)
        #expect(log.segments[control.segment].lastEvent(after: 0, by: UInt32(Self.segmentBytes)) == nil)
        log.segments.release(second.segment)
    }

    @Test("constant bytes cost nothing and are never given back")
    func constants() {
        var log = FrameLog()
        let bytes = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 3)
        defer { bytes.deallocate() }
        bytes.update(repeating: 1)
        let index = log.segments.adopt(constant: UnsafeBufferPointer(bytes))
        log.segments[index].references += 2
        log.segments.release(index)
        log.segments.release(index)
        #expect(log.segments[index].references == 1)
        #expect(log.segments.bytesHeld == 0)
    }
}
