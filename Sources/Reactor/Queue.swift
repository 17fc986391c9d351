/// What waits for its turn, first come first served.

/// A queue of plain values. It grows to its greatest length and stays there: nothing is allocated in a steady state.
struct Queue<Element: BitwiseCopyable>: ~Copyable {
    private var elements: UnsafeMutablePointer<Element>
    /// A power of two.
    private var capacity: Int
    private var head = 0
    private(set) var count = 0

    init(capacity: Int = 64) {
        precondition(capacity > 0 && capacity & (capacity - 1) == 0, "the capacity is a power of two")
        self.capacity = capacity
        elements = .allocate(capacity: capacity)
    }

    deinit {
        elements.deallocate()
    }

    var isEmpty: Bool { count == 0 }

    var first: Element? { count == 0 ? nil : elements[head] }

    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        elements[(head &+ count) & (capacity &- 1)] = element  // masked: always inside
        count &+= 1
    }

    mutating func popFirst() -> Element? {
        if count == 0 { return nil }
        let first = elements[head]
        head = (head &+ 1) & (capacity &- 1)
        count &-= 1
        return first
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        for index in 0..<count { larger[index] = elements[(head + index) & (capacity - 1)] }
        elements.deallocate()
        elements = larger
        head = 0
        capacity *= 2
    }
}
