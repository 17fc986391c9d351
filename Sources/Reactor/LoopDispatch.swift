/// The loop's turns: from raw results to completions, and from close to `.closed`.

import Glibc
import Planted

extension LoopCore {
    // MARK: Ending

    mutating func close(_ socket: SocketID, _ how: CloseMode) {
        let record = sockets.record(socket)
        let flags = record.pointee.flags
        let isSecond = flags.contains(.closing)
        if isSecond, how == .graceful { return }
        record.pointee.flags.insert(.closing)
        record.pointee.flags.remove(.wanted)
        timers.clear(socket.slot)
        let isIdle = flags.isDisjoint(with: .inKernel)
        let isConnection = flags.isDisjoint(with: [.listener, .plainDescriptor])
        // Without operations, closing alone says the end; the reset has to be asked for beforehand in any case.
        var endsByItself = false
        if isConnection, !isIdle || how == .reset {
            endsByItself = backend.sever(record.pointee.descriptor, reset: how == .reset)
        }
        if isIdle {
            if !isSecond { closed.append(socket) }
        } else if !endsByItself {
            cancelArmed(socket, record)
            if flags.contains(.sending) {
                backend.cancel(
                    record.pointee.descriptor, Token(.send, slot: socket.slot, generation: socket.generation))
            }
        }
    }

    /// Closes the descriptor if no operation is left on it, which frees the slot.
    private mutating func joinClose(
        _ socket: SocketID, _ record: UnsafeMutablePointer<SocketRecord>
    ) -> Completion? {
        if !record.pointee.flags.isDisjoint(with: .inKernel) { return nil }
        if record.pointee.flags.contains(.setsSendBuffer) { sendBuffers.removeAll { $0.listener == socket } }
        timers.clear(socket.slot)
        backend.close(record.pointee.descriptor, socket)
        sockets.free(socket.slot)
        if spare < 0 { takeSpare() }
        return Completion(.closed, socket)
    }

    mutating func finishSending(_ socket: SocketID) {
        let record = sockets.record(socket)
        let flags = record.pointee.flags
        precondition(flags.isDisjoint(with: [.listener, .plainDescriptor]), "only connections send")
        if !flags.isDisjoint(with: [.closing, .finishWanted]) { return }
        record.pointee.flags.insert(.finishWanted)
        if !flags.contains(.sending) { backend.finishSending(record.pointee.descriptor) }
    }

    // MARK: Timers

    mutating func makeTimer() -> TimerID {
        precondition(timersMade < timersMax, "more timers than LoopConfiguration.timersMax")
        timersMade += 1
        return TimerID(UInt32(socketsMax + timersMade - 1))
    }

    mutating func setTimer(_ timer: TimerID, at deadline: UInt64) {
        precondition(Int(timer.rawValue) < socketsMax + timersMade, "no such timer")
        timers.set(timer.rawValue, at: deadline)
    }

    // MARK: A turn

    mutating func turn(wait: Bool) {
        precondition(isDrained, "every completion of a turn is taken before the next")
        isDrained = false
        stats.ticks &+= 1
        armStarved()
        let waits = wait && closed.isEmpty && !timers.hasDue
        backend.enter(timeoutMilliseconds: waits ? millisecondsToNextTimer() : 0)
        now = max(now, backend.monotonicMilliseconds())
        timers.advance(to: now)
    }

    /// How long the kernel may wait: negative without timers. Both ends are whole milliseconds, the present one rounded
    /// down, so the wait is never too short.
    private func millisecondsToNextTimer() -> Int64 {
        guard let next = timers.nextTime() else { return -1 }
        let present = backend.monotonicMilliseconds()
        return next <= present ? 0 : Int64(clamping: next - present)
    }

    /// Sockets that found no buffer are armed again when all buffers are back, in the order in which they came.
    private mutating func armStarved() {
        var left = min(starved.count, starvedPerTurnMax)
        while left > 0, let socket = starved.popFirst() {
            left &-= 1
            guard let record = sockets.find(socket.slot, socket.generation) else { continue }
            record.pointee.flags.remove(.starved)
            armIfWanted(socket, record)
        }
    }

    // Once for each completion: a call of its own would cost.
    @inline(__always)
    mutating func next() -> Completion? {
        if let completion = lent {
            backend.recycle(completion.buffer)
            lent = nil
        }
        if unplaced != nil { dropUnplaced() }
        while let raw = backend.next() {
            if let completion = report(raw) {
                stats.completions &+= 1
                return completion
            }
        }
        if let completion = nextClosed() ?? nextTimer() {
            stats.completions &+= 1
            return completion
        }
        isDrained = true
        return nil
    }

    mutating func wholeSends() -> UnsafeBufferPointer<UInt32> {
        let count = backend.takeWholeSends(in: sockets, into: whole, room: LoopCore.wholeMax)
        stats.completions &+= UInt64(count)
        return UnsafeBufferPointer(start: whole, count: count)
    }

    func bytes(of completion: Completion) -> UnsafeMutableRawBufferPointer {
        guard let lent, completion.kind == .received,
            lent.token.slot == completion.socket.slot, lent.token.generation == completion.socket.generation
        else { return UnsafeMutableRawBufferPointer(start: nil, count: 0) }
        return UnsafeMutableRawBufferPointer(start: backend.bytes(of: lent.buffer), count: Int(lent.result))
    }

    private mutating func nextClosed() -> Completion? {
        while let socket = closed.popFirst() {
            if let record = sockets.find(socket.slot, socket.generation) { return joinClose(socket, record) }
        }
        return nil
    }

    private mutating func nextTimer() -> Completion? {
        while let timer = timers.popDue() {
            if Int(timer) >= socketsMax { return Completion(.timer, timer: TimerID(timer)) }
            // A socket's timer may have been set after its close; nobody waits for it then.
            if let socket = sockets.living(timer) { return Completion(.timer, socket, timer: TimerID(timer)) }
        }
        return nil
    }

    // MARK: Raw results

    /// What callers are told about a raw result, if anything.
    private mutating func report(_ raw: RawCompletion) -> Completion? {
        let operation = raw.token.operation
        if operation == .signal { return Completion(.signal, result: raw.result) }
        if operation == .wakeup { return Completion(.woken) }
        let socket = SocketID(slot: raw.token.slot, generation: raw.token.generation)
        guard let record = sockets.find(socket.slot, socket.generation) else {
            dropStale(raw)
            return nil
        }
        switch operation {
        case .receive: return reportReceived(raw, socket, record)
        case .send: return reportSent(raw, socket, record)
        case .accept: return reportAccepted(raw, socket, record)
        default: return nil
        }
    }

    /// A result for a socket that is gone. Rule 3 of the seam makes it impossible; if it happens, nothing may leak.
    private mutating func dropStale(_ raw: RawCompletion) {
        stats.staleCompletions &+= 1
        if raw.hasBuffer { backend.recycle(raw.buffer) }
        if raw.token.operation == .accept, raw.result >= 0 { backend.discard(raw.result) }
    }

    private mutating func reportReceived(
        _ raw: RawCompletion, _ socket: SocketID, _ record: UnsafeMutablePointer<SocketRecord>
    ) -> Completion? {
        if !raw.more { record.pointee.flags.subtract([.armed, .cancelling]) }
        if record.pointee.flags.contains(.closing) {
            if raw.hasBuffer { backend.recycle(raw.buffer) }
            return joinClose(socket, record)
        }
        if raw.result > 0 {
            lent = raw
            if !raw.more { armIfWanted(socket, record) }
            return Completion(.received, socket, result: raw.result)
        }
        if raw.hasBuffer { backend.recycle(raw.buffer) }
        switch -raw.result {
        case ENOBUFS:
            stats.receiveBufferExhaustions &+= 1
            if record.pointee.flags.contains(.wanted), !isPlanted("noReceiveAfterNoBuffer") {
                record.pointee.flags.insert(.starved)
                starved.append(socket)
            }
            return nil
        case ECANCELED, EINTR, EAGAIN:
            armIfWanted(socket, record)
            return nil
        default:
            record.pointee.flags.remove(.wanted)
            return Completion(.received, socket, result: raw.result)
        }
    }

    private mutating func reportSent(
        _ raw: RawCompletion, _ socket: SocketID, _ record: UnsafeMutablePointer<SocketRecord>
    ) -> Completion? {
        record.pointee.flags.remove(.sending)
        if record.pointee.flags.contains(.closing) { return joinClose(socket, record) }
        if record.pointee.flags.contains(.finishWanted) { backend.finishSending(record.pointee.descriptor) }
        // Interrupted before anything was taken: nothing is wrong with the socket.
        let result = raw.result == -EINTR || raw.result == -EAGAIN ? 0 : raw.result
        if result >= 0, result < record.pointee.sendingBytes { stats.shortSends &+= 1 }
        return Completion(.sent, socket, result: result)
    }

    private mutating func reportAccepted(
        _ raw: RawCompletion, _ listener: SocketID, _ record: UnsafeMutablePointer<SocketRecord>
    ) -> Completion? {
        if !raw.more { record.pointee.flags.subtract([.armed, .cancelling]) }
        if record.pointee.flags.contains(.closing) {
            if raw.result >= 0 { backend.discard(raw.result) }
            return joinClose(listener, record)
        }
        if raw.result < 0 {
            switch -raw.result {
            case ECANCELED, EINTR, EAGAIN:
                armIfWanted(listener, record)
                return nil
            case ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, ENETUNREACH:
                // The one connection failed, not the listener (accept(2)).
                stats.acceptErrors &+= 1
                armIfWanted(listener, record)
                return nil
            default:
                return stopAccepting(listener, record, raw.result)
            }
        }
        switch take(raw.result, from: listener, record) {
        case .refused(let error):
            // Reported even where accepting has stopped already: this connection came all the same.
            unplaced = (listener, raw.result)
            return stopAccepting(listener, record, error)
        case .taken(let socket):
            armIfWanted(listener, record)
            return Completion(.accepted, listener, result: 0, accepted: socket)
        }
    }

    private enum Taking {
        case taken(SocketID)
        case refused(Int32)
    }

    /// Gives an accepted connection a slot. A refused one is still open.
    private mutating func take(
        _ descriptor: Int32, from listener: SocketID, _ record: UnsafeMutablePointer<SocketRecord>
    ) -> Taking {
        guard let socket = sockets.open(descriptor, []) else { return .refused(-ENOBUFS) }
        let outcome = backend.attach(descriptor, socket, plain: false)
        if outcome < 0 {
            sockets.free(socket.slot)
            return .refused(outcome)
        }
        if record.pointee.flags.contains(.setsSendBuffer) {
            for entry in sendBuffers where entry.listener == listener {
                backend.setSendBuffer(descriptor, bytes: entry.bytes)
            }
        }
        return .taken(socket)
    }

    /// An error that the next attempt would meet again: the caller decides when to go on.
    private mutating func stopAccepting(
        _ listener: SocketID, _ record: UnsafeMutablePointer<SocketRecord>, _ error: Int32
    ) -> Completion {
        stats.acceptErrors &+= 1
        record.pointee.flags.remove(.wanted)
        cancelArmed(listener, record)
        return Completion(.accepted, listener, result: error)
    }

    /// The loop's and the backend's counters in one.
    var allStats: LoopStats {
        var all = stats
        let other = backend.stats
        all.enters = other.enters
        all.submissions = other.submissions
        all.completionQueueOverflows = other.completionQueueOverflows
        all.staleCompletions &+= other.staleCompletions
        return all
    }
}
