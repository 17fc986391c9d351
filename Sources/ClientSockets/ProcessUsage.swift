/// What a process has used: CPU time and memory, read from outside by its process id.

import CLinux
import Glibc

/// A reading of a process's meters. All zero for pid 0 and for a process that has gone.
package struct ProcessUsage: Sendable {
    /// User and system time of all threads, by the process's CPU clock.
    package var cpuNanoseconds: UInt64 = 0
    /// The same, split, in clock ticks (usually 10 ms) as /proc/PID/stat has it.
    package var userTicks: UInt64 = 0
    package var systemTicks: UInt64 = 0
    /// Resident memory in bytes.
    package var residentBytes = 0

    /// Reads the meters of `pid`.
    package init(of pid: pid_t) {
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

    /// The sum over several processes.
    package init(of pids: [pid_t]) {
        self.init(of: 0)
        for pid in pids {
            let one = ProcessUsage(of: pid)
            cpuNanoseconds += one.cpuNanoseconds
            userTicks += one.userTicks
            systemTicks += one.systemTicks
            residentBytes += one.residentBytes
        }
    }

    /// The CPU time between an earlier reading and this one; 0 where the process has gone meanwhile.
    package func cpuNanoseconds(since earlier: ProcessUsage) -> UInt64 {
        cpuNanoseconds > earlier.cpuNanoseconds ? cpuNanoseconds - earlier.cpuNanoseconds : 0
    }

    private static func contents(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
}
