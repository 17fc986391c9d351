/// Which changes of channels' state have to be written in a transaction: of those that one key sees in it, the last.

import Wire

/// What `begin` has found out about the changes of one transaction. Allocates nothing once it has grown.
struct StateWrites {
    private struct Row: Hashable {
        var channel: Int64
        var key: ContentDigest
    }

    /// By index in `StoreBatch.changes`, from `first` on.
    private var needed: [Bool] = []
    private var first = 0
    /// What entries behind the one that is looked at change, and channels whose whole state they change.
    private var rows: Set<Row> = []
    private var wholes: Set<Int64> = []

    /// Whether this change of the batch that was looked at last has to be written.
    func isNeeded(_ index: Int) -> Bool { needed[index - first] }

    /// Looks at the entries of one transaction, from the last to the first. O(changes).
    mutating func begin(_ batch: StoreBatch, _ group: Range<Int>, _ channels: inout ChannelTable) {
        if batch.changes.isEmpty { return }
        let entries = batch.entries[group]
        guard let first = entries.first(where: { !$0.changes.isEmpty })?.changes.lowerBound,
            let end = entries.last(where: { !$0.changes.isEmpty })?.changes.upperBound
        else { return }
        self.first = first
        needed.removeAll(keepingCapacity: true)
        needed.append(contentsOf: repeatElement(true, count: end - first))
        forgetLater()
        for entry in entries.reversed() {
            switch entry.action {
            case .events: look(at: entry, of: batch, &channels)
            case .snapshot, .clearsState: wholes.insert(channels.touch(entry.publication.channel).id)
            // Keys mean something else before it.
            case .rekeys: forgetLater()
            case .ends: break
            }
        }
    }

    private mutating func look(
        at entry: StoreBatch.Entry, of batch: StoreBatch, _ channels: inout ChannelTable
    ) {
        if entry.changes.isEmpty { return }
        let channel = channels.touch(entry.publication.channel).id
        for index in entry.changes.reversed() {
            let isNeeded: Bool
            switch batch.changes[index].change {
            case .none: isNeeded = false
            case .put(let key), .remove(let key):
                isNeeded = !wholes.contains(channel) && rows.insert(Row(channel: channel, key: key)).inserted
            case .reset: isNeeded = wholes.insert(channel).inserted
            }
            needed[index - first] = isNeeded
        }
    }

    private mutating func forgetLater() {
        rows.removeAll(keepingCapacity: true)
        wholes.removeAll(keepingCapacity: true)
    }
}
