/// A turn of the simulated kernel: when results are reported, and in which order.

import Glibc

/// Results of one kind on one descriptor keep their order; everything else is shuffled, because nothing else is
/// promised.
extension SimulatedKernel {
    /// The results that one turn reports at most, as a completion queue has an end.
    private static let batchMax = 256

    /// Lets things happen and chooses what this turn reports. When there is nothing and the loop would wait, the clock
    /// moves to what comes next, at most by the timeout.
    func enter(timeoutMilliseconds: Int64) {
        stats.enters += 1
        checkBetweenTurns()
        reported.removeAll(keepingCapacity: true)
        reportedTaken = 0
        if timeoutMilliseconds != 0 {
            loopDeadline = timeoutMilliseconds > 0 ? now &+ UInt64(timeoutMilliseconds) : nil
        }
        moveClocksAtRandom()
        if !occurs(.interruptedTurn) {
            progress()
            if timeoutMilliseconds != 0 && !hasDueResult {
                sleep()
                progress()
            }
            postStaleCompletion()
            let room = occurs(.smallBatch) ? random.within(1...8) : Self.batchMax
            if let less = overflow() {
                report(max: min(room, less))
                keepAside()
            } else {
                report(max: room)
            }
        }
        lastTurnWasEmpty = reported.isEmpty
        if let deadline = loopDeadline, deadline <= now { loopDeadline = nil }  // the loop takes that timer now
    }

    func next() -> RawCompletion? {
        guard reportedTaken < reported.count else { return nil }
        let pending = reported[reportedTaken]
        reportedTaken += 1
        noteTaken(pending)
        return pending.completion
    }

    func peekSend() -> RawCompletion? {
        guard reportedTaken < reported.count, reported[reportedTaken].completion.token.isSend else { return nil }
        return reported[reportedTaken].completion
    }

    func skipSend() { _ = next() }

    var hasUnreported: Bool { reportedTaken < reported.count || hasDueResult }

    var hasDueResult: Bool { results.contains { $0.due <= now } }

    func moveClocksAtRandom() {
        if occurs(.wallClockJump) { jumpWallClockAtRandom() }
        if occurs(.monotonicStall) { now += 10_000 }
    }

    func sleep() {
        guard let next = nextEventTime, next > now else { return }
        let wake = next == loopDeadline && occurs(.lateTimer) ? next + 16 : next
        let (limit, overflows) = now.addingReportingOverflow(limits.waitMillisecondsMax)
        now = overflows ? wake : min(wake, limit)
    }

    /// What the loop must have done before it enters: taken every completion and given every buffer back.
    private func checkBetweenTurns() {
        if reportedTaken < reported.count { violation("the loop entered before it had taken every completion") }
        let onTheirWay = results.count { $0.completion.hasBuffer }
        let held = receiveBuffers.lentCount - onTheirWay
        if held != 0 { violation("the loop entered while it held \(held) receive buffers") }
    }

    // MARK: Posting and reporting

    func post(_ completion: RawCompletion, for descriptor: Int32, late: UInt64 = 0) {
        let extra = late == 0 && occurs(.delayedCompletion) ? delay() : late
        var pending = PendingResult(completion: completion, descriptor: descriptor, due: now + extra)
        // No result is due before an earlier one of its operation, behind which it would have to wait all the same: the
        // clock would stand still for it.
        if let earlier = results.last(where: { $0.orderKey == pending.orderKey }) {
            pending.due = max(pending.due, earlier.due)
        }
        results.append(pending)
    }

    /// Posts what belongs to no descriptor: such results are not delayed.
    func post(_ operation: Operation, result: Int32) {
        let completion = RawCompletion(Token(operation, slot: 0, generation: 0), result: result, more: true)
        results.append(PendingResult(completion: completion, descriptor: -1, due: now))
    }

    /// Takes up to `max` results that are due, in seeded order; per descriptor and operation in the order in which they
    /// came about.
    private func report(max: Int) {
        var lastRank: [UInt64: UInt64] = [:]  // per descriptor and operation; only looked up, so its order is moot
        var ranked: [(rank: UInt64, index: Int)] = []
        for (index, pending) in results.enumerated() {
            let draw = random.next() >> 1
            let before = lastRank[pending.orderKey] ?? 0
            let rank = pending.due > now ? .max : Swift.max(before, draw)
            lastRank[pending.orderKey] = rank
            if rank != .max { ranked.append((rank, index)) }
        }
        ranked.sort { $0.rank != $1.rank ? $0.rank < $1.rank : $0.index < $1.index }
        var isChosen = [Bool](repeating: false, count: results.count)
        var last = -1
        for (_, index) in ranked.prefix(max) {
            isChosen[index] = true
            reported.append(results[index])
            if index < last { trace.completionsReordered += 1 }
            last = index
        }
        var kept: [PendingResult] = []
        for (index, pending) in results.enumerated() where !isChosen[index] { kept.append(pending) }
        results = kept
    }

    /// The places that are left in a completion queue that overflows now; nil where it does not.
    private func overflow() -> Int? {
        let places = random.within(1...4)
        guard results.count(where: { $0.due <= now }) > places, occurs(.completionQueueOverflow) else { return nil }
        stats.completionQueueOverflows += 1
        return places
    }

    /// What found no place in the queue comes later, and what stands behind it not before.
    private func keepAside() {
        let later = now + UInt64(random.within(1...100))
        for index in results.indices { results[index].due = max(results[index].due, later) }
    }

    /// A result of the socket that had the slot of a present one before it: whatever it says, it is nobody's.
    private func postStaleCompletion() {
        let reused = descriptors.indices.filter { (descriptors[$0]?.socket?.generation ?? 0) > 1 }
        guard !reused.isEmpty, occurs(.staleCompletion), let socket = descriptors[random.pick(reused)]?.socket else {
            return
        }
        let operation = random.pick([Operation.accept, .receive, .send])
        let token = Token(operation, slot: socket.slot, generation: socket.generation - 1)
        var completion = RawCompletion(token, result: random.pick([-ECANCELED, -ECONNRESET, -EPIPE, -ENOBUFS]))
        if operation == .receive, !receiveBuffers.isExhausted, let (buffer, _) = receiveBuffers.take() {
            completion = RawCompletion(token, result: 1, more: random.chance(0.5), buffer: buffer)
        }
        post(completion, for: -1)
    }

    private func noteTaken(_ pending: PendingResult) {
        let completion = pending.completion
        trace.completions += 1
        trace.mix(pending.orderKey)
        trace.mix(UInt64(UInt32(bitPattern: completion.result)) ^ now << 32)
        if completion.hasBuffer {
            let bytes = UnsafeRawBufferPointer(receiveBuffers.bytes(of: completion.buffer))
            trace.mix(UnsafeRawBufferPointer(rebasing: bytes[..<Int(completion.result)]))
            trace.bytesReceived += Int(completion.result)
        }
        guard pending.descriptor >= 0 else { return }
        let number = Int(pending.descriptor)
        switch completion.token.operation {
        case .accept where !completion.more: descriptors[number]?.accept.phase = .idle
        case .receive where !completion.more: descriptors[number]?.receive.phase = .idle
        case .send:
            if let send = descriptors[number]?.send { checkUnchanged(send, pending.descriptor) }
            descriptors[number]?.send = nil
        default: break
        }
    }
}
