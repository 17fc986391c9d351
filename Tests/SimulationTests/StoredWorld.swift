/// One seeded world of a server with a database: its lives, its disk, and everybody who comes back.

import Glibc
import Reactor
import Wire

@testable import EventStore
@testable import FanoutServer

/// The server over several lives on one disk in memory, its clients and the ledger, driven by one seed.
///
/// ```
///  open --> turns of the loop, the database's thread, the clients --> stop, kill, power cut, or a broken disk --+
///   ^  what the disk has is held against the ledger <----------------------------------------------------------+
///  at the end: no more faults, everyone gets everything --> stop --> open once more
/// ```
final class StoredWorld {
    let seed: UInt64
    let plan: StoredPlan
    let kernel: SimulatedKernel
    let ledger = StoredLedger()
    var random: SeededRandom
    var maker: EventMaker
    var sightings = StoredSightings()
    private(set) var faults: [String] = []
    private(set) var life: StoredLife!
    private var disk: StoredDisk
    private var readers: [StoredReader] = []
    private var publishers: [StoredPublisher] = []
    private var historians: [StoredHistorian] = []
    private var clients: [StoredClient] { readers + publishers + historians }
    /// The numberings, by life; and which lives were asked to stop, and which their disk ended.
    private var epochs: [String] = []
    private var stopping: Set<Int> = []
    private var broken: Set<Int> = []
    /// Where each numbering ended: what was kept of it. The present one is not in it.
    private var kept: [String: UInt64] = [:]
    /// What is wrong with the disk now, and until when.
    private var trouble: (what: StoredDisk.Trouble, until: UInt64)?
    /// Which troubles this life has met.
    private var troubles: Set<StoredDisk.Trouble> = []
    private var audit = Sightings()

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededRandom(seed: seed &* 0x9e37_79b9_7f4a_7c15 ^ 0x5354_4f52)
        plan = StoredPlan(&random, seed: seed)
        maker = EventMaker(random: random.fork(), bytesMax: plan.eventBytesMax, keys: plan.keys)
        kernel = SimulatedKernel(seed: seed, limits: plan.kernelLimits)
        disk = try StoredDisk()
        kernel.onViolation = { [unowned self] in fail($0) }
        try begin(after: nil)
        kernel.faults = plan.faults
    }

    func fail(_ what: String) { if faults.count < 5 { faults.append("at \(kernel.now) ms: " + what) } }

    // MARK: Lives

    /// Opens what is on the disk, holds it against the ledger, and begins a life.
    private func begin(after end: StoredEnd?) throws {
        let number = epochs.count
        let epoch = Epoch(rawValue: random.next())
        var configuration = StoreConfiguration(directory: StoredDisk.directory, newEpoch: epoch)
        configuration.vfs = disk.name
        var end = end
        while random.chance(0.1) {
            // What was committed and not synced may go with the power that the next process loses.
            if try dieWhileOpening(configuration) == .power, end == .killed {
                end = .powerCut
                ends[ends.count - 1] = .powerCut
            }
        }
        configuration.vfs = disk.name
        let store = try EventStore.open(configuration, nowMs: kernel.wallClockMilliseconds())
        let opening = store.opening
        ledger.begin(
            pruned: Channels.names.map { name in opening.channels.first { $0.name == name }?.prunedSeq ?? 0 })
        if let end {
            try store.checkIntegrity()
            try ledger.restarted(everything(in: store), after: number - 1, end: end)
            try checkNumbering(opening, after: end)
            try ledger.checkRows(StoredRow.rows(of: store.storedState()), by: plan.stateRules, upTo: .max)
        }
        sightings.beginnings[opening.beginning.rawValue, default: 0] += 1
        epochs.append("\(opening.epochs.present)")
        trouble = nil
        troubles = []
        let healthy = kernel.faults
        kernel.faults = .none
        life = try StoredLife(number: number, plan, kernel, store, disk: disk, random: random.fork())
        try checkState()
        kernel.faults = healthy
    }

    /// A process that opens the database and ends before it has said a word to anybody.
    private func dieWhileOpening(_ configuration: StoreConfiguration) throws -> StoredDisk.End {
        sightings.openingsCut += 1
        var configuration = configuration
        configuration.vfs = disk.name
        configuration.newEpoch = Epoch(rawValue: random.next())
        let before = disk.logged
        _ = try EventStore.open(configuration, nowMs: kernel.wallClockMilliseconds())
        let how: StoredDisk.End = random.chance(0.5) ? .power : .process
        disk = try disk.left(how, at: random.within(before...disk.logged), &random)
        hasOpeningFailed = true
        return how
    }

    /// Whether a process has ended while it opened the database, since the last life.
    private var hasOpeningFailed = false

    /// Whether the life that is over was asked to stop, and had a disk that did not take all of it.
    private var hasTriedToClose = false

    private func everything(in store: EventStore) throws -> [UInt64: (channel: String, line: [UInt8])] {
        var found: [UInt64: (channel: String, line: [UInt8])] = [:]
        var place: UInt64 = 0
        while true {
            let page = try store.read(StoreQuery(.after(place)))
            for row in page.rows { found[row.seq] = (page.channels[row.channel], Array(page.bytes[row.line])) }
            if page.isLast { return found }
            place = page.reached
        }
    }

    /// That the server's state is what the events make it that readers may have seen.
    private func checkState() throws {
        sightings.rows += try ledger.checkRows(
            StoredRow.rows(of: life.engine.hub), by: plan.stateRules, upTo: life.engine.hub.head)
    }

    /// That the numbering goes on after a clean end and only then, and that no number can be used twice.
    private func checkNumbering(_ opening: StoreOpening, after end: StoredEnd) throws {
        let before = epochs[epochs.count - 1]
        let present = "\(opening.epochs.present)"
        guard opening.head >= numbered else {
            throw Malformed("numbers go on behind \(opening.head), but \(numbered) was used")
        }
        defer {
            hasOpeningFailed = false
            hasTriedToClose = false
        }
        // Closing may fail in its very last step, when all is said.
        if hasTriedToClose, opening.beginning == .goesOn {
            let isWhole = ledger.isWhole(epochs.count - 1)
            guard present == before, opening.head == numbered, isWhole else {
                throw Malformed(
                    "goes on after \(end): \(before), \(present), \(opening.head) for \(numbered), whole: \(isWhole)")
            }
            return
        }
        if end == .stopped, !hasOpeningFailed || opening.beginning == .goesOn {
            guard opening.beginning == .goesOn, present == before, opening.head == numbered else {
                throw Malformed("\(opening.beginning) after a clean end: \(before), \(present), \(opening.head)")
            }
            return
        }
        guard opening.beginning != .goesOn, !epochs.contains(present),
            opening.epochs.firstSeq == opening.head + 1
        else {
            throw Malformed("\(opening.beginning) after \(end): \(before), \(present), from \(opening.epochs.firstSeq)")
        }
        let past = opening.epochs.past
        guard let incarnation = past.last(where: { "\($0.epoch)" == before }),
            hasOpeningFailed || past.last == incarnation
        else {
            throw Malformed("\(before) is forgotten: \(opening.epochs.past)")
        }
        let last = max(ledger.lastKept(in: epochs.count - 1), incarnation.firstSeq - 1)
        guard incarnation.lastSeq == last else {
            throw Malformed("\(before) is kept up to \(incarnation.lastSeq), it is there up to \(last)")
        }
        kept[before] = last
    }

    /// The greatest number that the life that is over, or one before it, has given.
    private var numbered: UInt64 = 0

    /// The life ends; what it leaves on the disk is the next one's.
    private func end(_ how: StoredEnd) throws {
        sightings.ends[how, default: 0] += 1
        collect()
        numbered = max(numbered, life.accepted)
        let at = how == .stopped ? disk.logged : life.placeOfEnd(disk, &random)
        let next = try disk.left(how == .powerCut ? .power : .process, at: at, &random)
        kernel.endProcess()
        life = nil
        disk = next
        try begin(after: how)
    }

    func epoch(of life: Int) -> String { epochs[life] }

    /// What a cursor means in a life.
    enum Meaning {
        case after(UInt64)
        case rewound(from: UInt64, to: UInt64)
        case unknown
    }

    func meaning(of epoch: String, _ seq: UInt64, in life: Int) -> Meaning {
        guard epochs[...life].contains(epoch) else { return .unknown }
        guard epoch != epochs[life], let last = kept[epoch] else { return .after(seq) }
        return seq <= last ? .after(seq) : .rewound(from: last + 1, to: seq)
    }

    func isStopping(_ life: Int) -> Bool { stopping.contains(life) }
    func hasBroken(_ life: Int) -> Bool { broken.contains(life) }
    /// Whether a stream may end in the middle of something.
    func mayCut(_ life: Int) -> Bool { life < epochs.count - 1 || plan.cutsConnections || broken.contains(life) }
    var mayLag: Bool { true }
    var mayFailToRead: Bool { troubles.contains(.readFails) || life.hasDatabaseEnded }

    func mayRefuse(_ code: String, _ life: Int) -> Bool {
        switch code {
        case "storage_full": !troubles.isDisjoint(with: [.full, .noRoom]) || life < epochs.count - 1
        case "storage_readonly": troubles.contains(.readOnly) || life < epochs.count - 1
        case "storage_failed": hasBroken(life)
        case "shutting_down": isStopping(life) || hasBroken(life)
        case "overload": false
        default: false
        }
    }

    // MARK: What clients have seen

    /// Somebody has got an event.
    func saw(_ event: StoredLedger.Event, in life: Int) throws {
        sightings.events += 1
        guard plan.syncedChannels.contains(Channels.names[event.item.channel]) else { return }
        sightings.heldEvents += 1
        if let lost = event.lostWith {
            throw Malformed("\(event.seq) was seen before it was synced: lost with \(lost)")
        }
        if life == self.life.number, event.seq > self.life.synced {
            throw Malformed("\(event.seq) is seen, and \(self.life.synced) is synced")
        }
    }

    /// Somebody was told that an event is sure.
    func checkAck(_ seq: UInt64, _ level: StoredLevel, in life: Int, _ lostWith: Int?) throws {
        if life == self.life.number {
            let reached = level == .synced ? self.life.synced : level == .committed ? self.life.committed : UInt64.max
            guard seq <= reached else { throw Malformed("\(seq) is acked as \(level), and \(reached) is") }
        } else if let lostWith, level >= .committed, ends[lostWith].keeps(level) {
            throw Malformed("\(seq) was acked as \(level), and was lost with life \(lostWith)")
        }
    }

    private var ends: [StoredEnd] = []

    // MARK: The run

    func run() -> [String] {
        for step in 0..<plan.steps where faults.isEmpty {
            if readers.count < plan.readersMax, random.chance(0.1) {
                readers.append(StoredReader(self, number: readers.count + 1))
            }
            if publishers.count(where: \.isWaiting) < plan.publishersMax, random.chance(0.1) {
                publishers.append(StoredPublisher(self, number: publishers.count + 1))
            }
            if historians.count < 2, random.chance(0.02) {
                historians.append(StoredHistorian(self, number: historians.count + 1))
            }
            attempt { try self.step(step) }
        }
        sightings.steps += plan.steps
        attempt { try live() }
        attempt { try stop() }
        if !faults.isEmpty { faults.append("\(plan)") }
        sightings.note(self)
        life = nil
        return faults
    }

    /// Turn follows turn, and nothing comes of it.
    private struct NoEnd: Error {}

    private func attempt(_ body: () throws -> Void) {
        guard faults.isEmpty else { return }
        do { try body() } catch is NoEnd {
            fail("turns without end: \(life.state), busy are \(clients.filter(\.isWaiting).map(\.name))")
        } catch { fail("\(error)") }
    }

    private func step(_ step: Int) throws {
        if !clients.isEmpty { for _ in 0..<1 + random.below(4) { random.pick(clients).act() } }
        for client in clients where random.chance(0.5) { client.act() }
        if random.chance(0.9) {
            turn(wait: random.chance(0.3))
        } else {
            kernel.advance(milliseconds: UInt64(random.magnitude(1...500)))
        }
        for _ in 0..<(random.chance(0.7) ? 1 : 1 + random.below(4)) { life.turnDatabase(disk) }
        noteDatabase()
        disturb()
        if step % 3 == 0 { for fault in EngineAudit(life.engine).faults(&audit) { fail(fault) } }
        if step % 16 == 0 { try checkState() }
        if life.hasDatabaseEnded { return try endBroken() }
        guard random.chance(plan.endRate) else { return }
        switch random.below(5) {
        case 0: try stop()
        case 1, 2: try end(ended: .killed)
        default: try end(ended: .powerCut)
        }
    }

    private func turn(wait: Bool) {
        let before = kernel.now
        life.turn(wait: wait)
        // A loop without a timer waits for the database, which waits for its own time.
        if wait, kernel.now == before, kernel.isQuiet { kernel.advance(milliseconds: 10) }
        sightings.turns += 1
        collect()
    }

    /// Notes what was numbered since the last time.
    private func collect() {
        let batch = life.queue.state.withLock { $0.waiting }
        for entry in batch.entries where !entry.events.isEmpty && entry.publication.firstSeq > ledger.head {
            attempt { try ledger.note(entry, of: batch, life: life.number) }
        }
    }

    private func noteDatabase() {
        for (index, name) in Channels.names.enumerated() {
            if let row = life.channel(name) { ledger.notePruned(row.prunedSeq, of: index) }
        }
    }

    /// How long something may take; never without end in no time.
    private struct Patience {
        private let deadline: UInt64
        private let turnsMin: Int
        private var turns = 0

        init(_ kernel: SimulatedKernel, milliseconds: UInt64 = 8_000, turnsMin: Int = 200) {
            deadline = kernel.now + milliseconds
            self.turnsMin = turnsMin
        }

        mutating func lasts(_ kernel: SimulatedKernel) throws -> Bool {
            turns += 1
            if turns > 20_000 { throw NoEnd() }
            // A clock that leaps is no reason to give up.
            return kernel.now < deadline || turns < turnsMin
        }
    }

    // MARK: The disk

    private func disturb() {
        if let trouble {
            guard kernel.now >= trouble.until else { return }
            disk.endTrouble()
            self.trouble = nil
        } else if random.chance(plan.troubleRate) {
            let what = random.pick(StoredDisk.Trouble.allCases)
            guard what.isPassing || plan.mayBreak else { return }
            disk.begin(what, &random)
            troubles.insert(what)
            sightings.troubles[what, default: 0] += 1
            trouble = (what, kernel.now + UInt64(random.magnitude(10...8191)))
        }
    }

    /// The database could not go on: the server must end by itself, with the status that says why.
    private func endBroken() throws {
        broken.insert(life.number)
        try checkMayBreak()
        var patience = Patience(kernel)
        while !life.hasStopped, faults.isEmpty, try patience.lasts(kernel) {
            // However much there is to do, time passes.
            kernel.advance(milliseconds: 1)
            for client in clients { client.act() }
            turn(wait: true)
            life.turnDatabase(disk, isHealed: true)
        }
        guard life.hasStopped else { throw Malformed("the server goes on without its database: \(life.state)") }
        guard life.engine.ending?.exitCode == 74 else {
            throw Malformed("exit status \(life.engine.ending?.exitCode ?? -1) without a database")
        }
        try end(ended: random.chance(0.5) ? .killed : .powerCut)
    }

    /// A disk that is only full or read-only for a while is no reason to end.
    private func checkMayBreak() throws {
        guard troubles.allSatisfy({ $0.isPassing && $0 != .readFails }) else { return }
        throw Malformed("the database has ended: \(life.said), \(troubles)")
    }

    private func end(ended how: StoredEnd) throws {
        ends.append(how)
        try end(how)
    }

    /// A signal, a clean end, and the next life.
    private func stop() throws {
        stopping.insert(life.number)
        kernel.raiseSignal(SIGTERM)
        var patience = Patience(kernel)
        while !life.hasStopped, faults.isEmpty, try patience.lasts(kernel) {
            // However much there is to do, time passes.
            kernel.advance(milliseconds: 1)
            for client in clients { client.act() }
            turn(wait: true)
            life.turnDatabase(disk, isHealed: trouble == nil)
            noteDatabase()
            disturb()
        }
        guard faults.isEmpty else { return }
        guard life.hasStopped else { throw Malformed("the server did not stop: \(life.state), \(troubles)") }
        // Whoever had no time to leave is unclean; so is a disk that would not take the rest.
        let isClean = life.hasEndedCleanly
        if !isClean, troubles.isEmpty, life.engine.ending?.deadlineReached != true {
            throw Malformed("no clean end: status \(life.engine.ending?.exitCode ?? -1)")
        }
        hasTriedToClose = !isClean
        try end(ended: isClean ? .stopped : .killed)
    }

    // MARK: Liveness

    /// Nothing goes wrong any more: everyone gets everything and every answer.
    private func live() throws {
        kernel.heal()
        kernel.limits.waitMillisecondsMax = 100
        disk.endTrouble()
        trouble = nil
        for client in clients { client.settle() }
        // Less than it takes the database to sync of its own accord what nobody waits for.
        var patience = Patience(kernel, milliseconds: 4_000, turnsMin: 0)
        var calm = 0
        while faults.isEmpty, calm < 3, try patience.lasts(kernel) {
            // However much there is to do, time passes.
            kernel.advance(milliseconds: 1)
            for client in clients { client.act() }
            turn(wait: kernel.isQuiet)
            life.turnDatabase(disk, isHealed: true)
            noteDatabase()
            if life.hasDatabaseEnded { try endBroken() }
            calm = kernel.isQuiet && !clients.contains(where: \.isWaiting) ? calm + 1 : 0
        }
        try checkState()
        for reader in readers { reader.attempt { try reader.checkComplete() } }
        for publisher in publishers { publisher.attempt { try publisher.checkComplete() } }
        for historian in historians { historian.attempt { try historian.checkComplete() } }
    }
}
