/// The connections that have something to send, in the order in which they got it.

/// A first-in, first-out list threaded through the connection records: no memory of its own.
struct FlushQueue: ~Copyable {
    private var first = Connection.none
    private var last = Connection.none
    private(set) var count = 0

    /// Puts a connection at the end unless it is in the queue. O(1).
    @inline(__always)
    mutating func append(_ slot: UInt32, in records: UnsafeMutablePointer<Connection>) {
        guard !records[Int(slot)].flags.contains(.queued) else { return }
        records[Int(slot)].flags.insert(.queued)
        records[Int(slot)].nextQueued = Connection.none
        if last == Connection.none { first = slot } else { records[Int(last)].nextQueued = slot }
        last = slot
        count += 1
    }

    /// Takes the first connection out.
    @inline(__always)
    mutating func popFirst(in records: UnsafeMutablePointer<Connection>) -> UInt32? {
        guard first != Connection.none else { return nil }
        let slot = first
        first = records[Int(slot)].nextQueued
        if first == Connection.none { last = Connection.none }
        records[Int(slot)].flags.remove(.queued)
        count -= 1
        return slot
    }

    /// Takes a connection out wherever it is, because its slot is about to be free. O(queue); rare: a connection
    /// is closed between getting bytes and the next flush.
    mutating func remove(_ slot: UInt32, in records: UnsafeMutablePointer<Connection>) {
        guard records[Int(slot)].flags.contains(.queued) else { return }
        var previous = Connection.none
        var current = first
        while current != slot {
            previous = current
            current = records[Int(current)].nextQueued
        }
        let next = records[Int(slot)].nextQueued
        if previous == Connection.none { first = next } else { records[Int(previous)].nextQueued = next }
        if last == slot { last = previous }
        records[Int(slot)].flags.remove(.queued)
        count -= 1
    }
}
