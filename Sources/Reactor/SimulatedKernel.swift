/// The world that a simulated event loop lives in: sockets in memory, two clocks, and one seed that decides everything.
///
/// A test makes one, hands it to the loop with `BackendChoice.simulated(kernel)` (completions, as of io_uring) or
/// `.simulatedEpoll(kernel)` (the system calls under the epoll backend), and then plays the network: it connects peers,
/// writes, reads, resets, and moves the clock. Between two turns of the loop nothing happens by itself. The same seed
/// and the same calls give the same run, byte for byte, as `trace.hash` proves.
///
/// The kernel is strict where Linux is lenient: a send whose bytes change while it is in flight, a second send or
/// receive on one socket, an operation on a closed descriptor, a receive buffer written after it was given back, each
/// is reported at once through `onViolation`.
///
/// Used by one thread, and by one loop at a time. What the loop calls is in SimulatedBackend, what that leads to in
/// SimulatedProgress and SimulatedReporting; the system calls are in SimulatedCalls and SimulatedEpollControl; the
/// test's side is in SimulatedPeers.
package final class SimulatedKernel {
    /// Sizes and limits of the world. The defaults suit a fault-free run.
    package struct Limits: Sendable {
        /// Descriptors of the simulated process; the next accept beyond it is EMFILE.
        package var descriptorsMax = 65_536
        /// What a connection holds each way (the socket buffers of both ends together).
        package var pipeBytes = 65_536
        /// Receive buffers; `LoopConfiguration`'s numbers are for real kernels.
        package var receiveBufferCount = 128
        /// Bytes of each of them.
        package var receiveBufferBytes = 16_384
        /// Whether epoll calls a new connection writable as soon as it takes one byte. Linux waits for a good part of
        /// the buffer; a parked send of this kernel does not, so that the two faces differ in when they go on.
        package var writableWithAnyRoom = false
        /// How far a waiting turn may move the clock at most. A driver that wants to act at certain times lowers it.
        package var waitMillisecondsMax: UInt64 = .max

        package init() {}
    }

    /// What decides everything; printed with each violation, so that a run can be had again.
    package let seed: UInt64
    /// Those of the receive buffers are fixed when the kernel is made, the others may be changed between turns.
    package var limits: Limits
    /// The rates in force; may be changed at any time between turns.
    package var faults: SimulatedFaults
    /// What has happened so far.
    package internal(set) var trace = SimulatedTrace()
    /// Called with one sentence when the program under test breaks a rule. The default stops the process; a test of the
    /// checks themselves puts a collector here.
    package var onViolation: (String) -> Void = { preconditionFailure("simulation: \($0)") }

    /// Milliseconds on the monotonic clock.
    package internal(set) var now: UInt64
    /// Milliseconds since 1970 minus `now`; jumps when the wall clock does.
    var wallClockOffset: Int64
    /// Until when the loop last wanted to wait: its next timer.
    var loopDeadline: UInt64?
    var random: SeededRandom
    var descriptors: [SimulatedDescriptor?] = [nil, nil, nil]  // 0, 1 and 2 belong to the process
    var descriptorsEverUsed = 3
    var connections: [SimulatedConnection] = []
    /// Results that came about and have not been reported.
    var results: [PendingResult] = []
    /// The present turn's results, and how many of them the loop has taken.
    var reported: [PendingResult] = []
    var reportedTaken = 0
    var wakeupChannel: WakeupChannel?
    /// True exactly when the last turn brought nothing.
    var lastTurnWasEmpty = false
    var watchedSignals: [Int32] = []
    var nextEphemeralPort: UInt16 = 49_152
    var receiveBuffers: SimulatedReceiveBuffers
    var stats = LoopStats()
    /// What the loop waits on, if it uses the epoll calls.
    var epoll: SimulatedEpoll?
    var epollDescriptorNext = SimulatedEpoll.firstDescriptor

    package init(seed: UInt64, faults: SimulatedFaults = .none, limits: Limits = Limits()) {
        self.seed = seed
        self.faults = faults
        self.limits = limits
        random = SeededRandom(seed: seed)
        receiveBuffers = SimulatedReceiveBuffers(
            count: limits.receiveBufferCount, bytesEach: limits.receiveBufferBytes)
        now = UInt64(1_000 + random.below(1_000_000))
        wallClockOffset = 1_767_225_600_000 + Int64(random.below(365 * 86_400)) * 1000  // some day of 2026
    }

    /// Milliseconds since 1970 on the wall clock.
    package func wallClockMilliseconds() -> Int64 { wallClockOffset &+ Int64(now) }

    /// Moves both clocks on.
    package func advance(milliseconds: UInt64) { now += milliseconds }

    /// Puts the wall clock forward or back; the monotonic clock does not move.
    package func jumpWallClock(milliseconds: Int64) { wallClockOffset &+= milliseconds }

    /// Ends all faults: rates to zero, and what had been delayed comes at the next turn.
    package func heal() {
        faults = .none
        for index in results.indices { results[index].due = 0 }
        for index in descriptors.indices { descriptors[index]?.send?.begins = 0 }
        for index in descriptors.indices { descriptors[index]?.hurryCancellations() }
        epoll?.hurryEvents()
    }

    /// Delivers a signal that the loop watches, at the next turn; others are ignored, as by a process that blocks them.
    package func raiseSignal(_ signal: Int32) {
        guard watchedSignals.contains(signal) else { return }
        if epoll == nil { post(.signal, result: signal) } else { epoll?.pendingSignals.append(signal) }
    }

    /// True with the present rate of the class; counts it.
    func occurs(_ fault: SimulatedFaults.Class) -> Bool {
        guard random.chance(faults[fault]) else { return false }
        trace.note(fault)
        return true
    }

    func violation(_ what: @autoclosure () -> String) {
        onViolation("\(what()) (seed \(seed), at \(now) ms)")
    }
}

// MARK: - What can be seen from outside

extension SimulatedKernel {
    /// Descriptors open in the simulated process, listeners and sources included.
    package var openDescriptors: Int { descriptors.count { $0.map { !$0.isSpare } ?? false } }
    /// Sends in the kernel.
    package var sendsInFlight: Int { descriptors.count { $0?.send != nil } }
    /// Receives in the kernel, those included whose last completion has not been taken.
    package var receivesArmed: Int { descriptors.count { $0.map { $0.receive.phase != .idle } ?? false } }

    /// True exactly when the last turn brought nothing and another one, without the clock moving, would bring nothing
    /// from the kernel. (What the loop keeps to itself, such as a socket closed since then, takes one more turn.)
    package var isQuiet: Bool {
        if let epoll { return lastTurnWasEmpty && epoll.callsSinceWait == 0 && !hasDueEvent }
        absorbWakeup()
        return lastTurnWasEmpty && !hasDueResult && readyOperations.isEmpty
    }

    /// When the next thing happens by itself: a delayed result, or the timer that the loop last waited for. Nil if only
    /// the test can make something happen.
    package var nextEventTime: UInt64? {
        var times: [UInt64] = []
        if let loopDeadline { times.append(loopDeadline) }
        if let due = results.lazy.map(\.due).filter({ $0 > self.now }).min() { times.append(due) }
        for descriptor in descriptors {
            guard let descriptor else { continue }
            times += descriptor.startTimes.filter { $0 > now }
        }
        if let epoll { times += epoll.interests.compactMap { $0?.listedFrom }.filter { $0 > now } }
        return times.min()
    }
}
