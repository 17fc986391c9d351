/// One seeded world of channels with state: publishers, readers that keep it, and a server that ends in every way.

import Glibc
import Reactor
import Wire

@testable import EventStore
@testable import FanoutServer

/// What such worlds must have met, taken together.
struct LastingSightings {
    var worlds = 0
    var hash: UInt64 = 0
    var events = 0
    var states = 0
    var compared = 0
    var conflated = 0
    var cutInState = 0
    var cutInChanges = 0
    var comebacks = 0
    var lost = 0
    var published = 0
    var gaps: [String: Int] = [:]
    var opened: [String: Int] = [:]
    var ends: [StoredEnd: Int] = [:]

    /// Everything by name, in one order.
    var all: [(name: String, count: Int)] {
        [
            ("published", published), ("event", events), ("state", states), ("compared", compared),
            ("conflated", conflated), ("cut-in-state", cutInState), ("cut-in-changes", cutInChanges),
            ("comeback", comebacks), ("lost", lost),
        ] + ["conflated", "lagged", "rewound"].map { ("gap-\($0)", gaps[$0] ?? 0) }
            + ["snapshot", "cursor"].map { ("from-\($0)", opened[$0] ?? 0) }
            + [StoredEnd.stopped, .killed, .powerCut].map { ("\($0)", ends[$0] ?? 0) }
    }

    var line: String {
        "simulation: \(worlds) worlds with state, hash \(String(hash, radix: 16)); "
            + all.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
    }
}

/// The server over several lives on one disk in memory. At the end, and whenever a state is whole, every reader's model
/// of it is held against what the events say.
final class LastingWorld {
    let kernel: SimulatedKernel
    let ledger = LastingLedger()
    var random: SeededRandom
    var sightings = LastingSightings()
    private(set) var faults: [String] = []
    private(set) var isEnding = false
    private var plan: StoredPlan
    private var life: StoredLife!
    private var disk: StoredDisk
    private(set) var lives = 0
    private var readers: [LastingReader] = []
    private let keys: Int
    private var made = 0
    private var publisher: SimulatedPeer?
    private var unsent: [UInt8] = []
    private var audit = Sightings()

    /// The newest event that readers may have got.
    var shown: UInt64 { life.head }

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed &* 0x9e37_79b9_7f4a_7c15 ^ 0x5354_4154_45)
        plan = StoredPlan(&random, seed: seed)
        plan.retention = [:]
        plan.rules = LastingChannels.rules(holdsBack: random.chance(0.5))
        plan.lagLimits.events = random.magnitude(4...31)
        plan.lagLimits.bytes = random.magnitude(512...8191)
        plan.lagLimits.ageMilliseconds = random.magnitude(200...4095)
        plan.kernelLimits.pipeBytes = random.magnitude(128...4095)
        keys = random.magnitude(2...63)
        kernel = SimulatedKernel(seed: seed, limits: plan.kernelLimits)
        disk = try StoredDisk()
        kernel.onViolation = { [unowned self] in fail($0) }
        try begin()
        kernel.faults = plan.faults
    }

    func fail(_ what: String) { if faults.count < 5 { faults.append("at \(kernel.now) ms: " + what) } }

    // MARK: Lives

    private func begin() throws {
        let epoch = Epoch(rawValue: random.next())
        var configuration = StoreConfiguration(directory: StoredDisk.directory, newEpoch: epoch)
        configuration.vfs = disk.name
        let store = try EventStore.open(configuration, nowMs: kernel.wallClockMilliseconds())
        if lives > 0 { ledger.keep(try numbers(in: store)) }
        let healthy = kernel.faults
        kernel.faults = .none
        life = try StoredLife(number: lives, plan, kernel, store, disk: disk, random: random.fork())
        kernel.faults = healthy
        lives += 1
        isEnding = false
    }

    private func numbers(in store: EventStore) throws -> Set<UInt64> {
        var found: Set<UInt64> = []
        var place: UInt64 = 0
        while true {
            let page = try store.read(StoreQuery(.after(place)))
            for row in page.rows { found.insert(row.seq) }
            if page.isLast { return found }
            place = page.reached
        }
    }

    private func end(_ how: StoredEnd) throws {
        if how == .stopped { try stop() }
        guard faults.isEmpty else { return }
        collect()
        sightings.ends[how, default: 0] += 1
        let at = how == .stopped ? disk.logged : life.placeOfEnd(disk, &random)
        let next = try disk.left(how == .powerCut ? .power : .process, at: at, &random)
        kernel.endProcess()
        life = nil
        (publisher, unsent) = (nil, [])
        disk = next
        try begin()
    }

    private func stop() throws {
        isEnding = true
        kernel.raiseSignal(SIGTERM)
        for _ in 0..<20_000 where !life.hasStopped && faults.isEmpty {
            kernel.advance(milliseconds: 1)
            for reader in readers { reader.act() }
            turn(wait: true)
            life.turnDatabase(disk, isHealed: true)
        }
        guard life.hasStopped || !faults.isEmpty else { throw Malformed("the server did not stop: \(life.state)") }
    }

    // MARK: The run

    func run() -> [String] {
        do {
            for step in 0..<plan.steps where faults.isEmpty {
                if readers.count < plan.readersMax, random.chance(0.1) {
                    readers.append(LastingReader(self, number: readers.count + 1))
                }
                try self.step(step)
            }
            if faults.isEmpty { try settle() }
        } catch { fail("\(error)") }
        if !faults.isEmpty { faults.append("\(plan)") }
        sightings.worlds += 1
        sightings.lost += ledger.lost
        sightings.published += ledger.events.count
        sightings.hash = (sightings.hash ^ kernel.trace.hash) &* 0x9e37_79b9_7f4a_7c15
        life = nil
        return faults
    }

    private func step(_ step: Int) throws {
        if random.chance(0.7) { publish() }
        for reader in readers where random.chance(0.6) { reader.act() }
        if random.chance(0.9) {
            turn(wait: random.chance(0.3))
        } else {
            kernel.advance(milliseconds: UInt64(random.magnitude(1...500)))
        }
        life.turnDatabase(disk)
        if step % 3 == 0 { for fault in EngineAudit(life.engine).faults(&audit) { fail(fault) } }
        guard random.chance(plan.endRate / 2) else { return }
        try end(random.pick([.stopped, .killed, .powerCut]))
    }

    private func turn(wait: Bool) {
        let before = kernel.now
        life.turn(wait: wait)
        if wait, kernel.now == before, kernel.isQuiet { kernel.advance(milliseconds: 10) }
        collect()
    }

    private func collect() {
        let batch = life.queue.state.withLock { $0.waiting }
        for entry in batch.entries where !entry.events.isEmpty && entry.publication.firstSeq > ledger.head {
            do { try ledger.note(entry, of: batch) } catch { fail("\(error)") }
        }
    }

    /// Publishes an event, or several, over HTTP, and reads what comes of it away.
    private func publish() {
        if publisher == nil { publisher = kernel.connect(to: World.unix("http.socket")) }
        guard let peer = publisher else { return }
        if unsent.isEmpty {
            let channel = random.pick(LastingChannels.names)
            let count = random.chance(0.8) ? 1 : random.magnitude(1...15)
            let lines = (0..<count).map { _ in
                made += 1
                return LastingChannels.event(made, on: channel, keys: keys, &random)
            }
            let body = lines.joined(separator: "\n")
            var head = "POST /v1/events?channel=\(channel)&ack=accepted HTTP/1.1\r\nHost: x\r\n"
            head += "Content-Type: application/x-ndjson\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
            unsent = Array((head + body).utf8)
        }
        let taken = kernel.peerWrite(peer, unsent)
        if taken >= 0 { unsent.removeFirst(taken) }
        let answer = kernel.peerRead(peer, max: .max)
        if let refusal = answer.text.split(separator: "\r\n").first, refusal.hasPrefix("HTTP/1.1 4") {
            fail("a publisher got \(answer.excerpt)")
        }
        guard taken < 0 || kernel.peerAtEnd(peer) else { return }
        kernel.peerClose(peer)
        (publisher, unsent) = (nil, [])
    }

    // MARK: Quiet

    /// Nothing goes wrong any more, nobody publishes: every model must be the state, and so must what newcomers get.
    private func settle() throws {
        kernel.heal()
        kernel.limits.waitMillisecondsMax = 100
        for patterns in LastingChannels.patterns {
            readers.append(LastingReader(self, number: readers.count + 1, patterns: patterns))
        }
        for reader in readers { reader.settle() }
        var quiet = 0
        for _ in 0..<20_000 where faults.isEmpty && quiet < 50 {
            kernel.advance(milliseconds: 1)
            for reader in readers { reader.act() }
            turn(wait: true)
            life.turnDatabase(disk, isHealed: true)
            quiet = life.head == life.accepted && !readers.contains(where: \.isWaiting) ? quiet + 1 : 0
        }
        for reader in readers where faults.isEmpty {
            do { try reader.check() } catch { fail("\(reader.name): \(error)") }
        }
    }
}
