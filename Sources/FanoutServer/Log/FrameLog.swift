/// The chains of segments that frames are written to: one per wire format, and one for bytes meant for one connection.

import Wire

/// Writes each frame once and hands out the run of bytes it became.
///
/// A chain is its tail segment: earlier segments live on only while a connection still has bytes of theirs to send.
/// When nothing refers to the tail any more, writing starts again at its beginning, so that a stream whose readers
/// keep up sends from the same few cached lines.
struct FrameLog: ~Copyable {
    var segments: SegmentStore
    /// The segment each chain is writing to, by chain; `.max` before its first frame.
    private(set) var tails: InlineArray<4, UInt32> = InlineArray(repeating: .max)

    init(segmentBytes: Int = SegmentStore.segmentBytes) {
        segments = SegmentStore(segmentBytes: segmentBytes)
    }

    /// Room for one frame of `byteCount` bytes in `chain`. The caller fills all of it, then commits.
    ///
    /// The pointer is valid until the next call. O(1).
    mutating func reserve(_ chain: Chain, byteCount: Int) -> (run: OutboundRun, bytes: UnsafeMutablePointer<UInt8>) {
        let slot = Int(chain.rawValue)
        var index = tails[slot]
        if index != .max, segments[index].references == 1 {
            segments[index].used = 0
            segments[index].markCount = 0
        }
        if index == .max || Int(segments[index].capacity - segments[index].used) < byteCount
            || Int(segments[index].markCount) == SegmentStore.marksMax
        {
            if index != .max { segments.release(index) }
            index = segments.take(chain: chain, bytesMin: byteCount)
            tails[slot] = index
        }
        let start = segments[index].used
        return (
            OutboundRun(segment: index, start: start, count: UInt32(byteCount)), segments[index].base + Int(start)
        )
    }

    /// Makes a reserved frame part of its segment. An event's frame is marked with its number.
    mutating func commit(_ run: OutboundRun, seq: UInt64? = nil, writtenAt: UInt32 = 0) {
        segments[run.segment].used = run.start + run.count
        if let seq { segments.mark(run.segment, seq: seq, writtenAt: writtenAt) }
    }

    /// Copies bytes meant for one connection to the control chain.
    mutating func writeControl(_ bytes: Span<UInt8>) -> OutboundRun {
        let (run, target) = reserve(.control, byteCount: bytes.count)
        bytes.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { target.update(from: base, count: source.count) }
        }
        commit(run)
        return run
    }
}
