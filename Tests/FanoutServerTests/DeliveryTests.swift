// Partial sends, and backlogs that are dropped: what is left, what is counted, where a reader can go on.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Delivery")
struct DeliveryTests {
    typealias Item = DeliveryModel.Item

    static let layouts: [[Item]] = [
        [.event(bytes: 4)],
        [.event(bytes: 3), .event(bytes: 1), .event(bytes: 5)],
        [.event(bytes: 3), .foreign(bytes: 2), .event(bytes: 4)],
        [.foreign(bytes: 3), .event(bytes: 2), .event(bytes: 2), .foreign(bytes: 1), .foreign(bytes: 1)],
        [.control(bytes: 3), .event(bytes: 3), .control(bytes: 2), .event(bytes: 3)],
        [.event(bytes: 2), .control(bytes: 1), .control(bytes: 4), .event(bytes: 3), .event(bytes: 2)],
        [.control(bytes: 2), .control(bytes: 3)],
        [
            .event(bytes: 2), .event(bytes: 2), .control(bytes: 3), .foreign(bytes: 4), .event(bytes: 2),
            .control(bytes: 1),
        ],
    ]

    /// 40 runs, so that the middle of the ring is in two blocks.
    static let long: [Item] = (0..<40).flatMap { index -> [Item] in
        index % 7 == 3 ? [.control(bytes: 2)] : [.event(bytes: 1 + index % 3), .foreign(bytes: 1)]
    }

    private func model(_ items: [Item]) throws -> DeliveryModel {
        let model = try DeliveryModel()
        for item in items { model.add(item) }
        return model
    }

    @Test("sentSeq and the events that wait are exact after every partial send", arguments: layouts + [long])
    func partialSends(items: [Item]) throws {
        let total = try model(items).bytes.count
        for first in 0..<total {
            for second in 0...(total - first) where first + second < total || second == total - first {
                let model = try model(items)
                model.begin(total)
                #expect((model.sent(first) == .more) == (first < total))
                #expect(model.connection.pointee.sentSeq == model.sentSeq, "after \(first)")
                #expect(model.connection.pointee.pendingEvents == eventsLeft(model), "after \(first)")
                model.begin(total - first)
                let after = model.sent(second)
                #expect((after == .empty) == (second == total - first))
                #expect(model.connection.pointee.sentSeq == model.sentSeq, "after \(first) and \(second)")
                #expect(model.ringBytes == model.bytes.map(\.value))
                #expect(model.connection.pointee.pendingEvents == eventsLeft(model), "after \(first) and \(second)")
                model.finish()
            }
            if items.count > 10, first % 3 != 0 { continue }
        }
    }

    /// Events of which at least the last byte is still to go.
    private func eventsLeft(_ model: DeliveryModel) -> UInt32 {
        UInt32(Set(model.bytes.map(\.item)).count { model.seqs[$0] > 0 })
    }

    @Test(
        "dropping a backlog keeps what is in flight and whole frames, and counts the rest exactly",
        arguments: layouts + [long])
    func dropBacklog(items: [Item]) throws {
        let total = try model(items).bytes.count
        for sent in 0..<total {
            for inFlight in 0...(total - sent) {
                let model = try model(items)
                if sent > 0 {
                    model.begin(total)
                    _ = model.sent(sent)
                }
                if inFlight > 0 { model.begin(inFlight) }
                let first = model.bytes[0].item
                let isPartlyOut = sent > 0 && wholeBytes(items[first]) != model.bytes.count { $0.item == first }
                let expected = model.afterDrop(inFlight: inFlight, frontIsPartlyOut: isPartlyOut)
                let dropped = model.delivery.dropBacklog(0)
                let place = "\(sent) sent, \(inFlight) in flight"
                #expect(model.ringBytes == expected.bytes.map(\.value), "\(place)")
                #expect(Int(dropped.events) == expected.events, "\(place)")
                #expect(dropped.lastKept == expected.lastKept, "\(place)")
                #expect(model.connection.pointee.queuedSeq == expected.lastKept, "\(place)")
                model.bytes = expected.bytes
                #expect(model.connection.pointee.pendingEvents == eventsLeft(model), "\(place)")
                if inFlight > 0 {
                    let after = model.sent(inFlight)
                    #expect((after == .empty) == model.bytes.isEmpty)
                }
                model.add(.event(bytes: 3))
                #expect(model.ringBytes == model.bytes.map(\.value), "\(place)")
                model.finish()
                #expect(model.connection.pointee.sentSeq == model.sentSeq, "\(place)")
            }
        }
    }

    private func wholeBytes(_ item: Item) -> Int {
        switch item {
        case .event(let bytes), .foreign(let bytes), .control(let bytes): bytes
        }
    }

    @Test("the oldest waiting byte's age is that of its frame, not of the ring")
    func oldest() throws {
        let model = try DeliveryModel()
        for (index, time) in [100, 200, 300].enumerated() as EnumeratedSequence<[UInt32]> {
            let (run, target) = model.delivery.log.reserve(.jsonl, byteCount: 10)
            for place in 0..<10 { target[place] = 0 }
            model.delivery.log.commit(run, seq: UInt64(index + 1), writtenAt: time)
            if model.connection.pointee.ring.append(run, blocks: &model.delivery.blocks) {
                model.delivery.log.segments[run.segment].references += 1
            }
            model.connection.pointee.pendingEvents += 1
        }
        let steps: [(UInt32, UInt32)] = [(0, 100), (1, 100), (8, 100), (1, 200), (9, 200), (1, 300), (9, 300)]
        for (taken, age) in steps {
            model.connection.pointee.flags.insert(.sending)
            model.connection.pointee.inFlight = 30
            _ = model.delivery.sent(0, count: taken)
            #expect(model.delivery.oldestWaiting(0) == age)
        }
        model.delivery.release(0)
    }

    @Test("the flush queue keeps its order through removals from anywhere")
    func flushQueue() {
        let records = UnsafeMutablePointer<Connection>.allocate(capacity: 8)
        defer { records.deallocate() }
        records.initialize(repeating: Connection(), count: 8)
        for removed in 0..<6 as Range<UInt32> {
            var queue = FlushQueue()
            for slot in 0..<6 as Range<UInt32> {
                queue.append(slot, in: records)
                queue.append(slot, in: records)
            }
            #expect(queue.count == 6)
            queue.remove(removed, in: records)
            queue.remove(removed, in: records)
            queue.remove(7, in: records)
            queue.append(7, in: records)
            let left = (0..<6).filter { $0 != removed } + [7]
            #expect(Array(queue.front(.max)) == left)
            #expect(Array(queue.front(2)) == Array(left.prefix(2)))
            for slot in left { records[Int(slot)].flags.remove(.queued) }
            queue.removeFirst(2)
            #expect(Array(queue.front(.max)) == Array(left.dropFirst(2)))
            queue.removeFirst(4)
            #expect(queue.count == 0)
            queue.append(removed, in: records)
            #expect(Array(queue.front(.max)) == [removed])
            records[Int(removed)].flags.remove(.queued)
        }
    }

    @Test("the flush queue grows, and moves up what is left before it does")
    func flushQueueGrowth() {
        let records = UnsafeMutablePointer<Connection>.allocate(capacity: 1000)
        defer { records.deallocate() }
        records.initialize(repeating: Connection(), count: 1000)
        var queue = FlushQueue()
        var model: [UInt32] = []
        var next: UInt32 = 0
        for (added, taken) in [(60, 50), (50, 1), (3, 62), (500, 10), (90, 400), (0, 180), (700, 0), (250, 950)] {
            for place in 0..<added {
                let slot = next % 1000
                next += 1
                if place % 2 == 0 {
                    queue.append(slot, in: records)
                } else {
                    queue.reserve(1)[0] = slot
                    records[Int(slot)].flags.insert(.queued)
                    queue.commit(1)
                }
                model.append(slot)
            }
            #expect(Array(queue.front(.max)) == model)
            for slot in model.prefix(taken) { records[Int(slot)].flags.remove(.queued) }
            queue.removeFirst(taken)
            model.removeFirst(taken)
        }
        #expect(queue.count == 0)
    }

    @Test("what a delivery touches of a connection's record lies in its first cache line")
    func recordLayout() {
        #expect(MemoryLayout<Connection>.offset(of: \.waitingSince) == 40)
        #expect(MemoryLayout<Connection>.offset(of: \.ring) == 44)
        #expect(MemoryLayout<OutboundRing>.offset(of: \.byteCount) == 16)
    }

    @Test("a connection's record has the documented size")
    func recordSize() {
        #expect(MemoryLayout<Connection>.stride == 128)
        #expect(MemoryLayout<Connection>.size == 128)
        #expect(MemoryLayout<OutboundRun>.stride == 12)
        #expect(MemoryLayout<OutboundRing>.stride == 44)
    }
}
