/// What the server counts of its memory, held against a count from scratch and against the formula, after every turn.

import Reactor

@testable import FanoutServer

/// Counts everything again from the connections, groups and channels themselves.
struct MemoryAudit {
    let engine: Engine
    private var delivery: Delivery { engine.delivery }

    init(_ engine: Engine) { self.engine = engine }

    /// What disagrees.
    func faults() -> [String] {
        let counted = engine.memoryHeld
        let held = MemoryHeld(
            segments: segments(), runs: runs(), input: input(), subscriptions: subscriptions(), channels: channels(),
            state: state(), repetition: repetition())
        return counted == held ? [] : ["memory is counted as \(counted) and is \(held)"]
    }

    private func forEachConnection(_ body: (UInt32, Connection) -> Void) {
        for slot in 0..<UInt32(delivery.connections.slotsUsed) where delivery.connections[slot].phase != .free {
            body(slot, delivery.connections[slot])
        }
    }

    private func segments() -> Int {
        var found: Set<UInt32> = []
        forEachConnection { _, connection in
            connection.ring.forEachFirst(runsMax: .max, bytesMax: .max, blocks: delivery.blocks) {
                found.insert($0.segment)
            }
        }
        for chain in 0..<4 where delivery.log.tails[chain] != .max { found.insert(delivery.log.tails[chain]) }
        for page in engine.hub.pages.pages { found.insert(page.segment) }
        for image in engine.hub.images.images { found.formUnion(image.segments) }
        // The history has a limit of its own.
        for place in 0..<engine.hub.window.blockCount { found.remove(engine.hub.window[place].segment) }
        var bytes = 0
        for index in found where delivery.log.segments[index].chain != .constant {
            let segment = delivery.log.segments[index]
            bytes += Int(segment.capacity) + Int(segment.marksTouched) * MemoryLayout<FrameMark>.stride
        }
        return bytes
    }

    private func runs() -> Int {
        var blocks = 0
        var chunks: Set<UInt32> = []
        forEachConnection { _, connection in
            let count = blocks
            connection.ring.forEachBlock(delivery.blocks) { index in
                blocks += 1
                chunks.insert(index / UInt32(RunBlocks.blocksPerChunk))
            }
            // A wrong count of a ring's blocks shows as a wrong sum.
            if connection.ring.blockCount != blocks - count { blocks += 1_000_000 }
        }
        return blocks == delivery.blocks.inUse ? chunks.count * RunBlocks.chunkBytes : -1
    }

    private func input() -> Int {
        var bytes = 0
        forEachConnection { _, connection in
            if connection.input != Connection.none { bytes += engine.inputs[connection.input].bytesHeld }
        }
        return bytes
    }

    private func subscriptions() -> Int {
        var groups: Set<UInt32> = []
        forEachConnection { _, connection in
            if connection.phase == .subscriber, connection.group != Connection.none { groups.insert(connection.group) }
        }
        var bytes = 0
        for index in groups {
            let group = engine.hub.subscriptions[index]
            bytes += MemoryFormula.groupBytes(group)
            for list in 0..<4 { bytes += group.members[list].bytesHeld }
        }
        return bytes
    }

    /// Records of keys and producers, and two slots or more for each, as a power of two.
    private func repetition() -> Int {
        func bytes(_ capacity: Int, _ recordBytes: Int) -> Int {
            var slots = 1
            while slots < 2 * capacity { slots *= 2 }
            return capacity * recordBytes + slots * MemoryLayout<UInt32>.size
        }
        return bytes(engine.keys.capacity, 56) + bytes(engine.producers.capacity, 64)
    }

    /// Every table with its rows: a row with its line, what the allocator adds, and three words of the index; places
    /// that rows have left, which are reused.
    private func state() -> Int {
        var bytes = 0
        for number in 0..<Int32(engine.hub.states.tableCount) { bytes += engine.hub.states[number].countedBytes() }
        return bytes
    }

    private func channels() -> Int {
        var bytes = 0
        for channel in 0..<UInt32(engine.hub.channels.count) {
            bytes += MemoryFormula.channelBytes(engine.hub.channels[channel].name)
        }
        return bytes
    }
}

/// What memory did in a world from turn to turn.
struct MemoryWatch {
    /// What was held when the budget was passed, and when.
    private var pressedFrom: (bytes: Int, at: UInt64)?
    /// Time that the server could have used: a clock that jumps gives it one turn all the same.
    private var restedMilliseconds: UInt64 = 0
    private var lastTurn: UInt64 = 0
    private(set) var pressedTurns = 0

    /// Looks at the engine after a turn; says what is wrong.
    mutating func faults(_ engine: Engine, plan: Plan, now: UInt64) -> [String] {
        var faults = MemoryAudit(engine).faults()
        let held = engine.memoryHeld
        let perConnection = engine.delivery.connections.openSockets * MemoryFormula.connectionBytes
        let bound = engine.memory.bytesMax + perConnection + turnBytes(plan)
        if held.total > bound { faults.append("\(held) is held, the formula allows \(bound)") }
        let share = engine.memory.shareBytes
        if held.input > share + perConnection || held.subscriptions > share || held.channels > share {
            faults.append("\(held) has a part above its share, \(share)")
        }
        faults += ringFaults(engine, plan)
        restedMilliseconds += min(100, now - min(now, lastTurn))
        lastTurn = now
        guard engine.memory.isPressed else {
            restedMilliseconds = 0
            pressedFrom = nil
            return faults
        }
        pressedTurns += 1
        let before = pressedFrom ?? (held.total, now)
        pressedFrom = before
        // Publishers rest: what comes in addition is what readers are told, and new connections.
        let more = perConnection + 4 * (plan.segmentBytes + SegmentStore.pageBytes) + RunBlocks.chunkBytes
        if held.total > before.bytes + more { faults.append("\(held) is held, at \(before.bytes) publishers rested") }
        // What the kernel has yet to give back of connections that are closed already is not the server's to hurry; nor
        // is the witness, who is spared.
        let awaitsKernel = (0..<UInt32(engine.delivery.connections.slotsUsed)).contains { slot in
            let connection = engine.delivery.connections[slot]
            return (connection.phase == .closing || slot == engine.memory.sparedSlot) && !connection.ring.isEmpty
        }
        if awaitsKernel {
            restedMilliseconds = 0
        } else if restedMilliseconds > 5_000 {
            faults.append(
                "publishers have rested since \(before.at) ms: \(held) of \(engine.memory.bytesMax), \(waiting(engine))"
            )
        }
        return faults
    }

    /// Who keeps memory from being freed.
    private func waiting(_ engine: Engine) -> String {
        var lines: [String] = []
        for slot in 0..<UInt32(engine.delivery.connections.slotsUsed) {
            let connection = engine.delivery.connections[slot]
            guard connection.phase != .free, !connection.ring.isEmpty else { continue }
            lines.append(
                "slot \(slot) \(connection.phase) \(connection.transport): \(connection.ring.byteCount) bytes in "
                    + "\(connection.ring.runCount) runs, \(connection.flags), since \(connection.waitingSince), "
                    + "oldest \(engine.delivery.oldestWaiting(slot))")
        }
        return lines.joined(separator: "; ")
    }

    /// The most that one turn of this world can add: what comes in, in three formats, in segments half full.
    private func turnBytes(_ plan: Plan) -> Int {
        let events = min(Int(Engine.Limits.turnEvents), plan.shares.turnInputBytes) + plan.batchMax
        let input = plan.shares.turnInputBytes + plan.batchMax * (plan.eventBytesMax + 64)
        let marks = events * MemoryLayout<FrameMark>.stride + SegmentStore.pageBytes
        return 6 * (input + events * 420 + marks + plan.segmentBytes) + 4 * RunBlocks.chunkBytes
    }

    private func ringFaults(_ engine: Engine, _ plan: Plan) -> [String] {
        let turn = turnBytes(plan) / 3
        for slot in 0..<UInt32(engine.delivery.connections.slotsUsed) where engine.delivery.connections[slot].isLive {
            let connection = engine.delivery.connections[slot]
            guard connection.group != Connection.none else { continue }
            let limit = engine.hub.subscriptions[connection.group].limits.bytes
            let most = MemoryFormula.ringBytesMax(limitBytes: limit, turnBytes: turn)
            if Int(connection.ring.byteCount) > most {
                return ["slot \(slot): \(connection.ring.byteCount) bytes wait, \(most) may"]
            }
        }
        return []
    }
}

extension Plan {
    /// Draws a budget and small segments: from numbers of its own, so that the rest of a world stays what it was.
    ///
    /// A world in which nothing goes wrong becomes one of two kinds of readers: those that read have all the room they
    /// need, the others little, and only memory limits how far these fall behind. Nobody who reads may notice.
    mutating func drawMemory(seed: UInt64) {
        var random = SeededRandom(seed: seed &* 0xd134_2543_de82_ef95 ^ 0x4d45_4d4f)
        guard random.chance(0.35), !isCalm || kernelLimits.pipeBytes >= 4 << 20 else { return }
        segmentBytes = random.pick([2048, 4096, 8192])
        memoryMax = 16 * (segmentBytes + SegmentStore.pageBytes) + random.magnitude(1...65_535)
        itemsPerPublisher = max(itemsPerPublisher, 100)
        eventBytesMax = max(eventBytesMax, 4096)
        if isCalm || random.chance(0.5) {
            lagLimits = Configuration.LagLimits()
            lagLimits.ageMilliseconds = 600_000
        }
        if isCalm { crampedPipeBytes = random.magnitude(64...1023) }
    }

    /// Adds it to the server's configuration. Without a budget of its own a world has one that it never meets.
    func setMemory(in configuration: inout Configuration) {
        configuration.memoryMax = memoryMax ?? 1 << 30
        configuration.segmentBytes = segmentBytes
    }
}
