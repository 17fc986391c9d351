/// What can go wrong in the simulated kernel, and how often.
///
/// The classes follow what Linux really does to a server: each is an outcome that accept(2), recv(2), send(2),
/// io_uring or the clocks may give. All rates are zero until a test says otherwise.
package struct SimulatedFaults: Sendable {
    /// One class of fault. The rate is the probability each time the thing named could happen.
    package enum Class: Int, CaseIterable, Sendable {
        // Receiving
        /// A receive takes 1 or a few bytes although more are there.
        case partialReceive
        /// -ENOBUFS: no receive buffer was free, so the multishot receive ended.
        case receiveBuffersExhausted
        /// The multishot receive ended after this completion, for no stated reason.
        case receiveEndsEarly
        /// -ECONNRESET: the network cut the connection; the peer sees a reset too.
        case receiveReset
        /// -ETIMEDOUT: the other end is gone without a word.
        case receiveTimedOut

        // Sending
        /// A send takes fewer bytes than fit.
        case shortSend
        /// A send that had to wait for room takes nothing: the socket is merely writable now.
        case sendTakesNothing
        /// The bytes are taken (and the peer may answer them) long before the completion is reported.
        case sendReportedLate
        /// -EPIPE or -ECONNRESET: the connection was cut.
        case sendReset
        /// -ENOBUFS or -ENOMEM: nothing was taken, the connection lives.
        case sendNoMemory

        // Accepting
        /// -EMFILE or -ENFILE; the connection stays in the queue.
        case acceptOutOfDescriptors
        /// -ENOBUFS or -ENOMEM; the connection stays in the queue.
        case acceptNoMemory
        /// -EPERM: a firewall or security module forbids it; the connection stays in the queue.
        case acceptNotPermitted
        /// -ECONNABORTED; the connection is gone.
        case acceptAborted
        /// The accepted connection was reset before its first byte could be read.
        case acceptedPeerGone
        /// The multishot accept ended after this completion.
        case acceptEndsEarly
        /// -ENOMEM when an accepted connection is made known to the backend: the loop has to give it up.
        case attachRefused

        // The ring
        /// A result is reported, or a send begun, up to 60 s (virtual) late.
        case delayedCompletion
        /// -EINTR or -EAGAIN: the operation ended without having done anything.
        case interruptedOperation
        /// A cancelled operation goes on for up to a second before its last completion.
        case completionAfterCancel
        /// The wait was interrupted (EINTR): the turn yields nothing.
        case interruptedTurn
        /// The turn yields at most 8 completions.
        case smallBatch

        /// The completion queue is full: what finds no place is kept aside and handed over up to 100 ms later, in order
        /// for each operation.
        case completionQueueOverflow
        /// A completion comes for a socket whose slot has been used again since.
        case staleCompletion

        // Clocks and sizes
        /// The wall clock jumps by one second to one year, either way.
        case wallClockJump
        /// The machine was suspended: the monotonic clock is 10 s further on.
        case monotonicStall
        /// A wait ends one tick (16 ms) after the timer was due.
        case lateTimer
        /// A new connection holds 64 to 512 bytes each way instead of 64 KiB.
        case tinyPipe

        // Epoll
        /// An event for a socket that has nothing and takes nothing.
        case spuriousWake
        /// An event that tells of bytes says that the peer hung up as well.
        case hangUpWithInput
        /// An event for a descriptor that was closed and whose number was used again.
        case staleEvent
        /// A wait reports one event although there are more.
        case oneEventPerWait

        /// True exactly when it can happen where the loop waits for completions, as of io_uring.
        package var existsWithCompletions: Bool {
            switch self {
            case .spuriousWake, .hangUpWithInput, .staleEvent, .oneEventPerWait: false
            default: true
            }
        }

        /// True exactly when it can happen where the loop uses the epoll calls.
        package var existsWithEpoll: Bool {
            switch self {
            case .receiveBuffersExhausted, .receiveEndsEarly, .sendReportedLate, .acceptEndsEarly,
                .completionAfterCancel, .completionQueueOverflow, .staleCompletion:
                false
            default: true
            }
        }

        /// True exactly when the fault ends a connection or keeps one from coming in: bytes may be lost by it.
        package var cutsConnections: Bool {
            switch self {
            case .receiveReset, .receiveTimedOut, .sendReset, .acceptAborted, .acceptedPeerGone, .attachRefused: true
            default: false
            }
        }

        /// The highest rate that `swarm` gives. A machine suspended at every second turn would be no machine.
        fileprivate var swarmRateMax: Double {
            self == .monotonicStall ? 0.01 : 0.5
        }
    }

    private var rates = [Double](repeating: 0, count: Class.allCases.count)

    /// No faults at all.
    package init() {}

    /// No faults at all.
    package static var none: SimulatedFaults { SimulatedFaults() }

    /// The probability of one class, 0 to 1.
    package subscript(_ fault: Class) -> Double {
        get { rates[fault.rawValue] }
        set {
            precondition((0...1).contains(newValue), "a probability lies between 0 and 1, not at \(newValue)")
            rates[fault.rawValue] = newValue
        }
    }

    /// One class at one rate, all others off.
    package static func only(_ fault: Class, _ rate: Double) -> SimulatedFaults {
        var faults = SimulatedFaults()
        faults[fault] = rate
        return faults
    }

    /// A random subset of the classes, each at a rate drawn log-uniformly from 0.1 % to 50 %.
    ///
    /// Runs with different subsets find more than runs with everything on (swarm testing, Groce et al. 2012): a fault
    /// that ends connections early hides what long-lived ones would meet. With `cuts: false` the classes that may lose
    /// bytes stay off, for tests that claim that nothing is lost.
    package static func swarm(seed: UInt64, cuts: Bool = true) -> SimulatedFaults {
        var random = SeededRandom(seed: seed ^ 0x5357_4152_4d)
        var faults = SimulatedFaults()
        for fault in Class.allCases {
            let isOn = random.chance(0.5)
            let digits = random.magnitude(1...500)  // of 1,000: about log-uniform between 0.1 % and 50 %
            let rate = min(Double(digits) / 1000, fault.swarmRateMax)
            if isOn && (cuts || !fault.cutsConnections) { faults[fault] = rate }
        }
        return faults
    }
}
