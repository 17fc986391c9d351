/// One seeded world: the whole server on a simulated kernel, and everybody who talks to it.

import FanoutServer
import Glibc
import Reactor
import Wire

@testable import FanoutServer

/// The server, its clients and the model of the truth, driven by one seed.
///
/// ```
///  begin --> faults (safety) --> heal, everyone reads (liveness) --> close all, or SIGTERM --> judge every stream
/// ```
final class World {
    static let http = SocketAddress.loopback(port: 7575)
    static let jsonl = SocketAddress.loopback(port: 7576)

    static func unix(_ name: String) -> SocketAddress { .unix(path: "/run/simulated/" + name) }

    let seed: UInt64
    let plan: Plan
    let kernel: SimulatedKernel
    let engine: Engine
    let truth: Truth
    var random: SeededRandom
    var maker: EventMaker
    var sightings = Sightings()
    private(set) var faults: [String] = []
    private(set) var isShuttingDown = false
    var readersEver: UInt64 = 1

    private var auditor: Reader!
    var readers: [Reader] = []
    var publishers: [Publisher] = []
    /// What was sent with a key, by whomever.
    var keyed: [KeyedPublication] = []
    var vandals: [Vandal] = []
    var probers: [Prober] = []
    var keeper: ChannelKeeper?
    private var clients: [Client] {
        [auditor!] + readers + publishers + vandals + probers + (keeper.map { [$0] } ?? [])
    }
    private var turnAudit = TurnAudit()
    /// What channels' state must be.
    private var stateModel = StateModel()
    /// What the server held at which moment.
    private(set) var held = HeldHistory()
    private var listenerCount = 0
    private(set) var memoryWatch = MemoryWatch()
    private var hasStopped = false
    private let startedAt: UInt64

    /// The newest number, as only the server itself knows it.
    var head: UInt64 { engine.hub.head }

    init(seed: UInt64, change: (inout Plan) -> Void = { _ in }) throws {
        self.seed = seed
        random = SeededRandom(seed: seed &* 0x9e37_79b9_7f4a_7c15 ^ 0x5741_4c44)
        var plan = Plan(&random, seed: seed)
        change(&plan)
        self.plan = plan
        maker = EventMaker(random: random.fork(), bytesMax: plan.eventBytesMax, keys: plan.stateKeys)
        kernel = SimulatedKernel(seed: seed, limits: plan.kernelLimits)
        var configuration = LoopConfiguration()
        configuration.backend = plan.usesEpoll ? .simulatedEpoll(kernel) : .simulated(kernel)
        configuration.receiveBufferBytes = plan.kernelLimits.receiveBufferBytes
        configuration.readsPerTurnMax = plan.readsPerTurnMax
        configuration.socketsMax = 256
        let loop = try EventLoop(configuration)
        startedAt = kernel.now
        let epoch = Epoch(rawValue: random.next())
        truth = Truth(epoch: "\(epoch)")
        engine = try Engine(
            plan.configuration, loop: loop, epoch: epoch, seed: random.next(),
            log: Log(level: .error, seconds: { loop.now / 1000 }, write: { _ in }))
        engine.shares = plan.shares
        kernel.onViolation = { [unowned self] in fail($0) }
        turnAudit.endsAtOnce = plan.usesEpoll
        try open()
        // Who must see everything may not be a laggard when memory is short.
        if plan.memoryMax != nil { kernel.limits.pipeBytes = 4 << 20 }
        auditor = Reader(
            self, kernel.connect(to: Self.unix("events.socket"))!, .unix,
            [.everything, Wanted(patterns: ["**", "auditor"])],
            number: 0, pace: .eager)
        kernel.spare(auditor.peer)
        kernel.limits.pipeBytes = plan.kernelLimits.pipeBytes
        while auditor.record.helloCount < 2 {
            auditor.act()
            auditor.attend()
            turn(wait: false)
        }
        freeAuditor()
        kernel.faults = plan.faults
    }

    /// The auditor alone may fall behind as far as it likes: its subscription is one that nobody else has.
    private func freeAuditor() {
        var limits = Configuration.LagLimits()
        limits.events = 1 << 30
        limits.bytes = 1 << 30
        limits.ageMilliseconds = 1 << 30
        for slot in 0..<UInt32(engine.delivery.connections.slotsUsed) {
            let connection = engine.delivery.connections[slot]
            guard connection.phase == .subscriber, connection.group != Connection.none else { continue }
            engine.hub.subscriptions.groups[Int(connection.group)].limits = limits
            engine.memory.sparedSlot = slot
        }
    }

    private func open() throws {
        try engine.listen(.http, at: Self.http)
        try engine.listen(.jsonl, at: Self.jsonl)
        try engine.listen(.httpUnix, at: Self.unix("http.socket"))
        try engine.listen(.events, at: Self.unix("events.socket"))
        for (index, name) in Channels.names.enumerated() {
            // The others come into being with their first event.
            guard index < 2 else { break }
            guard let channel = ChannelName(name).flatMap(engine.hub.channel) else { throw Malformed(name) }
            if index == 0 { try engine.listen(.ingest(channel: channel, fixed: false), at: Self.unix("ingest.socket")) }
            if index == 1 {
                try engine.listen(.ingest(channel: channel, fixed: true), at: Self.unix("ingest/a.socket"))
            }
        }
        try engine.loop.watchSignals([SIGTERM, SIGINT, SIGHUP])
        listenerCount = kernel.openDescriptors
    }

    func fail(_ what: String) { if faults.count < 5 { faults.append("at \(kernel.now) ms: " + what) } }

    // MARK: The run

    /// Runs the world from its first fault to its end and says what was wrong.
    func run() -> [String] {
        for step in 0..<plan.steps where faults.isEmpty {
            spawn()
            spawnGuests()
            let present = clients.filter { !$0.isGone }
            for _ in 0..<1 + random.below(4) { random.pick(present).act() }
            for client in present { client.attend() }
            if random.chance(0.9) { turn(wait: random.chance(0.3)) } else { passTime() }
            if step % 3 == 0 { audit() }
        }
        sightings.steps += plan.steps
        if faults.isEmpty { live() }
        if faults.isEmpty, !plan.endsBySignal { closeAll() }
        if faults.isEmpty { shutDown() }
        if faults.isEmpty { judge() }
        if faults.isEmpty { comparePruned() }
        if faults.isEmpty { compareCounts() }
        if !faults.isEmpty { faults.append(describe()) }
        // Accepting that fails rests: 20 tries in a second, beside the first of each listener. Never a spin.
        let tries = UInt64(listenerCount) + 20 * ((kernel.now - startedAt) / 1000 + 1)
        if engine.metrics.acceptErrors > tries { fail("accepting failed \(engine.metrics.acceptErrors) times") }
        sightings.virtualMilliseconds += kernel.now - startedAt
        sightings.note(engine, kernel)
        sightings.noteMemory(engine, memoryWatch)
        return faults
    }

    /// The world in one line, for a failure.
    private func describe() -> String {
        let on = SimulatedFaults.Class.allCases.filter { plan.faults[$0] > 0 }.map { "\($0) \(plan.faults[$0])" }
        return (plan.usesEpoll ? "epoll, " : "") + (plan.isCalm ? "calm, " : "")
            + "\(plan.steps) steps, \(plan.kernelLimits), lag \(plan.onLag) \(plan.lagLimits), "
            + "heartbeat \(plan.heartbeatSeconds) s, places \(plan.connectionsMax ?? 0), faults \(on)"
    }

    private func passTime() { kernel.advance(milliseconds: UInt64(random.magnitude(1...500))) }

    private func turn(wait: Bool) {
        guard !hasStopped else { return }
        sightings.turns += 1
        if !engine.turn(wait: wait) { hasStopped = true }
        for fault in memoryWatch.faults(engine, plan: plan, now: kernel.now) { fail(fault) }
        for fault in held.note(head: head, oldest: engine.hub.oldestHeld) { fail(fault) }
        for fault in HistoryAudit(engine).faults(&sightings) { fail(fault) }
        if plan.stateKeys > 0 { for fault in stateModel.faults(engine, truth, &sightings) { fail(fault) } }
        guard engine.ending == nil, faults.isEmpty else { return }
        for fault in turnAudit.faults(engine, turnSlack) { fail(fault) }
    }

    /// Whether events of a channel may be refused because it has ended.
    func isMortal(_ channel: Int) -> Bool { plan.hasKeeper && Channels.names[channel] == Channels.mortalChannel }

    /// For a test that turns the engine itself: the auditor reads what there is.
    func attendAuditor() { auditor.attend() }

    private func audit() {
        for fault in EngineAudit(engine).faults(&sightings) { fail(fault) }
    }

    // MARK: Liveness

    /// Nothing goes wrong any more: within five seconds everyone who is there has everything and every answer.
    private func live() {
        kernel.heal()
        kernel.limits.waitMillisecondsMax = 100
        for client in clients { client.settle() }
        settle(milliseconds: 5_000)
        spawnPublisher(pace: .eager, items: 4)
        settle(milliseconds: 5_000)
        // A world in four goes on for two minutes in all: what is well stays so, and is told that it is.
        if seed % 4 == 0, faults.isEmpty { rest(milliseconds: 110_000) }
        guard faults.isEmpty else { return }
        for reader in readers + [auditor!] { reader.noteComplete() }
        for publisher in publishers { publisher.noteComplete() }
        for prober in probers { prober.noteComplete() }
        if truth.head != head || !truth.isComplete {
            fail("the auditor has seen \(truth.head) of \(head) events, \(auditor.record.eventCount) itself")
        }
        audit()
        if !kernel.hasEpoll, kernel.receivesArmed != engine.delivery.connections.openSockets - engine.listeners.count {
            let wanting = (0..<UInt32(engine.delivery.connections.slotsUsed)).count { slot in
                let connection = engine.delivery.connections[slot]
                return connection.phase != .free && connection.phase != .listener && connection.phase != .closing
                    && engine.loop.isReceiving(engine.delivery.connections.socket(slot))
            }
            if kernel.receivesArmed != wanting { fail("\(kernel.receivesArmed) receives armed for \(wanting)") }
        }
    }

    /// Lets everyone be for so long, then publishes once more.
    private func rest(milliseconds: UInt64) {
        let present = readers.filter { !$0.isGone && $0.isWell }
        kernel.limits.waitMillisecondsMax = 1000
        let deadline = kernel.now + milliseconds
        var turns = 0
        while kernel.now < deadline, faults.isEmpty {
            turn(wait: true)
            turns += 1
            if turns > 20_000 { fail("\(turns) turns and no end of the rest") }
            for client in clients {
                client.attend()
                client.write(.max)
            }
        }
        for reader in present where reader.isGone { fail("\(reader.name): was ended while nothing happened") }
        spawnPublisher(pace: .eager, items: 2)
        settle(milliseconds: 5_000)
    }

    /// Whether the client at this address has a unix socket.
    static func isUnix(_ address: SocketAddress) -> Bool {
        if case .unix = address { true } else { false }
    }

    /// Lets everyone act until nothing is left to do, at most for so long.
    private func settle(milliseconds: UInt64) {
        let deadline = kernel.now + milliseconds
        var calm = 0
        var turns = 0
        while kernel.now < deadline, faults.isEmpty, calm < 3 {
            for client in clients {
                client.act()
                client.attend()
            }
            let before = kernel.now
            turn(wait: kernel.isQuiet)
            turns += 1
            // A send that is tried again later, and a listener at rest, are things left to do.
            let waits =
                !engine.starved.isEmpty || !engine.resting.isEmpty || engine.delivery.queue.count > 0
                || !engine.replays.isEmpty
            let isBusy = waits || publishers.contains { !$0.isGone } || clients.contains { !$0.isGone && !$0.isIdle }
            calm = kernel.isQuiet && !isBusy ? calm + 1 : 0
            if turns > 20_000 {
                let busy = clients.filter { !$0.isGone && !$0.isIdle }.map(\.name)
                fail("\(turns) turns and no end since \(before) ms: busy are \(busy)")
            }
        }
        audit()
    }

    // MARK: The end

    /// Everyone leaves; then nothing may be left of anyone.
    private func closeAll() {
        for client in clients { client.leave(reset: random.chance(0.2)) }
        let deadline = kernel.now + 40_000
        var turns = 0
        while kernel.now < deadline, turns < 20_000, kernel.openDescriptors != listenerCount + unnoticed {
            turn(wait: true)
            turns += 1
        }
        if kernel.openDescriptors != listenerCount + unnoticed {
            fail("\(kernel.openDescriptors) descriptors are open, \(listenerCount) were at the start")
        }
        if engine.delivery.connections.total != unnoticed {
            fail("\(engine.delivery.connections.total) connections at the end")
        }
        checkAllCameHome()
    }

    /// Raw TCP readers with `control=off` that closed: they look like readers that only ended their side, and as
    /// nothing is said to them until the next event, nothing tells that they are gone.
    private var unnoticed: Int {
        (0..<UInt32(engine.delivery.connections.slotsUsed)).count { slot in
            let connection = engine.delivery.connections[slot]
            return connection.phase == .subscriber && connection.transport == .jsonlTCP
                && connection.flags.isSuperset(of: [.controlOff, .peerEnded])
        }
    }

    private func shutDown() {
        isShuttingDown = true
        sightings.shutdowns += 1
        kernel.raiseSignal(SIGTERM)
        let deadline = kernel.now + 8_000
        var turns = 0
        while kernel.now < deadline, turns < 20_000, !hasStopped, faults.isEmpty {
            turns += 1
            for client in clients {
                client.act()
                client.attend()
            }
            turn(wait: true)
        }
        guard faults.isEmpty else { return }
        for client in clients { client.read(.max) }
        if !hasStopped { fail("the server did not stop") }
        if engine.ending?.exitCode != 0 { fail("exit status \(engine.ending?.exitCode ?? -1)") }
        if engine.ending?.deadlineReached == true { return fail("the server did not end by itself") }
        if kernel.openDescriptors != 0 { fail("\(kernel.openDescriptors) descriptors are open at the end") }
        for reader in readers where reader.isExpectedComplete && reader.end != .own {
            reader.checkGoodbye()
        }
        checkAllCameHome()
    }

    private func checkAllCameHome() {
        audit()
        if engine.delivery.blocks.inUse != 0 { fail("\(engine.delivery.blocks.inUse) run blocks never came home") }
        if engine.inputs.inUse != 0 { fail("\(engine.inputs.inUse) input buffers never came home") }
        if kernel.sendsInFlight != 0 { fail("\(kernel.sendsInFlight) sends are in the kernel") }
        if engine.delivery.queue.count != 0 { fail("the flush queue is not empty") }
    }

    private func compareCounts() {
        var seen = Seen()
        seen.clients = readersEver
        for reader in readers + [auditor!] { seen.note(reader.record) }
        for fault in CountsAudit(engine: engine, seen: seen, isOver: plan.endsBySignal).faults() { fail(fault) }
    }

    private func comparePruned() {
        for fault in HistoryAudit(engine).prunedFaults(truth) { fail(fault) }
    }

    private func judge() {
        for client in clients {
            do { try client.judge(truth) } catch { fail("\(client.name): \(error)") }
        }
    }
}
