/// All connection records, indexed by the reactor's slot numbers.

import Glibc
import Reactor

/// A table of `capacity` records in pages that the kernel provides when they are first touched, so that its cost
/// follows the connections that exist and not the ones that may.
struct ConnectionTable: ~Copyable {
    let capacity: Int
    /// The records. Stable for the table's life.
    let records: UnsafeMutablePointer<Connection>
    private let byteCount: Int
    /// Open sockets by transport.
    private(set) var counts: InlineArray<8, Int> = InlineArray(repeating: 0)

    /// All connections; listeners are none.
    private(set) var total = 0
    /// One more than the highest slot ever used: how far a walk over all connections goes.
    private(set) var slotsUsed = 0

    init(capacity: Int) {
        self.capacity = capacity
        byteCount = capacity * MemoryLayout<Connection>.stride
        let pages = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        precondition(pages != MAP_FAILED, "no address space for the connection table")
        records = pages!.bindMemory(to: Connection.self, capacity: capacity)
    }

    deinit { munmap(records, byteCount) }

    /// The record in `slot`. A free slot's record is meaningless until `open`.
    subscript(slot: UInt32) -> Connection {
        unsafeAddress { UnsafePointer(records + Int(slot)) }
        nonmutating unsafeMutableAddress { records + Int(slot) }
    }

    /// Starts a record for a socket.
    mutating func open(_ socket: SocketID, phase: Phase, transport: Transport, from listener: ListenerName = .other) {
        var record = Connection()
        record.socket = socket
        record.phase = phase
        record.transport = transport
        record.listener = listener
        records[Int(socket.slot)] = record
        slotsUsed = max(slotsUsed, Int(socket.slot) + 1)
        count(transport, 1)
    }

    /// Says that the connection speaks something else from now on.
    mutating func change(_ slot: UInt32, to transport: Transport) {
        count(records[Int(slot)].transport, -1)
        records[Int(slot)].transport = transport
        count(transport, 1)
    }

    private mutating func count(_ transport: Transport, _ change: Int) {
        counts[Int(transport.rawValue)] += change
        if transport != .listener { total += change }
    }

    /// Ends a record.
    mutating func free(_ slot: UInt32) {
        count(records[Int(slot)].transport, -1)
        records[Int(slot)].phase = .free
    }

    /// The reactor's name for the connection in `slot`.
    func socket(_ slot: UInt32) -> SocketID {
        records[Int(slot)].socket
    }

    /// All sockets that are not free, listeners included.
    var openSockets: Int { total + counts[Int(Transport.listener.rawValue)] }

}
