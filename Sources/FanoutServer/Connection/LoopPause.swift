/// How long something has waited, without the time in which the server itself stood still.

/// Remembers when the loop last stood still: the process was stopped, its machine suspended, or a turn took too long.
/// Nobody can take what is not offered, so that time is not held against readers. A value; O(1).
struct LoopPause {
    /// While anything waits the loop turns four times a second: a second without a turn is a pause. One in which
    /// nothing waited is taken for a pause too, and makes no difference.
    static let leastMilliseconds: UInt64 = 1000

    private var lastTurn: UInt64
    private var end: UInt64 = 0
    private var milliseconds: UInt64 = 0

    /// - Parameter now: the loop's time in milliseconds, as for all of these.
    init(now: UInt64) { lastTurn = now }

    /// Says that a turn begins to judge; before anything is judged in it. Twice in a turn is as good as once.
    mutating func noteTurn(now: UInt64) {
        let passed = now - lastTurn
        lastTurn = now
        guard passed > Self.leastMilliseconds else { return }
        end = now
        milliseconds = passed
    }

    /// Milliseconds since `then`, the low 32 bits of a time that has passed at most 49 days ago, less what of them the
    /// last pause took.
    func waited(since then: UInt32, now: UInt64) -> Int {
        let age = UInt64(UInt32(truncatingIfNeeded: now) &- then)
        let sinceEnd = now - end
        guard age > sinceEnd else { return Int(age) }
        return Int(age - min(milliseconds, age - sinceEnd))
    }
}
