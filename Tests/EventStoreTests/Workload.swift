// A life of a store by chance, with a record of everything that was promised, to be held against what a disk has.

import CTestDisk
import Reactor
import Testing
import Wire

@testable import EventStore

/// What was done to one disk, in order, and what every moment of its log owes.
final class Workload {
    /// One publication.
    struct Published {
        let epoch: Epoch
        let channel: String
        let seqs: ClosedRange<UInt64>
        let lines: [String]
        let key: UInt64?
        /// Transactions are counted from 0.
        let transaction: Int
        /// How many operations the disk's log had before and after the transaction.
        let started: Int
        let committed: Int
        /// After how many operations it was promised to be on the disk.
        var synced: Int?
    }

    /// Retention has removed a channel's events up to this number, by an operation that started then.
    struct Pruned {
        let channel: String
        let upTo: UInt64
        let started: Int
    }

    let disk: TestDisk
    private(set) var published: [Published] = []
    private(set) var pruned: [Pruned] = []
    /// What stores that were looked at were found to be.
    private(set) var beginnings: Set<LogBeginning> = []
    private var random: SeededRandom
    private var epochs: UInt64 = 0
    private var transactions = 0
    private var used: UInt64 = 0
    private var nextKey: UInt64 = 0
    /// The channels' state, and what it was after each transaction.
    private var model = StateModel()
    private var states: [[String]] = []

    private static let channels = ["events", "a/b", "c"]

    init(_ disk: TestDisk, seed: UInt64) {
        self.disk = disk
        random = SeededRandom(seed: seed)
    }

    /// Some lives of the store, each with some steps; most of them end badly.
    func run(lives: Int, steps: Int) throws {
        for _ in 0..<lives {
            epochs += 1
            let isClean = random.chance(0.4)
            var configuration = disk.configuration(epoch: epochs)
            configuration.retention = RetentionLimits(events: 40)
            try disk.open(configuration) { store throws in
                used = max(used, store.head)
                for _ in 0..<steps { try step(store) }
                if isClean {
                    try store.close(used: used, isWhole: true)
                    syncAll()
                }
            }
        }
    }

    private func step(_ store: EventStore) throws {
        switch random.below(12) {
        case 0:
            try store.checkpoint(emptying: random.chance(0.5))
            syncAll()
        case 1:
            let started = disk.logged
            for row in try store.retain(clockMs: 0).changed {
                pruned.append(Pruned(channel: row.name, upTo: row.prunedSeq, started: started))
            }
        case 2: _ = try store.vacuum()
        default: try publish(store)
        }
    }

    /// Everything that is committed is on the disk now.
    private func syncAll() {
        for index in published.indices where published[index].synced == nil { published[index].synced = disk.logged }
    }

    private func publish(_ store: EventStore) throws {
        var batch = StoreBatch()
        var made: [(channel: String, seqs: ClosedRange<UInt64>, lines: [String], key: UInt64?)] = []
        let isSynced = random.chance(0.4)
        for _ in 0..<random.within(1...3) {
            let first = used + 1 + (random.chance(0.1) ? UInt64(random.below(40_000)) : 0)
            let lines = (0..<random.within(1...4)).map { index in
                "\(first):\(index):" + String(repeating: "x", count: random.chance(0.1) ? 6000 : random.below(300))
            }
            let channel = random.pick(Self.channels)
            var key: UInt64?
            if random.chance(0.3) {
                nextKey += 1
                key = nextKey
            }
            let changes = lines.map { _ in model.anyChange(&random) }
            model.publish(lines, on: channel, at: first, changes)
            batch.publish(
                lines, on: channel, at: first, level: isSynced ? .synced : .committed,
                key.map { StoreRows.key($0) } ?? StoreRows(), changes: changes)
            if random.chance(0.1) { model.act(on: channel, asOf: random.below(Int(first)), in: &batch, &random) }
            let seqs = first...(first + UInt64(lines.count) - 1)
            made.append((channel, seqs, lines, key))
            used = seqs.upperBound
        }
        try store.reserve(behind: used)
        #expect(used <= store.reserved)
        let started = disk.logged
        #expect(try store.append(batch) == batch.count)
        states.append(model.texts)
        for (channel, seqs, lines, key) in made {
            published.append(
                Published(
                    epoch: store.epochs.present, channel: channel, seqs: seqs, lines: lines, key: key,
                    transaction: transactions, started: started, committed: disk.logged, synced: nil))
        }
        transactions += 1
        if isSynced { syncAll() }
    }

    // What a disk owes.

    /// What is wrong with the store that `left` holds, the disk having been cut after `at` operations; nil if nothing.
    /// - Parameter isKill: whether everything that was written is there.
    func fault(of left: TestDisk, at: Int, isKill: Bool) throws -> String? {
        var configuration = left.configuration(epoch: 1_000_000)
        configuration.retention = RetentionLimits(events: 40)
        return try left.open(configuration) { store throws in
            beginnings.insert(store.opening.beginning)
            try store.checkIntegrity()
            let page = try everything(store)
            return try faultOfEvents(page, at: at, isKill: isKill) ?? faultOfPlaces(store, page, at: at)
                ?? faultOfState(store, page)
        }
    }

    /// Every event by its number.
    private func everything(_ store: EventStore) throws -> [UInt64: String] {
        var found: [UInt64: String] = [:]
        var place: UInt64 = 0
        while true {
            let page = try store.read(StoreQuery(.after(place)))
            for row in page.rows { found[row.seq] = "\(page.channels[row.channel]) \(page.text(row.line))" }
            if page.isLast { return found }
            place = page.reached
        }
    }

    private func wasPruned(_ publication: Published, _ seq: UInt64, before at: Int) -> Bool {
        pruned.contains { $0.channel == publication.channel && seq <= $0.upTo && $0.started < at }
    }

    private func faultOfEvents(_ found: [UInt64: String], at: Int, isKill: Bool) throws -> String? {
        var known = 0
        /// The first transaction of which something is missing.
        var missing = Int.max
        for publication in published {
            for (seq, line) in zip(publication.seqs, publication.lines) {
                let wasPruned = wasPruned(publication, seq, before: at)
                guard let text = found[seq] else {
                    if wasPruned { continue }
                    missing = min(missing, publication.transaction)
                    if let synced = publication.synced, synced <= at { return "synced event \(seq) is lost" }
                    if isKill, publication.committed <= at { return "committed event \(seq) is lost" }
                    continue
                }
                known += 1
                if text != "\(publication.channel) \(line)" { return "event \(seq) is \(text.prefix(40))" }
                if publication.started >= at { return "event \(seq) is from the future" }
                // A removal may be lost as well as an event, so what was pruned says nothing of the order.
                if publication.transaction >= missing, !wasPruned { return "event \(seq) is there, one before is not" }
            }
        }
        return known == found.count ? nil : "\(found.count - known) events were never published"
    }

    /// The rows must be what the transaction left that stored the newest event that is there.
    private func faultOfState(_ store: EventStore, _ found: [UInt64: String]) throws -> String? {
        let newest = found.keys.max().flatMap { newest in published.last { $0.seqs.contains(newest) } }
        let owed = newest.map { states[$0.transaction] } ?? []
        let rows = try store.storedState().texts
        if rows == owed { return nil }
        return "the state is \(rows.map { $0.prefix(60) }), and not \(owed.map { $0.prefix(60) })"
    }

    private func faultOfPlaces(_ store: EventStore, _ found: [UInt64: String], at: Int) throws -> String? {
        let keys = Set(try store.keys())
        for publication in published where publication.started < at {
            if publication.seqs.upperBound > store.opening.head {
                return "number \(publication.seqs.upperBound) would be used again"
            }
            for seq in publication.seqs {
                // What retention has removed may have been lost before that, together with the removal.
                let isThere = found[seq] != nil
                let mayBeGone = !isThere && wasPruned(publication, seq, before: at)
                let place = store.epochs.place(
                    of: Cursor(epoch: publication.epoch, seq: seq), head: store.opening.head)
                switch place {
                case .after(seq) where isThere || mayBeGone: continue
                case .rewound(from: let from, to: seq) where !isThere && from <= seq: continue
                default: return "event \(seq), there: \(isThere), is at \(place), \(store.opening.beginning)"
                }
            }
            guard let key = publication.key, !wasPruned(publication, publication.seqs.upperBound, before: at) else {
                continue
            }
            let isThere = found[publication.seqs.upperBound] != nil
            let row = "\(key) 1 \(publication.seqs.lowerBound)-\(publication.seqs.upperBound)"
            if keys.contains(row) != isThere { return "key \(row), its events there: \(isThere)" }
        }
        return nil
    }
}
