/// The one way into a loop from other threads.

import CLinux
import Synchronization

/// Wakes a loop: `signal()` causes one `.woken` completion. The only part of the reactor that other threads may hold.
package struct Wakeup: Sendable {
    let channel: WakeupChannel

    /// Causes a `.woken`; several calls before the loop has taken it cause one. From any thread, at any time, even when
    /// the loop is gone (nothing happens then).
    package func signal() {
        channel.signal()
    }
}

/// A flag, and an eventfd that wakes a loop waiting in the kernel. The descriptor lives as long as anybody may signal
/// it.
final class WakeupChannel: Sendable {
    /// True exactly when a signal was given that no `.woken` has answered yet.
    private let isPending = Atomic<Bool>(false)
    /// An eventfd, or -1 in a simulation.
    let descriptor: Int32

    /// - Parameter descriptor: owned from now on.
    init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        if descriptor >= 0 { _ = linux_close(descriptor) }
    }

    func signal() {
        if isPending.exchange(true, ordering: .acquiringAndReleasing) { return }
        if descriptor < 0 { return }
        // Adding one to an eventfd fails only where the count would overflow, which the flag makes impossible.
        var one: UInt64 = 1
        _ = linux_write_event(descriptor, &one)
    }

    /// Whether there is a signal to be taken.
    var isSignalled: Bool { isPending.load(ordering: .acquiring) }

    /// Takes the signal, if there is one. What was handed over before `signal()` is visible after this.
    func take() -> Bool {
        isPending.exchange(false, ordering: .acquiringAndReleasing)
    }

    /// Empties the eventfd, so that it does not wake the loop again. To be called before `take()`: a signal that comes
    /// in between is then answered twice rather than never.
    func drain() {
        var count: UInt64 = 0
        _ = linux_read(descriptor, &count, MemoryLayout<UInt64>.size)
    }
}
