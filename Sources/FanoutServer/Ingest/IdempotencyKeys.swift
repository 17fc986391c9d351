/// The keys that publications were made with, so that the same one is not published twice.

import Reactor
import Wire

/// One key: what it was used for, and when. As it is remembered, and as it is stored.
struct KeyRecord: BitwiseCopyable, Equatable {
    /// The digest of the channel's name and the key.
    var name: ContentDigest
    /// The digest of the publication's compacted events.
    var payload: ContentDigest
    /// The numbers of its first and its last event.
    var firstSeq: UInt64
    var lastSeq: UInt64
    /// When it was published, in milliseconds of the loop's clock; less than 0 before the loop began.
    var publishedAt: Int64
}

/// The newest keys of all channels, each for ten minutes. Past their number, or the bytes that they may take, the
/// oldest go first.
///
/// A ring in the order of publication and an index: looking a key up, adding one and forgetting one are O(1), but for
/// doublings on the way to the full size.
struct IdempotencyKeys: ~Copyable {
    /// Keys that are remembered.
    static let countMax = 100_000
    static let windowMilliseconds: Int64 = 600_000
    /// Expired keys that one publication forgets at most.
    private static let forgottenAtOnce = 8

    private var records: UnsafeMutablePointer<KeyRecord>
    private(set) var capacity: Int
    /// Where the oldest is.
    private var start = 0
    /// Those in the ring; the index has fewer where an expired one was used again.
    private(set) var count = 0
    private var index: DigestIndex
    private let secrets: (UInt64, UInt64)
    private let capacityMax: Int

    /// - Parameters:
    ///   - bytesMax: what they may take, records and index together; there is room for the least number in any case.
    ///   - random: where the index gets its secrets.
    init(bytesMax: Int, countMax: Int = countMax, random: inout SeededRandom) {
        secrets = (random.next(), random.next())
        let stride = MemoryLayout<KeyRecord>.stride
        capacityMax = DigestIndex.placesMax(of: stride, bytesMax: bytesMax, countMax: countMax)
        capacity = min(DigestIndex.placesMin, countMax)
        records = .allocate(capacity: capacity)
        index = DigestIndex(places: capacity, secrets: secrets)
    }

    deinit { records.deallocate() }

    /// What all of it takes.
    var bytesHeld: Int { capacity * MemoryLayout<KeyRecord>.stride + index.bytesHeld }

    /// How many can be remembered at once.
    var countMost: Int { capacityMax }

    /// The name of a key: the same key on another channel is another name.
    static func name(channel: ChannelName, key: [UInt8]) -> ContentDigest {
        var digester = ContentDigester()
        digester.add(channel.bytes.span)
        // No channel has it in its name.
        digester.add(0)
        digester.add(key.span)
        return digester.finish()
    }

    /// The moment on the loop's clock at which the wall clock showed `time`; now the one shows `now` and the other
    /// `wallNow`. For what was stored: what is older than the window stays so, what is from the future is from now.
    static func moment(ofWallClock time: Int64, wallNow: Int64, now: UInt64) -> Int64 {
        let (age, isFar) = wallNow.subtractingReportingOverflow(time)
        if isFar, time > 0 { return Int64(clamping: now) }
        return Int64(clamping: now) - (isFar ? windowMilliseconds + 1 : min(max(age, 0), windowMilliseconds + 1))
    }

    /// What a key was used for; nil where it is new or was used too long ago. `now` is the loop's clock.
    func find(_ name: ContentDigest, now: UInt64) -> KeyRecord? {
        guard let place = index.find(name, at: { records[Int($0)].name }) else { return nil }
        let record = records[Int(place)]
        return isExpired(record, now) ? nil : record
    }

    private func isExpired(_ record: KeyRecord, _ now: UInt64) -> Bool {
        // Neither is anywhere near the ends of its type.
        Int64(clamping: now) &- record.publishedAt > Self.windowMilliseconds
    }

    /// Remembers a key that `find` did not find, or the next one of those that were stored, the oldest first.
    mutating func remember(_ record: KeyRecord) {
        var record = record
        // In the ring's order nothing is older than what stands before it.
        if count > 0 { record.publishedAt = max(record.publishedAt, records[place(count - 1)].publishedAt) }
        forgetExpired(now: record.publishedAt)
        let records = records
        if let old = index.find(record.name, at: { records[Int($0)].name }) {
            index.remove(record.name, place: old, at: { records[Int($0)].name })
        }
        if count == capacity { if capacity < capacityMax { grow() } else { forgetOldest() } }
        let place = place(count)
        (self.records + place).initialize(to: record)
        index.insert(record.name, place: UInt32(place))
        count += 1
    }

    private func place(_ number: Int) -> Int {
        let place = start + number
        return place < capacity ? place : place - capacity
    }

    private mutating func forgetExpired(now: Int64) {
        for _ in 0..<Self.forgottenAtOnce {
            guard count > 0, now &- records[start].publishedAt > Self.windowMilliseconds else { return }
            forgetOldest()
        }
    }

    private mutating func forgetOldest() {
        let records = records
        index.remove(records[start].name, place: UInt32(start), at: { records[Int($0)].name })
        start = place(1)
        count -= 1
    }

    private mutating func grow() {
        let grown = min(capacity * 2, capacityMax)
        let records = records
        let moved = UnsafeMutablePointer<KeyRecord>.allocate(capacity: grown)
        var newIndex = DigestIndex(places: grown, secrets: secrets)
        for number in 0..<count {
            let old = place(number)
            (moved + number).initialize(to: records[old])
            // One that was used again after it had expired stands there twice: the index has the newer.
            guard index.find(records[old].name, at: { records[Int($0)].name }) == UInt32(old) else { continue }
            newIndex.insert(records[old].name, place: UInt32(number))
        }
        records.deallocate()
        self.records = moved
        index = newIndex
        capacity = grown
        start = 0
    }
}
