/// Storing publications: one transaction for many.

import Planted

extension EventStore {
    /// Stores the publications of `batch` from `first` on, as many as fit one transaction: publications while they
    /// have no more than `StoreLimits.transactionEventsMax` events together, and at least one. If any of them asks for
    /// `synced`, the disk has them all when this returns, and all before them.
    ///
    /// Nothing is asked of what is stored already: whether a publication may be has been decided before it got numbers.
    /// - Returns: the batch's first publication that was not in this transaction.
    /// - Throws: when the transaction failed: then none of its publications is stored.
    package func append(_ batch: StoreBatch, from first: Int = 0) throws(StoreFault) -> Int {
        let group = group(of: batch, from: first)
        let isSynced = batch.entries[group].contains { $0.publication.level == .synced }
        let level = isSynced && !isPlanted("commitTakenForSync") ? StoreLevel.synced : .committed
        var last = head
        try write(level) { () throws(StoreFault) in
            stateWrites.begin(batch, group, &channels)
            for index in group {
                let entry = batch.entries[index]
                let publication = entry.publication
                guard entry.action == .events else {
                    try act(on: entry, of: batch)
                    continue
                }
                if entry.events.isEmpty { continue }
                guard publication.firstSeq > last, entry.lastSeq <= UInt64(StoreLimits.numberMax) else {
                    throw StoreFault(
                        .unexpected, operation: "write to", path: path,
                        detail: "event \(publication.firstSeq) behind event \(last)")
                }
                try store(entry, of: batch)
                last = entry.lastSeq
            }
            // Nothing to write, and everything is to be on the disk: it takes a frame to make SQLite sync the log.
            if isSynced, last == head, !isAllSynced { try statements.probe.run() }
        }
        head = last
        if isSynced { noteSynced() }
        return group.upperBound
    }

    private func group(of batch: StoreBatch, from first: Int) -> Range<Int> {
        var end = first
        var events = 0
        while end < batch.entries.count {
            events += batch.entries[end].events.count
            if events > StoreLimits.transactionEventsMax, end > first { break }
            end += 1
        }
        return first..<end
    }

    /// Does what an entry asks for that is no publication.
    private func act(on entry: StoreBatch.Entry, of batch: StoreBatch) throws(StoreFault) {
        let row = channels.touch(entry.publication.channel)
        switch entry.action {
        case .events: break
        case .ends(let isEnded): row.values.isEnded = isEnded
        case .snapshot: try setSnapshot(entry, of: batch, channel: row.id)
        case .clearsState: try clearState(of: row.id)
        case .rekeys(let rekeys): try rekey(batch.rekeys[rekeys], channel: row.id)
        }
    }

    private func store(_ entry: StoreBatch.Entry, of batch: StoreBatch) throws(StoreFault) {
        let publication = entry.publication
        let row = channels.touch(publication.channel)
        var bytes: Int64 = 0
        try batch.bytes.withUnsafeBufferPointer { (all: UnsafeBufferPointer<UInt8>) throws(StoreFault) in
            let all = UnsafeRawBufferPointer(all)
            let insert = statements.insertEvent
            try insert.bind(2, row.id)
            try insert.bind(3, publication.timeMs)
            var seq = publication.firstSeq
            for event in batch.events[entry.events] {
                try checkLength(event)
                try insert.bind(1, seq)
                if event.hasKind {
                    try insert.bind(4, textAt: UnsafeRawBufferPointer(rebasing: all[event.kindStart..<event.lineStart]))
                } else {
                    try insert.bindNull(4)
                }
                try insert.bind(5, blobAt: UnsafeRawBufferPointer(rebasing: all[event.lineStart..<event.lineEnd]))
                try insert.run()
                bytes += Int64(event.lineEnd - event.lineStart)
                seq += 1
            }
        }
        row.values.events += Int64(entry.events.count)
        row.values.bytes += bytes
        if row.values.firstSeq == 0 { row.values.firstSeq = publication.firstSeq }
        row.values.lastSeq = entry.lastSeq
        let range = SeqRange(first: publication.firstSeq, last: entry.lastSeq)
        if !entry.changes.isEmpty { try apply(entry, of: batch, channel: row.id) }
        try remember(publication.rows, range, timeMs: publication.timeMs)
    }

    /// That SQLite will take an event's line with its kind.
    func checkLength(_ event: StoreBatch.Event) throws(StoreFault) {
        let count = event.lineEnd - event.kindStart
        guard count > StoreLimits.rowBytesMax - StoreLimits.rowBytesBeside else { return }
        throw StoreFault(.unexpected, operation: "write to", path: path, detail: "an event of \(count) bytes")
    }
}
