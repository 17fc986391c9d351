/// The connections that have something to send, in the order in which they got it.

/// A first-in, first-out list of slots, each in it once at most: true exactly while the connection has its `.queued`
/// flag. Slots side by side, not a list threaded through the records: the next records are known early enough to be
/// fetched ahead. It grows to a power of two below four times the most connections there ever were, and stays there; of
/// that it writes to no more than was ever queued at once, 4 bytes for each.
struct FlushQueue: ~Copyable {
    private var slots: UnsafeMutablePointer<UInt32>
    private var capacity = 64
    /// The queue is `slots[first ..< end]`.
    private var first = 0
    private var end = 0

    init() { slots = .allocate(capacity: capacity) }

    deinit { slots.deallocate() }

    /// Connections in the queue.
    var count: Int { end &- first }

    /// Puts a connection at the end unless it is in the queue. Amortised O(1).
    @inline(__always)
    mutating func append(_ slot: UInt32, in records: UnsafeMutablePointer<Connection>) {
        guard !records[Int(slot)].flags.contains(.queued) else { return }
        records[Int(slot)].flags.insert(.queued)
        if end == capacity { makeRoom() }
        slots[end] = slot
        end &+= 1  // below the capacity
    }

    /// Where the next `count` connections at the end go: for a loop that appends many, says their `.queued` itself, and
    /// then tells `commit` how many there were. Valid until the next call.
    mutating func reserve(_ count: Int) -> UnsafeMutablePointer<UInt32> {
        while capacity - end < count { makeRoom() }
        return slots + end
    }

    /// Those written to where `reserve` said are in the queue.
    mutating func commit(_ count: Int) {
        precondition(count <= capacity - end, "more was written than there was room for")
        end += count
    }

    /// The first connections, at most `most`. They stay in the queue until `removeFirst`, and must lose their `.queued`
    /// by then. Valid until the next call of another method.
    func front(_ most: Int) -> UnsafeBufferPointer<UInt32> {
        UnsafeBufferPointer(start: slots + first, count: min(count, most))
    }

    /// Takes the first connections out.
    mutating func removeFirst(_ count: Int) {
        precondition(count <= self.count, "more was taken out than was in")
        first += count
        if first == end {
            first = 0
            end = 0
        }
    }

    /// Takes a connection out wherever it is, because its slot is about to be free. O(queue); rare: a connection
    /// is closed between getting bytes and the next flush.
    mutating func remove(_ slot: UInt32, in records: UnsafeMutablePointer<Connection>) {
        guard records[Int(slot)].flags.contains(.queued) else { return }
        var place = first
        while slots[place] != slot { place += 1 }
        (slots + place).update(from: slots + place + 1, count: end - place - 1)
        end -= 1
        records[Int(slot)].flags.remove(.queued)
    }

    /// Moves the queue to the beginning, or to more memory where it begins there.
    @inline(never)
    private mutating func makeRoom() {
        let count = end - first
        if first > 0 {
            slots.update(from: slots + first, count: count)
        } else {
            let larger = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity * 2)
            larger.update(from: slots, count: count)
            slots.deallocate()
            slots = larger
            capacity *= 2
        }
        first = 0
        end = count
    }
}
