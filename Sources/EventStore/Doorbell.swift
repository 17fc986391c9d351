/// How one thread waits for another.

import CLinux
import Synchronization

/// Wakes the one thread that waits at it. From any thread, at any time; several calls wake it once.
final class Doorbell: Sendable {
    /// True exactly when it was rung and nobody has answered.
    private let isRung = Atomic<Bool>(false)
    private let descriptor: Int32

    /// - Throws: `cannotOpen` where the kernel has no descriptor left.
    init() throws(StoreFault) {
        descriptor = linux_event_descriptor()
        if descriptor < 0 {
            throw StoreFault(.cannotOpen, errno: -descriptor, operation: "eventfd", path: "of the store's thread")
        }
    }

    deinit {
        if descriptor >= 0 { _ = linux_close(descriptor) }
    }

    func ring() {
        if isRung.exchange(true, ordering: .acquiringAndReleasing) { return }
        var one: UInt64 = 1
        // Fails only where the count would overflow, which the flag makes impossible.
        _ = linux_write_event(descriptor, &one)
    }

    /// Waits until it was rung, at most so long.
    func wait(nanoseconds: UInt64) {
        guard linux_wait_event(descriptor, nanoseconds) > 0 else { return }
        var count: UInt64 = 0
        _ = linux_read(descriptor, &count, MemoryLayout<UInt64>.size)
        // Afterwards: a ring in between is answered twice rather than never.
        isRung.store(false, ordering: .releasing)
    }
}
