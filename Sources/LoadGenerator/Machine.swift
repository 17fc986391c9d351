/// What the machine of a measurement is.

import Glibc

/// Said beside every figure, since figures of different machines do not compare.
package struct Machine: Sendable {
    /// The processor's model, as the kernel names it.
    package var processor = "unknown"
    /// Processors that are on line.
    package var cores = 0
    /// The kernel's release.
    package var kernel = "unknown"

    /// Asks this machine.
    package init() {
        cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        var name = utsname()
        if uname(&name) == 0 {
            kernel = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        let descriptor = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return }
        for line in String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
        where line.hasPrefix("model name") {
            processor = String(line.drop { $0 != ":" }.dropFirst().drop { $0 == " " })
            return
        }
    }
}
