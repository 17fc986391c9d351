/// A dense list of 32-bit indices that a hot loop can walk without bounds checks or reference counting.

/// Grows by doubling; removal swaps the last element in. Owned by whoever holds it: `deallocate` when done.
struct SlotList: BitwiseCopyable {
    private(set) var elements: UnsafeMutablePointer<UInt32>?
    private(set) var count = 0
    private var capacity = 0

    /// Adds at the end and returns the place. Amortised O(1).
    mutating func append(_ element: UInt32) -> UInt32 {
        if count == capacity {
            let grown = UnsafeMutablePointer<UInt32>.allocate(capacity: max(4, capacity * 2))
            if let elements {
                grown.update(from: elements, count: count)
                elements.deallocate()
            }
            elements = grown
            capacity = max(4, capacity * 2)
        }
        elements![count] = element
        count += 1
        return UInt32(count - 1)
    }

    /// Takes the element at `place` out and returns the one that has taken its place, if any. O(1).
    mutating func remove(at place: UInt32) -> UInt32? {
        precondition(Int(place) < count, "no such place in the list")
        count -= 1
        guard Int(place) < count else { return nil }
        elements![Int(place)] = elements![count]
        return elements![Int(place)]
    }

    /// Takes `element` out, wherever it is. O(n).
    mutating func removeFirst(equalTo element: UInt32) {
        for place in 0..<count where elements![place] == element {
            _ = remove(at: UInt32(place))
            return
        }
    }

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
