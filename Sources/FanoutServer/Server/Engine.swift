/// The server without its process: listeners, connections and the hub on one event loop, one turn at a time.

import EventStore
import Glibc
import Reactor
import Wire

/// Everything between the reactor and the hub. `Server` runs one in a process; tests run one in the simulation.
///
/// A turn is: flush what was queued, enter the kernel once, handle each completion, then judge laggards and
/// go on with input that waited. Loop thread only. What belongs together lives in one extension each: HTTP, WebSocket,
/// lines, subscribing, ending.
final class Engine {
    /// Limits that are part of the contract or protect the loop; the reasons stand beside them.
    enum Limits {
        /// A request head must be whole 10 s after its first byte, a body 30 s after its head: slower is slowloris.
        static let headMilliseconds: UInt64 = 10_000
        static let bodyMilliseconds: UInt64 = 30_000
        /// An idle keep-alive connection is closed after 75 s, as browsers expect.
        static let idleMilliseconds: UInt64 = 75_000
        /// `$bye` waits this long for a reader that has stopped.
        static let byeMilliseconds: UInt64 = 30_000
        /// The kernel gives a peer up this long after the server would have: rounding, the sweep's period. Beyond 15
        /// minutes it is left its own patience, by which peers that are gone are found no later.
        static let kernelSpareMilliseconds = 5_000
        static let kernelPatienceMilliseconds = 900_000
        /// How often it is looked whether a peer has taken its last bytes; one that has, and has not ended its side by
        /// then, is closed.
        static let drainMilliseconds: UInt64 = 2_000
        /// What it may still write meanwhile: a body that was refused by its length is most often on its way whole, and
        /// a reset would throw the answer away.
        static let drainBytes: UInt32 = 8 << 20
        /// What a subscriber may write: 64 KiB in 10 s, 100 WebSocket control frames in a second.
        static let inputWindowBytes: UInt32 = 64 * 1024
        static let inputWindowMilliseconds: UInt32 = 10_000
        static let controlFramesPerSecond: UInt32 = 100
        /// Events published in one turn: a quarter of what a reader may be behind, so that readers are sent to in
        /// between.
        static let turnEvents: UInt64 = 1024
        /// Sends that a turn may begin and still wait in the same system call.
        static let hiddenSends: UInt64 = 64
        /// Places kept free for health and metrics.
        static let reservedConnections = 8
        /// How often laggards are looked for while anything waits.
        static let sweepMilliseconds: UInt64 = 250
        /// How long a send waits that the kernel had no memory for.
        static let sendRestMilliseconds: UInt64 = 50
    }

    /// What one connection, and one turn, may take for itself. The simulation lowers it.
    struct Shares {
        /// Output of answers that may wait before no more requests are read from a connection.
        var answersPendingBytes: UInt32 = 64 * 1024
        /// Input handled in one turn, and subscribers reached, channels and connections walked over, and what else
        /// takes long in these units, before everyone is flushed again.
        var turnInputBytes = 256 * 1024
        var turnWork: UInt64 = 262_144
        /// Bytes of the history that are given out in one turn, and events looked at for that: a tenth of a
        /// millisecond, so that whoever reads live waits no longer. More is not faster (bench/NOTES.md).
        var replayBytes = 128 << 10
        var replayLooked = 8192
        /// Events that one page of `/v1/history` looks at, and patterns that it tries: a few milliseconds at most.
        /// Where few of many events match, it holds fewer than it might, and says where to go on.
        var historyWork = 65_536
    }

    // What is marked below is used without run-time checks of exclusivity, which would cost each event a call, and each
    // connection that comes a dozen. No access to one of these lasts while another to the same one begins: what they
    // call calls nothing of the engine's.
    @exclusivity(unchecked) var configuration: Configuration
    var shares = Shares()
    let loop: EventLoop
    let delivery: Delivery
    let hub: Hub
    let log: Log
    @exclusivity(unchecked) var inputs = InputBuffers()
    @exclusivity(unchecked) var listeners: [Listener] = []
    /// The folder of sockets; none in a simulation.
    var sockets: RuntimeSockets?
    @exclusivity(unchecked) var random: SeededRandom
    @exclusivity(unchecked) var metrics = Metrics()
    @exclusivity(unchecked) var memory: MemoryBudget
    @exclusivity(unchecked) var admission: Admission
    @exclusivity(unchecked) var routes: RouteTable
    /// Further ingest sockets, and families of them.
    var furtherIngest: [IngestTemplate]
    /// Where the configuration is read again; nil is nowhere.
    var source: ConfigurationSource?
    @exclusivity(unchecked) var peers: PeerLimits
    /// The HTTP listener's port, which a request's Host may name.
    var httpPort: UInt16 = 0
    var constants: Constants
    let startedAt: UInt64
    let keepAliveTimes: KeepAliveTimes

    /// Connections whose input waits for the next turn, in order.
    @exclusivity(unchecked) var deferred: [UInt32] = []
    /// Writers of lines wait for the database: these, in order.
    @exclusivity(unchecked) var writersWait = false
    var waitingWriters: [UInt32] = []
    var turnInputBytes = 0
    var turnEventsBefore: UInt64 = 0
    var turnWorkBefore: UInt64 = 0
    /// Readers whose ring is empty and who want more of the history, in order.
    @exclusivity(unchecked) var replays: [UInt32] = []
    /// How many turns they have had since the start.
    var replayTurns: UInt64 = 0
    /// Readers whose next events are to be read from the database.
    var storedReplay = StoredReplay()
    /// Requests for a past that is to be read from the database.
    var storedHistory = StoredHistory()
    /// Subscribers at a limit, until they are cut or have caught up.
    @exclusivity(unchecked) var suspects: [UInt32] = []
    var pause: LoopPause
    let sweepTimer: TimerID
    var sweeping = false
    let acceptTimer: TimerID
    @exclusivity(unchecked) var acceptRest = AcceptRest()
    var acceptWarning = AcceptWarning()
    /// Connections whose send the kernel had no memory for, until the timer fires.
    var starved: [UInt32] = []
    let sendTimer: TimerID
    /// Publishers rest while a reader catches up.
    @exclusivity(unchecked) var rest: PublisherRest
    let restTimer: TimerID
    /// Events of other threads came while publishers rested.
    var inboxWaits = false
    let endTimer: TimerID
    /// Runs while the log holds messages back.
    let logTimer: TimerID
    /// The signal that ends the server; nil while it runs.
    var ending: Ending?
    var inbox: Inbox?
    /// Events to be encoded for one connection: reused, so that answers allocate nothing.
    @exclusivity(unchecked) var scratch: [UInt8] = []
    /// The body of an ack while it is made: reused likewise.
    @exclusivity(unchecked) var answer: [UInt8] = []
    @exclusivity(unchecked) var openingTexts = OpeningTexts()
    /// The database, if there is one.
    @exclusivity(unchecked) var storage: Storage?
    /// The connection that is standard input, if that is read.
    @exclusivity(unchecked) var standardInput = Connection.none
    /// What tells a repetition from something new.
    @exclusivity(unchecked) var keys: IdempotencyKeys
    @exclusivity(unchecked) var producers: ProducerTable

    /// - Parameter epoch: the numbering, where there is no database that says it.
    init(
        _ configuration: Configuration, loop: EventLoop, epoch: Epoch, seed: UInt64, log: Log, inbox: Inbox? = nil,
        storage start: StorageStart? = nil
    ) throws(StartError) {
        guard (1...86_400).contains(configuration.heartbeatSeconds) else {
            throw StartError("the heartbeat is 1 to 86,400 seconds", exitCode: .configuration)
        }
        guard (configuration.connectionsMax ?? .max) > Limits.reservedConnections else {
            throw StartError(
                "at most \(Limits.reservedConnections) connections would leave no place for a reader: allow more",
                exitCode: .configuration)
        }
        self.configuration = configuration
        self.loop = loop
        self.log = log
        self.inbox = inbox
        memory = MemoryBudget(bytesMax: configuration.memoryMax ?? MemoryLimit.standardBudget())
        delivery = Delivery(loop: loop, segmentBytes: configuration.segmentBytes)
        let historyBytes = configuration.historyBytes ?? min(MemoryFormula.historyDefaultBytes, memory.bytesMax)
        hub = try Hub(
            delivery: delivery, epoch: start?.opening.epochs.present ?? epoch, configuration: configuration,
            // What is on its way to the database is held in any case.
            historyBytes: start == nil ? historyBytes : max(historyBytes, configuration.historyLeastBytes),
            head: start?.opening.head ?? 0, records: start != nil)
        storage = start.map(Storage.init)
        try hub.rules.checkStorage(configuration, records: start != nil)
        random = SeededRandom(seed: seed)
        // Numbers of their own: nobody can learn the one from the other.
        var secrets = SeededRandom(seed: ~seed)
        keys = IdempotencyKeys(bytesMax: memory.shareBytes / 2, random: &secrets)
        producers = ProducerTable(bytesMax: memory.shareBytes / 2, random: &secrets)
        let wallClock = loop.wallClockMilliseconds
        for stored in start?.keys ?? [] {
            keys.remember(KeyRecord(stored, now: loop.now, wallClock: wallClock))
        }
        for stored in start?.producers ?? [] { try producers.restore(stored) }
        constants = Constants(&delivery.log)
        startedAt = loop.now
        keepAliveTimes = KeepAliveTimes(seconds: configuration.heartbeatSeconds)
        pause = LoopPause(now: loop.now)
        admission = Admission(configuration)
        routes = try RouteTable(configuration)
        furtherIngest = try IngestTemplate.all(of: configuration)
        peers = try PeerLimits(configuration)
        sweepTimer = loop.makeTimer()
        acceptTimer = loop.makeTimer()
        sendTimer = loop.makeTimer()
        rest = PublisherRest(now: loop.now)
        restTimer = loop.makeTimer()
        endTimer = loop.makeTimer()
        logTimer = loop.makeTimer()
        scratch.reserveCapacity(4096)
        log.whenHolding = { [unowned self] in loop.setTimer(logTimer, at: loop.now + 1000) }
        hub.whenMisfit = { [log] message in log.warning("\(message); it was published all the same") }
        hub.channelBytesMax = memory.shareBytes
        hub.subscriptionBytesMax = memory.shareBytes
        hub.states.prepare(bytesMax: memory.shareBytes, secrets: (secrets.next(), secrets.next()))
        for channel in start?.opening.channels ?? [] { try hub.restore(channel) }
        hub.noteForgotten(start?.opening.forgottenSeq ?? 0)
        if let state = start?.state { hub.restoreState(state, log) }
        tellRetention()
    }

    // MARK: A turn

    /// One turn. With `wait` it sleeps until there is something to do. False when the server has ended.
    func turn(wait: Bool) -> Bool {
        let began = loop.clock
        let sendsBefore = delivery.counters.sends
        let inFlightBefore = delivery.sendsInFlight
        // Before anybody can see an event.
        if hub.records { storage?.noteUsed(hub.accepted) }
        let more = delivery.flush()
        let sends = delivery.counters.sends &- sendsBefore
        memory.everyoneWasOffered = !more
        // A send of which the socket takes nothing does not complete: only the clock tells that its reader has stopped.
        if sends > 0 { watchForLaggards() }
        // Many sends are work, which a wait would hide from the clock; one more system call is nothing beside them.
        // What a socket took at once does not complete: publishers that rest for its reader go on without being woken.
        let anyTaken = sends > UInt64(delivery.sendsInFlight - inFlightBefore)
        let waits =
            wait && !more && replays.isEmpty && !hub.images.hasWorkNow && !hasEventsToShow
            && (rest.isResting ? !anyTaken : deferred.isEmpty) && sends < Limits.hiddenSends
        let flushed = loop.clock
        loop.turn(wait: waits)
        turnInputBytes = 0
        turnEventsBefore = metrics.eventsIn
        turnWorkBefore = delivery.counters.deliveries &+ hub.extraWork
        if !rest.isResting { resumeDeferred() }
        handleCompletions()
        if hasEventsToShow { showStored() }
        if !hub.endedByEvent.isEmpty { closeEndedChannels() }
        if hub.records {
            if !storedHistory.waiting.isEmpty { askForHistory() }
            flushStorage()
        }
        // After the turn's live events: what replays gets what is left of the loop's time.
        continueReplays()
        judgeLaggards()
        judgeMemory()
        updateRest()
        let ended = loop.clock
        metrics.noteTurn(milliseconds: ended - (waits ? loop.now - (flushed - began) : began), now: ended)
        if ending != nil { return !hasEnded() }
        return true
    }

    /// What `scratch` may keep from one answer to the next.
    private static let scratchKeptBytes = 64 * 1024

    /// Queues what was written to `scratch` for one connection.
    func sayScratch(_ slot: UInt32) {
        let bytes = scratch
        delivery.say(slot, bytes.span)
        // What a large answer took is not kept for the next: it would be counted nowhere.
        if bytes.count > Self.scratchKeptBytes { scratch = [] }
    }

    private func handleCompletions() {
        while true {
            // Most of what completes, and all the same: in one go.
            let whole = loop.wholeSends()
            if !whole.isEmpty { delivery.sentWhole(whole) { sent($0, Int32($1)) } }
            guard let completion = loop.next() else { return }
            handle(completion)
        }
    }

    private func handle(_ completion: Completion) {
        let slot = completion.socket.slot
        switch completion.kind {
        case .received: received(slot, completion)
        case .sent: sent(slot, completion.result)
        case .accepted: accepted(slot, completion)
        case .closed: closed(slot)
        case .timer: timerFired(completion.timer)
        case .signal: end(signal: completion.result)
        case .woken:
            takeStorageReport()
            publishInbox()
        }
    }

    private func timerFired(_ timer: TimerID) {
        switch timer {
        case sweepTimer: sweep()
        case acceptTimer: acceptAgain()
        case sendTimer: sendAgain()
        // It has woken the loop: the turn's end decides.
        case restTimer: break
        case logTimer: log.sayHeld()
        case endTimer: ending?.deadlineReached = true
        default: deadlineReached(timer.rawValue)
        }
    }
}
