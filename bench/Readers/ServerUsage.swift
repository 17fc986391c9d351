// What the server under test has used: CPU time and memory, read from outside by its process id.

import CLinux
import Glibc

/// A reading of another process's meters. All zero for pid 0 and for a process that has gone.
struct ServerUsage {
    /// User and system time of all threads, by the process's CPU clock.
    var cpuNanoseconds: UInt64 = 0
    /// The same, split, in clock ticks (usually 10 ms) as /proc/PID/stat has it.
    var userTicks: UInt64 = 0
    var systemTicks: UInt64 = 0
    var residentBytes = 0

    init(of pid: pid_t) {
        if pid == 0 { return }
        var clock = clockid_t()
        var time = timespec()
        if clock_getcpuclockid(pid, &clock) == 0, clock_gettime(clock, &time) == 0 {
            cpuNanoseconds = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        }
        // proc(5): the fields after the command's name in parentheses; utime and stime are the 14th and 15th.
        if let text = Self.contents("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") {
            let fields = text[text.index(after: end)...].split(separator: " ")
            if fields.count > 12 {
                userTicks = UInt64(fields[11]) ?? 0
                systemTicks = UInt64(fields[12]) ?? 0
            }
        }
        if let text = Self.contents("/proc/\(pid)/statm") {
            let fields = text.split(separator: " ")
            if fields.count > 1 { residentBytes = (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) }
        }
    }

    private static func contents(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { return nil }
        defer { close(descriptor) }
        return String(unsafeUninitializedCapacity: 4096) { max(0, read(descriptor, $0.baseAddress!, 4096)) }
    }
}
