/// What must hold after every turn, over time: how long anything may wait, and how much one turn may do.

import Reactor

@testable import FanoutServer

/// Looks at an engine after each turn and remembers what it saw, so that it notices what lasts too long.
struct TurnAudit {
    /// What a turn may go over its share by: the last request that it took.
    struct Slack {
        var work: UInt64
        var events: UInt64
        var bytes: Int
        /// The largest page of the history.
        var page: Int
    }

    private struct Waiting {
        var generation: UInt32
        var bytes: Int
        var turns: Int
    }

    /// A timer's tick, and one more for a wait that ends late.
    private static let tickMilliseconds: UInt64 = 32
    private var waiting: [UInt32: Waiting] = [:]
    private var deferredMost = 0
    private var replayedBytes: UInt64 = 0
    /// When a reader's bytes were last taken, as far as can be seen between turns.
    private var heard: [UInt32: (generation: UInt32, at: UInt64, wasBusy: Bool)] = [:]

    /// Bytes that wait: since when, on the server's clock and on the audit's.
    private struct Wait {
        var generation: UInt32
        var since: UInt32
        var began: UInt64
        var turnsOver = 0
    }

    /// Whether an operation that is asked to end does so in the same turn, as where the loop uses epoll: who is
    /// closed is gone with the next turn, whether or not its peer reads.
    var endsAtOnce = false
    private var closing: [UInt32: (generation: UInt32, turns: Int)] = [:]
    private var restedBefore = false
    private var acceptErrors: UInt64 = 0
    private var acceptTries: [UInt64] = []
    private var oldest: [UInt32: Wait] = [:]
    /// Milliseconds, those left out in which the whole machine stood still: nobody can take what is not offered.
    private var clock: UInt64 = 0
    private var lastTurn: UInt64?

    /// Everything that has taken too long or was too much, as of the turn that has just ended.
    mutating func faults(_ engine: Engine, _ slack: Slack) -> [String] {
        let passed = engine.loop.now - (lastTurn ?? engine.loop.now)
        lastTurn = engine.loop.now
        if passed <= 1000 { clock += passed }
        var faults = shareFaults(engine, slack) + acceptFaults(engine)
        for slot in 0..<UInt32(engine.delivery.connections.slotsUsed) {
            let connection = engine.delivery.connections[slot]
            guard connection.isLive else { continue }
            faults += ageFaults(engine, slot, connection) + silenceFaults(engine, slot, connection)
        }
        return faults + closingFaults(engine) + fairnessFaults(engine)
    }

    // MARK: What one turn may do

    private mutating func shareFaults(_ engine: Engine, _ slack: Slack) -> [String] {
        var faults: [String] = []
        let replayed = engine.metrics.replayedBytes &- replayedBytes
        replayedBytes = engine.metrics.replayedBytes
        if Int(replayed) > engine.shares.replayBytes + slack.page {
            faults.append("\(replayed) bytes replayed in one turn, its share is \(engine.shares.replayBytes)")
        }
        let work = engine.delivery.counters.deliveries &+ engine.hub.extraWork &- engine.turnWorkBefore
        // What is replayed counts as delivered too: an event has three bytes at least.
        if work > engine.shares.turnWork + slack.work + replayed / 3 {
            faults.append("\(work) subscribers reached in one turn, its share is \(engine.shares.turnWork)")
        }
        let events = engine.metrics.eventsIn &- engine.turnEventsBefore
        if events > Engine.Limits.turnEvents + slack.events { faults.append("\(events) events in one turn") }
        if engine.turnInputBytes > engine.shares.turnInputBytes + slack.bytes {
            faults.append("\(engine.turnInputBytes) bytes in one turn, its share is \(engine.shares.turnInputBytes)")
        }
        return faults
    }

    /// Accepting that fails is tried again twenty times in a second at most, beside the first time of each listener.
    private mutating func acceptFaults(_ engine: Engine) -> [String] {
        let now = engine.loop.now
        let errors = engine.metrics.acceptErrors
        if errors > acceptErrors { acceptTries += (acceptErrors..<errors).map { _ in now } }
        acceptErrors = errors
        acceptTries.removeAll { now - $0 >= 1000 }
        let most = 20 + engine.listeners.count
        return acceptTries.count > most ? ["accepting failed \(acceptTries.count) times within a second"] : []
    }

    // MARK: How long anything may wait

    /// A connection that was closed is gone two turns later.
    private mutating func closingFaults(_ engine: Engine) -> [String] {
        guard endsAtOnce else { return [] }
        var faults: [String] = []
        for slot in 0..<UInt32(engine.delivery.connections.slotsUsed) {
            let connection = engine.delivery.connections[slot]
            guard connection.phase == .closing else {
                closing[slot] = nil
                continue
            }
            let before = closing[slot]
            let turns = before?.generation == connection.socket.generation ? (before?.turns ?? 0) + 1 : 0
            closing[slot] = (connection.socket.generation, turns)
            if turns == 2 { faults.append("slot \(slot): closed two turns ago and not gone (\(connection.flags))") }
        }
        return faults
    }

    /// A reader is within its age limit, or was until the last sweep and what its socket has been tried with since.
    private mutating func ageFaults(_ engine: Engine, _ slot: UInt32, _ connection: Connection) -> [String] {
        guard connection.group != Connection.none, !connection.ring.isEmpty, !connection.flags.contains(.skipping),
            !isLeftAlone(engine, connection)
        else {
            oldest[slot] = nil
            return []
        }
        let since = engine.delivery.oldestWaiting(slot)
        var wait = oldest[slot] ?? Wait(generation: connection.socket.generation, since: since, began: clock)
        if wait.generation != connection.socket.generation || wait.since != since {
            wait = Wait(generation: connection.socket.generation, since: since, began: clock)
        }
        let age = clock - wait.began
        let most = UInt64(engine.hub.subscriptions[connection.group].limits.ageMilliseconds)
        let isOver = age > most + Engine.Limits.sweepMilliseconds + Self.tickMilliseconds
        // Whose socket took bytes in this very turn and has not been offered the rest is judged later, but not for
        // ever.
        let trial = UInt64(LagDecision.trialMilliseconds)
        let isUntried =
            connection.flags.contains(.queued) && !connection.flags.contains(.sending)
            && age <= most + Engine.Limits.sweepMilliseconds + Self.tickMilliseconds + trial
        wait.turnsOver = !isOver ? 0 : isUntried ? wait.turnsOver : wait.turnsOver + 1
        oldest[slot] = wait
        guard wait.turnsOver > 2 else { return [] }
        return ["slot \(slot): bytes of \(age) ms wait, \(most) ms are allowed (\(connection.flags))"]
    }

    /// Who replays and wants to skip what it cannot take holds one page, for as long as it likes.
    private func isLeftAlone(_ engine: Engine, _ connection: Connection) -> Bool {
        connection.flags.contains(.replaying) && engine.hub.subscriptions[connection.group].onLag == .gap
    }

    /// A reader to whom nothing is to be sent hears something within the heartbeat.
    private mutating func silenceFaults(_ engine: Engine, _ slot: UInt32, _ connection: Connection) -> [String] {
        switch connection.transport {
        case .jsonlTCP, .jsonlHTTP: if connection.flags.contains(.controlOff) { return [] }
        case .sse: break
        default: return []
        }
        let now = engine.loop.now
        var last = heard[slot] ?? (connection.socket.generation, now, true)
        let isBusy = !connection.ring.isEmpty
        // What waited until this turn was taken in it at the earliest.
        if last.generation != connection.socket.generation || isBusy || last.wasBusy {
            last = (connection.socket.generation, now, isBusy)
        }
        heard[slot] = last
        let begun = UInt32(truncatingIfNeeded: now) &- connection.waitingSince
        let silence = isBusy ? 0 : min(now - last.at, UInt64(begun))
        let most = UInt64(engine.configuration.heartbeatSeconds) * 1000 + Self.tickMilliseconds
        return silence > most ? ["slot \(slot): silent for \(silence) ms on \(connection.transport)"] : []
    }

    /// Input that was put off is used within two rounds of those that were put off, unless publishers rest or its own
    /// answers wait.
    private mutating func fairnessFaults(_ engine: Engine) -> [String] {
        // What was put off is gone on with at the start of a turn, if publishers do not rest then.
        let rested = restedBefore
        restedBefore = engine.rest.isResting
        guard !engine.deferred.isEmpty else {
            waiting.removeAll(keepingCapacity: true)
            deferredMost = 0
            return []
        }
        if rested { return [] }
        deferredMost = max(deferredMost, engine.deferred.count)
        var still: [UInt32: Waiting] = [:]
        var faults: [String] = []
        for slot in engine.deferred {
            let connection = engine.delivery.connections[slot]
            // What is decoded of a chunked body moves from the one to the other.
            let input = connection.input
            let bytes = input == Connection.none ? 0 : engine.inputs[input].count + engine.inputs[input].body.count
            var turns = 0
            if let before = waiting[slot], before.generation == connection.socket.generation, before.bytes == bytes,
                connection.ring.isEmpty
            {
                turns = before.turns + 1
            }
            if turns > 2 * deferredMost + 2 {
                faults.append("slot \(slot): its input waits for \(turns) turns beside \(deferredMost) others")
            }
            still[slot] = Waiting(generation: connection.socket.generation, bytes: bytes, turns: turns)
        }
        waiting = still
        return faults
    }
}

extension World {
    /// The longest answer that is written out: `/metrics`.
    private static let answerBytesMax = 16_384

    /// What the last request of a turn may cost, and the last line of each publisher that has closed.
    var turnSlack: TurnAudit.Slack {
        let requests = plan.batchMax + min(plan.publishersMax, 2)
        let readers = Transport.subscribers.reduce(0) { $0 + engine.delivery.connections.counts[Int($1.rawValue)] }
        // A look at all channels or connections, or a report on three of them.
        let table = engine.hub.channels.count + engine.delivery.connections.slotsUsed + 3 * 64
        // Kinds that subscriptions ask an event for.
        var kinds = 0
        for slot in 0..<UInt32(engine.delivery.connections.slotsUsed) where engine.delivery.connections[slot].isLive {
            kinds += engine.hub.subscriptions[engine.delivery.connections[slot].group].types.count
        }
        // Each that replays may have to be told what is gone, for which all channels are looked at.
        let looks = 2 * (readers + requests) * engine.hub.channels.count
        let junk = plan.hasVandals ? 12_000 : 0
        return TurnAudit.Slack(
            work: UInt64(requests * (readers + kinds) + table + looks), events: UInt64(requests),
            bytes: plan.batchMax * (plan.eventBytesMax + 300) + 800 + junk + Self.answerBytesMax,
            page: max(plan.segmentBytes, plan.eventBytesMax + 600))
    }
}
