/// The thread that owns the database.

import CLinux
import Glibc

/// Runs a `StoreWorker` on a thread of its own until it has ended.
package final class StoreThread: Sendable {
    /// The way in and out.
    package let queue: StoreQueue
    private let thread: pthread_t

    /// Starts the thread. The store belongs to it from now on.
    /// - Parameter signal: called on that thread when there is a report to take; it should do no more than wake the
    ///   loop.
    /// - Throws: `cannotOpen` where the kernel has no thread or descriptor left.
    package init(store: sending EventStore, signal: @escaping @Sendable () -> Void) throws(StoreFault) {
        let queue = try StoreQueue(signal: signal)
        let worker = StoreWorker(store: store, queue: queue, clock: StoreThread.now)
        self.queue = queue
        let argument = Unmanaged.passRetained(ThreadArgument(worker, queue.bell))
        var thread = pthread_t()
        let result = pthread_create(&thread, nil, runStore, argument.toOpaque())
        guard result == 0 else {
            argument.release()
            throw StoreFault(.cannotOpen, errno: result, operation: "pthread_create", path: "of the store")
        }
        self.thread = thread
    }

    /// Waits for the thread's end, which has been reported. To be called once, and not after `detach`.
    package func join() {
        pthread_join(thread, nil)
    }

    /// Lets the thread end when it can, and the process before it: nobody waits for a disk that does not answer. To be
    /// called once, and not after `join`.
    package func detach() {
        pthread_detach(thread)
    }

    private static func now() -> StoreTime {
        var time = timespec()
        // Goes on while the machine sleeps: events grow older then, too.
        clock_gettime(CLOCK_BOOTTIME, &time)
        let monotonic = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        return StoreTime(monotonicNs: monotonic, wallMs: linux_wall_clock_ms())
    }

    /// Turns until the worker has ended.
    fileprivate static func run(_ worker: StoreWorker, _ bell: Doorbell) {
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
        while true {
            switch worker.turn() {
            case .none: continue
            case .until(let time):
                let present = now().monotonicNs
                if time > present { bell.wait(nanoseconds: time - present) }
            case .ended: return
            }
        }
    }
}

/// What the thread is given: pthread_create takes one pointer.
private final class ThreadArgument {
    let worker: StoreWorker
    let bell: Doorbell

    init(_ worker: StoreWorker, _ bell: Doorbell) {
        self.worker = worker
        self.bell = bell
    }
}

private func runStore(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let held = Unmanaged<ThreadArgument>.fromOpaque(argument).takeRetainedValue()
    StoreThread.run(held.worker, held.bell)
    return nil
}
