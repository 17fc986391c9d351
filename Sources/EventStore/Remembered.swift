/// What tells the repetition of a publication: stored beside its events, forgotten, read when a server starts.

import Planted
import Wire

/// A key, and the publication that it was used for.
package struct StoredKey: Sendable, Equatable {
    /// The key and the publication's events.
    package let key: StoreKey
    /// The numbers of its events.
    package let range: SeqRange
    /// Milliseconds since 1970, as its server had them.
    package let timeMs: Int64
}

/// A producer, and its newest publication.
package struct StoredProducer: Sendable, Equatable {
    /// The producer and the publication's events.
    package let producer: StoreProducer
    /// The numbers of its events.
    package let range: SeqRange
}

extension EventStore {
    /// Remembers a publication in the transaction that stores its events.
    func remember(_ rows: StoreRows, _ range: SeqRange, timeMs: Int64) throws(StoreFault) {
        if let key = rows.key, !isPlanted("keyNotStored") {
            let put = statements.putKey
            try put.bind(1, range.last)
            try put.bind(2, range.first)
            try put.bind(3, key.name)
            try put.bind(4, key.payload)
            try put.bind(5, timeMs)
            try put.run()
            newKeys += 1
        }
        if let producer = rows.producer {
            let put = statements.putProducer
            try put.bind(1, producer.name)
            try put.bind(2, producer.payload)
            try put.bind(3, producer.epoch)
            try put.bind(4, producer.lastNumber)
            try put.bind(5, range.first)
            try put.bind(6, range.last)
            try put.run()
        }
    }

    /// Forgets some of the oldest keys of too many, in a transaction of its own; true where more are to go.
    ///
    /// How many there are is found out after every `StoreConfiguration.keysBeyond` new ones: O(keys).
    func forgetKeys() throws(StoreFault) -> Bool {
        if newKeys >= configuration.keysBeyond {
            let newest = statements.newestKeyBeyond
            try newest.bind(1, Int64(configuration.keysKept))
            defer { newest.reset() }
            dueKeys = try newest.step() ? newest.number(0) : 0
            newKeys = 0
        }
        guard dueKeys > 0 else { return false }
        var count = 0
        try write(.committed) { () throws(StoreFault) in
            let delete = statements.deleteKeys
            try delete.bind(1, dueKeys)
            try delete.bind(2, Int64(StoreLimits.pageRowsMax))
            try delete.run()
            count = database.changes
        }
        if count < StoreLimits.pageRowsMax { dueKeys = 0 }
        return dueKeys > 0
    }

    /// The newest keys that were used at `timeMs` or later, `most` at most, the oldest of them first. O(keys).
    package func storedKeys(_ most: Int, since timeMs: Int64) throws(StoreFault) -> [StoredKey] {
        let select = try database.prepare(
            """
            SELECT name, digest, first_seq, last_seq, time_ms FROM key
            WHERE time_ms >= ?1 ORDER BY last_seq DESC LIMIT ?2
            """)
        defer { select.finish() }
        try select.bind(1, timeMs)
        try select.bind(2, Int64(most))
        var found: [StoredKey] = []
        while try select.step() {
            let key = StoreKey(name: try select.digest(0), payload: try select.digest(1))
            found.append(StoredKey(key: key, range: try range(select, 2), timeMs: select.integer(4)))
        }
        found.reverse()
        return found
    }

    /// Every producer. O(producers).
    package func storedProducers() throws(StoreFault) -> [StoredProducer] {
        let select = try database.prepare("SELECT name, digest, epoch, last_pseq, first_seq, last_seq FROM producer")
        defer { select.finish() }
        var found: [StoredProducer] = []
        while try select.step() {
            let producer = StoreProducer(
                name: try select.digest(0), payload: try select.digest(1), epoch: try select.number(2),
                lastNumber: try select.number(3))
            found.append(StoredProducer(producer: producer, range: try range(select, 4)))
        }
        return found
    }

    /// Two columns that are the first and the last number of a publication.
    private func range(_ row: Statement, _ column: Int32) throws(StoreFault) -> SeqRange {
        let range = SeqRange(first: try row.number(column), last: try row.number(column + 1))
        guard range.first > 0, range.first <= range.last else { throw database.damaged("numbers that are no range") }
        return range
    }
}
