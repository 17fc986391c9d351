/// What operations on the simulated kernel do.

import Glibc

/// How operations come to results. An operation is executed (bytes move) when what it waits for is there; its result is
/// posted then, and reported in the same turn, a later one, or much later.
extension SimulatedKernel {
    /// Executes what can be executed, each operation at least once, in seeded order.
    func progress() {
        absorbWakeup()
        var ready = readyOperations
        random.shuffle(&ready)
        for (number, operation) in ready {
            switch operation {
            case .accept: executeAccept(number)
            case .receive: executeReceive(number)
            default: executeSend(number)
            }
        }
    }

    /// Turns a signal on the wake-up channel into a result, at most one.
    func absorbWakeup() {
        if let wakeupChannel, wakeupChannel.take() { post(.wakeup, result: 0) }
    }

    /// The operations whose execution now would lead to a result.
    var readyOperations: [(number: Int32, operation: Operation)] {
        var ready: [(number: Int32, operation: Operation)] = []
        for (index, descriptor) in descriptors.enumerated() {
            guard let descriptor else { continue }
            let number = Int32(index)
            if case .listener(let listener) = descriptor.kind, canAccept(descriptor.accept, listener) {
                ready.append((number, .accept))
            }
            guard let connection = descriptor.connection else { continue }
            if canReceive(descriptor.receive, connection) { ready.append((number, .receive)) }
            if let send = descriptor.send, canSend(send, connection) { ready.append((number, .send)) }
        }
        return ready
    }

    private func canAccept(_ accept: SimulatedDescriptor.Multishot, _ listener: SimulatedListener) -> Bool {
        accept.isRunning && (accept.mustEnd(at: now) || !listener.queue.isEmpty)
    }

    private func canReceive(_ receive: SimulatedDescriptor.Multishot, _ connection: SimulatedConnection) -> Bool {
        guard receive.isRunning else { return false }
        return receive.mustEnd(at: now) || connection.toServer.count > 0 || connection.peerFinished
            || connection.serverStoppedReading || connection.errorForServer != 0
    }

    private func canSend(_ send: SimulatedDescriptor.Send, _ connection: SimulatedConnection) -> Bool {
        if send.isDone || send.begins > now { return false }
        return !send.isParked || send.isCancelled || connection.toPeer.room > 0 || connection.peerClosed
            || connection.serverFinished || connection.errorForServer != 0
    }

    // MARK: Accepting

    private func executeAccept(_ number: Int32) {
        repeat {
            guard let descriptor = descriptors[Int(number)], case .listener(let listener) = descriptor.kind,
                canAccept(descriptor.accept, listener)
            else { return }
            if descriptor.accept.mustEnd(at: now) { return endAccept(number, -ECANCELED) }
            if occurs(.interruptedOperation) { return endAccept(number, interruption()) }
            if occurs(.acceptOutOfDescriptors) { return endAccept(number, random.chance(0.5) ? -EMFILE : -ENFILE) }
            if occurs(.acceptNotPermitted) { return endAccept(number, -EPERM) }
            if occurs(.acceptNoMemory) { return endAccept(number, random.chance(0.5) ? -ENOBUFS : -ENOMEM) }
            let connection = listener.queue[0]
            if occurs(.acceptAborted) {
                listener.queue.removeFirst()
                connection.resetForPeer = true
                return endAccept(number, -ECONNABORTED)
            }
            let accepted = allocate(SimulatedDescriptor(.connection(connection)))
            if accepted < 0 { return endAccept(number, accepted) }
            listener.queue.removeFirst()
            if occurs(.acceptedPeerGone) { cut(connection, error: ECONNRESET) }
            if occurs(.acceptEndsEarly) { return endAccept(number, accepted) }
            post(RawCompletion(descriptor.accept.token, result: accepted, more: true), for: number)
        } while random.chance(0.75)
    }

    private func endAccept(_ number: Int32, _ result: Int32) {
        guard let token = descriptors[Int(number)]?.accept.token else { return }
        descriptors[Int(number)]?.accept.phase = .ended
        post(RawCompletion(token, result: result), for: number)
    }

    // MARK: Receiving

    private func executeReceive(_ number: Int32) {
        repeat {
            guard let descriptor = descriptors[Int(number)], let connection = descriptor.connection,
                canReceive(descriptor.receive, connection)
            else { return }
            if descriptor.receive.mustEnd(at: now) {
                // Bytes that came at the same moment may still win.
                let isOvertaken = connection.toServer.count > 0 && random.chance(0.25)
                if !isOvertaken { return endReceive(number, -ECANCELED) }
            }
            if case .connection = descriptor.kind, connection.errorForServer == 0, !connection.isSpared {
                if occurs(.receiveReset) { cut(connection, error: ECONNRESET) }
                if occurs(.receiveTimedOut) { cut(connection, error: ETIMEDOUT) }
            }
            guard connection.toServer.count > 0 else {
                return endReceive(number, -connection.errorForServer)  // 0 is the end of the stream
            }
            if occurs(.interruptedOperation) { return endReceive(number, interruption()) }
            if receiveBuffers.isExhausted { trace.buffersReallyExhausted += 1 }
            if receiveBuffers.isExhausted || occurs(.receiveBuffersExhausted) { return endReceive(number, -ENOBUFS) }
            let (buffer, count) = fillReceiveBuffer(from: connection)
            if descriptor.receive.phase != .armed { trace.receivesAfterCancel += 1 }
            let endsHere = occurs(.receiveEndsEarly)
            if endsHere { descriptors[Int(number)]?.receive.phase = .ended }
            post(
                RawCompletion(descriptor.receive.token, result: Int32(count), more: !endsHere, buffer: buffer),
                for: number)
        } while random.chance(0.5)
    }

    private func fillReceiveBuffer(from connection: SimulatedConnection) -> (buffer: UInt16, count: Int) {
        guard let (buffer, isIntact) = receiveBuffers.take() else { preconditionFailure("no buffer was left") }
        if !isIntact { violation("receive buffer \(buffer) was written to after it was given back") }
        let space = receiveBuffers.bytes(of: buffer)
        var count = min(space.count, connection.toServer.count)
        if count > 1 && occurs(.partialReceive) { count = random.length(upTo: count - 1) }
        return (buffer, connection.toServer.read(into: UnsafeMutableRawBufferPointer(rebasing: space[..<count])))
    }

    private func endReceive(_ number: Int32, _ result: Int32) {
        guard let token = descriptors[Int(number)]?.receive.token else { return }
        descriptors[Int(number)]?.receive.phase = .ended
        post(RawCompletion(token, result: result), for: number)
    }

    // MARK: Sending

    private func executeSend(_ number: Int32) {
        guard var send = descriptors[Int(number)]?.send, let connection = descriptors[Int(number)]?.connection else {
            return
        }
        checkUnchanged(send, number)
        if !connection.serverFinished && connection.errorForServer == 0 && !connection.isSpared
            && occurs(.sendReset)
        {
            cut(connection, error: ECONNRESET)
        }
        let result: Int32
        if let error = errorForSend(send, connection) {
            if send.isParked && connection.serverFinished { trace.sendsEndedByShutdown += 1 }
            result = -error
        } else if connection.peerClosed {
            // TCP takes the bytes; the answer to them is a reset.
            result = Int32(clamping: send.byteCount)
            connection.errorForServer = ECONNRESET
        } else if !connection.isSpared && occurs(.sendNoMemory) {
            result = random.chance(0.5) ? -ENOBUFS : -ENOMEM
        } else if occurs(.interruptedOperation) {
            result = interruption()
        } else if connection.toPeer.room == 0 {
            if !send.isParked { trace.sendsParked += 1 }
            send.isParked = true
            descriptors[Int(number)]?.send = send
            return
        } else if send.isParked && occurs(.sendTakesNothing) {
            result = 0
        } else {
            result = Int32(clamping: take(send, into: connection))
        }
        send.isDone = true
        descriptors[Int(number)]?.send = send
        let extra = occurs(.sendReportedLate) ? delay() : 0
        post(RawCompletion(send.token, result: result), for: number, late: extra)
    }

    func errorForSend(_ send: SimulatedDescriptor.Send, _ connection: SimulatedConnection) -> Int32? {
        if connection.serverFinished { return random.chance(0.5) ? EPIPE : ECANCELED }
        if connection.errorForServer != 0 { return random.chance(0.5) ? EPIPE : connection.errorForServer }
        if connection.peerClosed && connection.isUnix {
            connection.errorForServer = ECONNRESET
            return EPIPE
        }
        return send.isCancelled ? ECANCELED : nil
    }

    func take(_ send: SimulatedDescriptor.Send, into connection: SimulatedConnection) -> Int {
        var left = min(send.byteCount, connection.toPeer.room)
        if left < send.byteCount { trace.sendsCutShort += 1 }
        if left > 1 && occurs(.shortSend) { left = random.length(upTo: left - 1) }
        var taken = 0
        for piece in send.pieces where left > 0 {
            let part = UnsafeRawBufferPointer(rebasing: piece[..<min(left, piece.count)])
            trace.mix(part)
            taken += connection.toPeer.write(part)
            left -= part.count
        }
        trace.bytesSent += taken
        return taken
    }

    private func interruption() -> Int32 { random.chance(0.5) ? -EINTR : -EAGAIN }

    func checkUnchanged(_ send: SimulatedDescriptor.Send, _ number: Int32) {
        if send.isUnchanged { return }
        violation("\(send.byteCount) bytes being sent on descriptor \(number) were changed before their completion")
    }
}

extension SimulatedDescriptor.Multishot {
    /// True exactly when a cancellation has taken effect.
    func mustEnd(at now: UInt64) -> Bool {
        if case .cancelling(let time) = phase { time <= now } else { false }
    }
}
