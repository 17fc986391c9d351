/// From rings to sockets: queues bytes for connections, sends them once per turn, and accounts for what was taken.

import Planted
import Reactor
import Wire

/// Everything that goes out goes through here. One send per connection is in flight at most; what is queued during a
/// turn leaves together in the next one. Loop thread only.
final class Delivery {
    /// Pieces in one send: the reactor's `gather` holds as many.
    static let piecesMax = 16
    /// Bytes in one send, so that one reader's backlog cannot take a turn for itself.
    static let sendBytesMax: UInt32 = 256 * 1024
    /// Sends started in one turn; the rest go in the next, in order.
    static let sendsPerTurnMax = 4096

    let loop: EventLoop
    // Without run-time checks of exclusivity, which would cost each delivery several calls. No access to one of these
    // lasts while another to the same one begins: a ring that works on `blocks` calls back to closures that touch `log`
    // alone, and nothing else that is called with one of them calls back.
    @exclusivity(unchecked) var connections: ConnectionTable
    @exclusivity(unchecked) var log: FrameLog
    @exclusivity(unchecked) var blocks = RunBlocks()
    @exclusivity(unchecked) var queue = FlushQueue()
    @exclusivity(unchecked) private(set) var counters = Counters()
    /// Sends that the reactor has.
    @exclusivity(unchecked) private(set) var sendsInFlight = 0

    struct Counters {
        var bytesSent: UInt64 = 0
        var deliveries: UInt64 = 0
        var sends: UInt64 = 0
    }

    init(loop: EventLoop, segmentBytes: Int = SegmentStore.segmentBytes) {
        self.loop = loop
        log = FrameLog(segmentBytes: segmentBytes)
        connections = ConnectionTable(capacity: loop.capacity)
    }

    /// The loop's milliseconds, the low 32 bits of them.
    private var now: UInt32 { UInt32(truncatingIfNeeded: loop.now) }

    // MARK: Queueing

    /// Queues bytes for one connection: copied once, behind everything already queued. They count against no limit.
    func say(_ slot: UInt32, _ bytes: Span<UInt8>) {
        guard !bytes.isEmpty else { return }
        queueRun(log.writeControl(bytes), for: slot)
    }

    /// Queues a run for one connection.
    func queueRun(_ run: OutboundRun, for slot: UInt32) {
        let connection = connections.records + Int(slot)
        precondition(connection.pointee.phase != .free, "bytes for a connection that does not exist")
        if connection.pointee.ring.isEmpty { connection.pointee.waitingSince = now }
        if connection.pointee.ring.append(run, blocks: &blocks) { log.segments[run.segment].references += 1 }
        queue.append(slot, in: connections.records)
    }

    /// Queues a run of the history, with so many events, up to `seq`.
    func queueHistory(_ run: OutboundRun, events: UInt32, through seq: UInt64, for slot: UInt32) {
        queueRun(run, for: slot)
        connections.records[Int(slot)].pendingEvents += events
        connections.records[Int(slot)].queuedSeq = seq
        countDeliveries(Int(events))
    }

    /// Counts events that were queued for subscribers.
    @inline(__always)
    func countDeliveries(_ count: Int) { counters.deliveries &+= UInt64(count) }

    // MARK: Sending

    /// Starts the sends of this turn. True if some had to wait for the next.
    func flush() -> Bool {
        let slots = queue.front(Self.sendsPerTurnMax)
        let records = connections.records
        let now = now
        loop.expectSends(slots.count)
        for place in 0..<slots.count {
            let ahead = place &+ Prefetch.distance  // both are small
            if ahead < slots.count { Prefetch.record(records + Int(slots[ahead])) }
            startSend(slots[place], records + Int(slots[place]), now)
        }
        // Nothing was queued meanwhile: the reactor does not call back.
        queue.removeFirst(slots.count)
        return queue.count > 0
    }

    @inline(__always)
    private func startSend(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>, _ now: UInt32) {
        let flags = connection.pointee.flags.subtracting(.queued)
        connection.pointee.flags = flags
        guard flags.isDisjoint(with: .unsendable), connection.pointee.phase != .closing,
            !connection.pointee.ring.isEmpty
        else { return }
        counters.sends &+= 1
        let run = connection.pointee.ring.front
        let isPlain = connection.pointee.ring.runCount == 1 && run.count <= Self.sendBytesMax
        guard isPlain, flags.isDisjoint(with: .duties) else { return startLongSend(slot) }
        let bytes = log.segments.unsafeTable[Int(run.segment)].base + Int(run.start)
        if loop.send(connection.pointee.socket, UnsafeRawPointer(bytes), count: Int(run.count)) {
            tookAll(connection, run, now)
        } else {
            began(connection, run.count)
        }
    }

    /// A send of several runs, of part of one, or one whose end leads to something else.
    @inline(never)
    private func startLongSend(_ slot: UInt32) {
        let connection = connections.records + Int(slot)
        var planned: UInt32 = 0
        loop.gather.removeAll()
        let table = log.segments.unsafeTable
        connection.pointee.ring.forEachFirst(runsMax: Self.piecesMax, bytesMax: Self.sendBytesMax, blocks: blocks) {
            loop.gather.append(UnsafeRawPointer(table[Int($0.segment)].base + Int($0.start)), Int($0.count))
            planned += $0.count
        }
        began(connection, planned)
        loop.send(connections.socket(slot))
    }

    @inline(__always)
    private func began(_ connection: UnsafeMutablePointer<Connection>, _ planned: UInt32) {
        connection.pointee.inFlight = planned
        connection.pointee.flags.insert(.sending)
        sendsInFlight &+= 1
    }

    /// The socket took all there is, which is this run.
    @inline(__always)
    private func tookAll(_ connection: UnsafeMutablePointer<Connection>, _ run: OutboundRun, _ now: UInt32) {
        connection.pointee.ring.removeOnly()
        counters.bytesSent &+= UInt64(run.count)
        log.segments.release(run.segment)
        becameEmpty(connection, now)
    }

    @inline(__always)
    private func becameEmpty(_ connection: UnsafeMutablePointer<Connection>, _ now: UInt32) {
        connection.pointee.pendingEvents = 0
        connection.pointee.sentSeq = connection.pointee.queuedSeq
        connection.pointee.waitingSince = now
    }

    /// Takes off the rings what sockets took that took all they were offered, as `EventLoop.wholeSends()` says.
    /// `other` is given those for which there is more to do.
    func sentWhole(_ slots: UnsafeBufferPointer<UInt32>, other: (UInt32, UInt32) -> Void) {
        let records = connections.records
        let now = now
        for place in 0..<slots.count {
            let ahead = place &+ Prefetch.distance  // both are small
            if ahead < slots.count { Prefetch.record(records + Int(slots[ahead])) }
            let connection = records + Int(slots[place])
            // One that was closed meanwhile keeps its bytes until `.closed`.
            if connection.pointee.phase == .closing { continue }
            let flags = connection.pointee.flags
            let inFlight = connection.pointee.inFlight
            if connection.pointee.ring.runCount == 1, connection.pointee.ring.byteCount == inFlight,
                flags.intersection(.sendingWithDuties) == .sending
            {
                connection.pointee.flags = flags.subtracting(.sending)
                connection.pointee.inFlight = 0
                sendsInFlight &-= 1
                tookAll(connection, connection.pointee.ring.front, now)
            } else {
                other(slots[place], inFlight)
            }
        }
    }

    /// What happened to the ring when a send completed.
    enum AfterSend { case empty, more }

    /// Takes the bytes that the socket took off the ring and queues the connection again if any are left.
    func sent(_ slot: UInt32, count: UInt32) -> AfterSend {
        let connection = connections.records + Int(slot)
        precondition(connection.pointee.flags.contains(.sending), "a send completed that was not in flight")
        precondition(count <= connection.pointee.inFlight, "more bytes were taken than were offered")
        sendEnded(slot)
        counters.bytesSent &+= UInt64(count)
        if count == connection.pointee.ring.byteCount {
            connection.pointee.ring.drain(blocks: &blocks) { log.segments.release($0.segment) }
            becameEmpty(connection, now)
            return .empty
        }
        if count > 0, !isPlanted("positionKeptAfterShortSend") {
            connection.pointee.waitingSince = now
            noteProgress(connection, count)
        }
        queue.append(slot, in: connections.records)
        return .more
    }

    /// The reactor no longer has a send of this connection.
    @inline(__always)
    func sendEnded(_ slot: UInt32) {
        let connection = connections.records + Int(slot)
        guard connection.pointee.flags.contains(.sending) else { return }
        connection.pointee.flags.remove(.sending)
        connection.pointee.inFlight = 0
        sendsInFlight &-= 1
    }

    /// A partial send: counts the events that went out whole, and finds the last one. Only connections with a backlog
    /// come here.
    private func noteProgress(_ connection: UnsafeMutablePointer<Connection>, _ count: UInt32) {
        // A `$gap` that is queued may have taken it further than the events before it.
        var sentSeq = connection.pointee.sentSeq
        var eventsSent: UInt32 = 0
        let ofFront = connection.pointee.ring.consume(count, blocks: &blocks) { run in
            eventsSent += log.segments[run.segment].events(after: run.start, by: run.end)
            if let seq = log.segments[run.segment].lastEvent(after: run.start, by: run.end) {
                sentSeq = max(sentSeq, seq)
            }
            log.segments.release(run.segment)
        }
        if ofFront > 0 {
            let front = connection.pointee.ring.front
            eventsSent += log.segments[front.segment].events(after: front.start - ofFront, by: front.start)
            if let seq = log.segments[front.segment].lastEvent(after: front.start - ofFront, by: front.start) {
                sentSeq = max(sentSeq, seq)
            }
        }
        connection.pointee.sentSeq = sentSeq
        connection.pointee.pendingEvents -= eventsSent
    }

    // MARK: Ending

    /// Gives back everything a connection held. Only when the reactor can no longer touch it.
    func release(_ slot: UInt32) {
        let connection = connections.records + Int(slot)
        queue.remove(slot, in: connections.records)
        connection.pointee.ring.drain(blocks: &blocks) { log.segments.release($0.segment) }
        sendEnded(slot)
    }
}
