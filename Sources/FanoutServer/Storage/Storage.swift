/// The engine's end of the database: what goes to it in a turn, and what it has said.

import EventStore
import Planted
import Wire

/// A database that was opened for an engine: the way to its thread, and what it held at the start.
struct StorageStart {
    var queue: StoreQueue
    var opening: StoreOpening
    /// The folder, for people.
    var directory = ""
    /// What tells repetitions of what it holds.
    var keys: [StoredKey] = []
    var producers: [StoredProducer] = []
    /// The channels' state.
    var state = StoredState()
    /// What is told how far numbers are used, if there is such a thing.
    var used: UsedNumbers?
}

/// What the engine knows of its database. The thread that owns it is never waited for.
struct Storage {
    let queue: StoreQueue
    /// The numbering, and those before.
    let epochs: Epochs
    /// Where it is said how far numbers are used, and what was said last.
    private let used: UsedNumbers?
    private var saidUsed: UInt64
    /// Whether it takes publications.
    private(set) var state = StoreState.running
    /// Every event up to here survives the end of the process; and the loss of power.
    private(set) var committed: UInt64
    private(set) var synced: UInt64
    private(set) var counts: StoreCounts
    /// When it began to refuse publications; nil while it takes them.
    var refusingSince: UInt64?
    /// Numbers up to here may be given to events.
    private(set) var reserved: UInt64
    /// What is on its way to the disk, as of the end of the last turn or the last report.
    private(set) var load = StoreLoad()
    /// Publications and changes of channels that were handed over.
    private(set) var given: UInt64 = 0
    /// The answers that wait for it.
    var waiting = WaitingAnswers()

    /// Publishers rest while so much is on its way, or fewer numbers than this may be given: one turn never takes what
    /// is left. The numbers are less than what the database's thread lets be used up before it reserves more.
    static let eventsPressing = StoreQueue.eventsMax / 2
    static let bytesPressing = StoreQueue.bytesMax / 2
    static let numbersPressing: UInt64 = 32_768
    /// The name of the next request.
    fileprivate var nextTicket: UInt64 = 1

    init(_ start: StorageStart) {
        queue = start.queue
        epochs = start.opening.epochs
        used = start.used
        saidUsed = start.opening.head
        committed = start.opening.head
        synced = start.opening.head
        let latest = queue.latest
        reserved = latest.reserved
        counts = latest.counts
    }

    /// Whether the database was closed, or has failed.
    var hasEnded: Bool {
        if case .ended = state { return true }
        return false
    }

    /// Whether the database cannot write now; then publications are refused before they get numbers.
    var isRefusing: Bool {
        if case .refusing = state { return true }
        return false
    }

    /// Whether writers are to wait until the database has done more. Not while it refuses: then they are told so.
    func isPressed(accepted: UInt64) -> Bool {
        guard state == .running else { return false }
        return load.events > Self.eventsPressing || load.bytes > Self.bytesPressing
            || reserved &- accepted < Self.numbersPressing || waiting.count > WaitingAnswers.countPressing
    }

    /// Refuses publications of so many events where they cannot be stored.
    func checkTakes(_ events: Int, after accepted: UInt64) throws(PublishFault) {
        switch state {
        case .running: break
        case .refusing(let fault): throw fault.kind == .readOnly ? .storageReadOnly : .storageFull
        case .ended: throw .storageFailed
        }
        // Writers of lines wait long before.
        guard accepted + UInt64(events) <= reserved, load.events < StoreQueue.eventsMax,
            load.bytes < StoreQueue.bytesMax
        else { throw .storageBusy }
    }

    /// Hands over what was published since the last time.
    mutating func flush(_ batch: inout StoreBatch) {
        given += UInt64(batch.count)
        load = queue.append(&batch)
    }

    /// Says, for whoever comes after an unclean end, that numbers up to this one are given: before anybody can see an
    /// event of theirs, and before the database can have it.
    @inline(__always)
    mutating func noteUsed(_ accepted: UInt64) {
        guard accepted != saidUsed else { return }
        saidUsed = accepted
        used?.note(accepted)
    }

    /// Takes in the numbers of a report.
    mutating func note(_ report: StoreReport) {
        load = queue.load
        reserved = report.reserved
        state = report.state
        committed = report.committed
        synced = report.synced
        counts = report.counts
    }
}

extension Engine {
    /// At the end of a turn: what was published in it goes to the database.
    func flushStorage() {
        tellRetention()
        guard hub.records, !hub.outgoing.isEmpty else { return }
        storage?.noteUsed(hub.accepted)
        storage?.flush(&hub.outgoing)
    }

    /// Takes in what the database has done since the last time.
    func takeStorageReport() {
        guard let before = storage?.state, let report = storage?.queue.takeReport() else { return }
        // Before the pages: these may lack what was removed.
        for channel in report.pruned where !isPlanted("removalForgotten") { hub.notePruned(channel) }
        for name in report.removed { hub.noteRemoved(name) }
        let wasRefusing = storage?.isRefusing ?? false
        let storedBefore = hub.storedSeq
        storage?.note(report)
        hub.noteStored(report.committed)
        releaseAnswers()
        if hub.storedSeq > storedBefore, !storedReplay.early.isEmpty { resumeEarlyReaders() }
        for page in report.pages where !takeStoredPage(page.ticket, page.result) {
            takeHistoryPage(page.ticket, page.result)
        }
        if storage?.hasEnded ?? false { endHistories() }
        judgeStorage(since: before, setAside: report.setAside)
        if wasRefusing, storage?.state == .running { resumeWhoWaitsForSpace() }
    }

    /// A name for what is asked of the database.
    func nextStoreTicket() -> UInt64 {
        guard let ticket = storage?.nextTicket else { return 0 }
        storage?.nextTicket = ticket + 1
        return ticket
    }

    /// Whether the database cannot write now.
    var isStorageRefusing: Bool { storage?.isRefusing ?? false }

    /// The database takes events again: those who cannot be told to come back go on.
    private func resumeWhoWaitsForSpace() {
        if standardInput != Connection.none { resumeInput(standardInput) }
        if inboxWaits, !rest.isResting, !writersWait {
            inboxWaits = false
            loop.wakeup.signal()
        }
    }
}
