/// The loop over io_uring.

import CIOUring
import CLinux
import Glibc

/// One ring, driven by the thread that made it. Operations are entries in the submission queue; a turn is one system
/// call that submits all of them and waits; completions are copied out of the ring before anything is done about them,
/// because handling one begins new operations.
struct UringBackend: ~Copyable {
    let description: String
    private(set) var stats = LoopStats()

    private let ring: UnsafeMutablePointer<io_uring>
    private let isRegistered: Bool
    private let buffers: ReceiveBuffers
    /// Message headers and pieces of sends that the kernel has not read yet. It reads them when it takes the entry
    /// (SUBMIT_STABLE), so they are free again after an enter that took everything.
    private var scratch = SendScratch()

    /// Completions copied out of the ring; `batchNext` is the next to be given.
    private var batch: UnsafeMutablePointer<io_uring_cqe>
    private var batchCapacity: Int
    private var batchCount = 0
    private var batchNext = 0
    /// Where this turn's completions end. What an early submission brings lies behind it, for the next turn: else a
    /// turn could go on as long as every completion leads to a send.
    private var turnEnd = 0

    /// The next sends are system calls of their own. An entry's completion is fetched by another turn; where a turn has
    /// no more than a send or two, the call alone costs less than that.
    private var sendsAtOnce = false
    private static let sendsAtOnceMax = 2

    /// Slots of adopted descriptors: none, or standard input.
    private var plainSlots: [UInt32] = []
    private var wakeup: WakeupChannel?
    private var signalDescriptor: Int32 = -1
    /// Signals beyond the first that one readiness brought, to be given before the batch goes on.
    private var isReadingSignals = false

    /// - Throws: `SystemError` when the kernel refuses any part; the advice names the likely cause.
    init(_ configuration: borrowing LoopConfiguration) throws(SystemError) {
        let setup = try UringSetup(
            entries: configuration.submissionEntries, modesSkipped: configuration.uringModesSkipped,
            hidden: configuration.uringOperationHidden)
        let buffers: ReceiveBuffers
        do throws(SystemError) {
            let made = try ReceiveBuffers(
                registeringWith: setup.ring, count: configuration.receiveBufferCount,
                bufferBytes: configuration.receiveBufferBytes)
            try setup.enable()
            try setup.tryOut(made)
            buffers = made
        } catch {
            io_uring_queue_exit(setup.ring)
            setup.ring.deallocate()
            throw UringSetup.refused(error.errno, error.operation)
        }
        self.buffers = buffers
        ring = setup.ring
        isRegistered = setup.isRegistered
        description = "io_uring (\(setup.mode))"
        batchCapacity = Int(setup.ring.pointee.cq.kring_entries.pointee)
        batch = .allocate(capacity: batchCapacity)
    }

    deinit {
        io_uring_queue_exit(ring)
        ring.deallocate()
        batch.deallocate()
        if signalDescriptor >= 0 { _ = linux_close(signalDescriptor) }
    }

    // MARK: Submission

    /// An empty entry.
    private mutating func entry() -> UnsafeMutablePointer<io_uring_sqe> {
        stats.submissions &+= 1
        return ring_next_empty_entry(ring) ?? entryOfEmptied()
    }

    /// An empty entry where the queue is full: it is submitted first, without waiting; nothing is lost by it.
    @inline(never)
    private mutating func entryOfEmptied() -> UnsafeMutablePointer<io_uring_sqe> {
        submitAll()
        guard let entry = ring_next_empty_entry(ring) else {
            preconditionFailure("the submission queue was emptied")
        }
        return entry
    }

    /// Makes the kernel take every entry, without waiting for completions.
    private mutating func submitAll() {
        while ring_unsubmitted(ring) > 0 {
            stats.enters &+= 1
            let outcome = ring_enter(ring, isRegistered ? 1 : 0, 0, 0)
            check(outcome)
            // The kernel refuses entries (EBUSY) while completions wait for a place: give them one.
            reap()
        }
        scratch.removeAll()
    }

    /// Sorts the answers of an enter: those that say "not now" are repeated by the caller, others are faults of ours
    /// (EEXIST: another thread than the one that made the loop drives it).
    private func check(_ outcome: Int32) {
        switch -outcome {
        case EINTR,  // a signal handler ran
            ETIME,  // nothing came in time
            EBUSY,  // completions wait for a place
            EAGAIN,  // no memory for a request just now
            ENOMEM:
            return
        default:
            precondition(outcome >= 0, "io_uring_enter: \(SystemError.name(of: -outcome))")
        }
    }

    // MARK: Completion

    /// Copies what the ring holds to the batch; drains what the kernel keeps aside for want of room.
    private mutating func reap() {
        copyCompletions()
        while ring_overflowed(ring) != 0 {
            stats.completionQueueOverflows &+= 1
            stats.enters &+= 1
            check(ring_enter(ring, isRegistered ? 1 : 0, 0, 0))
            copyCompletions()
        }
    }

    private mutating func copyCompletions() {
        let ready = Int(ring_ready(ring))
        if ready == 0 { return }
        if batchCount + ready > batchCapacity { growBatch(to: batchCount + ready) }
        batchCount += Int(ring_reap(ring, batch + batchCount, UInt32(ready)))
    }

    private mutating func growBatch(to needed: Int) {
        let larger = UnsafeMutablePointer<io_uring_cqe>.allocate(capacity: needed * 2)
        larger.update(from: batch, count: batchCount)
        batch.deallocate()
        batch = larger
        batchCapacity = needed * 2
    }
}

extension UringBackend: LoopBackend {
    func monotonicMilliseconds() -> UInt64 { linux_monotonic_ms() }
    func wallClockMilliseconds() -> Int64 { linux_wall_clock_ms() }

    // MARK: Opening and closing

    mutating func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32 {
        try LinuxSockets.openListener(address, options)
    }

    mutating func adopt(_ descriptor: Int32) throws(SystemError) {
        try LinuxSockets.checkReadable(descriptor)
    }

    mutating func attach(_ descriptor: Int32, _ socket: SocketID, plain: Bool) -> Int32 {
        if plain { plainSlots.append(socket.slot) }
        return 0
    }

    mutating func setSendBuffer(_ descriptor: Int32, bytes: Int) {
        LinuxSockets.setSendBuffer(descriptor, bytes: bytes)
    }

    mutating func setUserTimeout(_ descriptor: Int32, milliseconds: Int) {
        LinuxSockets.setUserTimeout(descriptor, milliseconds: milliseconds)
    }

    func localAddress(_ descriptor: Int32) -> SocketAddress? { LinuxSockets.localAddress(descriptor) }
    func unsentBytes(_ descriptor: Int32) -> Int { Int(linux_unsent_bytes(descriptor)) }
    func hasHungUp(_ descriptor: Int32) -> Bool { linux_has_hung_up(descriptor) != 0 }

    func peerDescription(_ descriptor: Int32) -> String { LinuxSockets.peerDescription(descriptor) }

    func peer(_ descriptor: Int32) -> PeerIdentity? { LinuxSockets.peer(descriptor) }

    mutating func finishSending(_ descriptor: Int32) {
        _ = linux_shutdown(descriptor, Int32(SHUT_WR))
    }

    /// A shutdown wakes what waits on a socket. That costs less than cancelling: the kernel finds a request by walking
    /// its hash chain, which is long where every connection waits to receive.
    mutating func sever(_ descriptor: Int32, reset: Bool) -> Bool {
        if reset {
            _ = linux_reset_on_close(descriptor)
            if linux_abort_connection(descriptor) == 0 { return true }
        }
        return linux_shutdown(descriptor, Int32(SHUT_RDWR)) == 0
    }

    mutating func close(_ descriptor: Int32, _ socket: SocketID) {
        if !plainSlots.isEmpty { plainSlots.removeAll { $0 == socket.slot } }
        LinuxSockets.close(descriptor)
    }

    mutating func discard(_ descriptor: Int32) {
        _ = linux_close(descriptor)
    }

    // MARK: Operations

    mutating func armAccept(_ descriptor: Int32, _ token: Token) {
        let entry = entry()
        // Blocking descriptors: on nonblocking ones io_uring answers EAGAIN instead of waiting for readiness itself.
        io_uring_prep_multishot_accept(entry, descriptor, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
        entry.pointee.user_data = token.rawValue
    }

    mutating func armReceive(_ descriptor: Int32, _ token: Token) {
        let entry = entry()
        UringSetup.prepareReceive(entry, descriptor)
        entry.pointee.user_data = token.rawValue
    }

    /// Linked behind a poll: on a descriptor in nonblocking mode, which is not ours to change, a read alone would
    /// answer EAGAIN at once and for ever.
    mutating func armRead(_ descriptor: Int32, _ token: Token) {
        // A link must not span two submissions.
        if ring_room(ring) < 2 { submitAll() }
        poll(descriptor, token.with(.internalToBackend)).pointee.flags = ring_sqe_link
        let entry = entry()
        // The offset -1 means the file's own position, which pipes and terminals need.
        io_uring_prep_read(entry, descriptor, nil, UInt32(clamping: buffers.bufferBytes), .max)
        entry.pointee.flags = ring_sqe_buffer_select
        entry.pointee.buf_group = ReceiveBuffers.group
        entry.pointee.user_data = token.rawValue
    }

    mutating func cancel(_ descriptor: Int32, _ token: Token) {
        if token.operation == .receive, plainSlots.contains(token.slot) {
            // The read may not have begun: ending the poll before it ends both.
            requestCancel(token.with(.internalToBackend))
        }
        requestCancel(token)
    }

    private mutating func requestCancel(_ token: Token) {
        let entry = entry()
        io_uring_prep_cancel64(entry, token.rawValue, 0)
        entry.pointee.user_data = Token(.internalToBackend, slot: 0, generation: 0).rawValue
    }

    /// Without MSG_WAITALL, so that short counts come back as they are; every send completes visibly.
    mutating func send(_ descriptor: Int32, _ token: Token, _ pieces: IOVectorBuffer) {
        if pieces.count == 1 {
            return queueSend(descriptor, token, pieces.pieces[0].iov_base, count: pieces.pieces[0].iov_len)
        }
        if !scratch.hasRoom { submitAll() }
        let entry = entry()
        let message = scratch.append(pieces)
        io_uring_prep_sendmsg(entry, descriptor, message, UInt32(MSG_NOSIGNAL))
        entry.pointee.user_data = token.rawValue
    }

    mutating func expectSends(_ count: Int) { sendsAtOnce = count <= Self.sendsAtOnceMax }

    @inline(__always)
    mutating func send(_ descriptor: Int32, _ token: Token, _ bytes: UnsafeRawPointer, count: Int) -> Bool {
        if sendsAtOnce {
            let outcome = linux_send(descriptor, bytes, count)
            if outcome != -Int64(EAGAIN) { return outcome == Int64(count) || give(token, outcome) }
        }
        queueSend(descriptor, token, bytes, count: count)
        return false
    }

    @inline(__always)
    private mutating func queueSend(_ descriptor: Int32, _ token: Token, _ bytes: UnsafeRawPointer, count: Int) {
        stats.submissions &+= 1
        let entry = ring_next_entry(ring) ?? entryOfEmptied()  // all of it is written, so it need not be empty
        ring_prepare_send(entry, descriptor, bytes, UInt32(clamping: count), UInt32(MSG_NOSIGNAL), token.rawValue)
    }

    /// Puts the outcome of a send that was not whole where the completions of the next turn are. False.
    @inline(never)
    private mutating func give(_ token: Token, _ outcome: Int64) -> Bool {
        if batchCount == batchCapacity { growBatch(to: batchCount + 1) }
        batch[batchCount].user_data = token.rawValue
        batch[batchCount].res = Int32(clamping: outcome)
        batch[batchCount].flags = 0
        batchCount += 1
        return false
    }

    // MARK: Other sources

    mutating func watchSignals(_ signals: [Int32]) throws(SystemError) {
        let isNew = signalDescriptor < 0
        signalDescriptor = try LinuxSockets.signalDescriptor(signals, existing: signalDescriptor)
        if isNew { poll(signalDescriptor, Token(.signal, slot: 0, generation: 0)) }
    }

    mutating func watchWakeup(_ channel: WakeupChannel) throws(SystemError) {
        wakeup = channel
        poll(channel.descriptor, Token(.wakeup, slot: 0, generation: 0))
    }

    /// Waits once for a descriptor to become readable. Polled and then read, rather than read through the ring: a
    /// signalfd gives the signals of the thread that reads, which must be this one.
    @discardableResult
    private mutating func poll(_ descriptor: Int32, _ token: Token) -> UnsafeMutablePointer<io_uring_sqe> {
        let entry = entry()
        io_uring_prep_poll_add(entry, descriptor, UInt32(POLLIN))
        entry.pointee.user_data = token.rawValue
        return entry
    }

    // MARK: A turn

    var hasUnreported: Bool { batchNext < batchCount }

    mutating func enter(timeoutMilliseconds: Int64) {
        batchCount -= batchNext
        if batchCount > 0 { batch.update(from: batch + batchNext, count: batchCount) }
        batchNext = 0
        // Completions that an earlier submission brought, or that lie in the ring, must not be waited behind.
        let waits = timeoutMilliseconds != 0 && batchCount == 0 && ring_ready(ring) == 0
        stats.enters &+= 1
        let outcome = ring_enter(
            ring, isRegistered ? 1 : 0, waits ? 1 : 0,
            timeoutMilliseconds < 0 ? -1 : timeoutMilliseconds.multipliedClamping(by: 1_000_000))
        check(outcome)
        reap()
        turnEnd = batchCount
        // The kernel is short of memory and has neither waited nor brought anything: asking at once would be a spin.
        if waits, batchCount == 0, outcome == -EAGAIN || outcome == -ENOMEM || outcome == -EBUSY { usleep(1000) }
        if ring_unsubmitted(ring) == 0 { scratch.removeAll() }
    }

    mutating func next() -> RawCompletion? {
        while true {
            if isReadingSignals {
                let signal = linux_next_signal(signalDescriptor)
                let token = Token(.signal, slot: 0, generation: 0)
                if signal > 0 { return RawCompletion(token, result: signal) }
                isReadingSignals = false
                poll(signalDescriptor, token)
            }
            if batchNext == turnEnd { return nil }
            let completion = batch[batchNext]
            batchNext &+= 1
            let token = Token(rawValue: completion.user_data)
            switch token.operation {
            case .internalToBackend:
                continue
            case .signal:
                isReadingSignals = true
            case .wakeup:
                wakeup?.drain()
                let isSignalled = wakeup?.take() == true
                if let wakeup { poll(wakeup.descriptor, token) }
                if isSignalled { return RawCompletion(token, result: 0) }
            default:
                let more = completion.flags & ring_cqe_more != 0
                if completion.flags & ring_cqe_has_buffer == 0 {
                    return RawCompletion(token, result: completion.res, more: more)
                }
                let buffer = UInt16(truncatingIfNeeded: completion.flags >> 16)
                return RawCompletion(token, result: completion.res, more: more, buffer: buffer)
            }
        }
    }

    @inline(__always)
    func peekSend() -> RawCompletion? {
        guard batchNext < turnEnd, !isReadingSignals else { return nil }
        let token = Token(rawValue: batch[batchNext].user_data)
        return token.isSend ? RawCompletion(token, result: batch[batchNext].res) : nil
    }

    @inline(__always)
    mutating func skipSend() { batchNext &+= 1 }

    func bytes(of buffer: UInt16) -> UnsafeMutableRawPointer { buffers.address(buffer) }

    mutating func recycle(_ buffer: UInt16) {
        buffers.recycle(buffer)
    }
}

extension Int64 {
    /// The product, or the greatest number where it does not fit.
    fileprivate func multipliedClamping(by factor: Int64) -> Int64 {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? .max : product
    }
}
