// Marks: from a byte's place to an event's number, against a walk over all of them.
import Testing

@testable import FanoutServer
@testable import Reactor

@Suite("Segment marks")
struct SegmentTests {
    /// Frames at random places of a segment, some of them no events.
    private func segment(
        _ store: inout SegmentStore, seed: UInt64, frames: Int
    ) -> (index: UInt32, marks: [FrameMark]) {
        var random = SeededRandom(seed: seed)
        let index = store.take(chain: .jsonl, bytesMin: 1)
        var marks: [FrameMark] = []
        var seq: UInt64 = 0
        for frame in 0..<frames {
            store[index].used += UInt32(random.within(1...9))
            seq += UInt64(random.within(1...3))
            store.mark(index, seq: seq, writtenAt: UInt32(frame))
            marks.append(FrameMark(end: store[index].used, writtenAt: UInt32(frame), seq: seq))
        }
        return (index, marks)
    }

    @Test("every place and every stretch agree with a walk over all marks", arguments: [0, 1, 2, 3, 31, 65])
    func places(frames: Int) {
        var store = SegmentStore()
        for seed in 0..<2 as Range<UInt64> {
            let (index, marks) = segment(&store, seed: seed, frames: frames)
            let segment = store[index]
            let last = segment.used
            for offset in 0...last + 2 {
                let ending = UInt32(marks.count { $0.end <= offset })
                #expect(segment.marksEnding(at: offset) == ending)
                let boundary =
                    offset == 0 || marks.contains { $0.end == offset }
                    ? offset : marks.first { $0.end >= offset }?.end ?? last
                #expect(segment.frameBoundary(atOrAfter: offset) == boundary, "at \(offset) of \(last)")
            }
            var wrong = 0
            for start in 0...last {
                for end in start...last {
                    let inside = marks.filter { $0.end > start && $0.end <= end }
                    if segment.events(after: start, by: end) != inside.count { wrong += 1 }
                    if segment.lastEvent(after: start, by: end) != inside.last?.seq { wrong += 1 }
                }
            }
            #expect(wrong == 0)
        }
    }

    @Test("a segment without marks has no events, and its only places to cut are its ends")
    func unmarked() {
        var store = SegmentStore()
        let index = store.take(chain: .control, bytesMin: 100)
        store[index].used = 100
        #expect(store[index].marksEnding(at: 100) == 0)
        #expect(store[index].lastEvent(after: 0, by: 100) == nil)
        #expect(store[index].events(after: 0, by: 100) == 0)
        #expect(store[index].frameBoundary(atOrAfter: 0) == 0)
        #expect(store[index].frameBoundary(atOrAfter: 1) == 100)
    }
}
