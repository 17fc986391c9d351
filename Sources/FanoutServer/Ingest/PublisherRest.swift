/// A burst must not cost a reader its stream while it is reading: publishers rest for a moment and let it catch up.

/// How long publishers may rest, so that readers hovering at their limits cannot hold them up for good.
///
/// Time to rest is earned, a millisecond in eight, and kept up to a quarter of a second: a single burst is waited for,
/// and in the long run publishers lose an eighth of their time at most. A pure value.
struct PublisherRest {
    static let keptMillisecondsMax: UInt64 = 250
    static let earnedFrom: UInt64 = 8
    /// The shortest rest that is worth its turn: the timer's tick.
    static let shortestMilliseconds: UInt64 = 16

    private(set) var isResting = false
    private var kept = keptMillisecondsMax
    private var seen: UInt64
    /// Milliseconds that have not earned one yet.
    private var unpaid: UInt64 = 0

    init(now: UInt64) { seen = now }

    /// Decides whether publishers rest from `now` on: `isWanted` says that a reader is over its limits and still
    /// reading. `isNeeded` says that memory is at its limit: then they rest whatever they have earned. Returns when to
    /// decide again, nil if they do not rest.
    mutating func update(now: UInt64, isWanted: Bool, isNeeded: Bool = false) -> UInt64? {
        let passed = now - seen
        seen = now
        if isResting {
            kept -= min(kept, passed)
        } else {
            unpaid += passed
            kept = min(Self.keptMillisecondsMax, kept + unpaid / Self.earnedFrom)
            unpaid %= Self.earnedFrom
        }
        isResting = isNeeded || isWanted && kept >= Self.shortestMilliseconds
        return isResting ? now + Self.shortestMilliseconds : nil
    }
}

extension Engine {
    /// At the end of a turn: whether publishers rest until the next.
    func updateRest() {
        let wasResting = rest.isResting
        updateWritersWait()
        if let again = rest.update(
            now: loop.now, isWanted: !suspects.isEmpty && ending == nil, isNeeded: memory.isPressed)
        {
            loop.setTimer(restTimer, at: again)
        } else if wasResting, inboxWaits {
            inboxWaits = false
            loop.wakeup.signal()
        }
    }
}
