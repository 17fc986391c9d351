/// The loop's state, and what callers request of it.

import CLinux
import Glibc

/// Everything common to the backends: slots and generations, what each socket wants and has in flight, the way from
/// shutdown over the last completion to close, timers, and the translation into `Completion`s (LoopDispatch.swift).
struct LoopCore: ~Copyable {
    let backend: BackendStorage
    private let ownership: BackendOwnership
    var sockets: SocketTable
    var timers: TimerWheel
    /// Milliseconds, as of the last turn.
    var now: UInt64
    let gather: IOVectorBuffer
    /// The slots that `wholeSends` gives.
    let whole: UnsafeMutablePointer<UInt32>
    /// Sends that are given at once. 1,024: 4 KiB, and what is done once for all of them is spread over enough.
    static let wholeMax = 1024
    let wakeup: Wakeup
    var stats = LoopStats()

    /// Sockets without operations whose `.closed` is to be given.
    var closed = Queue<SocketID>()
    /// Sockets that want to receive and wait for buffers.
    var starved = Queue<SocketID>()
    /// The buffer of the last `.received`, until `next` or `turn`.
    var lent: RawCompletion?
    /// A connection that was accepted and found no place, from its refusal's completion until `next` or `turn`.
    var unplaced: (listener: SocketID, descriptor: Int32)?
    /// The descriptor that is given up to turn a connection away; negative while there is none.
    var spare: Int32 = -1
    /// True exactly when `next` has given nil since the last turn (or no turn was taken).
    var isDrained = true

    /// Sockets armed again per turn after a want of buffers: as many as there are buffers, so that the first come are
    /// served first.
    let starvedPerTurnMax: Int
    let socketsMax: Int
    let timersMax: Int
    var timersMade = 0
    /// Send buffers for connections of listeners whose own are not inherited; a handful, searched one by one.
    var sendBuffers: [(listener: SocketID, bytes: Int)] = []

    init(_ configuration: LoopConfiguration) throws(SystemError) {
        precondition(configuration.receiveBufferBytes > 0, "a receive buffer holds something")
        precondition(configuration.timersMax >= 0 && configuration.readsPerTurnMax > 0, "limits are positive")
        let sockets = try SocketTable(capacity: configuration.socketsMax)
        let ownership = BackendOwnership(storage: try BackendStorage.make(configuration))
        let backend = ownership.storage
        let now = backend.monotonicMilliseconds()
        let timers = try TimerWheel(
            capacity: configuration.socketsMax + configuration.timersMax,
            tickMilliseconds: configuration.timerTickMilliseconds, now: now)
        let wakeup = Wakeup(channel: WakeupChannel(descriptor: try LoopCore.wakeupDescriptor(backend)))
        try backend.watchWakeup(wakeup.channel)
        self.ownership = ownership
        self.backend = backend
        self.sockets = sockets
        self.timers = timers
        self.now = now
        self.wakeup = wakeup
        gather = IOVectorBuffer()
        whole = .allocate(capacity: LoopCore.wholeMax)
        starvedPerTurnMax = max(configuration.receiveBufferCount, 1)
        socketsMax = configuration.socketsMax
        timersMax = configuration.timersMax
        takeSpare()
    }

    deinit {
        closeAll()
        gather.deallocate()
        whole.deallocate()
    }

    private static func wakeupDescriptor(_ backend: BackendStorage) throws(SystemError) -> Int32 {
        if backend.isSimulated { return -1 }
        let descriptor = linux_event_descriptor()
        if descriptor < 0 { throw SystemError(errno: -descriptor, operation: "eventfd") }
        return descriptor
    }

    /// Closes the descriptors of a loop that goes away with open sockets; what is in flight ends with the ring. A
    /// simulated kernel outlives the loop and keeps its own books.
    private func closeAll() {
        if backend.isSimulated { return }
        if let unplaced { backend.discard(unplaced.descriptor) }
        if spare >= 0 { backend.discard(spare) }
        var left = sockets.count
        var slot: UInt32 = 0
        while left > 0, Int(slot) < socketsMax {
            if let (socket, descriptor) = sockets.open(at: slot) {
                backend.close(descriptor, socket)
                left -= 1
            }
            slot += 1
        }
    }

    // MARK: Opening

    mutating func listen(_ address: SocketAddress, _ options: ListenOptions) throws(SystemError) -> SocketID {
        let descriptor = try backend.openListener(address, options)
        var flags: SocketFlags = .listener
        if address.isUnix, options.sendBufferBytes != nil { flags.insert(.setsSendBuffer) }
        let socket = try open(descriptor, flags, address.description)
        if flags.contains(.setsSendBuffer), let bytes = options.sendBufferBytes {
            sendBuffers.append((listener: socket, bytes: bytes))
        }
        return socket
    }

    mutating func adopt(_ descriptor: Int32) throws(SystemError) -> SocketID {
        try backend.adopt(descriptor)
        return try open(descriptor, .plainDescriptor, "descriptor \(descriptor)")
    }

    private mutating func open(
        _ descriptor: Int32, _ flags: SocketFlags, _ subject: String
    ) throws(SystemError) -> SocketID {
        guard let socket = sockets.open(descriptor, flags) else {
            backend.discard(descriptor)
            throw SystemError(
                errno: ENOBUFS, operation: "opening", subject: subject, advice: "raise the connection limit")
        }
        let outcome = backend.attach(descriptor, socket, plain: flags.contains(.plainDescriptor))
        if outcome < 0 {
            sockets.free(socket.slot)
            backend.discard(descriptor)
            throw SystemError(errno: -outcome, operation: "epoll_ctl", subject: subject)
        }
        return socket
    }

    // MARK: Arming

    mutating func arm(_ socket: SocketID, listening: Bool) {
        let record = sockets.record(socket)
        precondition(record.pointee.flags.contains(.listener) == listening, "listeners accept, others receive")
        if record.pointee.flags.contains(.closing) { return }
        record.pointee.flags.insert(.wanted)
        armIfWanted(socket, record)
    }

    mutating func disarm(_ socket: SocketID, listening: Bool) {
        let record = sockets.record(socket)
        precondition(record.pointee.flags.contains(.listener) == listening, "listeners accept, others receive")
        record.pointee.flags.remove(.wanted)
        if !record.pointee.flags.contains(.closing) { cancelArmed(socket, record) }
    }

    /// Begins to receive or accept, unless that is under way. An operation that was asked to end is waited for: its
    /// last completion leads here again.
    func armIfWanted(_ socket: SocketID, _ record: UnsafeMutablePointer<SocketRecord>) {
        let flags = record.pointee.flags
        guard flags.contains(.wanted), flags.isDisjoint(with: [.armed, .starved, .closing]) else { return }
        record.pointee.flags.insert(.armed)
        let descriptor = record.pointee.descriptor
        if flags.contains(.listener) {
            backend.armAccept(descriptor, Token(.accept, slot: socket.slot, generation: socket.generation))
        } else if flags.contains(.plainDescriptor) {
            backend.armRead(descriptor, Token(.receive, slot: socket.slot, generation: socket.generation))
        } else {
            backend.armReceive(descriptor, Token(.receive, slot: socket.slot, generation: socket.generation))
        }
    }

    /// Asks the receive or accept to end, once.
    func cancelArmed(_ socket: SocketID, _ record: UnsafeMutablePointer<SocketRecord>) {
        guard record.pointee.flags.isSuperset(of: .armed), !record.pointee.flags.contains(.cancelling) else { return }
        record.pointee.flags.insert(.cancelling)
        let operation: Operation = record.pointee.flags.contains(.listener) ? .accept : .receive
        backend.cancel(
            record.pointee.descriptor, Token(operation, slot: socket.slot, generation: socket.generation))
    }

    // MARK: Sending

    // Once for each delivery: a call of its own would cost.
    @inline(__always)
    mutating func send(_ socket: SocketID) {
        let record = sockets.record(socket)
        let flags = record.pointee.flags
        precondition(flags.isDisjoint(with: .unsendable), "one send at a time, on a connection, before its end")
        precondition(gather.byteCount > 0, "a send has bytes")
        if flags.contains(.closing) { return }
        record.pointee.flags.insert(.sending)
        stats.sends &+= 1
        record.pointee.sendingBytes = Int32(clamping: gather.byteCount)
        backend.send(
            record.pointee.descriptor, Token(.send, slot: socket.slot, generation: socket.generation), gather)
    }

    @inline(__always)
    mutating func send(_ socket: SocketID, _ bytes: UnsafeRawPointer, count: Int) -> Bool {
        let record = sockets.record(socket)
        let flags = record.pointee.flags
        precondition(flags.isDisjoint(with: .unsendable), "one send at a time, on a connection, before its end")
        precondition(count > 0, "a send has bytes")
        if flags.contains(.closing) { return false }
        stats.sends &+= 1
        let token = Token(.send, slot: socket.slot, generation: socket.generation)
        if backend.send(record.pointee.descriptor, token, bytes, count: count) { return true }
        record.pointee.flags.insert(.sending)
        record.pointee.sendingBytes = Int32(clamping: count)
        return false
    }
}

/// Frees a backend when the loop goes, or when the loop cannot be made after all.
private struct BackendOwnership: ~Copyable {
    let storage: BackendStorage

    deinit {
        storage.destroy()
    }
}
