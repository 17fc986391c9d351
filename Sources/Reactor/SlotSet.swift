/// Which slots are taken.

/// A set of slots that finds the lowest free one in a few steps: a bit per slot, and a bit per full word of the level
/// below, up to one word. All-zero memory is the empty set, so untouched slots cost nothing.
struct SlotSet: ~Copyable {
    private let pages: ZeroPages
    /// The first word of each level; level 0 has a bit per slot.
    private let levels: [4 of UnsafeMutablePointer<UInt64>]
    private let levelCount: Int
    let capacity: Int
    /// Slots taken.
    private(set) var count = 0

    /// - Parameter capacity: 1...16,777,216.
    init(capacity: Int) throws(SystemError) {
        precondition(capacity > 0 && capacity <= 1 << 24, "socketsMax is 1...16,777,216")
        var words: [4 of Int] = [0, 0, 0, 0]
        var levelCount = 0
        var width = capacity
        var total = 0
        repeat {
            width = (width + 63) / 64
            words[levelCount] = width
            total += width
            levelCount += 1
        } while width > 1
        let pages = try ZeroPages(byteCount: total * 8)
        var next = pages.bound(to: UInt64.self, count: total)
        var levels: [4 of UnsafeMutablePointer<UInt64>] = .init(repeating: next)
        for level in 0..<levelCount {
            levels[level] = next
            next += words[level]
        }
        self.pages = pages
        self.levels = levels
        self.levelCount = levelCount
        self.capacity = capacity
    }

    /// Takes the lowest free slot; nil when all are taken.
    mutating func takeLowest() -> UInt32? {
        if count == capacity { return nil }
        var index = 0
        var level = levelCount
        while level > 0 {
            level -= 1
            // The word has a zero bit: the level above says so, and the top word is not full while count < capacity.
            index = index << 6 | (~levels[level][index]).trailingZeroBitCount
        }
        guard index < capacity else { return nil }
        count += 1
        var position = index
        for level in 0..<levelCount {
            levels[level][position >> 6] |= 1 << UInt64(position & 63)
            if levels[level][position >> 6] != .max { break }
            position >>= 6
        }
        return UInt32(index)
    }

    /// Gives a slot back.
    mutating func free(_ slot: UInt32) {
        precondition(contains(slot), "only a taken slot can be given back")
        count -= 1
        var position = Int(slot)
        for level in 0..<levelCount {
            let wasFull = levels[level][position >> 6] == .max
            levels[level][position >> 6] &= ~(1 << UInt64(position & 63))
            if !wasFull { break }
            position >>= 6
        }
    }

    /// Whether a slot is taken; false for slots out of range.
    func contains(_ slot: UInt32) -> Bool {
        Int(slot) < capacity && levels[0][Int(slot) >> 6] & (1 << UInt64(slot & 63)) != 0
    }
}
