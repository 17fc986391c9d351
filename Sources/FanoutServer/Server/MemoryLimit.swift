/// How much memory this process may have: the machine's, or what its cgroup leaves it.

import Glibc
import Wire

/// Reads the limits that the system sets. Nothing here fails: what cannot be read does not limit.
enum MemoryLimit {
    /// The budget of a server that was told none: a quarter of what the process may have, 64 MiB at least.
    static func standardBudget() -> Int {
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        let physical = pages > 0 ? pages.multipliedReportingOverflow(by: SegmentStore.pageBytes).partialValue : Int.max
        return max(MemoryFormula.memoryDefaultLeast, min(physical, cgroupBytes() ?? .max) / 4)
    }

    /// The smallest limit of this process's cgroups, nil where none limits it. Version 2 has `memory.max`, version 1
    /// `memory.limit_in_bytes` under its memory controller; every group above counts too.
    /// - Parameter root: the folder that stands for `/`.
    static func cgroupBytes(root: String = "") -> Int? {
        guard let lines = text(root + "/proc/self/cgroup") else { return nil }
        var least: Int?
        for line in lines.split(separator: "\n") {
            // `hierarchy:controllers:path`; version 2 has `0::path`.
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let places: [(folder: String, file: String)]
            if parts[1].isEmpty {
                places = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/unified", "memory.max")]
            } else if parts[1].split(separator: ",").contains("memory") {
                places = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]
            } else {
                continue
            }
            for place in places {
                for limit in limits(root + place.folder, String(parts[2]), place.file) {
                    least = min(least ?? .max, limit)
                }
            }
        }
        return least
    }

    /// The limits of a group and of those above it, up to the mount. In a container the path may lead out of what is
    /// mounted; then only what can be seen counts.
    private static func limits(_ folder: String, _ path: String, _ file: String) -> [Int] {
        var limits: [Int] = []
        var parts = path.split(separator: "/").filter { $0 != ".." }
        while true {
            let place = folder + parts.map { "/" + $0 }.joined() + "/" + file
            // "max", and numbers that no machine has, do not limit.
            if let word = text(place)?.split(whereSeparator: \.isWhitespace).first, let limit = Int(word), limit > 0 {
                limits.append(limit)
            }
            if parts.isEmpty { return limits }
            parts.removeLast()
        }
    }

    /// A small file's text.
    private static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
