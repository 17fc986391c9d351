/// The server without its process: listeners, connections and the hub on one event loop, one turn at a time.

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
        /// How often it is looked whether a peer has taken its last bytes; one that has, and has not ended its side by
        /// then, is closed.
        static let drainMilliseconds: UInt64 = 2_000
        /// What a subscriber may write: 64 KiB in 10 s, 100 WebSocket control frames in a second.
        static let inputWindowBytes: UInt32 = 64 * 1024
        static let inputWindowMilliseconds: UInt32 = 10_000
        static let controlFramesPerSecond: UInt32 = 100
        /// Events published in one turn: a quarter of what a reader may be behind, so that readers are sent to in
        /// between.
        static let turnEvents: UInt64 = 1024
        /// Places kept free for health and metrics.
        static let reservedConnections = 8
        /// How often laggards are looked for while anything waits.
        static let sweepMilliseconds: UInt64 = 250
        /// How long a send waits that the kernel had no memory for.
        static let sendRestMilliseconds: UInt64 = 50
        /// How long accepting rests when the system has no descriptor left; doubled up to ten times as long.
        static let acceptRestMilliseconds: UInt64 = 100
    }

    /// What one connection, and one turn, may take for itself. The simulation lowers it.
    struct Shares {
        /// Output of answers that may wait before no more requests are read from a connection.
        var answersPendingBytes: UInt32 = 64 * 1024
        /// Input handled in one turn, and subscribers reached by it, before everyone is flushed again.
        var turnInputBytes = 256 * 1024
        var turnDeliveries: UInt64 = 262_144
    }

    let configuration: Configuration
    var shares = Shares()
    let loop: EventLoop
    let delivery: Delivery
    let hub: Hub
    let log: Log
    var inputs = InputBuffers()
    var listeners: [Listener] = []
    /// The folder of sockets; none in a simulation.
    var sockets: RuntimeSockets?
    var random: SeededRandom
    var metrics = Metrics()
    let admission: Admission
    /// The HTTP listener's port, which a request's Host may name.
    var httpPort: UInt16 = 0
    var constants: Constants
    let startedAt: UInt64
    let connectionsMax: Int

    /// Connections whose input waits for the next turn, in order.
    var deferred: [UInt32] = []
    var turnInputBytes = 0
    var turnEventsBefore: UInt64 = 0
    var turnDeliveriesBefore: UInt64 = 0
    /// Subscribers at a limit, until they are cut or have caught up.
    var suspects: [UInt32] = []
    let sweepTimer: TimerID
    var sweeping = false
    let acceptTimer: TimerID
    var acceptRest = Limits.acceptRestMilliseconds
    var resting: [UInt32] = []
    /// Connections whose send the kernel had no memory for, until the timer fires.
    var starved: [UInt32] = []
    let sendTimer: TimerID
    /// Publishers rest while a reader catches up.
    var rest: PublisherRest
    let restTimer: TimerID
    /// Events of other threads came while publishers rested.
    var inboxWaits = false
    let endTimer: TimerID
    /// The signal that ends the server; nil while it runs.
    var ending: Ending?
    var inbox: Inbox?
    /// Events to be encoded for one connection: reused, so that answers allocate nothing.
    var scratch: [UInt8] = []

    init(
        _ configuration: Configuration, loop: EventLoop, epoch: Epoch, seed: UInt64, log: Log, inbox: Inbox? = nil
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
        delivery = Delivery(loop: loop)
        hub = try Hub(delivery: delivery, epoch: epoch, configuration: configuration)
        random = SeededRandom(seed: seed)
        constants = Constants(&delivery.log)
        startedAt = loop.now
        admission = Admission(configuration)
        connectionsMax = min(configuration.connectionsMax ?? .max, loop.capacity)
        sweepTimer = loop.makeTimer()
        acceptTimer = loop.makeTimer()
        sendTimer = loop.makeTimer()
        rest = PublisherRest(now: loop.now)
        restTimer = loop.makeTimer()
        endTimer = loop.makeTimer()
        scratch.reserveCapacity(4096)
    }

    // MARK: A turn

    /// One turn. With `wait` it sleeps until there is something to do. False when the server has ended.
    func turn(wait: Bool) -> Bool {
        let sendsBefore = delivery.counters.sends
        let more = delivery.flush()
        // A send of which the socket takes nothing does not complete: only the clock tells that its reader has stopped.
        if delivery.counters.sends != sendsBefore { watchForLaggards() }
        loop.turn(wait: wait && !more && (deferred.isEmpty || rest.isResting))
        turnInputBytes = 0
        turnEventsBefore = metrics.eventsIn
        turnDeliveriesBefore = delivery.counters.deliveries
        if !rest.isResting { resumeDeferred() }
        while let completion = loop.next() { handle(completion) }
        judgeLaggards()
        updateRest()
        metrics.noteTurn(milliseconds: loop.clock - loop.now)
        if ending != nil { return !hasEnded() }
        return true
    }

    /// Queues what was written to `scratch` for one connection.
    func sayScratch(_ slot: UInt32) {
        let bytes = scratch
        delivery.say(slot, bytes.span)
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
        case .woken: publishInbox()
        }
    }

    private func timerFired(_ timer: TimerID) {
        switch timer {
        case sweepTimer: sweep()
        case acceptTimer: acceptAgain()
        case sendTimer: sendAgain()
        // It has woken the loop: the turn's end decides.
        case restTimer: break
        case endTimer: ending?.deadlineReached = true
        default: deadlineReached(timer.rawValue)
        }
    }
}
