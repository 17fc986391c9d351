/// The loop over epoll: readiness turned into completions.

import CLinux
import Glibc
import Planted

/// What epoll knows of one socket. 12 bytes; all-zero is a slot never used.
struct EpollSlot: BitwiseCopyable {
    var descriptor: Int32
    var generation: UInt32
    var flags: EpollFlags
}

struct EpollFlags: OptionSet, BitwiseCopyable {
    let rawValue: UInt16

    /// The kernel said "readable", and no read has emptied the socket since.
    static let readable = EpollFlags(rawValue: 1 << 0)
    /// A receive is begun.
    static let receiving = EpollFlags(rawValue: 1 << 1)
    /// An accept is begun.
    static let accepting = EpollFlags(rawValue: 1 << 2)
    /// A read of something that is not a socket is begun.
    static let reading = EpollFlags(rawValue: 1 << 3)
    /// Stands in the ready queue.
    static let queued = EpollFlags(rawValue: 1 << 4)
    /// A send found the socket full and waits for it to become writable.
    static let parked = EpollFlags(rawValue: 1 << 5)
    /// Not a socket.
    static let plain = EpollFlags(rawValue: 1 << 6)
    /// epoll knows the descriptor (plain ones are added by their first read).
    static let added = EpollFlags(rawValue: 1 << 7)
    /// epoll refused it: a regular file, which never makes anybody wait.
    static let alwaysReady = EpollFlags(rawValue: 1 << 8)
    /// epoll reports when the socket becomes writable.
    static let watchesOutput = EpollFlags(rawValue: 1 << 9)
    /// The kernel told of an urgent byte or an end, and no read has found nothing since: one may have stopped there.
    static let readsOn = EpollFlags(rawValue: 1 << 10)
    /// A TCP socket, listening or not: nothing comes beside the bytes.
    static let isTCP = EpollFlags(rawValue: 1 << 11)

    static let armed: EpollFlags = [.receiving, .accepting, .reading]
}

/// Sockets are added once, edge-triggered, and not re-armed: changing the interest costs a system call per operation.
/// Only a socket that was found full is watched for output, until it has kept up once more: a unix socket would else
/// report every byte that its peer reads, an event for each delivery. The readiness is kept per slot instead; a socket
/// that is ready *and* wanted stands in a queue and is read in `next()`, one buffer per visit, so that a flooding peer
/// gets its turn like everybody else.
///
/// A read that does not fill the buffer has emptied the socket, and no second one asks: what arrives later is a new
/// event. But a read also ends before an urgent byte, before the end of the stream or an error, and behind a descriptor
/// that a unix peer passed. Of the first two an event has told, or will, if they came after it; the third is told by
/// the read itself. Then only EAGAIN says that the socket is empty.
struct EpollBackend<Calls: EpollCalls>: ~Copyable {
    let description: String
    private(set) var stats = LoopStats()

    let calls: Calls
    private let epoll: Int32
    private let pages: ZeroPages
    private let slots: UnsafeMutablePointer<EpollSlot>
    private let capacity: Int
    private let events: UnsafeMutablePointer<epoll_event>
    private static var eventsMax: Int32 { 1024 }
    /// The only receive buffer: read into, lent, given back, before the next read.
    private let buffer: UnsafeMutableRawPointer
    private let bufferBytes: Int

    /// Results that are known already: of sends, cancellations and wake-ups, for the next turn.
    private var results = Queue<RawCompletion>()
    /// Of those, how many belong to this turn.
    private var resultsThisTurn = 0
    /// Sockets that are ready and wanted.
    private var ready = Queue<SocketID>()
    /// Reads and accepts left in this turn.
    private var readsLeft = 0
    private let readsPerTurnMax: Int

    /// The descriptor that was opened or accepted last, if it is a TCP socket; -1 if not.
    private var newTCPDescriptor: Int32 = -1

    private var wakeup: WakeupChannel?
    private var signalDescriptor: Int32 = -1

    init(
        _ calls: Calls, _ configuration: borrowing LoopConfiguration, description: String
    ) throws(SystemError) {
        let pages = try ZeroPages(byteCount: configuration.socketsMax * MemoryLayout<EpollSlot>.stride)
        let epoll = calls.epollCreate()
        if epoll < 0 {
            throw SystemError(
                errno: -epoll, operation: "epoll_create1", advice: "raise the limit on open files (ulimit -n)")
        }
        self.description = description
        self.calls = calls
        self.epoll = epoll
        slots = pages.bound(to: EpollSlot.self, count: configuration.socketsMax)
        self.pages = pages
        capacity = configuration.socketsMax
        events = .allocate(capacity: Int(Self.eventsMax))
        buffer = .allocate(byteCount: configuration.receiveBufferBytes, alignment: 64)
        bufferBytes = configuration.receiveBufferBytes
        readsPerTurnMax = configuration.readsPerTurnMax
    }

    deinit {
        calls.close(epoll)
        if signalDescriptor >= 0 { calls.close(signalDescriptor) }
        events.deallocate()
        buffer.deallocate()
    }

    /// The slot of an operation or event, if it still has that socket.
    private func find(_ token: Token) -> UnsafeMutablePointer<EpollSlot>? {
        guard Int(token.slot) < capacity else { return nil }
        let slot = slots + Int(token.slot)
        return slot.pointee.generation == token.generation || isPlanted("epollGenerationIgnored") ? slot : nil
    }
}

// MARK: Opening and closing

extension EpollBackend: LoopBackend {
    func monotonicMilliseconds() -> UInt64 { calls.monotonicMilliseconds() }
    func wallClockMilliseconds() -> Int64 { calls.wallClockMilliseconds() }

    mutating func openListener(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> Int32 {
        let descriptor = try calls.openListener(address, options)
        newTCPDescriptor = address.isUnix ? -1 : descriptor
        return descriptor
    }

    mutating func adopt(_ descriptor: Int32) throws(SystemError) {
        try calls.checkReadable(descriptor)
    }

    mutating func attach(_ descriptor: Int32, _ socket: SocketID, plain: Bool) -> Int32 {
        // A socket of which the kind is not known is read as a unix one: that is right for TCP too, and slower.
        let flags: EpollFlags = plain ? .plain : descriptor == newTCPDescriptor ? [.added, .isTCP] : .added
        slots[Int(socket.slot)] = EpollSlot(descriptor: descriptor, generation: socket.generation, flags: flags)
        if plain { return 0 }
        let token = Token(.receive, slot: socket.slot, generation: socket.generation)
        return calls.epollControl(epoll, EPOLL_CTL_ADD, descriptor, linux_epoll_input_events, token.rawValue)
    }

    mutating func setSendBuffer(_ descriptor: Int32, bytes: Int) {
        calls.setSendBuffer(descriptor, bytes: bytes)
    }

    mutating func setUserTimeout(_ descriptor: Int32, milliseconds: Int) {
        calls.setUserTimeout(descriptor, milliseconds: milliseconds)
    }

    func localAddress(_ descriptor: Int32) -> SocketAddress? { calls.localAddress(descriptor) }
    func unsentBytes(_ descriptor: Int32) -> Int { calls.unsentBytes(descriptor) }
    func hasHungUp(_ descriptor: Int32) -> Bool { calls.hasHungUp(descriptor) }
    func peerDescription(_ descriptor: Int32) -> String { calls.peerDescription(descriptor) }
    func peer(_ descriptor: Int32) -> PeerIdentity? { calls.peer(descriptor) }

    mutating func finishSending(_ descriptor: Int32) {
        calls.shutdown(descriptor, Int32(SHUT_WR))
    }

    mutating func sever(_ descriptor: Int32, reset: Bool) -> Bool {
        if reset {
            calls.resetOnClose(descriptor)
        } else {
            calls.shutdown(descriptor, Int32(SHUT_RDWR))
        }
        return false
    }

    mutating func close(_ descriptor: Int32, _ socket: SocketID) {
        // Closing removes a descriptor from epoll only when no other process holds it, as one may hold standard input.
        if slots[Int(socket.slot)].flags.contains(.added), slots[Int(socket.slot)].flags.contains(.plain) {
            _ = calls.epollControl(epoll, EPOLL_CTL_DEL, descriptor, 0, 0)
        }
        slots[Int(socket.slot)] = EpollSlot(descriptor: -1, generation: 0, flags: [])
        calls.close(descriptor)
    }

    mutating func discard(_ descriptor: Int32) {
        calls.close(descriptor)
    }

    // MARK: Operations

    mutating func armAccept(_ descriptor: Int32, _ token: Token) {
        arm(token, .accepting)
    }

    mutating func armReceive(_ descriptor: Int32, _ token: Token) {
        arm(token, .receiving)
    }

    private mutating func arm(_ token: Token, _ operation: EpollFlags) {
        guard let slot = find(token) else { return }
        stats.submissions &+= 1
        slot.pointee.flags.insert(operation)
        if slot.pointee.flags.contains(.readable) { enqueue(slot, token) }
    }

    /// One read per readiness, asked for one at a time: the descriptor may be blocking and is not ours to change, and a
    /// read of something ready does not wait.
    mutating func armRead(_ descriptor: Int32, _ token: Token) {
        guard let slot = find(token) else { return }
        stats.submissions &+= 1
        slot.pointee.flags.insert(.reading)
        if slot.pointee.flags.contains(.alwaysReady) {
            enqueue(slot, token)
            return
        }
        let operation = slot.pointee.flags.contains(.added) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD
        let outcome = calls.epollControl(epoll, operation, descriptor, linux_epoll_one_read, token.rawValue)
        if outcome == 0 {
            slot.pointee.flags.insert(.added)
        } else if outcome == -EPERM {
            slot.pointee.flags.insert(.alwaysReady)
            enqueue(slot, token)
        } else {
            slot.pointee.flags.remove(.reading)
            results.append(RawCompletion(token, result: outcome))
        }
    }

    mutating func cancel(_ descriptor: Int32, _ token: Token) {
        guard let slot = find(token) else { return }
        if token.operation == .send {
            guard slot.pointee.flags.contains(.parked), !isPlanted("parkedSendNotCancelled") else { return }
            slot.pointee.flags.remove(.parked)
        } else {
            guard !slot.pointee.flags.isDisjoint(with: .armed) else { return }
            if slot.pointee.flags.contains(.reading), slot.pointee.flags.contains(.added) {
                _ = calls.epollControl(epoll, EPOLL_CTL_DEL, descriptor, 0, 0)
                slot.pointee.flags.remove(.added)
            }
            slot.pointee.flags.subtract(.armed)
        }
        results.append(RawCompletion(token, result: -ECANCELED))
    }

    mutating func send(_ descriptor: Int32, _ token: Token, _ pieces: IOVectorBuffer) {
        stats.submissions &+= 1
        note(calls.send(descriptor, pieces), of: pieces.byteCount, token)
    }

    @inline(__always)
    mutating func send(_ descriptor: Int32, _ token: Token, _ bytes: UnsafeRawPointer, count: Int) -> Bool {
        stats.submissions &+= 1
        let outcome = calls.send(descriptor, bytes, count)
        if outcome == Int64(count) || isPlanted("shortSendTakenForWhole") && outcome > 0 { return true }
        note(outcome, of: count, token)
        return false
    }

    /// What became of a send: known, or to be waited for.
    @inline(never)
    private mutating func note(_ outcome: Int64, of count: Int, _ token: Token) {
        if outcome == -Int64(EAGAIN), let slot = find(token) {
            slot.pointee.flags.insert(.parked)
            // Changing the interest looks at the socket anew: room that was made meanwhile is not missed.
            if !slot.pointee.flags.contains(.watchesOutput), !isPlanted("outputNotWatched") {
                watchOutput(slot, token, true)
            }
        } else {
            let result = isPlanted("shortSendTakenForWhole") && outcome > 0 ? Int64(count) : outcome
            results.append(RawCompletion(token, result: Int32(clamping: result)))
        }
    }

    private func watchOutput(_ slot: UnsafeMutablePointer<EpollSlot>, _ token: Token, _ watches: Bool) {
        let token = token.with(.receive)
        let events = watches ? linux_epoll_all_events : linux_epoll_input_events
        let outcome = calls.epollControl(epoll, EPOLL_CTL_MOD, slot.pointee.descriptor, events, token.rawValue)
        precondition(outcome == 0, "epoll does not know a socket that is open")
        if watches {
            slot.pointee.flags.insert(.watchesOutput)
        } else {
            slot.pointee.flags.remove(.watchesOutput)
        }
    }

    // MARK: Other sources

    mutating func watchSignals(_ signals: [Int32]) throws(SystemError) {
        let isNew = signalDescriptor < 0
        signalDescriptor = try calls.signalDescriptor(signals, existing: signalDescriptor)
        let token = Token(.signal, slot: 0, generation: 0)
        if isNew { try watch(signalDescriptor, token) }
    }

    mutating func watchWakeup(_ channel: WakeupChannel) throws(SystemError) {
        wakeup = channel
        try watch(calls.descriptor(of: channel), Token(.wakeup, slot: 0, generation: 0))
    }

    private func watch(_ descriptor: Int32, _ token: Token) throws(SystemError) {
        let outcome = calls.epollControl(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, token.rawValue)
        if outcome < 0 { throw SystemError(errno: -outcome, operation: "epoll_ctl") }
    }

    // MARK: A turn

    var hasUnreported: Bool { results.count > 0 || !ready.isEmpty }

    mutating func enter(timeoutMilliseconds: Int64) {
        let timeout = hasUnreported ? 0 : Int32(clamping: max(timeoutMilliseconds, -1))
        stats.enters &+= 1
        // A signal handler may interrupt the wait (EINTR): a turn without events, which is allowed.
        let count = calls.epollWait(epoll, events, Self.eventsMax, timeout)
        var index: Int32 = 0
        while index < count {
            note(Token(rawValue: linux_epoll_data(events, index)), linux_epoll_events(events, index))
            index &+= 1
        }
        resultsThisTurn = results.count
        readsLeft = max(readsPerTurnMax, ready.count)
    }

    /// Turns an event into state. No socket is closed while events are looked at, so an event for a socket that has
    /// gone can only be one that the kernel gave before the close.
    private mutating func note(_ token: Token, _ events: UInt32) {
        switch token.operation {
        case .wakeup:
            if let wakeup { calls.drain(wakeup) }
            if wakeup?.take() == true { results.append(RawCompletion(token, result: 0)) }
        case .signal:
            while true {
                let signal = calls.nextSignal(signalDescriptor)
                if signal < 0 { break }
                results.append(RawCompletion(token, result: signal))
            }
        default:
            guard let slot = find(token) else {
                stats.staleCompletions &+= 1
                return
            }
            let hasEnded = events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0
            if hasEnded || events & EPOLLIN.rawValue != 0 {
                if slot.pointee.flags.isDisjoint(with: .armed), isPlanted("readinessForgotten") { return }
                slot.pointee.flags.insert(.readable)
                if hasEnded { slot.pointee.flags.insert(.readsOn) }
                if !slot.pointee.flags.isDisjoint(with: .armed) { enqueue(slot, token) }
            }
            // An urgent byte alone is nothing to read.
            if events & EPOLLPRI.rawValue != 0 { slot.pointee.flags.insert(.readsOn) }
            let isWritable = events & (EPOLLOUT.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0
            if isWritable, slot.pointee.flags.contains(.parked) {
                slot.pointee.flags.remove(.parked)
                results.append(RawCompletion(token.with(.send), result: 0))
            } else if isWritable, slot.pointee.flags.contains(.watchesOutput) {
                watchOutput(slot, token, false)
            }
        }
    }

    private mutating func enqueue(_ slot: UnsafeMutablePointer<EpollSlot>, _ token: Token) {
        if slot.pointee.flags.contains(.queued) { return }
        slot.pointee.flags.insert(.queued)
        ready.append(SocketID(slot: token.slot, generation: token.generation))
    }

    mutating func next() -> RawCompletion? {
        if resultsThisTurn > 0 {
            resultsThisTurn &-= 1
            return results.popFirst()
        }
        while readsLeft > 0, let socket = ready.popFirst() {
            readsLeft &-= 1
            let token = Token(.receive, slot: socket.slot, generation: socket.generation)
            guard let slot = find(token) else { continue }
            slot.pointee.flags.remove(.queued)
            if let completion = visit(slot, token) { return completion }
        }
        return nil
    }

    /// One read or accept. Nil if it turned out that there is nothing (or that nobody wants it any more).
    private mutating func visit(_ slot: UnsafeMutablePointer<EpollSlot>, _ token: Token) -> RawCompletion? {
        let flags = slot.pointee.flags
        if flags.contains(.accepting) {
            let outcome = calls.accept(slot.pointee.descriptor)
            newTCPDescriptor = flags.contains(.isTCP) ? Int32(clamping: outcome) : -1
            return outcome >= 0
                ? goesOn(slot, token, .accept, Int32(clamping: outcome))
                : isOver(slot, token, .accept, outcome)
        }
        if flags.contains(.receiving) {
            if isPlanted("hangUpBeforeInput"), calls.hasHungUp(slot.pointee.descriptor) {
                return isOver(slot, token, .receive, 0)
            }
            var endsEarly = false
            let outcome =
                flags.contains(.isTCP)  // nothing can be passed: the cheaper call
                ? calls.receive(slot.pointee.descriptor, buffer, bufferBytes)
                : calls.receiveMessage(slot.pointee.descriptor, buffer, bufferBytes, &endsEarly)
            if outcome <= 0 { return isOver(slot, token, .receive, outcome) }
            let readsOn = endsEarly || flags.contains(.readsOn)
            if outcome < bufferBytes, !readsOn || isPlanted("shortReceiveMeansEmpty") {
                slot.pointee.flags.remove(.readable)
            } else {
                enqueue(slot, token)
            }
            return RawCompletion(token, result: Int32(clamping: outcome), more: true, buffer: 0)
        }
        if flags.contains(.reading) {
            slot.pointee.flags.subtract([.reading, .readable])
            let outcome = calls.read(slot.pointee.descriptor, buffer, bufferBytes)
            if outcome <= 0 { return RawCompletion(token, result: Int32(clamping: outcome)) }
            return RawCompletion(token, result: Int32(clamping: outcome), more: false, buffer: 0)
        }
        return nil
    }

    private mutating func goesOn(
        _ slot: UnsafeMutablePointer<EpollSlot>, _ token: Token, _ operation: Operation, _ result: Int32
    ) -> RawCompletion {
        enqueue(slot, token)
        return RawCompletion(token.with(operation), result: result, more: true)
    }

    /// The end of an operation; nil if it was only that nothing is there, and the operation waits on.
    private mutating func isOver(
        _ slot: UnsafeMutablePointer<EpollSlot>, _ token: Token, _ operation: Operation, _ outcome: Int64
    ) -> RawCompletion? {
        if outcome == -Int64(EAGAIN) {
            slot.pointee.flags.subtract([.readable, .readsOn])
            return nil
        }
        slot.pointee.flags.subtract(.armed)
        if isPlanted("readinessLostByError") { slot.pointee.flags.remove(.readable) }
        return RawCompletion(token.with(operation), result: Int32(clamping: outcome))
    }

    func peekSend() -> RawCompletion? {
        guard resultsThisTurn > 0, let first = results.first, first.token.isSend else { return nil }
        return first
    }

    mutating func skipSend() {
        resultsThisTurn &-= 1
        _ = results.popFirst()
    }

    func bytes(of buffer: UInt16) -> UnsafeMutableRawPointer { self.buffer }

    /// Nothing to do: the one buffer is read into only when the next completion is asked for.
    mutating func recycle(_ buffer: UInt16) {}
}
