/// One life of a server with a database: an engine on the simulated kernel, and its database's turns.

import Glibc
import Reactor
import Synchronization
import Wire

@testable import EventStore
@testable import FanoutServer

/// Raised by the database's thread, seen by the world: as an eventfd would be.
final class StoredSignal: Sendable {
    let isRaised = Atomic(false)
}

/// A process, from its start to its end.
final class StoredLife {
    let number: Int
    let engine: Engine
    let queue: StoreQueue
    let opening: StoreOpening
    fileprivate let store: EventStore
    private let worker: StoreWorker
    private let signal = StoredSignal()
    private let kernel: SimulatedKernel
    private let clock: StoredClock
    private var random: SeededRandom
    private let plan: StoredPlan
    /// When the database's thread goes on, in milliseconds; and what it said last.
    private var stalledUntil: UInt64 = 0
    private var wait = StoreWait.none
    /// How many operations the disk had seen when the thread had its first turn since the loop's last one: the process
    /// may have ended at any one since, as nobody has been told of what they did.
    private var loggedBefore: Int
    /// Whether the loop has not run since that turn.
    private var isLoopBehind = false
    /// Whether the loop has yet to be woken.
    private var owesWakeup = false
    private(set) var hasStopped = false
    /// What the thread really has done.
    var committed: UInt64 { store.head }
    var synced: UInt64 { store.syncedHead }
    var hasDatabaseEnded: Bool { wait == .ended }

    init(
        number: Int, _ plan: StoredPlan, _ kernel: SimulatedKernel, _ store: EventStore, disk: StoredDisk,
        random: SeededRandom
    ) throws {
        self.number = number
        self.plan = plan
        self.kernel = kernel
        self.store = store
        self.random = random
        opening = store.opening
        let signal = signal
        queue = try StoreQueue(signal: { signal.isRaised.store(true, ordering: .relaxed) })
        let clock = StoredClock(kernel, stepNs: plan.clockStepNs)
        self.clock = clock
        worker = StoreWorker(store: store, queue: queue, clock: { clock.now() })
        loggedBefore = disk.logged
        var configuration = LoopConfiguration()
        configuration.backend = plan.usesEpoll ? .simulatedEpoll(kernel) : .simulated(kernel)
        configuration.receiveBufferBytes = plan.kernelLimits.receiveBufferBytes
        configuration.socketsMax = 256
        let loop = try EventLoop(configuration)
        engine = try Engine(
            plan.configuration, loop: loop, epoch: Epoch(rawValue: 1), seed: self.random.next(),
            log: Log(level: .error, seconds: { loop.now / 1000 }, write: { _ in }),
            storage: StorageStart(
                queue: queue, opening: opening,
                keys: try store.storedKeys(
                    IdempotencyKeys.countMax,
                    since: kernel.wallClockMilliseconds() - IdempotencyKeys.windowMilliseconds),
                producers: try store.storedProducers(), state: try store.storedState()))
        engine.shares = plan.shares
        try listen()
    }

    private func listen() throws {
        try engine.listen(.http, at: World.http)
        try engine.listen(.httpUnix, at: World.unix("http.socket"))
        try engine.listen(.events, at: World.unix("events.socket"))
        guard let channel = engine.hub.channel(.standard) else { throw Malformed("no channel") }
        try engine.listen(.ingest(channel: channel, fixed: false), at: World.unix("ingest.socket"))
        try engine.loop.watchSignals([SIGTERM, SIGINT, SIGHUP])
    }

    // MARK: Turns

    func turn(wait: Bool) {
        guard !hasStopped else { return }
        isLoopBehind = false
        if !engine.turn(wait: wait) { hasStopped = true }
    }

    /// Lets the database's thread do what is due, now or later, as the disk likes.
    func turnDatabase(_ disk: StoredDisk, isHealed: Bool = false) {
        defer { passSignal(isHealed: isHealed) }
        guard self.wait != .ended else { return }
        if !isHealed {
            guard kernel.now >= stalledUntil else { return }
            if random.chance(plan.stallRate) {
                stalledUntil = kernel.now + UInt64(random.magnitude(1...plan.stallMilliseconds))
                return
            }
        }
        if case .until(let time) = wait, clock.peek < time {
            // The bell: whoever rings wakes the thread before that.
            guard queue.state.withLock({ !$0.waiting.isEmpty || !$0.requests.isEmpty || $0.closing != nil }) else {
                return
            }
        }
        if !isLoopBehind { loggedBefore = disk.logged }
        isLoopBehind = true
        wait = worker.turn()
        if signal.isRaised.exchange(false, ordering: .relaxed) { owesWakeup = true }
    }

    private func passSignal(isHealed: Bool) {
        guard owesWakeup, isHealed || random.chance(0.7) else { return }
        owesWakeup = false
        engine.loop.wakeup.signal()
    }

    /// Where the process can end without contradicting what anybody knows: within the thread's last turn, if the loop
    /// has not run since.
    func placeOfEnd(_ disk: StoredDisk, _ random: inout SeededRandom) -> Int {
        isLoopBehind ? random.within(loggedBefore...disk.logged) : disk.logged
    }
}

/// The clock of the database's thread: the kernel's, and a little more each time it is asked where the disk is slow.
final class StoredClock {
    private let kernel: SimulatedKernel
    private let stepNs: Int
    private(set) var lastNs: UInt64 = 0

    init(_ kernel: SimulatedKernel, stepNs: Int) {
        self.kernel = kernel
        self.stepNs = stepNs
    }

    /// The time without its passing.
    var peek: UInt64 { max(lastNs, kernel.now * 1_000_000) }

    func now() -> StoreTime {
        lastNs = peek + UInt64(stepNs)
        return StoreTime(monotonicNs: lastNs, wallMs: kernel.wallClockMilliseconds())
    }
}

extension StoredLife {
    func channel(_ name: String) -> StoredChannel? { hasDatabaseEnded ? nil : store.channel(name) }

    /// The newest event that anybody may have seen, and the newest that has a number.
    var head: UInt64 { engine.hub.head }
    var accepted: UInt64 { engine.hub.accepted }

    /// What the server waits for, for a failure.
    var state: String {
        let engine = engine
        return "\(engine.ending as Any), \(engine.delivery.connections.openSockets) sockets, \(said), \(wait) at "
            + "\(clock.peek), deferred \(engine.deferred), replays \(engine.replays), "
            + "held \(engine.hub.held.isEmpty ? "none" : "some"), head \(head) of \(accepted), "
            + "answers \(engine.storage?.waiting.count ?? 0), resting \(engine.rest.isResting)"
    }

    /// What the database has said of itself last.
    var said: StoreState { queue.state.withLock { $0.report.state } }

    /// Whether the database was closed in order.
    var hasEndedCleanly: Bool {
        guard hasDatabaseEnded else { return false }
        return queue.state.withLock { state in
            if case .ended(nil) = state.report.state { true } else { false }
        }
    }
}
