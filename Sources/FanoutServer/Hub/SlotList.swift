/// A dense list of 32-bit indices that a hot loop can walk without bounds checks or reference counting.

/// Grows by doubling, shrinks when three quarters are empty; removal swaps the last element in. Owned by whoever holds
/// it: `deallocate` when done.
struct SlotList: BitwiseCopyable {
    /// The smallest capacity, which is kept.
    static let capacityMin = 4

    private(set) var elements: UnsafeMutablePointer<UInt32>?
    private(set) var count = 0
    private var capacity = 0

    /// Bytes of memory that it holds.
    var bytesHeld: Int { capacity * MemoryLayout<UInt32>.stride }

    /// Adds at the end and returns the place. Amortised O(1).
    mutating func append(_ element: UInt32) -> UInt32 {
        if count == capacity { move(to: max(Self.capacityMin, capacity * 2)) }
        elements![count] = element
        count += 1
        return UInt32(count - 1)
    }

    private mutating func move(to newCapacity: Int) {
        let moved = UnsafeMutablePointer<UInt32>.allocate(capacity: newCapacity)
        if let elements {
            moved.update(from: elements, count: count)
            elements.deallocate()
        }
        elements = moved
        capacity = newCapacity
    }

    /// Takes the element at `place` out and returns the one that has taken its place, if any. Amortised O(1).
    mutating func remove(at place: UInt32) -> UInt32? {
        precondition(Int(place) < count, "no such place in the list")
        count -= 1
        defer { if capacity > Self.capacityMin * 4, count * 4 <= capacity { move(to: capacity / 2) } }
        guard Int(place) < count else { return nil }
        elements![Int(place)] = elements![count]
        return elements![Int(place)]
    }

    /// Empties the list and keeps its memory.
    mutating func removeAll() { count = 0 }

    subscript(place: Int) -> UInt32 {
        precondition(place < count, "no such place in the list")
        return elements![place]
    }

    mutating func deallocate() {
        elements?.deallocate()
        elements = nil
        count = 0
        capacity = 0
    }
}
