/// "Sometimes" points: what the worlds must have met, taken together, to have tested anything.

import Reactor

@testable import FanoutServer

/// Counts over all worlds of a run.
struct Sightings {
    var worlds = 0
    /// Covers every world's trace: equal for equal seeds, in every process and build.
    var hash: UInt64 = 0
    var steps = 0
    var turns = 0
    var virtualMilliseconds: UInt64 = 0
    var published: UInt64 = 0
    var resubscribes = 0
    var answers = 0
    var keepAlives = 0
    var events = [Int](repeating: 0, count: Reader.Transport.allCases.count)
    var largeEvents = 0
    var byes: [UInt64: Int] = [:]
    // The server's own counters and states.
    var lagged: UInt64 = 0
    var gaps: UInt64 = 0
    var shed: UInt64 = 0
    var peersRefused: UInt64 = 0
    var slowCloses: UInt64 = 0
    var shortSends: UInt64 = 0
    var acceptErrors: UInt64 = 0
    var connectionsShed: UInt64 = 0
    var queueOverflows: UInt64 = 0
    var staleCompletions: UInt64 = 0
    var buffersExhausted: UInt64 = 0
    var paused = 0
    var deferred = 0
    var skipping = 0
    var middleRuns = 0
    var parkedSends = 0
    var shutdowns = 0
    var probes = 0
    var duplicates: UInt64 = 0
    var conflicts: UInt64 = 0
    var channelsEnded = 0
    var bareEvents = 0
    // What only worlds on epoll can meet.
    var epollWorlds = 0
    var spuriousWakes = 0
    var hangUpsWithInput = 0
    var staleEvents = 0
    var singleEvents = 0
    var waitsInterrupted = 0
    var watchesRefused = 0
    // What the memory budget made the server do.
    var memoryCuts: UInt64 = 0
    var memoryResets: UInt64 = 0
    var memoryRefusals: UInt64 = 0
    var memoryPressed = 0
    // Coming back.
    var comebacks = 0
    var replaying = 0
    var catchingUp = 0
    var replayedBytes: UInt64 = 0
    var replayPages: UInt64 = 0
    var pruned: UInt64 = 0
    /// `$gap`s by why they were said; those that came in the middle of a stream, because the window moved on.
    var gapsWhy: [String: Int] = [:]
    var gapsUnderWay = 0
    // Channels that keep state: how often all of it was compared with the model, and rows that were then.
    var statesCompared = 0
    var stateRows = 0

    /// Notes the last of the entries of a stream, if it is a `$gap`.
    mutating func note(_ entries: ArraySlice<StreamRecord.Entry>) {
        guard case .gap(let gap) = entries.last else { return }
        gapsWhy[gap.why, default: 0] += 1
        if gap.why == "pruned", case .hello = entries.first {} else if gap.why == "pruned" { gapsUnderWay += 1 }
    }

    mutating func noteEvent(_ transport: Reader.Transport, bytes: Int) {
        events[Reader.Transport.allCases.firstIndex(of: transport)!] += 1
        if bytes > 65_000 { largeEvents += 1 }
    }

    /// Adds what the server and the kernel counted in a world that is over.
    mutating func note(_ engine: Engine, _ kernel: SimulatedKernel) {
        worlds += 1
        hash = (hash ^ kernel.trace.hash) &* 0x9e37_79b9_7f4a_7c15
        published += engine.hub.head
        duplicates += engine.metrics.duplicates
        conflicts += engine.metrics.conflicts
        lagged += engine.metrics.laggards.total
        gaps += engine.metrics.gaps
        shed += engine.metrics.shed
        peersRefused += engine.peers.refusals[0] + engine.peers.refusals[1]
        slowCloses += Transport.subscribers.reduce(0) { $0 + engine.metrics.closed(.slow, on: $1) }
        shortSends += engine.loop.stats.shortSends
        acceptErrors += engine.metrics.acceptErrors
        connectionsShed += engine.loop.stats.connectionsShed
        queueOverflows += engine.loop.stats.completionQueueOverflows
        staleCompletions += engine.loop.stats.staleCompletions
        buffersExhausted += engine.loop.stats.receiveBufferExhaustions
        parkedSends += kernel.trace.sendsParked
        replayedBytes += engine.metrics.replayedBytes
        replayPages += engine.hub.pages.made
        pruned += engine.hub.oldestHeld - 1
        guard kernel.hasEpoll else { return }
        epollWorlds += 1
        spuriousWakes += kernel.trace.count(of: .spuriousWake)
        hangUpsWithInput += kernel.trace.hangUpsWithInput
        staleEvents += Int(engine.loop.stats.staleCompletions)
        singleEvents += kernel.trace.count(of: .oneEventPerWait)
        waitsInterrupted += kernel.trace.count(of: .interruptedTurn)
        watchesRefused += kernel.trace.count(of: .attachRefused)
    }

    mutating func noteMemory(_ engine: Engine, _ watch: MemoryWatch) {
        memoryCuts += Transport.subscribers.reduce(0) { $0 + engine.metrics.laggards[.memory, $1] }
        memoryResets += engine.memory.resets
        memoryRefusals += engine.memory.refusals
        memoryPressed += watch.pressedTurns
    }

    /// Everything by name, in one order.
    var all: [(name: String, count: UInt64)] {
        var all: [(String, UInt64)] = [
            ("lagged", lagged), ("gap", gaps), ("laggard-cut", slowCloses), ("skipping", UInt64(skipping)),
            ("short-send", shortSends), ("parked-send", UInt64(parkedSends)), ("paused", UInt64(paused)),
            ("deferred", UInt64(deferred)), ("middle-runs", UInt64(middleRuns)), ("shed", shed),
            ("peer-refused", peersRefused),
            ("accept-error", acceptErrors), ("turned-away", connectionsShed),
            ("queue-overflow", queueOverflows), ("stale-completion", staleCompletions), ("no-buffer", buffersExhausted),
            ("resubscribe", UInt64(resubscribes)),
            ("keep-alive", UInt64(keepAlives)), ("answer", UInt64(answers)), ("large-event", UInt64(largeEvents)),
            ("memory-cut", memoryCuts), ("memory-reset", memoryResets),
            ("memory-refusal", memoryRefusals), ("memory-pressed", UInt64(memoryPressed)),
            ("shutdown", UInt64(shutdowns)), ("probe", UInt64(probes)), ("channel-end", UInt64(channelsEnded)),
            ("bare-event", UInt64(bareEvents)), ("epoll-world", UInt64(epollWorlds)),
            ("spurious-wake", UInt64(spuriousWakes)), ("hang-up-with-input", UInt64(hangUpsWithInput)),
            ("stale-event", UInt64(staleEvents)), ("single-event", UInt64(singleEvents)),
            ("duplicate", duplicates), ("conflict", conflicts),
            ("comeback", UInt64(comebacks)), ("replaying", UInt64(replaying)), ("catching-up", UInt64(catchingUp)),
            ("replayed-byte", replayedBytes), ("replay-page", replayPages), ("pruned-event", pruned),
            ("gap-under-way", UInt64(gapsUnderWay)), ("state-compared", UInt64(statesCompared)),
            ("state-row", UInt64(stateRows)),
            ("wait-interrupted", UInt64(waitsInterrupted)), ("watch-refused", UInt64(watchesRefused)),
        ]
        for (place, transport) in Reader.Transport.allCases.enumerated() {
            all.append(("\(transport)-event", UInt64(events[place])))
        }
        for code in [1000, 1001, 1003, 1008, 1013, 4008, 4408, 4410] as [UInt64] {
            all.append(("bye-\(code)", UInt64(byes[code] ?? 0)))
        }
        for why in ["lagged", "pruned", "ahead", "unknown_epoch"] {
            all.append(("gap-\(why)", UInt64(gapsWhy[why] ?? 0)))
        }
        return all
    }

    var line: String {
        "simulation: \(worlds) worlds, \(steps) steps, \(turns) turns, \(virtualMilliseconds / 1000) virtual s, "
            + "\(published) events, trace \(String(hash, radix: 16)); "
            + all.map { "\($0.name) \($0.count)" }.joined(separator: ", ")
    }
}
