/// Time as clients measure it.

import Glibc

enum Clock {
    /// Milliseconds on a clock that is never set (CLOCK_MONOTONIC).
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000 + UInt64(time.tv_nsec) / 1_000_000
    }

    /// What poll(2) takes for a wait until `deadline`; nil waits without end.
    static func pollTimeout(until deadline: UInt64?) -> Int32 {
        guard let deadline else { return -1 }
        let now = now
        return deadline <= now ? 0 : Int32(clamping: deadline - now)
    }

    /// The moment `milliseconds` from now.
    static func deadline(after milliseconds: Int) -> UInt64 {
        now &+ UInt64(max(0, milliseconds))
    }
}
