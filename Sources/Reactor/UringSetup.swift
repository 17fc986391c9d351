/// Making a ring: flags from the best down, what the kernel must be able to do, and why it was refused.

import CIOUring
import CLinux
import Glibc

/// A ring that has passed every check.
struct UringSetup {
    let ring: UnsafeMutablePointer<io_uring>
    /// The set-up that the kernel took, for people.
    let mode: String
    /// True exactly when the ring's descriptor is registered with this thread, which saves a look-up per enter.
    let isRegistered: Bool

    /// The operations of the backend, all that it uses. (Multishot variants have no number of their own: see `tryOut`.)
    static let operations: [Int32] = [
        IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_SENDMSG, IORING_OP_READ, IORING_OP_POLL_ADD,
        IORING_OP_ASYNC_CANCEL,
    ].map { Int32($0.rawValue) }

    /// - Parameter hidden: an operation that the kernel is taken not to have.
    /// - Throws: the kernel's refusal, with its likely cause as advice.
    init(entries: Int, modesSkipped: Int, hidden: Int32?) throws(SystemError) {
        let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
        let modes = [
            (ring_setup_deferred, "single issuer, deferred task run"),
            (ring_setup_cooperative, "cooperative task run"),
            (ring_setup_plain, "plain"),
        ]
        var outcome = -EINVAL
        var mode = ""
        for (flags, name) in modes.dropFirst(modesSkipped) {
            ring.initialize(to: io_uring())
            var parameters = io_uring_params()
            parameters.flags = flags
            parameters.cq_entries = UInt32(clamping: entries * 4)
            outcome = io_uring_queue_init_params(UInt32(clamping: entries), ring, &parameters)
            mode = name
            if outcome != -EINVAL { break }
        }
        if outcome < 0 {
            ring.deallocate()
            throw UringSetup.refused(-outcome, "io_uring_setup")
        }
        if let missing = UringSetup.missing(ring, hidden) {
            io_uring_queue_exit(ring)
            ring.deallocate()
            throw missing
        }
        ring_fill_indices(ring)
        self.ring = ring
        self.mode = mode
        isRegistered = io_uring_register_ring_fd(ring) == 1
    }

    /// What the kernel lacks, if anything.
    private static func missing(_ ring: UnsafeMutablePointer<io_uring>, _ hidden: Int32?) -> SystemError? {
        if ring.pointee.features & ring_features_needed != ring_features_needed {
            return refused(EINVAL, "io_uring_setup (features)")
        }
        var missing = ring_missing_operation(ring, operations, Int32(operations.count))
        if missing == 0, let hidden, operations.contains(hidden) { missing = hidden }
        if missing < 0 { return refused(-missing, "io_uring_register (probe)") }
        if missing > 0 { return refused(EINVAL, "io_uring_register (operation \(missing) is missing)") }
        return nil
    }

    /// Makes the ring usable, by this thread, for the backend's operations and nothing else. A kernel that does not
    /// restrict rings leaves it as it is.
    /// - Throws: the refusal.
    func enable() throws(SystemError) {
        _ = ring_restrict(ring, UringSetup.operations, Int32(UringSetup.operations.count))
        let outcome = ring_enable(ring)
        if outcome < 0 { throw UringSetup.refused(-outcome, "io_uring_register (enabling)") }
    }

    /// Receives one byte and the end of a stream the way connections are received from: what no flag or number tells,
    /// the multishot receive into provided buffers, shows here, as does a profile that refuses io_uring_enter alone.
    /// - Throws: the refusal.
    func tryOut(_ buffers: borrowing ReceiveBuffers) throws(SystemError) {
        let operation = "io_uring_enter (multishot receive)"
        var pair: (Int32, Int32) = (-1, -1)
        let made = withUnsafeMutableBytes(of: &pair) {
            linux_socket_pair($0.baseAddress?.assumingMemoryBound(to: Int32.self))
        }
        if made < 0 { throw UringSetup.refused(-made, "socketpair") }
        defer { _ = linux_close(pair.0) }
        var byte: UInt8 = 1
        _ = linux_send(pair.1, &byte, 1)
        _ = linux_close(pair.1)
        guard let entry = ring_next_empty_entry(ring) else { throw UringSetup.refused(EINVAL, operation) }
        UringSetup.prepareReceive(entry, pair.0)
        entry.pointee.user_data = 0
        var received = false
        // One completion for the byte, one for the end; more rounds than that mean that nothing comes.
        for _ in 0..<8 {
            let outcome = ring_enter(ring, isRegistered ? 1 : 0, 1, 1_000_000_000)
            if outcome < 0, outcome != -EINTR, outcome != -ETIME { throw UringSetup.refused(-outcome, operation) }
            var completion = io_uring_cqe()
            while ring_reap(ring, &completion, 1) == 1 {
                if completion.res < 0 { throw UringSetup.refused(-completion.res, operation) }
                if completion.flags & ring_cqe_has_buffer != 0 {
                    buffers.recycle(UInt16(truncatingIfNeeded: completion.flags >> 16))
                    received = completion.res == 1
                }
                if completion.flags & ring_cqe_more == 0 {
                    if received { return }
                    throw UringSetup.refused(EINVAL, operation)
                }
            }
        }
        throw UringSetup.refused(EINVAL, operation)
    }

    /// Fills an entry with the receive of a connection: until it ends, into whatever buffer is free.
    static func prepareReceive(_ entry: UnsafeMutablePointer<io_uring_sqe>, _ descriptor: Int32) {
        io_uring_prep_recv_multishot(entry, descriptor, nil, 0, 0)
        entry.pointee.flags = ring_sqe_buffer_select
        entry.pointee.buf_group = ReceiveBuffers.group
    }

    /// Errors of making a ring that another interface can answer; others would hit it as well.
    static func mayFallBack(_ errno: Int32) -> Bool {
        switch errno {
        case EPERM,  // a seccomp profile, or kernel.io_uring_disabled
            ENOSYS,  // the kernel has no io_uring, or a sandbox hides it
            EACCES,  // a security module
            ENOMEM,  // the limit on locked memory, on older kernels
            EINVAL,  // a flag, feature or operation is missing
            EMFILE:  // no descriptor left
            true
        default: false
        }
    }

    /// A refusal with its likely cause.
    static func refused(_ errno: Int32, _ operation: String) -> SystemError {
        let advice =
            switch errno {
            case EPERM:
                "a seccomp profile forbids it (containers: allow io_uring_setup, _enter and _register), "
                    + "or sysctl kernel.io_uring_disabled does, now \(disabledSetting())"
            case ENOSYS: "the kernel is too old or hides io_uring from this sandbox: 6.0 or newer is needed"
            case EACCES: "a security module (SELinux, AppArmor) forbids it"
            case ENOMEM: "the limit on locked memory is too low: raise it (ulimit -l, LimitMEMLOCK=)"
            case EINVAL: "the kernel is too old: 6.0 or newer is needed"
            case EMFILE, ENFILE: "raise the limit on open files (ulimit -n)"
            default: ""
            }
        return SystemError(errno: errno, operation: operation, advice: advice)
    }

    /// The sysctl's present value, as text.
    private static func disabledSetting() -> String {
        let file = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC)
        if file < 0 { return "not there" }
        defer { _ = linux_close(file) }
        var digit: UInt8 = 0
        return linux_read(file, &digit, 1) == 1 ? String(UnicodeScalar(digit)) : "unreadable"
    }
}
