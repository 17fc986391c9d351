/// What a client asks of its own process: its clock, its limit of open files, the words for an errno.

import Glibc

/// Nanoseconds of CLOCK_MONOTONIC: one scale for all processes of the machine.
package func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Raises the soft limit of open files to the hard one; returns it.
package func raiseDescriptorLimit() -> Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
}

/// The message that goes with an errno.
package func errorText(_ code: Int32) -> String {
    String(cString: strerror(code))
}
