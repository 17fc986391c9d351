/// When keep-alives go out: spread over the period, and in groups.

import Reactor

/// The times of keep-alives. A value without state; O(1).
///
/// Each connection has a place of its own in the period, and its keep-alives move there, each up to a fifth of the
/// period early. From then on it gets one in each period and not more, and thousands that came in one second are spread
/// over all of it. Times are whole hundredths of the period: a hundredth of the readers is served by one turn of the
/// loop, which would else wake for every few of them.
struct KeepAliveTimes {
    /// Groups in a period. 100: 190 of 19,000 readers, about a millisecond of sends, every 150 ms.
    static let groups: UInt64 = 100

    /// Milliseconds between two keep-alives, and how much earlier one may come.
    let period: UInt64
    var early: UInt64 { period / 5 }

    /// - Parameter seconds: at least 1.
    init(seconds: Int) { period = UInt64(seconds) * 1000 }

    /// When the next keep-alive is due.
    /// - Parameters:
    ///   - slot: the connection's, which decides about its place in the period.
    ///   - now: the loop's time in milliseconds.
    ///   - quiet: milliseconds since it got its last bytes, less than four fifths of the period.
    /// - Returns: after `now`, at most `period` after the last bytes and at most a fifth of it before that.
    func next(_ slot: UInt32, now: UInt64, quiet: UInt64, _ random: inout SeededRandom) -> UInt64 {
        let step = period / Self.groups
        let latest = now + period - quiet
        // Multiples of the golden section leave no two neighbours together, however many there are.
        let place = step * ((UInt64(slot &* 0x9E37_79B9) * Self.groups) >> 32)
        let beyond = (latest + period - place) % period
        if beyond <= early { return latest - beyond }
        // Out of reach: anywhere, which brings it nearer.
        let time = latest - UInt64(random.below(Int(early)))
        let rounded = time - time % step
        return rounded >= latest - early ? rounded : rounded + step
    }
}
