/// The images of states that there are: who comes with others gets the same one.

import Planted
import Wire

/// Images that wait to be built, the one that is being built, and those that are complete.
struct StateImages: ~Copyable {
    /// Complete images that are kept although nobody reads them: so many, and so many bytes of them.
    static let idleMax = 8
    static let idleBytesMax = 4 << 20
    /// Up to so many bytes an image is made anew for everybody who finds it out of date; a larger one serves those who
    /// come within so many milliseconds.
    static let smallBytes = 256 << 10
    static let sharedMilliseconds: UInt64 = 1000

    private(set) var images: [StateImage] = []
    private var newest: UInt32 = 0
    /// Images completed since the start.
    var made: UInt64 = 0
    /// What is being built.
    var builder: ImageBuilder?
    /// How often a state was replaced by what is no event.
    var version: UInt64 = 0
    /// The states of so many channels are compared one by one to know whether an image is out of date.
    static let tablesCompared = 16

    subscript(index: Int) -> StateImage {
        get { images[index] }
        _modify { yield &images[index] }
    }

    /// The place of an image in the list. O(images).
    func index(of serial: UInt32) -> Int? { images.firstIndex { $0.serial == serial } }

    /// Whether there is none.
    var isEmpty: Bool { images.isEmpty }

    /// Whether some image is to be built.
    @inline(__always)
    var hasWork: Bool { !images.isEmpty && isAnyUnbuilt }

    // Out of line: every turn asks, and nearly always there is no image.
    @inline(never)
    private var isAnyUnbuilt: Bool { builder != nil || images.contains { $0.stage == .waiting } }

    /// An image waits for readers of others to give memory back.
    var waitsForMemory = false

    /// Whether there is something to be done that waits for nothing.
    @inline(__always)
    var hasWorkNow: Bool { hasWork && !waitsForMemory }

    /// Adds an image that waits to be built; its place in the list.
    mutating func add(
        _ patterns: [ChannelPattern], _ types: [[UInt8]], key: [UInt8], _ form: StateImage.Form, _ kind: StateImage.Kind
    ) -> Int {
        newest &+= 1
        images.append(
            StateImage(serial: newest, patterns: patterns, types: types, key: key, form: form, kind: kind))
        return images.count - 1
    }

    /// Takes an image out and gives its segments back. Who is still being sent one keeps that.
    mutating func remove(at index: Int, _ segments: inout SegmentStore) {
        if builder?.serial == images[index].serial { builder = nil }
        for segment in images[index].segments { segments.release(segment) }
        images.remove(at: index)
    }

    /// Gives back what nobody reads. `keepsSome` leaves the newest ones within the limits: others may come.
    mutating func trim(keepsSome: Bool, _ segments: inout SegmentStore) {
        var kept = 0
        var bytes = 0
        for index in images.indices.reversed()
        where images[index].stage == .complete && images[index].readers == 0 && images[index].answers.isEmpty {
            kept += 1
            bytes += images[index].byteCount
            if keepsSome, kept <= Self.idleMax, bytes <= Self.idleBytesMax { continue }
            remove(at: index, &segments)
        }
    }

    /// A reader of an image is done with it, or has gone.
    mutating func leave(_ serial: UInt32) {
        guard let index = index(of: serial), !isPlanted("imageReadForEver") else { return }
        images[index].readers -= 1
    }
}
