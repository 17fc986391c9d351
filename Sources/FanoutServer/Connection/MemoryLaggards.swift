/// What happens when more memory is held than the budget allows: the largest laggards go, and nobody else.

import Wire

/// What one connection keeps from being freed.
struct PinnedMemory {
    var slot: UInt32
    var bytes: Int
}

extension MemoryBudget {
    /// A reader whose oldest unsent byte has been waiting so long, although its socket was offered it, does not keep
    /// up. A healthy one reads within a second, whatever its limits are.
    static let patienceMilliseconds = 1000
    /// How long it is until the next look when nothing more could be done.
    static let lookMilliseconds: UInt64 = 50
}

extension Engine {
    /// At the end of a turn: keeps what is held within the budget.
    ///
    /// Within it this is a few additions. Beyond it pages of the history are given back, every connection is looked at,
    /// and what was found is given up in this order, each time the largest first, until an eighth is free again:
    ///
    /// 1. Laggards: who was offered its oldest byte a second ago and has not taken it. A subscriber is ended or skips,
    ///    as its subscription says; anybody else is reset.
    /// 2. Who was ended or skips already, and has a send in flight that pins what is left: reset.
    /// 3. Clients and publishers that do not take their answers as fast as they ask: reset.
    ///
    /// What then remains is wanted by readers that have been waiting for less than a second: publishers rest until they
    /// have read it or are laggards. O(connections + runs), and a second time at once only if much more is held.
    func judgeMemory() {
        let parts = memoryHeld
        trimMemory(parts)
        let held = parts.total
        guard held > memory.bytesMax, ending == nil else {
            memory.isPressed = false
            memory.lookAgainAt = 0
            return
        }
        memory.isPressed = true
        if loop.now < memory.lookAgainAt, held < memory.lookAgainBytes { return }
        giveUpMemory()
        memory.isPressed = memoryHeld.total > memory.bytesMax
        memory.lookAgainAt = loop.now + MemoryBudget.lookMilliseconds
        memory.lookAgainBytes = memoryHeld.total + memory.bytesMax / 16
    }

    private func giveUpMemory() {
        // Whoever replays goes on from pages that are made again.
        hub.pages.removeAll(&delivery.log.segments)
        hub.stretches.removeAll()
        hub.images.trim(keepsSome: false, &delivery.log.segments)
        var leaving = leavingReferences()
        var leavingBytes = leaving.bytes
        for pinned in pinned(by: isLaggard) {
            guard memoryHeld.total - leavingBytes > memory.targetBytes else { return }
            if delivery.connections[pinned.slot].isLive {
                cut(pinned.slot, .memory)
            } else {
                leavingBytes += forget(pinned.slot, in: &leaving.references)
                resetForMemory(pinned.slot)
            }
        }
        // Cuts have changed the references: what resets will free is counted anew.
        leaving = leavingReferences()
        leavingBytes = leaving.bytes
        for isMeant in [isOver, isTakingAnswers] {
            for pinned in pinned(by: isMeant) {
                guard memoryHeld.total - leavingBytes > memory.targetBytes else { return }
                leavingBytes += forget(pinned.slot, in: &leaving.references)
                resetForMemory(pinned.slot)
            }
        }
    }

    /// Whether its socket was offered bytes and has not answered for them.
    private func hasNotTaken(_ connection: UnsafeMutablePointer<Connection>) -> Bool {
        connection.pointee.phase != .closing && !connection.pointee.flags.isDisjoint(with: [.sending, .starving])
    }

    /// Whether its oldest unsent byte was offered and has been waiting for too long.
    private func hasWaited(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        // Whoever took a part, or nothing, is queued again; it was offered the rest if the flush reached everyone.
        guard hasNotTaken(connection) || connection.pointee.phase != .closing && memory.everyoneWasOffered else {
            return false
        }
        return pause.waited(since: delivery.oldestWaiting(slot), now: loop.now) >= MemoryBudget.patienceMilliseconds
    }

    private func isLaggard(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        return hasWaited(slot) && connection.pointee.flags.isDisjoint(with: [.skipping, .endsWhenSent])
    }

    private func isOver(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        return hasWaited(slot) && !connection.pointee.flags.isDisjoint(with: [.skipping, .endsWhenSent])
    }

    private func isTakingAnswers(_ slot: UInt32) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        return hasNotTaken(connection) && (connection.pointee.phase == .request || connection.pointee.phase == .ingest)
    }

    // MARK: What is pinned

    /// The connections that are meant, with what they pin, the largest first.
    private func pinned(by isMeant: (UInt32) -> Bool) -> [PinnedMemory] {
        var found: [PinnedMemory] = []
        var lastSeenBy = [UInt32](repeating: Connection.none, count: delivery.log.segments.indexEnd)
        for slot in 0..<UInt32(delivery.connections.slotsUsed) {
            let connection = delivery.connections.records + Int(slot)
            guard connection.pointee.phase != .free, !connection.pointee.ring.isEmpty, isMeant(slot),
                slot != memory.sparedSlot
            else { continue }
            var bytes = connection.pointee.ring.blockCount * MemoryLayout<RunBlocks.Block>.stride
            forEachRun(of: slot) { segment in
                guard lastSeenBy[Int(segment)] != slot else { return }
                lastSeenBy[Int(segment)] = slot
                if !delivery.log.segments[segment].isHistory { bytes += delivery.log.segments.cost(segment) }
            }
            found.append(PinnedMemory(slot: slot, bytes: bytes))
        }
        found.sort { $0.bytes != $1.bytes ? $0.bytes > $1.bytes : $0.slot < $1.slot }
        return found
    }

    /// How often each segment will be referred to once the connections that are closing are gone, and how many bytes
    /// that frees: nobody else is given up for what is on its way already.
    private func leavingReferences() -> (references: [UInt32], bytes: Int) {
        var references: [UInt32] = []
        references.reserveCapacity(delivery.log.segments.indexEnd)
        for index in 0..<delivery.log.segments.indexEnd {
            references.append(delivery.log.segments[UInt32(index)].references)
        }
        var bytes = 0
        for slot in 0..<UInt32(delivery.connections.slotsUsed)
        where delivery.connections[slot].phase == .closing && !delivery.connections[slot].ring.isEmpty {
            bytes += forget(slot, in: &references)
        }
        return (references, bytes)
    }

    /// Takes a connection's references off; returns what that frees.
    private func forget(_ slot: UInt32, in references: inout [UInt32]) -> Int {
        var bytes = delivery.connections[slot].ring.blockCount * MemoryLayout<RunBlocks.Block>.stride
        forEachRun(of: slot) { segment in
            references[Int(segment)] -= 1
            if references[Int(segment)] == 0 { bytes += delivery.log.segments.cost(segment) }
        }
        return bytes
    }

    private func forEachRun(of slot: UInt32, _ body: (UInt32) -> Void) {
        delivery.connections[slot].ring.forEachFirst(runsMax: .max, bytesMax: .max, blocks: delivery.blocks) {
            body($0.segment)
        }
    }

    // MARK: Giving up

    private func resetForMemory(_ slot: UInt32) {
        memory.resets &+= 1
        log.warning("memory is at its limit: connections that do not take what they are sent are reset")
        close(slot, .reset, .slow)
    }

    // MARK: Turning away

    /// What a writer sends does not fit: it is told if it asked for acks, and ends.
    func refuseInput(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        metrics.refusedEvents &+= 1
        if connection.pointee.flags.contains(.acks) {
            scratch.removeAll(keepingCapacity: true)
            PublishFault(503, "overload", "no memory is left for this line: come back later").append(to: &scratch)
            sayInOrder(slot)
        }
        endWhenSent(slot)
    }
}
