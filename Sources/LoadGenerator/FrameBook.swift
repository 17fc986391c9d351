/// What events look like on the wire, learnt from their first delivery, so that every other one costs a comparison.

import Glibc

/// One event's frame on one route. `count` is 0 until it was seen.
struct LearntFrame {
    var number: UInt32 = 0
    var count: UInt32 = 0
    /// The slot of the event that some reader got next; -1 while unknown. Only a guess: the bytes decide.
    var next: Int32 = -1
    var publisher: UInt16 = 0
}

/// A window of learnt frames for each route and publisher. Nothing here is needed for a check to be right: a reader for
/// which no frame is held is read in full.
final class FrameBook {
    let frames: UnsafeMutablePointer<LearntFrame>
    private let memory: UnsafeMutablePointer<UInt8>
    private let slotBytes: Int
    private let publishers: Int
    private let window: Int
    private let slotCount: Int

    /// The most that frames may take; fewer events are held where they are large.
    private static let memoryMax = 64 << 20
    /// What a route's framing and a server's members may add to an event.
    private static let overheadBytesMax = 512

    init(routes: Int, publishers: Int, burst: Int, eventBytes: Int) {
        self.publishers = publishers
        slotBytes = eventBytes + Self.overheadBytesMax
        var window = 256
        while window < 2 * burst { window *= 2 }
        while window > 1, window * slotBytes * publishers * routes > Self.memoryMax { window /= 2 }
        self.window = window
        slotCount = window * publishers * max(routes, 1)
        frames = .allocate(capacity: slotCount)
        frames.initialize(repeating: LearntFrame(), count: slotCount)
        memory = .allocate(capacity: slotCount * slotBytes)
    }

    deinit {
        frames.deallocate()
        memory.deallocate()
    }

    /// The slot of an event; another may be in it.
    @inline(__always)
    func slot(route: Int, publisher: Int, number: Int) -> Int {
        (route * publishers + publisher) * window + number & (window - 1)
    }

    /// Whether the bytes at `place` begin with the frame in `slot`.
    @inline(__always)
    func matches(_ slot: Int, _ place: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        let size = Int(frames[slot].count)
        return size > 0 && size <= count && memcmp(memory + slot * slotBytes, place, size) == 0
    }

    /// Holds a frame, unless it is too large; its slot.
    func learn(route: Int, publisher: Int, number: Int, _ frame: Span<UInt8>) -> Int {
        let slot = slot(route: route, publisher: publisher, number: number)
        guard frame.count <= slotBytes else {
            frames[slot].count = 0
            return slot
        }
        let isNew = frames[slot].number != number || frames[slot].count == 0
        frames[slot] = LearntFrame(
            number: UInt32(number), count: UInt32(frame.count), next: isNew ? -1 : frames[slot].next,
            publisher: UInt16(publisher))
        frame.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return }
            memcpy(memory + slot * slotBytes, base, bytes.count)
        }
        return slot
    }
}
