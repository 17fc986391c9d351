/// How far each producer that numbers its own events has come.

import Reactor
import Wire

/// One producer on one channel: its newest publication. As it is remembered, and as it is stored.
struct ProducerRecord: BitwiseCopyable, Equatable {
    /// The digest of the channel's name and the producer's.
    var name: ContentDigest
    /// The digest of the publication's compacted events.
    var payload: ContentDigest
    /// The producer's incarnation, and its own number of the publication's last event.
    var epoch: UInt64
    var lastNumber: UInt64
    /// The server's numbers of the publication's first and last event.
    var firstSeq: UInt64
    var lastSeq: UInt64

    /// The producer's own number of the publication's first event. Rows are from a file: nothing is sure of them.
    var firstNumber: UInt64 { lastNumber &- (lastSeq &- firstSeq) }
}

/// Where a publication stands in its producer's own order.
struct ProducerPlace: Equatable {
    /// The producer's name as it was said.
    var producer: [UInt8]
    var epoch: UInt64
    /// The number of its first event, from 1.
    var number: UInt64
}

/// Producers of all channels, for as long as the server knows anything: nothing makes it forget one.
struct ProducerTable: ~Copyable {
    /// What a publication's place says of it.
    enum Outcome: Equatable {
        /// It is the producer's next.
        case next
        /// It was published before. nil where it is older than the newest: then its numbers are not known any more.
        case duplicate(ProducerRecord?)
        /// Its numbers belong to something else.
        case conflict
        /// Numbers are left out, or some of its events are new and some are not.
        case gap(expected: UInt64)
        /// A later incarnation has published.
        case fenced(by: UInt64)
    }

    /// Producers that are remembered.
    static let countMax = 100_000

    private var records: UnsafeMutablePointer<ProducerRecord>
    private(set) var capacity: Int
    private(set) var count = 0
    private var index: DigestIndex
    private let secrets: (UInt64, UInt64)
    private let capacityMax: Int

    /// - Parameters:
    ///   - bytesMax: what they may take, records and index together; there is room for the least number in any case.
    ///   - random: where the index gets its secrets.
    init(bytesMax: Int, countMax: Int = countMax, random: inout SeededRandom) {
        secrets = (random.next(), random.next())
        let stride = MemoryLayout<ProducerRecord>.stride
        capacityMax = DigestIndex.placesMax(of: stride, bytesMax: bytesMax, countMax: countMax)
        capacity = min(DigestIndex.placesMin, countMax)
        records = .allocate(capacity: capacity)
        index = DigestIndex(places: capacity, secrets: secrets)
    }

    deinit { records.deallocate() }

    /// What all of it takes.
    var bytesHeld: Int { capacity * MemoryLayout<ProducerRecord>.stride + index.bytesHeld }

    /// The name of a producer: the same producer on another channel numbers its events there anew.
    static func name(channel: ChannelName, producer: [UInt8]) -> ContentDigest {
        IdempotencyKeys.name(channel: channel, key: producer)
    }

    /// What is remembered of a producer.
    func find(_ name: ContentDigest) -> ProducerRecord? {
        index.find(name, at: { records[Int($0)].name }).map { records[Int($0)] }
    }

    /// Whether this producer can be remembered: it is, or there is room for one more.
    func hasRoom(for name: ContentDigest) -> Bool { count < capacityMax || find(name) != nil }

    /// What becomes of a publication of `count` events, at least one.
    func outcome(of place: ProducerPlace, _ name: ContentDigest, count: Int, payload: ContentDigest) -> Outcome {
        guard let newest = find(name) else { return place.number == 1 ? .next : .gap(expected: 1) }
        if place.epoch < newest.epoch { return .fenced(by: newest.epoch) }
        if place.epoch > newest.epoch { return place.number == 1 ? .next : .gap(expected: 1) }
        let (expected, isLast) = newest.lastNumber.addingReportingOverflow(1)
        if !isLast, place.number == expected { return .next }
        let (end, isBeyond) = place.number.addingReportingOverflow(UInt64(max(count, 1) - 1))
        guard !isBeyond, place.number > 0, end <= newest.lastNumber else { return .gap(expected: expected) }
        guard end == newest.lastNumber, place.number == newest.firstNumber else { return .duplicate(nil) }
        return payload == newest.payload ? .duplicate(newest) : .conflict
    }

    /// Remembers a producer's newest publication, or one that was stored. False, and nothing is remembered, where
    /// `hasRoom(for:)` is.
    @discardableResult
    mutating func remember(_ record: ProducerRecord) -> Bool {
        let known = records
        if let place = index.find(record.name, at: { known[Int($0)].name }) {
            records[Int(place)] = record
            return true
        }
        guard count < capacityMax else { return false }
        if count == capacity { grow() }
        (records + count).initialize(to: record)
        index.insert(record.name, place: UInt32(count))
        count += 1
        return true
    }

    private mutating func grow() {
        let grown = min(capacity * 2, capacityMax)
        let moved = UnsafeMutablePointer<ProducerRecord>.allocate(capacity: grown)
        moved.moveInitialize(from: records, count: count)
        var newIndex = DigestIndex(places: grown, secrets: secrets)
        for place in 0..<count { newIndex.insert(moved[place].name, place: UInt32(place)) }
        records.deallocate()
        self.records = moved
        index = newIndex
        capacity = grown
    }
}
