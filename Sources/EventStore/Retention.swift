/// Removing what is older, or more, than its channel keeps: a little at a time.

import Planted

/// What one step of retention did.
package struct RetentionStep: Sendable, Equatable {
    /// What is held now of the channels that changed.
    package var changed: [StoredChannel] = []
    /// Channels that are no more: they had ended, and their last event is gone.
    package var removed: [String] = []
    /// Events removed.
    package var events = 0
    /// Whether this pass has more to do.
    package var isMore = false
}

extension EventStore {
    /// Does one step of a pass over all channels: removes at most `StoreLimits.pageRowsMax` events of one channel, in a
    /// transaction of its own, and as many keys in another. When a pass is over, the next call begins another.
    ///
    /// Events go from the oldest on, until the channel keeps all its limits. An event that is too old goes with all
    /// before it: those that were published while the clock was wrong, and stand in the future, do not hold the others.
    /// Where nothing is due a step looks at `channelsLookedAtMax` channels.
    /// - Parameter clockMs: what ages are counted by. It should run evenly: `AgeClock`.
    package func retain(clockMs: Int64) throws(StoreFault) -> RetentionStep {
        if pruning.isEmpty, dueKeys == 0 {
            pruning = channels.rows.values.filter { needsLook($0) }.sorted { $0.id > $1.id }
        }
        var step = RetentionStep()
        let keysAreDue = try forgetKeys()
        var looked = 0
        while let row = pruning.last, looked < StoreLimits.channelsLookedAtMax {
            looked += 1
            guard channels.byID[row.id] === row else {
                pruning.removeLast()
                continue
            }
            let isMore = try prune(row, clockMs: clockMs, &step)
            if !isMore { pruning.removeLast() }
            if isMore || step.events > 0 || !step.removed.isEmpty { break }
        }
        step.isMore = keysAreDue || !pruning.isEmpty
        return step
    }

    /// Whether a pass would look at anything. O(channels).
    package var mayRetain: Bool { channels.rows.values.contains { needsLook($0) } }

    /// Whether anything of the channel could be due.
    private func needsLook(_ row: ChannelRow) -> Bool {
        row.values.isEnded || !row.retention.isUnlimited && row.values.events > 0
    }

    /// Removes what is due of one channel; true where more of it is due.
    private func prune(
        _ row: ChannelRow, clockMs: Int64, _ step: inout RetentionStep
    ) throws(StoreFault) -> Bool {
        let cut = try cut(of: row, clockMs: clockMs)
        let isOver = row.values.isEnded && row.values.events == Int64(cut.events)
        guard cut.events > 0 || isOver else { return false }
        try write(.committed) { () throws(StoreFault) in
            if cut.events > 0 { try remove(cut, of: row) }
            if isOver { try delete(row) }
        }
        step.events += cut.events
        if cut.events > 0 { step.changed.append(StoredChannel(row)) }
        if isOver {
            channels.remove(row)
            step.removed.append(row.name)
            return false
        }
        return cut.isMore
    }

    /// The oldest events of a channel that are due.
    private struct Cut {
        var events = 0
        var bytes: Int64 = 0
        /// The last one due, and the first one that stays; 0 where none does.
        var last: UInt64 = 0
        var next: UInt64 = 0
        var isMore = false
    }

    private func cut(of row: ChannelRow, clockMs: Int64) throws(StoreFault) -> Cut {
        var cut = Cut()
        let limits = row.retention
        guard !limits.isUnlimited, row.values.events > 0 else { return cut }
        let oldest = statements.oldest
        try oldest.bind(1, row.id)
        try oldest.bind(2, Int64(StoreLimits.pageRowsMax + 1))
        defer { oldest.reset() }
        var seen = 0
        var seenBytes: Int64 = 0
        while try oldest.step() {
            let seq = try oldest.number(0)
            let timeMs = oldest.integer(1)
            let isOverCount = limits.events.map { row.values.events - Int64(seen) > $0 } ?? false
            let isOverBytes = limits.bytes.map { row.values.bytes - seenBytes > $0 } ?? false
            let isOld = limits.ageMs.map { clockMs.subtractingReportingOverflow(timeMs).0 > $0 } ?? false
            let isDue = isOverCount || isOverBytes || isOld
            let isFuture = limits.ageMs != nil && timeMs > clockMs
            let isEnough = seen == StoreLimits.pageRowsMax || seenBytes > StoreLimits.prunedBytesMax
            if isEnough || !isDue && !isFuture {
                if cut.next == 0 { cut.next = seq }
                cut.isMore = isDue && cut.events > 0
                return cut
            }
            seen += 1
            seenBytes += oldest.integer(2)
            if isDue {
                cut = Cut(events: seen, bytes: seenBytes, last: seq)
            } else if cut.next == 0 {
                cut.next = seq
            }
        }
        if cut.next != 0 { return cut }
        // The channel's last event is due as well, so its sums are known.
        guard row.values.events == Int64(cut.events), row.values.bytes == cut.bytes else {
            throw database.damaged("channel \(row.name) and its events say different things")
        }
        return cut
    }

    private func remove(_ cut: Cut, of row: ChannelRow) throws(StoreFault) {
        channels.touch(row)
        let delete = statements.deleteEvents
        try delete.bind(1, row.id)
        try delete.bind(2, cut.last)
        try delete.run()
        guard database.changes == cut.events else { throw database.damaged("an index that lacks events") }
        row.values.events -= Int64(cut.events)
        row.values.bytes -= cut.bytes
        row.values.firstSeq = cut.next
        if !isPlanted("removalNotStored") { row.values.prunedSeq = cut.last }
    }

    /// Deletes an ended channel's own row, and its state. The log keeps its last number, which nothing else may name,
    /// and that readers cannot have its events any more.
    private func delete(_ row: ChannelRow) throws(StoreFault) {
        try clearState(of: row.id)
        try statements.deleteChannel.bind(1, row.id)
        try statements.deleteChannel.run()
        let (last, pruned) = (row.values.lastSeq, row.values.prunedSeq)
        try database.execute(
            "UPDATE log SET head = max(head, \(last)), forgotten_seq = max(forgotten_seq, \(pruned))", "write to")
    }
}
