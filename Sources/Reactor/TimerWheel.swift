/// Timers: set and cleared in constant time, whatever their number.

/// A hashed wheel of coarse ticks. A timer hangs in the bucket of the tick in which it is due; one that is due in a
/// later round of the wheel stays where it hangs until its round has come. 16 bytes per timer, linked by index;
/// all-zero memory is a timer that is not set. Timers never fire early; they fire at most one tick late.
struct TimerWheel: ~Copyable {
    /// Buckets in the wheel. 1,024 × 16 ms: one round is 16 s, so that keep-alives and idle limits are seen once.
    static let bucketCount = 1024
    /// The list of timers that are due and not yet taken, kept beside the buckets.
    private static let due = bucketCount

    struct Entry: BitwiseCopyable {
        /// Neighbours in the circular list of the bucket, by index.
        var next: UInt32
        var previous: UInt32
        /// Milliseconds; 0 when the timer is not set.
        var deadline: UInt64

        /// Set in `deadline` while the entry is in the list of due timers.
        static let isDue: UInt64 = 1 << 63
    }

    private let pages: ZeroPages
    private let entries: UnsafeMutablePointer<Entry>
    /// The first entry of each list plus one, or 0.
    private let heads: UnsafeMutablePointer<UInt32>
    /// A bit per bucket that is not empty.
    private let occupied: UnsafeMutablePointer<UInt64>
    private let tickMilliseconds: UInt64
    /// Everything due at or before this tick is in the list of due timers.
    private var currentTick: UInt64
    /// Timers set, due ones included.
    private(set) var count = 0
    let capacity: Int

    /// - Parameters:
    ///   - now: milliseconds on the scale of all deadlines.
    init(capacity: Int, tickMilliseconds: Int, now: UInt64) throws(SystemError) {
        precondition(tickMilliseconds > 0, "a tick has a length")
        let pages = try ZeroPages(byteCount: capacity * MemoryLayout<Entry>.stride)
        entries = pages.bound(to: Entry.self, count: capacity)
        self.pages = pages
        self.capacity = capacity
        self.tickMilliseconds = UInt64(tickMilliseconds)
        currentTick = now / UInt64(tickMilliseconds)
        heads = .allocate(capacity: TimerWheel.bucketCount + 1)
        heads.initialize(repeating: 0, count: TimerWheel.bucketCount + 1)
        occupied = .allocate(capacity: TimerWheel.bucketCount / 64)
        occupied.initialize(repeating: 0, count: TimerWheel.bucketCount / 64)
    }

    deinit {
        heads.deallocate()
        occupied.deallocate()
    }

    /// Sets a timer, or sets it anew. A deadline that has passed fires at the next `advance`.
    mutating func set(_ timer: UInt32, at deadline: UInt64) {
        precondition(Int(timer) < capacity, "no such timer")
        if entries[Int(timer)].deadline != 0 { clear(timer) }
        entries[Int(timer)].deadline = min(max(deadline, 1), Entry.isDue - 1)
        link(timer, bucket(of: timer))
        count += 1
    }

    /// Clears a timer; nothing happens if it is not set.
    mutating func clear(_ timer: UInt32) {
        precondition(Int(timer) < capacity, "no such timer")
        if entries[Int(timer)].deadline == 0 { return }
        unlink(timer, bucket(of: timer))
        entries[Int(timer)].deadline = 0
        count -= 1
    }

    /// Whether a timer is set and has not been taken by `popDue`.
    func isSet(_ timer: UInt32) -> Bool {
        entries[Int(timer)].deadline != 0
    }

    /// Moves the timers whose tick has come to the list of due ones, tick by tick.
    mutating func advance(to now: UInt64) {
        let target = now / tickMilliseconds
        if target <= currentTick { return }
        if count == 0 {
            currentTick = target
            return
        }
        // A jump of more than a round visits every bucket once: each holds all timers of its ticks.
        let first = max(currentTick + 1, target >= UInt64(Self.bucketCount) ? target - UInt64(Self.bucketCount) + 1 : 0)
        currentTick = target
        var tick = first
        while let next = nextOccupied(from: tick, through: target) {
            collect(bucket: Int(truncatingIfNeeded: next) & (Self.bucketCount - 1), through: target)
            tick = next + 1
        }
    }

    /// Takes a due timer, in the order of ticks and then of setting; it is not set any more. Nil when none is due.
    mutating func popDue() -> UInt32? {
        let head = heads[Self.due]
        if head == 0 { return nil }
        let timer = head - 1
        unlink(timer, Self.due)
        entries[Int(timer)].deadline = 0
        count -= 1
        return timer
    }

    /// True exactly when `popDue` would give a timer.
    var hasDue: Bool { heads[Self.due] != 0 }

    /// When to call `advance` next, in milliseconds on the scale of deadlines: no timer is due before. Nil without
    /// timers. It may be earlier than the next timer (at most once per round of the wheel and bucket), never later.
    func nextTime() -> UInt64? {
        if count == 0 { return nil }
        if hasDue { return currentTick * tickMilliseconds }
        let through = currentTick + UInt64(Self.bucketCount)
        guard let tick = nextOccupied(from: currentTick + 1, through: through) else { return nil }
        return tick * tickMilliseconds
    }

    // MARK: Lists

    /// The first tick whose bucket holds timers, of whatever round.
    private func nextOccupied(from first: UInt64, through last: UInt64) -> UInt64? {
        var tick = first
        while tick <= last {
            let bucket = Int(truncatingIfNeeded: tick) & (Self.bucketCount - 1)
            let word = occupied[bucket >> 6] >> UInt64(bucket & 63)
            if word != 0 {
                let found = tick + UInt64(word.trailingZeroBitCount)
                return found <= last ? found : nil
            }
            tick += UInt64(64 - bucket & 63)
        }
        return nil
    }

    /// Moves a bucket's timers of ticks up to `tick` to the list of due ones, keeping their order.
    private mutating func collect(bucket: Int, through tick: UInt64) {
        guard heads[bucket] != 0 else { return }
        var timer = heads[bucket] - 1
        let last = entries[Int(timer)].previous
        while true {
            let next = entries[Int(timer)].next
            if self.tick(of: entries[Int(timer)].deadline) <= tick {
                unlink(timer, bucket)
                entries[Int(timer)].deadline |= Entry.isDue
                link(timer, Self.due)
            }
            if timer == last { break }
            timer = next
        }
    }

    /// The first tick that begins at or after a deadline: rounding up is what keeps timers from firing early.
    private func tick(of deadline: UInt64) -> UInt64 {
        deadline / tickMilliseconds + (deadline % tickMilliseconds == 0 ? 0 : 1)
    }

    private func bucket(of timer: UInt32) -> Int {
        let deadline = entries[Int(timer)].deadline
        if deadline & Entry.isDue != 0 { return Self.due }
        // What is already due goes into the next bucket to be visited.
        let tick = max(tick(of: deadline), currentTick + 1)
        return Int(truncatingIfNeeded: tick) & (Self.bucketCount - 1)
    }

    private mutating func link(_ timer: UInt32, _ list: Int) {
        if heads[list] == 0 {
            entries[Int(timer)].next = timer
            entries[Int(timer)].previous = timer
            heads[list] = timer + 1
            if list < Self.bucketCount { occupied[list >> 6] |= 1 << UInt64(list & 63) }
        } else {
            let first = heads[list] - 1
            let last = entries[Int(first)].previous
            entries[Int(timer)].next = first
            entries[Int(timer)].previous = last
            entries[Int(last)].next = timer
            entries[Int(first)].previous = timer
        }
    }

    private mutating func unlink(_ timer: UInt32, _ list: Int) {
        let entry = entries[Int(timer)]
        if entry.next == timer {
            heads[list] = 0
            if list < Self.bucketCount { occupied[list >> 6] &= ~(1 << UInt64(list & 63)) }
        } else {
            entries[Int(entry.previous)].next = entry.next
            entries[Int(entry.next)].previous = entry.previous
            if heads[list] == timer + 1 { heads[list] = entry.next + 1 }
        }
    }
}
