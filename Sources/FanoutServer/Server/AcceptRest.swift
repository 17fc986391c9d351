/// When a server that could not accept tries again.

/// The listeners at rest, and the pace at which they are tried: a pure state machine over a clock in milliseconds.
///
/// A listener that was refused rests for 100 ms, then 200, up to 1 s while tries fail; the first success begins anew.
/// Whatever the number of listeners, at most 20 are tried in a second; with more at rest they take turns.
struct AcceptRest {
    static let restMillisecondsMin: UInt64 = 100
    static let restMillisecondsMax: UInt64 = 1000
    /// Tries in any second, all listeners together.
    static let triesPerSecondMax = 20

    /// Slots of the listeners at rest, in the order in which they were refused.
    private(set) var resting: [UInt32] = []
    /// When the next ones are due; nil while none rests.
    private(set) var nextTry: UInt64?
    /// Rests begun, counting those of several listeners at the same time as one.
    private(set) var restsBegun: UInt64 = 0
    private var restMilliseconds = Self.restMillisecondsMin
    /// When the latest tries were made, the oldest first.
    private var tries: [UInt64] = []

    /// A listener was refused and rests. False if it was at rest already.
    mutating func refused(_ slot: UInt32, now: UInt64) -> Bool {
        if resting.contains(slot) { return false }
        resting.append(slot)
        guard nextTry == nil else { return true }
        nextTry = now + restMilliseconds
        restsBegun += 1
        restMilliseconds = min(restMilliseconds * 2, Self.restMillisecondsMax)
        return true
    }

    /// A connection was accepted: there is no reason to wait long any more, for anybody.
    mutating func accepted(now: UInt64) {
        restMilliseconds = Self.restMillisecondsMin
        if let time = nextTry { nextTry = min(time, now + Self.restMillisecondsMin) }
    }

    /// The listeners to be tried now. They are at rest no more.
    mutating func takeDue(now: UInt64) -> [UInt32] {
        guard let time = nextTry, time <= now else { return [] }
        tries.removeAll { $0 + 1000 <= now }
        let due = Array(resting.prefix(Self.triesPerSecondMax - tries.count))
        resting.removeFirst(due.count)
        for _ in due { tries.append(now) }
        nextTry = resting.isEmpty ? nil : tries[0] + 1000
        return due
    }
}
