/// The clock that retention counts ages by.

/// Follows the wall clock, but never runs faster than twice as fast as time passes, and never backwards: a wall clock
/// that is set a year ahead does not empty a log before anybody has seen it.
package struct AgeClock: Sendable {
    /// Milliseconds since 1970, or later than the wall clock says where that was set back.
    package private(set) var nowMs: Int64
    private var monotonicMs: UInt64

    /// Begins at the wall clock's time. The other clock never stops and is never set.
    package init(wallMs: Int64, monotonicMs: UInt64) {
        nowMs = wallMs
        self.monotonicMs = monotonicMs
    }

    /// Goes on, and answers the time.
    package mutating func advance(wallMs: Int64, monotonicMs: UInt64) -> Int64 {
        let passed = monotonicMs > self.monotonicMs ? monotonicMs - self.monotonicMs : 0
        self.monotonicMs = max(monotonicMs, self.monotonicMs)
        // More than this would be fifty thousand years.
        let most = nowMs + 2 * Int64(min(passed, 1 << 50))
        nowMs = min(max(wallMs, nowMs), most)
        return nowMs
    }
}
