/// The rows of channels' state: written with what changes them, read when a server starts.

import Planted
import Wire

/// What a database holds of the channels' state.
package struct StoredState: Sendable, Equatable {
    /// One row.
    package struct Row: Sendable, Equatable {
        /// Its channel's index in `channels`.
        package var channel: Int
        /// Its key; nil where it is one of a snapshot that a producer gave.
        package var key: ContentDigest?
        /// The number of its event, or of that which the snapshot is as of.
        package var seq: UInt64
        /// Where its line is in `bytes`.
        package var line: Range<Int>
    }

    /// A state that a producer gave as a whole.
    package struct Snapshot: Sendable, Equatable {
        package var channel: String
        /// The event that it is as of; 0 is the beginning.
        package var seq: UInt64
    }

    /// By rising number; rows of one snapshot in its order.
    package internal(set) var rows: [Row] = []
    /// Names of channels with rows.
    package internal(set) var channels: [String] = []
    /// In no order. A snapshot may have no row.
    package internal(set) var snapshots: [Snapshot] = []
    /// The rows' lines.
    package internal(set) var bytes: [UInt8] = []

    package init() {}
}

extension EventStore {
    /// The state of all channels. O(rows log rows); the order is found before any line is read.
    /// - Throws: `tooMuch`, before anything is read, where it is more than `StoreConfiguration.stateBytesMax`.
    package func storedState() throws(StoreFault) -> StoredState {
        var state = StoredState()
        let sums = try database.prepare("SELECT count(*), coalesce(sum(length(line)), 0) FROM state")
        defer { sums.finish() }
        guard try sums.step() else { throw database.damaged("no sums") }
        let count = Int(try sums.number(0))
        let lines = Int(try sums.number(1))
        sums.reset()
        let bytes = lines + count * StoreLimits.stateRowBytes
        guard bytes <= configuration.stateBytesMax else {
            throw StoreFault(
                .tooMuch, operation: "read", path: path,
                detail: "its channels' state is \(bytes) bytes in \(count) rows, and \(configuration.stateBytesMax) "
                    + "are allowed")
        }
        try readSnapshots(into: &state)
        let order = try database.prepare("SELECT id FROM state ORDER BY seq, id")
        defer { order.finish() }
        var ids: [Int64] = []
        ids.reserveCapacity(count)
        while try order.step() { ids.append(order.integer(0)) }
        state.rows.reserveCapacity(count)
        state.bytes.reserveCapacity(lines)
        let select = try database.prepare("SELECT channel, key, seq, line FROM state WHERE id = ?1")
        defer { select.finish() }
        var places: [Int64: Int] = [:]
        for id in ids {
            try select.bind(1, id)
            guard try select.step() else { throw database.damaged("a row of the state that is gone") }
            try add(select, to: &state, &places)
            select.reset()
        }
        return state
    }

    private func readSnapshots(into state: inout StoredState) throws(StoreFault) {
        let select = try database.prepare("SELECT channel, seq FROM snapshot")
        defer { select.finish() }
        while try select.step() {
            let seq = try select.number(1)
            guard let channel = channels.byID[select.integer(0)], seq <= head else {
                throw database.damaged("a snapshot of no channel, or from the future")
            }
            state.snapshots.append(.init(channel: channel.name, seq: seq))
        }
    }

    private func add(
        _ select: Statement, to state: inout StoredState, _ places: inout [Int64: Int]
    ) throws(StoreFault) {
        let id = select.integer(0)
        guard let channel = channels.byID[id] else { throw database.damaged("a state of no channel") }
        let seq = try select.number(2)
        let key = select.isNull(1) ? nil : try select.digest(1)
        guard seq <= head, seq > 0 || key == nil else {
            throw database.damaged("a state from the future, or of no event")
        }
        let place = places[id] ?? state.channels.count
        if place == state.channels.count {
            places[id] = place
            state.channels.append(channel.name)
        }
        let start = state.bytes.count
        state.bytes.append(contentsOf: try select.line(at: 3))
        state.rows.append(.init(channel: place, key: key, seq: seq, line: start..<state.bytes.count))
    }

    // Writing, in the transaction that is open.

    /// Makes the events of a publication what they are for their channel's state.
    func apply(_ entry: StoreBatch.Entry, of batch: StoreBatch, channel: Int64) throws(StoreFault) {
        for index in entry.changes where stateWrites.isNeeded(index) {
            let change = batch.changes[index]
            let seq = entry.publication.firstSeq + UInt64(change.event - entry.events.lowerBound)
            switch change.change {
            case .none: break
            case .put(let key): try put(key, batch, change.event, seq, channel)
            case .remove(let key):
                if isPlanted("stateRemovalNotStored") { break }
                try statements.removeState.bind(1, channel)
                try statements.removeState.bind(2, key)
                try statements.removeState.run()
            case .reset(let key):
                if !isPlanted("stateKeptAtReset") { try clearState(of: channel) }
                try put(key, batch, change.event, seq, channel)
            }
        }
    }

    private func put(
        _ key: ContentDigest, _ batch: StoreBatch, _ event: Int, _ seq: UInt64, _ channel: Int64
    ) throws(StoreFault) {
        let put = statements.putState
        try put.bind(1, channel)
        try put.bind(2, key)
        try put.bind(3, seq)
        try run(put, withLineOf: batch.events[event], of: batch, at: 4)
    }

    private func run(
        _ statement: Statement, withLineOf event: StoreBatch.Event, of batch: StoreBatch, at parameter: Int32
    ) throws(StoreFault) {
        try batch.bytes.withUnsafeBufferPointer { (all: UnsafeBufferPointer<UInt8>) throws(StoreFault) in
            let line = UnsafeRawBufferPointer(all)[event.lineStart..<event.lineEnd]
            try statement.bind(parameter, blobAt: UnsafeRawBufferPointer(rebasing: line))
            try statement.run()
        }
    }

    /// Makes an entry's rows a channel's whole state.
    func setSnapshot(_ entry: StoreBatch.Entry, of batch: StoreBatch, channel: Int64) throws(StoreFault) {
        try clearState(of: channel)
        let seq = entry.publication.firstSeq
        for event in batch.events[entry.events] {
            try checkLength(event)
            try statements.addSnapshotRow.bind(1, channel)
            try statements.addSnapshotRow.bind(2, seq)
            try run(statements.addSnapshotRow, withLineOf: event, of: batch, at: 3)
        }
        try statements.putSnapshot.bind(1, channel)
        try statements.putSnapshot.bind(2, seq)
        try statements.putSnapshot.run()
    }

    /// Takes a channel's state away: one statement for all its rows.
    func clearState(of channel: Int64) throws(StoreFault) {
        try statements.clearState.bind(1, channel)
        try statements.clearState.run()
        try statements.clearSnapshot.bind(1, channel)
        try statements.clearSnapshot.run()
    }

    /// Gives rows other keys. All of them are without a key in between, so that two may exchange theirs.
    func rekey(_ rows: ArraySlice<StoreRekey>, channel: Int64) throws(StoreFault) {
        let find = try database.prepare("SELECT id FROM state WHERE channel = ?1 AND key = ?2")
        let free = try database.prepare("UPDATE state SET key = NULL WHERE id = ?1")
        // Rather one row less than no way on.
        let name = try database.prepare("UPDATE OR REPLACE state SET key = ?2 WHERE id = ?1")
        defer { for statement in [find, free, name] { statement.finish() } }
        var found: [(id: Int64, key: ContentDigest)] = []
        for row in rows {
            guard let key = row.to else {
                try statements.removeState.bind(1, channel)
                try statements.removeState.bind(2, row.from)
                try statements.removeState.run()
                continue
            }
            try find.bind(1, channel)
            try find.bind(2, row.from)
            if try find.step() { found.append((find.integer(0), key)) }
            find.reset()
        }
        for row in found {
            try free.bind(1, row.id)
            try free.run()
        }
        for row in found {
            try name.bind(1, row.id)
            try name.bind(2, row.key)
            try name.run()
        }
    }
}
