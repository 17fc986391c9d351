/// One block of encoded bytes that many connections send from at the same time.

/// Which frames a segment holds.
enum Chain: UInt8 {
    /// Events as JSONL lines.
    case jsonl = 0
    /// Events as SSE records.
    case sse = 1
    /// Events as WebSocket frames.
    case webSocket = 2
    /// Bytes for one connection each: response heads, acks, `$` records.
    case control = 3
    /// Constant bytes that live as long as the process: keep-alives, the page.
    case constant = 4
}

/// Where one event's frame ends inside its segment, so that a position can be turned back into a `seq`.
struct FrameMark: BitwiseCopyable {
    /// Offset just after the frame.
    var end: UInt32
    /// When the frame was written: the low 32 bits of the loop's milliseconds.
    var writtenAt: UInt32
    /// The event's number.
    var seq: UInt64
}

/// A block of frames. Bytes below `used` never change while anything refers to the segment.
///
/// ```
///  base                              used            capacity
///  |frame|frame|frame|frame|frame|...|               |
///        ^marks[0].end    ^marks[3].end
/// ```
struct Segment {
    var base: UnsafeMutablePointer<UInt8>
    var capacity: UInt32
    var used: UInt32 = 0
    /// Runs that name this segment, and one each for the chain whose tail it is, for the history and for a page of it.
    /// At 0 it goes back to the pool.
    var references: UInt32 = 0
    /// The history holds it: readers that wait for bytes of it keep nothing from being freed.
    var isHistory = false
    var chain: Chain
    var marks: UnsafeMutablePointer<FrameMark>?
    var markCount: UInt32 = 0
    /// Marks whose memory exists: pages of them are touched as they are needed and stay with the segment.
    var marksTouched: UInt32 = 0

    /// The number of marks whose frame ends at or before `offset`. O(log n).
    func marksEnding(at offset: UInt32) -> UInt32 {
        guard let marks else { return 0 }
        // A position is most often the very end: nobody is behind.
        if markCount > 0, marks[Int(markCount) - 1].end <= offset { return markCount }
        var low: UInt32 = 0
        var high = markCount
        while low < high {
            let middle = (low + high) / 2
            if marks[Int(middle)].end <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The newest event whose frame ends after `start` and by `end`.
    func lastEvent(after start: UInt32, by end: UInt32) -> UInt64? {
        let count = marksEnding(at: end)
        guard count > 0, let mark = marks?[Int(count) - 1], mark.end > start else { return nil }
        return mark.seq
    }

    /// The number of marks of events up to `seq`. O(log n).
    func marksUp(to seq: UInt64) -> UInt32 {
        guard let marks else { return 0 }
        var low: UInt32 = 0
        var high = markCount
        while low < high {
            let middle = (low + high) / 2
            if marks[Int(middle)].seq <= seq { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// How many events' frames end after `start` and by `end`.
    func events(after start: UInt32, by end: UInt32) -> UInt32 {
        marksEnding(at: end) - marksEnding(at: start)
    }

    /// The first place at or after `offset` where a frame ends, which is where a stream may be cut.
    func frameBoundary(atOrAfter offset: UInt32) -> UInt32 {
        guard offset > 0, let marks, markCount > 0 else { return offset == 0 ? 0 : used }
        let count = marksEnding(at: offset)
        if count > 0, marks[Int(count) - 1].end == offset { return offset }
        return count < markCount ? marks[Int(count)].end : used
    }
}
