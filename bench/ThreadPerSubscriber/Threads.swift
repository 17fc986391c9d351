// Threads, locks and waiting, from POSIX: the standard library has no condition variable.

import Glibc

/// Runs `work` on a thread of its own, which ends with it.
/// - Throws: the kernel's refusal (`EAGAIN`: no more threads).
func startThread(_ work: @escaping @Sendable () -> Void) throws(SystemFault) {
    // Small: a thread needs some hundred bytes, and parsing a request head a few KiB.
    let stackBytes = 64 * 1024
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackBytes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let box = Unmanaged.passRetained(Work(work))
    var thread = pthread_t()
    let outcome = pthread_create(
        &thread, &attributes,
        { argument in
            guard let argument else { return nil }
            Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run()
            return nil
        }, box.toOpaque())
    if outcome != 0 {
        box.release()
        throw SystemFault(operation: "pthread_create", errno: outcome)
    }
}

private final class Work: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// A mutex with a condition to wait for, at one address for life.
final class Monitor: @unchecked Sendable {
    // Unchecked: both are made to be used by many threads.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    init() {
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(condition)
        mutex.deallocate()
        condition.deallocate()
    }

    @inline(__always)
    func locked<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Inside `locked` only.
    @inline(__always)
    func wait() { pthread_cond_wait(condition, mutex) }

    @inline(__always)
    func signal() { pthread_cond_signal(condition) }
}
