// The tables that tell a repetition from something new: against plain models, and on input that nobody would write.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Tables of repetitions")
struct RepetitionTableTests {
    private func digest(_ number: UInt64) -> ContentDigest {
        var digester = ContentDigester()
        digester.add(Array("\(number)".utf8).span)
        return digester.finish()
    }

    private func key(_ number: UInt64, payload: UInt64 = 0, seq: UInt64 = 1, at time: Int64 = 0) -> KeyRecord {
        KeyRecord(name: digest(number), payload: digest(payload), firstSeq: seq, lastSeq: seq, publishedAt: time)
    }

    private func table(_ countMax: Int = IdempotencyKeys.countMax, bytes: Int = .max) -> IdempotencyKeys {
        var random = SeededRandom(seed: 1)
        return IdempotencyKeys(bytesMax: bytes, countMax: countMax, random: &random)
    }

    @Test("keys are what a list of the newest ones says, through any use", arguments: 1...8)
    func keysAgainstModel(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let countMax = random.magnitude(1...300)
        var keys = table(countMax)
        let names = (0..<UInt64(countMax * 2)).map(digest)
        var model: [KeyRecord] = []
        var now: Int64 = 0
        for step in 0..<2000 as Range<UInt64> {
            now += Int64(random.chance(0.02) ? random.below(400_000) : random.below(2000))
            let name = random.below(countMax * 2)
            let newest = model.last { $0.name == names[name] }
            let isThere = newest.map { now - $0.publishedAt <= 600_000 } ?? false
            let found = keys.find(names[name], now: UInt64(now))
            #expect((found != nil) == isThere)
            if let found {
                #expect(found == newest)
                continue
            }
            let record = key(UInt64(name), payload: step, seq: step + 1, at: now)
            keys.remember(record)
            model.append(record)
            // As many as there may be, those counted that have run out and not gone yet.
            while model.count > keys.count { model.removeFirst() }
            #expect(model.count <= countMax)
        }
        let capacity = keys.capacity
        #expect(capacity <= countMax)
    }

    /// What a table says of a key; the table cannot be copied into an expectation.
    private func payload(_ keys: borrowing IdempotencyKeys, _ number: UInt64, _ now: UInt64) -> ContentDigest? {
        keys.find(digest(number), now: now)?.payload
    }

    private func seq(_ keys: borrowing IdempotencyKeys, _ number: UInt64) -> UInt64? {
        keys.find(digest(number), now: 0)?.firstSeq
    }

    @Test("a key is remembered for ten minutes to the millisecond")
    func window() {
        var keys = table()
        keys.remember(key(1, at: 5))
        var seen = [600_005, 600_006].map { payload(keys, 1, $0) != nil }
        #expect(seen == [true, false])
        keys.remember(key(1, payload: 2, at: 600_006))
        // A clock that stands behind makes nobody forget.
        seen = [600_006, 0, .max].map { payload(keys, 1, $0) == digest(2) }
        #expect(seen == [true, true, false])
    }

    @Test("keys from before the start keep the rest of their time")
    func loaded() {
        var keys = table()
        keys.remember(key(1, at: -599_000))
        keys.remember(key(2, at: -700_000))
        // Behind a newer one in the order of numbers the second is taken for as new.
        let seen = [(1, 1000), (1, 1001), (2, 1000), (2, 1001)].map { payload(keys, $0.0, $0.1) != nil }
        #expect(seen == [true, false, true, false])
        keys.remember(key(3, at: .min))
        keys.remember(key(4, at: .max))
        let newest = payload(keys, 4, 0)
        #expect(newest != nil)
    }

    @Test("a stored key's age is taken from the wall clock, whatever that shows")
    func moments() {
        let cases: [(time: Int64, wallNow: Int64, now: UInt64, moment: Int64)] = [
            (1000, 1000, 50, 50), (900, 1000, 50, -50), (1100, 1000, 50, 50), (-600_000, 0, 50, -599_950),
            (-600_001, 0, 50, -599_951), (-900_000, 0, 50, -599_951), (.min, 0, 50, -599_951), (.max, 0, 50, 50),
            (.min, .max, 50, -599_951), (.max, .min, 50, 50), (0, 0, .max, .max), (0, .max, 0, -600_001),
        ]
        for each in cases {
            let moment = IdempotencyKeys.moment(ofWallClock: each.time, wallNow: each.wallNow, now: each.now)
            #expect(moment == each.moment, "\(each)")
        }
    }

    @Test("there is room for a hundred thousand keys, and the oldest go first")
    func full() {
        var keys = table()
        for number in 0..<100_500 as Range<UInt64> { keys.remember(key(number, seq: number + 1)) }
        let (count, bytes) = (keys.count, keys.bytesHeld)
        #expect(count == 100_000)
        let seqs = [499, 500, 501, 100_499].map { seq(keys, $0) }
        #expect(seqs == [nil, 501, 502, 100_500])
        #expect(bytes == DigestIndex.bytes(places: 100_000, of: MemoryLayout<KeyRecord>.stride))
        #expect(2 * bytes <= MemoryFormula.share(of: MemoryFormula.memoryDefaultLeast))
    }

    @Test("keys take no more bytes than they may", arguments: [0, 2000, 20_000, 1 << 20])
    func bytes(most: Int) {
        var keys = table(bytes: most)
        for number in 0..<20_000 as Range<UInt64> { keys.remember(key(number)) }
        let (bytes, isFull, newest) = (keys.bytesHeld, keys.count == keys.countMost, seq(keys, 19_999))
        #expect(bytes <= max(most, DigestIndex.bytes(places: 16, of: MemoryLayout<KeyRecord>.stride)))
        #expect(isFull && newest == 1)
    }

    @Test("a key belongs to its channel, and no two pairs of channel and key have one name")
    func names() throws {
        let a = try #require(ChannelName("a"))
        let ab = try #require(ChannelName("ab"))
        let names = [(a, "bc"), (ab, "c"), (a, "b"), (a, "")].map {
            IdempotencyKeys.name(channel: $0.0, key: Array($0.1.utf8))
        }
        #expect(Set(names).count == 4)
    }

    @Test("an index finds what is in it, whatever digests meet in one slot", arguments: 1...8)
    func index(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var index = DigestIndex(places: 64, secrets: (random.next(), random.next()))
        // Few digests: many share a slot or lie side by side, and runs go over the end.
        let digests = (0..<64).map { ContentDigest(high: UInt64($0 / 8), low: UInt64($0 % 8)) }
        var present: Set<UInt32> = []
        for _ in 0..<1000 {
            let place = UInt32(random.below(64))
            if present.contains(place) {
                index.remove(digests[Int(place)], place: place, at: { digests[Int($0)] })
                present.remove(place)
            } else {
                index.insert(digests[Int(place)], place: place)
                present.insert(place)
            }
            let count = index.count
            #expect(count == present.count)
            for place in 0..<64 as Range<UInt32> {
                let found = index.find(digests[Int(place)], at: { digests[Int($0)] })
                #expect(found == (present.contains(place) ? place : nil))
            }
        }
        index.remove(digests[0], place: 63, at: { digests[Int($0)] })
        let count = index.count
        #expect(count == present.count, "what is not there stays so")
    }

    // MARK: Producers

    private func producers(_ countMax: Int = ProducerTable.countMax) -> ProducerTable {
        var random = SeededRandom(seed: 1)
        return ProducerTable(bytesMax: .max, countMax: countMax, random: &random)
    }

    private func place(_ epoch: UInt64, _ number: UInt64) -> ProducerPlace {
        ProducerPlace(producer: [65], epoch: epoch, number: number)
    }

    @Test("a producer's place is its next, a repetition, a gap or one that was replaced")
    func outcomes() {
        var table = producers()
        let me = digest(1)
        func outcome(_ epoch: UInt64, _ number: UInt64, _ count: Int = 1, _ payload: UInt64 = 0)
            -> ProducerTable.Outcome
        { table.outcome(of: place(epoch, number), me, count: count, payload: digest(payload)) }
        let first = [outcome(5, 1), outcome(5, 2)]
        #expect(first == [.next, .gap(expected: 1)])
        // Numbers 1 to 3 went before 4 to 6, which are the server's 20 to 22.
        let newest = ProducerRecord(
            name: me, payload: digest(0), epoch: 5, lastNumber: 6, firstSeq: 20, lastSeq: 22)
        table.remember(newest)
        let cases: [(ProducerTable.Outcome, ProducerTable.Outcome)] = [
            (outcome(5, 7), .next), (outcome(5, 7, 1000), .next), (outcome(5, 8), .gap(expected: 7)),
            (outcome(5, 4, 3), .duplicate(newest)), (outcome(5, 4, 3, 9), .conflict),
            (outcome(5, 4, 2), .duplicate(nil)), (outcome(5, 6), .duplicate(nil)), (outcome(5, 1, 6), .duplicate(nil)),
            (outcome(5, 1), .duplicate(nil)),
            // Some are new and some are not.
            (outcome(5, 5, 3), .gap(expected: 7)),
            (outcome(5, 0), .gap(expected: 7)), (outcome(5, .max, 1000), .gap(expected: 7)),
            (outcome(4, 7), .fenced(by: 5)), (outcome(4, 1), .fenced(by: 5)), (outcome(6, 1, 10), .next),
            (outcome(6, 7), .gap(expected: 1)), (outcome(.max, 1), .next),
        ]
        for (place, (outcome, expected)) in cases.enumerated() { #expect(outcome == expected, "case \(place)") }
    }

    @Test("rows that make no sense are taken without a trap")
    func nonsense() {
        var table = producers()
        let ends: [UInt64] = [0, 1, 2, UInt64(Int64.max), .max - 1, .max]
        for epoch in ends {
            for last in ends {
                for first in ends {
                    for seq in ends {
                        table.remember(
                            ProducerRecord(
                                name: digest(1), payload: digest(1), epoch: epoch, lastNumber: last, firstSeq: first,
                                lastSeq: seq))
                        for number in ends {
                            _ = table.outcome(of: place(epoch, number), digest(1), count: 1000, payload: digest(1))
                            _ = table.outcome(of: place(epoch, number), digest(1), count: 1, payload: digest(2))
                        }
                    }
                }
            }
        }
        let count = table.count
        #expect(count == 1)
    }

    @Test("producers are remembered up to their number, and those that are go on")
    func producersFull() {
        var table = producers(1000)
        for number in 0..<1000 as Range<UInt64> {
            let hasRoom = table.hasRoom(for: digest(number))
            #expect(hasRoom)
            table.remember(
                ProducerRecord(
                    name: digest(number), payload: digest(0), epoch: 0, lastNumber: 1, firstSeq: number + 1,
                    lastSeq: number + 1))
        }
        let hasRoom = [999, 1000].map { table.hasRoom(for: digest($0)) }
        #expect(hasRoom == [true, false])
        let isRemembered = table.remember(
            ProducerRecord(name: digest(1000), payload: digest(0), epoch: 0, lastNumber: 1, firstSeq: 1, lastSeq: 1))
        #expect(!isRemembered)
        for number in 0..<1000 as Range<UInt64> {
            let found = table.find(digest(number))?.firstSeq
            #expect(found == number + 1)
        }
        let (count, capacity) = (table.count, table.capacity)
        #expect(count == 1000 && capacity == 1000)
        let most = DigestIndex.bytes(places: 100_000, of: MemoryLayout<ProducerRecord>.stride)
        #expect(2 * most <= MemoryFormula.share(of: MemoryFormula.memoryDefaultLeast))
    }
}
