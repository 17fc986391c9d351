/// What the store's thread does, a turn at a time: group commit, reading, retention, checkpoints, waiting out failures.

import Planted
import Synchronization

/// A moment on the two clocks.
package struct StoreTime: Sendable, Equatable {
    /// Nanoseconds of a clock that is never set.
    package var monotonicNs: UInt64
    /// Milliseconds since 1970.
    package var wallMs: Int64

    package init(monotonicNs: UInt64, wallMs: Int64) {
        self.monotonicNs = monotonicNs
        self.wallMs = wallMs
    }
}

/// When a worker wants its next turn.
package enum StoreWait: Sendable, Equatable {
    /// At once.
    case none
    /// When the bell rings, or at this time.
    case until(UInt64)
    /// Never: it has ended.
    case ended
}

/// Drives one `EventStore` by one `StoreQueue`. In a server on a thread of its own (`StoreThread`), in a simulation
/// wherever its `turn` is called.
package final class StoreWorker {
    /// Transactions are at least as far apart as the last one took, and that at most: so a stream of single events is
    /// gathered where a transaction is dear, and an event that comes alone waits for nothing.
    package static let gatherNsMax: UInt64 = 2_000_000
    /// How often a store that cannot write tries again.
    package static let probeIntervalNs: UInt64 = 500_000_000
    /// How often the first failure of a kind that passes is answered by trying again at once: it costs what a probe
    /// does, and emptying the write-ahead log may be all that it takes.
    private static let retryIntervalNs: UInt64 = 1_000_000_000
    /// How often retention begins a pass.
    package static let retentionIntervalNs: UInt64 = 1_000_000_000
    /// The same where no event can become due.
    private static let idleIntervalNs: UInt64 = 60_000_000_000
    /// Steps of retention at a time, at least.
    private static let retentionStepsMin = 3
    /// Requests answered in one turn.
    private static let requestsPerTurn = 8
    /// A checkpoint is made at this many frames when there is nothing to store, at the second number in any case, and
    /// of any number when nothing was stored for a while.
    private static let checkpointFrames = 1000
    private static let checkpointFramesMax = 8192
    private static let restNs: UInt64 = 5_000_000_000

    private let queue: StoreQueue
    private let configuration: StoreConfiguration
    private let clock: () -> StoreTime
    /// Nil once ended.
    private var store: EventStore?

    private var taken = StoreBatch()
    private var next = 0
    /// The greatest number that any publication brought.
    private var used: UInt64
    private var requests: [StoreRequest] = []
    /// How many pages the report has room for.
    private var pagesRoom = 0
    /// What `gather` takes the loop's publications into: empty in between.
    private var gathered = StoreBatch()
    /// When to try again; nil while the store can write.
    private var probeNs: UInt64?
    /// From when on a failure may be answered by trying again at once.
    private var nextRetryNs: UInt64 = 0
    /// When something was last stored, or the worker began.
    private var lastCommitNs: UInt64
    private var lastCommitTookNs: UInt64 = 0
    private var nextPassNs: UInt64 = 0
    private var isPassRunning = false
    private var ages: AgeClock
    private var counts = StoreCounts()

    /// - Parameter clock: the present time; asked several times in a turn.
    package init(store: EventStore, queue: StoreQueue, clock: @escaping () -> StoreTime) {
        self.store = store
        self.queue = queue
        self.clock = clock
        configuration = store.configuration
        used = store.head
        let now = clock()
        lastCommitNs = now.monotonicNs
        ages = AgeClock(wallMs: now.wallMs, monotonicMs: now.monotonicNs / 1_000_000)
        counts.databaseBytes = store.databaseBytes
        counts.walFrames = UInt64(store.walFrames)
        queue.state.withLock { [counts] state in
            state.report.counts = counts
            state.report.committed = store.head
            state.report.synced = store.syncedHead
            state.report.reserved = store.reserved
        }
    }

    /// Does what is due, little enough that the next publications do not wait long.
    package func turn() -> StoreWait {
        guard let store else { return .ended }
        do {
            take()
            try answerRequests(store)
            if let wait = try waitOut(store) { return wait }
            try reserve(store)
            if isPlanted("closedBeforeAllIsStored"), isClosing { return try close(store) }
            if let wait = try commit(store) { return wait }
            if isClosing { return try close(store) }
            return try keepUp(store)
        } catch {
            return fail(error)
        }
    }

    /// Takes what the loop has left, if everything taken before is done.
    private func take() {
        let isDone = next == taken.count
        if isDone { taken.removeAll() }
        queue.state.withLock { state in
            requests.append(contentsOf: state.requests)
            state.takenRequests += state.requests.count
            state.requests.removeAll(keepingCapacity: true)
            pagesRoom = StoreLimits.untakenPagesMax - state.report.pages.count
            guard isDone else { return }
            swap(&state.waiting, &taken)
            state.takenEvents = taken.eventCount
            state.takenBytes = taken.byteCount
        }
        if isDone { next = 0 }
        used = max(used, taken.lastSeq)
    }

    private var isClosing: Bool { queue.state.withLock { $0.closing != nil } }

    // Reading.

    /// Answers some of what was asked. Failing to read is the answer's to say; damage ends the store, too.
    private func answerRequests(_ store: EventStore) throws(StoreFault) {
        guard canAnswer else { return }
        var damage: StoreFault?
        var pages: [StoreReport.Page] = []
        var count = 0
        while count < Self.requestsPerTurn, count < requests.count, damage == nil {
            let request = requests[count]
            if case .page = request, pages.count >= pagesRoom { break }
            count += 1
            switch request {
            case .page(let ticket, let query):
                do throws(StoreFault) {
                    pages.append(.init(ticket: ticket, result: .success(try store.read(query))))
                } catch {
                    if error.kind == .corrupt { damage = error }
                    pages.append(.init(ticket: ticket, result: .failure(error)))
                }
            case .retention(let channels):
                for each in channels { store.setRetention(each.limits, of: each.channel) }
                // The next pass may be far off, because there was nothing to retain.
                nextPassNs = min(nextPassNs, clock().monotonicNs)
            }
        }
        requests.removeFirst(count)
        queue.state.withLock { $0.takenRequests -= count }
        pagesRoom -= pages.count
        if !pages.isEmpty {
            counts.pages += UInt64(pages.count)
            queue.report { report in
                report.pages.append(contentsOf: pages)
                report.counts = counts
            }
        }
        if let damage { throw damage }
    }

    /// Whether there is a request that can be answered now. Pages that nobody takes are not read.
    private var canAnswer: Bool {
        guard let first = requests.first else { return false }
        if case .page = first { return pagesRoom > 0 }
        return true
    }

    // Writing.

    private func reserve(_ store: EventStore) throws(StoreFault) {
        let before = store.reserved
        try store.reserve(behind: used)
        if store.reserved != before { queue.report { $0.reserved = store.reserved } }
    }

    /// Stores the next group, if it is time for it; nil where nothing waits.
    private func commit(_ store: EventStore) throws(StoreFault) -> StoreWait? {
        guard next < taken.count else { return nil }
        let start = clock().monotonicNs
        let due = lastCommitNs + min(lastCommitTookNs, Self.gatherNsMax)
        if start < due, !isClosing, taken.eventCount + waitingEvents < StoreLimits.transactionEventsMax {
            return canAnswer ? StoreWait.none : .until(due)
        }
        gather()
        let before = counts.events
        try storeGroup(store, since: start)
        if store.walFrames >= Self.checkpointFramesMax { try checkpoint(store) }
        // A pass that was far off, because there was nothing to retain, is due sooner now.
        nextPassNs = min(nextPassNs, lastCommitNs + Self.retentionIntervalNs)
        if isPassRunning || lastCommitNs >= nextPassNs {
            try retain(store, behind: Int(counts.events - before))
        }
        return StoreWait.none
    }

    private func storeGroup(_ store: EventStore, since start: UInt64) throws(StoreFault) {
        let first = next
        next = try store.append(taken, from: next)
        lastCommitNs = clock().monotonicNs
        lastCommitTookNs = lastCommitNs - start
        note(taken.entries[first..<next], in: store)
    }

    private var waitingEvents: Int { queue.state.withLock { $0.waiting.eventCount } }

    /// Takes what came while the last transaction ran, so that it is in the next one.
    private func gather() {
        guard next == 0, taken.eventCount < StoreLimits.transactionEventsMax else { return }
        queue.state.withLock { state in
            swap(&state.waiting, &gathered)
            state.takenEvents += gathered.eventCount
            state.takenBytes += gathered.byteCount
        }
        // The bytes are copied while the loop does not wait for the lock.
        if gathered.isEmpty { return }
        taken.append(contentsOf: gathered)
        gathered.removeAll()
        used = max(used, taken.lastSeq)
    }

    private func note(_ entries: ArraySlice<StoreBatch.Entry>, in store: EventStore) {
        let rows = entries.reduce(0) { $0 + $1.events.count }
        counts.transactions += 1
        counts.entries += UInt64(entries.count)
        counts.events += UInt64(entries.reduce(0) { $0 + $1.eventCount })
        if store.isAllSynced { counts.syncs += 1 }
        counts.longestTransactionUs = max(counts.longestTransactionUs, lastCommitTookNs / 1000)
        counts.walFrames = UInt64(store.walFrames)
        let isDone = next == taken.count
        queue.state.withLock { state in
            if isDone {
                state.takenEvents = 0
                state.takenBytes = 0
            } else {
                state.takenEvents -= rows
            }
        }
        queue.report { report in
            report.committed = store.head
            report.synced = store.syncedHead
            report.counts = counts
        }
    }

    // Upkeep.

    /// What there is to do when nothing waits to be stored.
    private func keepUp(_ store: EventStore) throws(StoreFault) -> StoreWait {
        let now = clock().monotonicNs
        if isPassRunning || now >= nextPassNs {
            try retain(store)
            return StoreWait.none
        }
        let hasRested = now >= lastCommitNs + Self.restNs
        if store.walFrames >= Self.checkpointFrames || store.walFrames > 0 && hasRested {
            try checkpoint(store)
            return StoreWait.none
        }
        if try store.vacuum() { return StoreWait.none }
        if canAnswer { return StoreWait.none }
        return .until(store.walFrames > 0 ? min(nextPassNs, lastCommitNs + Self.restNs) : nextPassNs)
    }

    /// Does some steps of retention: after a transaction enough to remove twice what it stored, so that retention keeps
    /// up with any stream.
    private func retain(_ store: EventStore, behind events: Int = 0) throws(StoreFault) {
        let steps = max(Self.retentionStepsMin, 2 * events / StoreLimits.pageRowsMax)
        let now = clock()
        let age = ages.advance(wallMs: now.wallMs, monotonicMs: now.monotonicNs / 1_000_000)
        for _ in 0..<steps {
            let step = try store.retain(clockMs: age)
            isPassRunning = step.isMore
            if !step.changed.isEmpty || !step.removed.isEmpty {
                counts.pruned += UInt64(step.events)
                queue.report { report in
                    report.pruned.append(contentsOf: step.changed)
                    report.removed.append(contentsOf: step.removed)
                    report.counts = counts
                }
            }
            if !step.isMore { break }
        }
        if !isPassRunning {
            nextPassNs = now.monotonicNs + (store.mayRetain ? Self.retentionIntervalNs : Self.idleIntervalNs)
        }
    }

    private func checkpoint(_ store: EventStore) throws(StoreFault) {
        try store.checkpoint()
        counts.checkpoints += 1
        counts.walFrames = 0
        counts.databaseBytes = store.databaseBytes
        queue.report { report in
            report.synced = store.syncedHead
            report.counts = counts
        }
    }

    // Failing and ending.

    /// While the store cannot write: tries to. What was accepted before goes first; nil once that is stored.
    private func waitOut(_ store: EventStore) throws(StoreFault) -> StoreWait? {
        guard let due = probeNs else { return nil }
        guard clock().monotonicNs >= due || isClosing else { return canAnswer ? StoreWait.none : .until(due) }
        try store.probe()
        // What it frees in the file need not be found on the disk.
        if store.mayRetain { try retain(store) }
        if next < taken.count {
            try storeGroup(store, since: clock().monotonicNs)
            return StoreWait.none
        }
        probeNs = nil
        queue.report { report in
            report.state = .running
            report.synced = store.syncedHead
        }
        return nil
    }

    private func fail(_ fault: StoreFault) -> StoreWait {
        guard fault.isPassing else { return end(fault) }
        counts.refusals += 1
        let now = clock().monotonicNs
        if probeNs == nil, now >= nextRetryNs {
            nextRetryNs = now + Self.retryIntervalNs
            probeNs = now
            return .none
        }
        if isClosing {
            // What waits is lost, as it would be by any other end.
            if let store, store.isOpen { try? store.close(used: 0, isWhole: false) }
            return end(fault)
        }
        if isPlanted("droppedWhenFull") { next = taken.count }
        let due = now + Self.probeIntervalNs
        probeNs = due
        queue.report { report in
            report.state = .refusing(fault)
            report.counts = counts
        }
        return .until(due)
    }

    /// Ends without closing: what comes next finds an unclean end.
    private func end(_ fault: StoreFault) -> StoreWait {
        store = nil
        var name: String?
        if fault.kind == .corrupt, configuration.vfs == nil {
            // Where that fails, too, the next start finds the damage again.
            name = try? EventStore.quarantine(configuration, nowMs: clock().wallMs)
        }
        queue.report { report in
            report.state = .ended(fault)
            report.setAside = name
        }
        return .ended
    }

    private func close(_ store: EventStore) throws(StoreFault) -> StoreWait {
        let isMore = queue.state.withLock { !$0.waiting.isEmpty }
        if isMore { return StoreWait.none }
        let used = queue.state.withLock { $0.closing ?? 0 }
        do {
            try store.close(used: used, isWhole: true)
        } catch {
            if store.isOpen { throw error }
            return end(error)
        }
        self.store = nil
        queue.report { $0.state = .ended(nil) }
        return .ended
    }
}
