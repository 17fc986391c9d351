// Idempotency keys and producers: what is remembered of a publication.

import CTestDisk
import Glibc
import Testing

@testable import EventStore

@Suite("Keys and producers")
struct KeyTests {
    @Test("keys and producers are stored with their events, the newest of each name, also after a crash")
    func stored() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        try disk.open { store throws in
            var batch = StoreBatch()
            batch.publish(["a", "b"], at: 1, timeMs: 5, .key(1))
            batch.publish(["c"], on: "other", at: 3, timeMs: 6, .key(2, payload: 9))
            batch.publish(["d"], at: 4, .producer(1, epoch: 3, last: 1))
            batch.publish(["e", "f"], at: 5, .producer(1, epoch: 3, last: 3, payload: 8))
            batch.publish(["g"], at: 7, .producer(2, last: 1))
            _ = try store.append(batch)
            // Whoever gave these numbers has forgotten the key, and that its channel had ended.
            try store.setEnded(true, "events")
            try store.publish(["h"], timeMs: 7, .key(1, payload: 4))
        }
        try disk.open(epoch: 2) { store throws in
            #expect(try store.everything().count == 8)
            #expect(try store.keys() == ["2 9 3-3", "1 4 8-8"])
            #expect(try store.storedKeys(.max, since: 6).map(\.timeMs) == [6, 7])
            #expect(try store.storedKeys(.max, since: 7).map(\.timeMs) == [7])
            #expect(try store.storedKeys(1, since: 0).map(\.timeMs) == [7])
            let expected: [StoredProducer] = [
                StoredProducer(
                    producer: try #require(StoreRows.producer(1, epoch: 3, last: 3, payload: 8).producer),
                    range: SeqRange(first: 5, last: 6)),
                StoredProducer(
                    producer: try #require(StoreRows.producer(2, last: 1).producer),
                    range: SeqRange(first: 7, last: 7)),
            ]
            #expect(try store.storedProducers() == expected)
        }
    }

    @Test("the newest keys are kept, a tenth more at most, and the oldest go in steps")
    func bounds() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var configuration = disk.configuration()
        configuration.keysKept = 1000
        try disk.open(configuration) { store throws in
            var batch = StoreBatch()
            for key in 1...2600 as ClosedRange<UInt64> { batch.publish(["x"], on: "c\(key % 3)", at: key, .key(key)) }
            var next = 0
            while next < batch.count { next = try store.append(batch, from: next) }
            #expect(try store.retain(clockMs: 0).isMore)
            #expect(try store.keys().count == 2100)
            var steps = 1
            while try store.retain(clockMs: 0).isMore { steps += 1 }
            #expect(steps == 3)
            #expect(try store.storedKeys(.max, since: .min).map(\.range.last) == Array(1601...2600))
            // A key that is used again is one.
            for _ in 0..<100 { try store.publish(["x"], .key(2600)) }
            try store.publish(["x"], .key(1))
            while try store.retain(clockMs: 0).isMore {}
            #expect(try store.keys().count == 1000)
            #expect(try store.keys().suffix(2) == ["2600 1 2700-2700", "1 1 2701-2701"])
            for key in 3000..<3100 as Range<UInt64> { try store.publish(["x"], .key(key)) }
            while try store.retain(clockMs: 0).isMore {}
            #expect(try store.keys().count == 1100)
        }
        // They are counted at a start, too.
        try disk.open(configuration) { store throws in
            while try store.retain(clockMs: 0).isMore {}
            #expect(try store.keys().count == 1000)
        }
    }

    @Test("keys that could not be forgotten for want of space are forgotten later")
    func fullDisk() throws {
        let disk = try TestDisk()
        defer { disk.free() }
        var configuration = disk.configuration()
        configuration.keysKept = 10
        try disk.open(configuration) { store throws in
            for key in 1...30 as ClosedRange<UInt64> { try store.publish(["x"], .key(key)) }
            disk.fail(TEST_DISK_WRITE, call: 1, errno: ENOSPC)
            #expect(faultOf { _ = try store.retain(clockMs: 0) }?.kind == .full)
            #expect(try store.keys().count == 30)
            #expect(try !store.retain(clockMs: 0).isMore)
            #expect(try store.keys().count == 10)
        }
    }
}
