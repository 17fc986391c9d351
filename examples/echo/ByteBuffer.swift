/// Bytes in memory of their own, which does not move while it is not appended to: what the kernel may read from.
struct ByteBuffer: ~Copyable {
    private var base: UnsafeMutablePointer<UInt8>?
    private var capacity = 0
    private var start = 0
    private var end = 0

    init() {}

    deinit {
        base?.deallocate()
    }

    var count: Int { end - start }
    var isEmpty: Bool { end == start }

    /// The bytes, valid until the next change of the buffer.
    var bytes: UnsafeMutableBufferPointer<UInt8> {
        UnsafeMutableBufferPointer(start: base.map { $0 + start }, count: count)
    }

    mutating func append(_ more: UnsafeBufferPointer<UInt8>) {
        guard let source = more.baseAddress, more.count > 0 else { return }
        let room = reserve(more.count)
        room.update(from: source, count: more.count)
        end += more.count
    }

    mutating func append(_ more: [UInt8]) {
        more.withUnsafeBufferPointer { append($0) }
    }

    /// Takes `count` bytes away in front. An empty buffer holds no memory, so neither does an idle connection.
    mutating func removeFirst(_ count: Int) {
        precondition(count >= 0 && count <= self.count, "more bytes taken than there are")
        start += count
        if isEmpty { removeAll() }
    }

    mutating func removeAll() {
        base?.deallocate()
        base = nil
        capacity = 0
        start = 0
        end = 0
    }

    /// Where the next `more` bytes go; moves what is there to the front, into twice the memory if need be.
    private mutating func reserve(_ more: Int) -> UnsafeMutablePointer<UInt8> {
        if let base, capacity - end >= more { return base + end }
        let needed = count + more
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(needed, 2 * capacity, 1024))
        if let base {
            memory.update(from: base + start, count: count)
            base.deallocate()
        }
        capacity = max(needed, 2 * capacity, 1024)
        (start, end) = (0, count)
        base = memory
        return memory + end
    }
}
