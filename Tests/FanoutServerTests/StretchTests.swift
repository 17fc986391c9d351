// Events published together: every reader is left as if they had come one by one.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Stretch")
struct StretchTests {
    private static let kinds = [
        "\"type\":\"x\",", "\"type\":\"\\u0078\",", "\"type\":\"y\",", "\"type\":\"\",", "",
    ]
    private static let transports: [Transport] = [.jsonlUnix, .sse, .webSocket]

    /// Readers at random, the same for each seed: some with kinds, some that skip, some that have waited.
    private func model(_ seed: UInt64, segmentBytes: Int) throws -> HubModel {
        var random = SeededRandom(seed: seed)
        let limits = (events: random.within(1...40), bytes: random.within(500...8000))
        let model = try HubModel(
            {
                $0.limits.events = limits.events
                $0.limits.bytes = limits.bytes
            }, segmentBytes: segmentBytes)
        let hasKinds = random.chance(0.7)
        for slot in 0..<UInt32(random.within(1...20)) {
            let types = hasKinds && random.chance(0.5) ? [random.pick(["x", "y", "", "z\""]), "w"] : []
            try model.attach(slot, random.chance(0.5) ? [] : ["events"], types: types, random.pick(Self.transports))
        }
        // Something waits for half of them, since before this turn for some.
        try model.publish("{\"type\":\"x\"}", kind: "x", on: "events")
        for slot in model.readers.keys.sorted() {
            if random.chance(0.5) { _ = model.takeBytes(slot) }
            let connection = model.delivery.connections.records + Int(slot)
            if random.chance(0.3) { connection.pointee.waitingSince &-= 5 }
            if random.chance(0.2) {
                connection.pointee.flags.insert(.skipping)
                connection.pointee.missed = random.pick([0, 7, .max - 3, .max])
            }
        }
        return model
    }

    /// What a delivery changes of a reader.
    private func state(_ model: HubModel, _ slot: UInt32) -> String {
        let connection = model.delivery.connections[slot]
        return "pending \(connection.pendingEvents) queued \(connection.queuedSeq) missed \(connection.missed)"
            + " bytes \(connection.ring.byteCount) since \(connection.waitingSince) flags \(connection.flags)"
    }

    /// The references that segments should have: one for each run, and one for each chain's tail.
    private func areReferencesRight(_ model: HubModel) -> Bool {
        var expected: [UInt32: UInt32] = [:]
        for chain in 0..<4 where model.delivery.log.tails[chain] != .max {
            expected[model.delivery.log.tails[chain], default: 0] += 1
        }
        for slot in model.readers.keys {
            model.delivery.connections[slot].ring.forEachFirst(
                runsMax: .max, bytesMax: .max, blocks: model.delivery.blocks
            ) { expected[$0.segment, default: 0] += 1 }
        }
        return expected.allSatisfy { model.delivery.log.segments[$0.key].references == $0.value }
            && model.delivery.log.segments.bytesHeld
                == expected.keys.reduce(0) { $0 + Int(model.delivery.log.segments[$1].capacity) }
    }

    @Test("limits, receipts, counts, kinds and segments are those of events that come one by one", arguments: 0..<200)
    func together(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed) &+ 1_000_000)
        let segmentBytes = random.pick([4096, 8192, 65_536])
        let together = try model(UInt64(seed), segmentBytes: segmentBytes)
        let alone = try model(UInt64(seed), segmentBytes: segmentBytes)
        for _ in 0..<random.within(1...4) {
            let count = random.chance(0.2) ? 1 : random.within(2...60)
            let events = (0..<count).map { _ in
                let kind = random.pick(Self.kinds)
                let size = random.chance(0.02) ? 6000 : random.below(300)
                return "{\(kind)\"a\":\"\(String(repeating: "b", count: size))\"}"
            }
            let receipt = try together.publishTogether(events)
            var last = Hub.Receipt()
            for event in events { last = try alone.publishTogether([event]) }
            last.first = receipt.first
            last.count = events.count
            #expect(receipt == last)
            #expect(together.hub.head == alone.hub.head && receipt.last == alone.hub.head)
            #expect(together.delivery.counters.deliveries == alone.delivery.counters.deliveries)
            for slot in together.readers.keys.sorted() {
                #expect(state(together, slot) == state(alone, slot), "slot \(slot)")
            }
            #expect(areReferencesRight(together))
            // Some take what waits.
            for slot in together.readers.keys.sorted() where random.chance(0.4) {
                #expect(together.takeBytes(slot) == alone.takeBytes(slot), "slot \(slot)")
            }
        }
        var suspects: (together: [UInt32], alone: [UInt32]) = ([], [])
        together.hub.moveSuspects(to: &suspects.together)
        alone.hub.moveSuspects(to: &suspects.alone)
        #expect(suspects.together.sorted() == suspects.alone.sorted())
        for slot in together.readers.keys.sorted() {
            #expect(together.takeBytes(slot) == alone.takeBytes(slot), "slot \(slot)")
        }
        #expect(areReferencesRight(together))
    }

    @Test("a reader that skips is said to miss each of them, and what cannot be counted any more stays the largest")
    func missed() throws {
        let model = try HubModel()
        for slot in 0..<3 as Range<UInt32> {
            try model.attach(slot, [], .jsonlUnix)
            model.delivery.connections[slot].flags.insert(.skipping)
        }
        model.delivery.connections[1].missed = .max - 10
        model.delivery.connections[2].missed = .max - 9
        let receipt = try model.publishTogether(Array(repeating: "{}", count: 10))
        #expect(receipt == Hub.Receipt(first: 1, last: 10, count: 10, subscribers: 3, behind: 3))
        #expect((0..<3).map { model.delivery.connections[$0].missed } == [10, .max, .max])
        _ = try model.publishTogether(["{}", "{}"])
        #expect((0..<3).map { model.delivery.connections[$0].missed } == [12, .max, .max])
    }

    @Test("more lines of one receive than a batch may have are all published", arguments: [0, 2])
    func manyLines(readers: Int) throws {
        let server = try SimulatedServer()
        let readers = try (0..<readers).map { _ in try SimulatedReader(server, .eventsSocket) }
        for reader in readers { _ = reader.take() }
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write(String(repeating: "{}\n", count: 2500))
        writer.close()
        server.settle()
        #expect(server.engine.hub.head == 2500)
        for reader in readers { #expect(reader.take().compactMap(\.seq) == Array(1...2500)) }
    }

    @Test("lines of one receive become one run for each reader, across channels in their order")
    func lines() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        let writer = try server.connect(SimulatedServer.ingest)
        _ = reader.take()
        let text = """
            {"n":1}
            {"n":2}
            nonsense
            {"n":3}
            {"$publish":{"event":{"n":4},"channel":"other"}}
            {"n":5}
            {"$publish":{"event":{"n":6},"channel":"bad name"}}
            {"n":7}
            {"n":8
            """
        writer.write(text)
        writer.close()
        let taken = reader.take()
        #expect(taken.compactMap(\.seq) == [1, 2, 3, 4, 5, 6])
        #expect(taken.compactMap { $0.object["n"] as? Int } == [1, 2, 3, 4, 5, 7])
        let channels = ["events", "events", "events", "other", "events", "events"]
        #expect(taken.map { $0.object["channel"] as? String } == channels)
        #expect(server.metric("fanout_events_refused_total") == 3)
    }
}
