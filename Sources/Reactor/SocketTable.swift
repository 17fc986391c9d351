/// What the loop knows about each socket.

import Planted

/// One socket's state. 16 bytes; all-zero is a slot never used.
struct SocketRecord: BitwiseCopyable {
    /// The backend's name for the socket (a file descriptor); meaningful while `.open`.
    var descriptor: Int32 = 0
    /// The generation of the present socket, or of the last one.
    var generation: UInt32 = 0
    /// Bytes of the send in flight, to recognize a short one.
    var sendingBytes: Int32 = 0
    var flags = SocketFlags()
}

/// Facts about a socket. Each is documented as true exactly when it is set.
struct SocketFlags: OptionSet, BitwiseCopyable {
    let rawValue: UInt16

    /// The slot has a socket, up to its `.closed`.
    static let open = SocketFlags(rawValue: 1 << 0)
    /// The socket accepts connections.
    static let listener = SocketFlags(rawValue: 1 << 1)
    /// The descriptor was adopted: it is read, whatever it is, and cannot be sent to.
    static let plainDescriptor = SocketFlags(rawValue: 1 << 2)
    /// The caller wants to receive or accept.
    static let wanted = SocketFlags(rawValue: 1 << 3)
    /// A receive, read or accept is with the backend, its last result not yet seen.
    static let armed = SocketFlags(rawValue: 1 << 4)
    /// That operation has been asked to end.
    static let cancelling = SocketFlags(rawValue: 1 << 5)
    /// A send is with the backend, its result not yet seen.
    static let sending = SocketFlags(rawValue: 1 << 6)
    /// The write side is to be shut down when the send in flight is over.
    static let finishWanted = SocketFlags(rawValue: 1 << 7)
    /// `close` was called; `.closed` has not been given.
    static let closing = SocketFlags(rawValue: 1 << 8)
    /// Waits in the starved queue for a receive buffer; not armed.
    static let starved = SocketFlags(rawValue: 1 << 9)
    /// Accepted connections need their send buffer set one by one (unix sockets do not inherit it).
    static let setsSendBuffer = SocketFlags(rawValue: 1 << 10)

    /// Operations of the socket that the backend still owes a last result for.
    static let inKernel: SocketFlags = [.armed, .sending]
    /// A send must not be begun while one of these is set.
    static let unsendable: SocketFlags = [.sending, .listener, .plainDescriptor, .finishWanted]
}

/// The records of all sockets, by slot.
struct SocketTable: ~Copyable {
    private let pages: ZeroPages
    private let records: UnsafeMutablePointer<SocketRecord>
    private var taken: SlotSet
    let capacity: Int
    /// One more than the highest slot ever taken.
    private(set) var slotsUsed = 0

    init(capacity: Int) throws(SystemError) {
        let taken = try SlotSet(capacity: capacity)
        let pages = try ZeroPages(byteCount: capacity * MemoryLayout<SocketRecord>.stride)
        self.taken = taken
        records = pages.bound(to: SocketRecord.self, count: capacity)
        self.pages = pages
        self.capacity = capacity
    }

    /// Open sockets.
    var count: Int { taken.count }

    /// Gives a descriptor the lowest free slot; nil when all are taken.
    mutating func open(_ descriptor: Int32, _ flags: SocketFlags) -> SocketID? {
        guard let slot = taken.takeLowest() else { return nil }
        slotsUsed = max(slotsUsed, Int(slot) + 1)
        let record = records + Int(slot)
        let next = (record.pointee.generation &+ 1) & Token.generationMask
        record.pointee.generation = next == 0 ? 1 : next
        record.pointee.descriptor = descriptor
        record.pointee.flags = flags.union(.open)
        return SocketID(slot: slot, generation: record.pointee.generation)
    }

    /// Frees a slot: identifiers of its socket name nothing from now on.
    mutating func free(_ slot: UInt32) {
        records[Int(slot)].flags = []
        records[Int(slot)].descriptor = -1
        taken.free(slot)
    }

    /// The open socket that a token or identifier names; nil when it is gone. The pointer stays valid as long as the
    /// table, its content belongs to that socket until it is freed.
    func find(_ slot: UInt32, _ generation: UInt32) -> UnsafeMutablePointer<SocketRecord>? {
        guard slot < UInt32(truncatingIfNeeded: capacity) else { return nil }
        let record = records + Int(slot)
        guard record.pointee.generation == generation || isPlanted("generationIgnored"),
            record.pointee.flags.contains(.open)
        else { return nil }
        return record
    }

    /// The present socket of a slot, unless it is closing.
    func living(_ slot: UInt32) -> SocketID? {
        let record = records[Int(slot)]
        guard record.flags.contains(.open), !record.flags.contains(.closing) else { return nil }
        return SocketID(slot: slot, generation: record.generation)
    }

    /// The present socket of a slot and its descriptor, closing or not.
    func open(at slot: UInt32) -> (SocketID, Int32)? {
        let record = records[Int(slot)]
        guard record.flags.contains(.open) else { return nil }
        return (SocketID(slot: slot, generation: record.generation), record.descriptor)
    }

    /// The open socket of an identifier that the caller must know to be alive.
    func record(_ socket: SocketID) -> UnsafeMutablePointer<SocketRecord> {
        guard let record = find(socket.slot, socket.generation) else {
            preconditionFailure("the socket has been closed")
        }
        return record
    }
}
