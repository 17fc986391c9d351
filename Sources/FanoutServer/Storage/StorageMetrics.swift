/// What `/metrics` says of the database.

import EventStore

extension Engine {
    /// The database's figures; none without one.
    func appendStorage(_ text: inout MetricsText) {
        guard let storage else { return }
        let load = storage.queue.load
        let counts = storage.counts
        text.family("fanout_storage_state", "gauge", "What the database does is 1.")
        for state in StorageStateName.allCases {
            text.sample(
                "fanout_storage_state", labels: "state=\"\(state.rawValue)\"", state == .init(storage.state) ? 1 : 0)
        }
        text.gauge("fanout_storage_committed_seq", storage.committed, "Up to here events survive the process's end.")
        text.gauge("fanout_storage_synced_seq", storage.synced, "Up to here events survive the loss of power.")
        text.gauge("fanout_storage_queue_events", UInt64(load.events), "Events on their way to the database.")
        text.gauge("fanout_storage_queue_bytes", UInt64(load.bytes), "Bytes of them.")
        text.gauge("fanout_storage_queue_events_max", UInt64(StoreQueue.eventsMax), "How many events these may be.")
        text.gauge("fanout_storage_queue_bytes_max", UInt64(StoreQueue.bytesMax), "How many bytes these may be.")
        text.gauge(
            "fanout_storage_database_bytes", counts.databaseBytes, "The database file after its last checkpoint.")
        text.gauge(
            "fanout_storage_wal_bytes", counts.walFrames * Self.walFrameBytes,
            "What the write-ahead log holds that is not in the database file.")
        text.gauge(
            "fanout_storage_longest_transaction_microseconds", counts.longestTransactionUs,
            "The longest transaction with publications since the start.")
        text.counter("fanout_storage_transactions_total", counts.transactions, "Transactions with publications.")
        text.counter("fanout_storage_events_total", counts.events, "Events stored.")
        text.counter("fanout_storage_syncs_total", counts.syncs, "Transactions that waited for the disk.")
        text.counter("fanout_storage_checkpoints_total", counts.checkpoints, "Checkpoints of the write-ahead log.")
        text.counter("fanout_storage_pruned_total", counts.pruned, "Events removed by retention.")
        text.counter("fanout_storage_pages_total", counts.pages, "Pages read for replay and history.")
        text.counter(
            "fanout_storage_refusals_total", counts.refusals, "Times the database found no space or no right to write.")
    }

    /// A page and the header that stands before it in the log.
    private static let walFrameBytes: UInt64 = 4096 + 24
}

/// The states by the names of their label.
private enum StorageStateName: String, CaseIterable {
    case running, refusing, ended

    init(_ state: StoreState) {
        switch state {
        case .running: self = .running
        case .refusing: self = .refusing
        case .ended: self = .ended
        }
    }
}
