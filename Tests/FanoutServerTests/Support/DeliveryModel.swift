// One connection's way out: items queued, bytes taken, a backlog dropped, against a list of items.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

/// A delivery with one subscriber, without a socket behind it: the test says what a send took.
final class DeliveryModel {
    enum Item: Equatable {
        /// An event for the subscriber.
        case event(bytes: Int)
        /// An event for others, in the same segment.
        case foreign(bytes: Int)
        /// Bytes for this connection alone.
        case control(bytes: Int)
    }

    /// One byte that the subscriber should get.
    struct Byte: Equatable {
        var value: UInt8
        /// Its item's place in the list.
        var item: Int
    }

    let delivery: Delivery
    private(set) var items: [Item] = []
    /// The number of each item, 0 where it is no event of the subscriber.
    private(set) var seqs: [UInt64] = []
    var bytes: [Byte] = []
    private(set) var sentSeq: UInt64 = 0
    private var head: UInt64 = 0

    init() throws {
        var configuration = LoopConfiguration()
        configuration.backend = .simulated(SimulatedKernel(seed: 1))
        configuration.socketsMax = 8
        delivery = Delivery(loop: try EventLoop(configuration))
        delivery.connections.open(SocketID(slot: 0, generation: 1), phase: .subscriber, transport: .jsonlUnix)
    }

    var connection: UnsafeMutablePointer<Connection> { delivery.connections.records }

    func add(_ item: Item) {
        let place = items.count
        items.append(item)
        var seq: UInt64 = 0
        switch item {
        case .event(let count), .foreign(let count):
            head += 1
            let (run, target) = delivery.log.reserve(.jsonl, byteCount: count)
            for index in 0..<count { target[index] = value(place, index) }
            delivery.log.commit(run, seq: head)
            guard item == .event(bytes: count) else { break }
            seq = head
            if connection.pointee.ring.append(run, blocks: &delivery.blocks) {
                delivery.log.segments[run.segment].references += 1
            }
            connection.pointee.pendingEvents += 1
            connection.pointee.queuedSeq = seq
            for index in 0..<count { bytes.append(Byte(value: value(place, index), item: place)) }
        case .control(let count):
            let text = (0..<count).map { value(place, $0) }
            delivery.say(0, text.span)
            for index in 0..<count { bytes.append(Byte(value: text[index], item: place)) }
        }
        seqs.append(seq)
    }

    private func value(_ item: Int, _ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: item &* 37 &+ index &* 5) }

    /// A send of `inFlight` bytes was begun.
    func begin(_ inFlight: Int) {
        connection.pointee.inFlight = UInt32(inFlight)
        connection.pointee.flags.insert(.sending)
    }

    /// It took `count`.
    func sent(_ count: Int) -> Delivery.AfterSend {
        let after = delivery.sent(0, count: UInt32(count))
        for byte in bytes.prefix(count).reversed() where isWholeAfter(count, byte.item) && seqs[byte.item] > 0 {
            sentSeq = max(sentSeq, seqs[byte.item])
            break
        }
        bytes.removeFirst(count)
        return after
    }

    private func isWholeAfter(_ count: Int, _ item: Int) -> Bool {
        !bytes.dropFirst(count).contains { $0.item == item }
    }

    /// What the ring holds.
    var ringBytes: [UInt8] {
        var found: [UInt8] = []
        connection.pointee.ring.forEachFirst(runsMax: .max, bytesMax: .max, blocks: delivery.blocks) { run in
            let base = delivery.log.segments[run.segment].base + Int(run.start)
            found += UnsafeBufferPointer(start: base, count: Int(run.count))
        }
        return found
    }

    /// What should be left when a backlog is dropped with `inFlight` bytes in the kernel and `sentBytes` taken of the
    /// first item: what is in flight, the rest of items that are partly out, everything that is no event, and what
    /// stands before that.
    func afterDrop(inFlight: Int, frontIsPartlyOut: Bool) -> (bytes: [Byte], events: Int, lastKept: UInt64) {
        var begun = Set(bytes.prefix(inFlight).map(\.item))
        if frontIsPartlyOut, let first = bytes.first { begun.insert(first.item) }
        if let record = bytes.lastIndex(where: { seqs[$0.item] == 0 }) { begun.formUnion(bytes[..<record].map(\.item)) }
        let left = bytes.filter { seqs[$0.item] == 0 || begun.contains($0.item) }
        let dropped = Set(bytes.map(\.item)).filter { seqs[$0] > 0 && !begun.contains($0) }
        return (left, dropped.count, max(sentSeq, begun.map { seqs[$0] }.max() ?? 0))
    }

    /// Sends the rest and looks whether everything has come home.
    func finish(sourceLocation: SourceLocation = #_sourceLocation) {
        if !bytes.isEmpty {
            begin(bytes.count)
            #expect(sent(bytes.count) == .empty, sourceLocation: sourceLocation)
        }
        delivery.release(0)
        #expect(delivery.blocks.inUse == 0, sourceLocation: sourceLocation)
        #expect(delivery.queue.count == 0, sourceLocation: sourceLocation)
        #expect(delivery.log.segments.bytesHeld <= 2 * SegmentStore.segmentBytes, sourceLocation: sourceLocation)
        for chain in [Chain.jsonl, .control] {
            let tail = delivery.log.reserve(chain, byteCount: 1).run
            #expect(delivery.log.segments[tail.segment].references == 1, sourceLocation: sourceLocation)
        }
    }
}
