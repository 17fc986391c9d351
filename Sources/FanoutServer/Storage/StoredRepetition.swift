/// Keys and producers as the database has them, made into what the loop compares with.

import EventStore
import Wire

extension KeyRecord {
    /// A key that was stored.
    init(_ stored: StoredKey, now: UInt64, wallClock: Int64) {
        self.init(
            name: stored.key.name, payload: stored.key.payload, firstSeq: stored.range.first,
            lastSeq: stored.range.last,
            publishedAt: IdempotencyKeys.moment(ofWallClock: stored.timeMs, wallNow: wallClock, now: now))
    }
}

extension ProducerTable {
    /// Remembers a producer that was stored.
    mutating func restore(_ stored: StoredProducer) throws(StartError) {
        let record = ProducerRecord(
            name: stored.producer.name, payload: stored.producer.payload, epoch: stored.producer.epoch,
            lastNumber: stored.producer.lastNumber, firstSeq: stored.range.first, lastSeq: stored.range.last)
        guard remember(record) else {
            throw StartError(
                "the database has more producers than --max-memory has room for: allow more", exitCode: .configuration)
        }
    }
}
