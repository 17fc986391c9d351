/// Memory for tables that are sized by a limit but filled by use.

import CLinux

/// Zeroed memory from the kernel: what is never touched costs address space only, so that an idle process does not pay
/// for `socketsMax`.
struct ZeroPages: ~Copyable {
    let base: UnsafeMutableRawPointer
    let byteCount: Int

    /// - Throws: ENOMEM.
    init(byteCount: Int) throws(SystemError) {
        guard let base = linux_zero_pages(max(byteCount, 1)) else {
            throw SystemError(
                errno: ENOMEM, operation: "reserving memory", subject: "(\(byteCount) bytes)",
                advice: "lower the connection limit, or raise the limit on address space (ulimit -v)")
        }
        self.base = base
        self.byteCount = max(byteCount, 1)
    }

    deinit {
        munmap(base, byteCount)
    }

    /// The memory as `count` elements, of a type for which all-zero bytes are a value.
    func bound<Element: BitwiseCopyable>(to type: Element.Type, count: Int) -> UnsafeMutablePointer<Element> {
        precondition(count * MemoryLayout<Element>.stride <= byteCount, "the pages hold the table")
        return base.bindMemory(to: type, capacity: count)
    }
}
