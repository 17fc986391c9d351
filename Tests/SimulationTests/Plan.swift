/// What kind of world a seed makes: how many clients, which limits, which faults.

import Reactor

@testable import FanoutServer

/// Everything about a world that is drawn before it begins.
struct Plan {
    var steps: Int
    var readersMax: Int
    var publishersMax: Int
    var itemsPerPublisher: Int
    var batchMax: Int
    var eventBytesMax: Int
    var faults: SimulatedFaults
    var kernelLimits = SimulatedKernel.Limits()
    var onLag: Configuration.LagPolicy
    var lagLimits = Configuration.LagLimits()
    var heartbeatSeconds: Int
    var connectionsMax: Int?
    var perAddressMax: Int?
    var perUserMax: Int?
    /// What a connection and a turn may take for themselves: little, so that pauses and deferrals are usual.
    var shares = Engine.Shares()
    /// Whether the loop runs the epoll backend over the simulated system calls, or is given completions.
    var usesEpoll: Bool
    /// Reads and accepts of one turn, where the loop uses epoll.
    var readsPerTurnMax = 64
    /// Whether nothing in this world may make a reader that reads fall behind or lose its connection.
    var isCalm = false
    var hasVandals: Bool
    /// Whether clients come that try what must be refused, and whether somebody ends a channel and declares it anew.
    var hasProbers: Bool
    var hasKeeper: Bool
    /// Whether publishers demand things: that nothing is published twice, or only as their own next or the channel's.
    var hasDemands = false
    /// Keys that events name, where channels keep state; 0 is a world in which none does.
    var stateKeys = 0
    /// Whether the publishers write as much as they can, for as long as there are faults.
    var isFlooded: Bool
    var endsBySignal: Bool
    /// The memory budget, if there is one that may be met, and the size of a segment.
    var memoryMax: Int?
    var segmentBytes = SegmentStore.segmentBytes
    /// How much of the past is held, if it is other than usual.
    var historyBytes: Int?
    /// Room in the kernel for connections of readers that do not read eagerly, if it is other than that of the rest.
    var crampedPipeBytes: Int?
    /// Whether a hundred thousand bytes come through in no time.
    var hasRoom: Bool { kernelLimits.pipeBytes >= 4096 && kernelLimits.receiveBufferBytes >= 1024 }

    /// Whether connections may be turned away for want of places, descriptors or memory.
    var isTight: Bool {
        let wants: [SimulatedFaults.Class] = [.acceptOutOfDescriptors, .acceptNoMemory, .attachRefused]
        return connectionsMax != nil || memoryMax != nil || perAddressMax != nil || perUserMax != nil
            || wants.contains { faults[$0] > 0 }
    }

    /// Whether a fault may end a connection.
    var cutsConnections: Bool { SimulatedFaults.Class.allCases.contains { $0.cutsConnections && faults[$0] > 0 } }

    init(_ random: inout SeededRandom, seed: UInt64) {
        usesEpoll = seed % 2 == 1
        if usesEpoll, seed % 4 == 3 { readsPerTurnMax = 1 + Int(seed / 4 % 8) }
        let size = random.below(100)
        steps = size < 75 ? 100 + random.below(300) : size < 97 ? 200 + random.below(600) : 500 + random.below(1500)
        readersMax = size < 75 ? 1 + random.below(8) : size < 97 ? 2 + random.below(14) : 8 + random.below(57)
        publishersMax = size < 75 ? 1 + random.below(3) : 1 + random.below(8)
        itemsPerPublisher = random.magnitude(4...255)
        batchMax = random.magnitude(1...63)
        eventBytesMax = random.chance(0.12) ? 65_536 : random.chance(0.4) ? 4096 : 126
        onLag = random.chance(0.5) ? .close : .gap
        heartbeatSeconds = 1 + random.below(3)
        hasVandals = random.chance(0.3)
        endsBySignal = random.chance(0.35)
        hasProbers = random.chance(0.5)
        hasKeeper = random.chance(0.25)
        isFlooded = random.chance(0.1)
        if isFlooded { itemsPerPublisher = 400 }
        faults = .none
        kernelLimits.waitMillisecondsMax = UInt64(random.pick([10, 100, 1000]))
        if random.chance(0.6) {
            kernelLimits.receiveBufferBytes = random.magnitude(16...4095)
            kernelLimits.receiveBufferCount = random.magnitude(1...15)
        }
        if random.chance(0.4) {
            shares.answersPendingBytes = UInt32(random.magnitude(16...16_383))
            shares.turnInputBytes = random.magnitude(16...16_383)
            shares.turnWork = UInt64(random.magnitude(4...255))
        }
        drawLag(&random)
        drawFaults(&random, seed)
        // Little room in the kernel, so that who does not read is soon behind.
        if !isCalm, random.chance(0.6) { kernelLimits.pipeBytes = random.magnitude(64...1023) }
        // Connections that break at every second step see little of a stream: in most worlds they live longer.
        if random.chance(0.7) {
            for fault in SimulatedFaults.Class.allCases where fault.cutsConnections { faults[fault] *= 0.03 }
        }
        // A shortage that lasts: nine tries in ten meet it.
        if !isCalm, random.chance(0.05) { faults[.acceptOutOfDescriptors] = 0.9 }
        if !isCalm, random.chance(0.15) { connectionsMax = 9 + random.below(4) }
        drawPeers(seed)
        drawMemory(seed: seed)
        drawHistory(seed: seed)
        var demands = SeededRandom(seed: seed &* 0x94d0_49bb_1331_11eb ^ 0x4445_4d41)
        hasDemands = demands.chance(0.4)
        drawState(seed: seed)
    }

    /// How much is held for those who come back, and how much of it they get in a turn: little, so that it goes while
    /// they are sent it. From numbers of its own, so that other draws are what they were.
    private mutating func drawHistory(seed: UInt64) {
        var random = SeededRandom(seed: seed &* 0xff51_afd7_ed55_8ccd ^ 0x4849_5354)
        switch random.below(10) {
        case 0: historyBytes = 0
        case 1...6:
            if memoryMax == nil { segmentBytes = random.pick([512, 1024, 2048, 4096, 65_536]) }
            // A block is a segment, a page of marks, and a table of its events.
            let blockBytes = segmentBytes + SegmentStore.pageBytes + 512 * MemoryLayout<HeldEvent>.stride
            historyBytes = (1 + random.below(4)) * blockBytes
        default: historyBytes = nil
        }
        guard random.chance(0.6) else { return }
        shares.replayBytes = random.magnitude(16...16_383)
        shares.replayLooked = random.magnitude(1...255)
    }

    /// Whether channels keep state, from numbers of its own. Not where memory is short: nothing is to be refused.
    private mutating func drawState(seed: UInt64) {
        var random = SeededRandom(seed: seed &* 0xbf58_476d_1ce4_e5b9 ^ 0x5354_4154)
        guard memoryMax == nil, random.chance(0.4) else { return }
        stateKeys = random.magnitude(1...31)
    }

    /// Limits for one address and one user, from numbers of their own, so that other draws are what they were.
    private mutating func drawPeers(_ seed: UInt64) {
        var random = SeededRandom(seed: seed ^ 0x7065_6572_7300_0000)
        guard !isCalm, random.chance(0.15) else { return }
        if random.chance(0.7) { perAddressMax = 1 + random.below(4) }
        if random.chance(0.7) { perUserMax = 1 + random.below(4) }
    }

    private mutating func drawLag(_ random: inout SeededRandom) {
        guard random.chance(0.8) else { return }
        lagLimits.events = random.magnitude(2...31)
        lagLimits.bytes = random.magnitude(256...8191)
        if random.chance(0.5) { lagLimits.ageMilliseconds = random.magnitude(200...8191) }
    }

    private mutating func drawFaults(_ random: inout SeededRandom, _ seed: UInt64) {
        switch random.below(10) {
        case 0, 1:
            // Nothing goes wrong and everything fits: then a reader that reads is never behind, whatever its limits.
            isCalm = true
            kernelLimits.pipeBytes = 4 << 20
        case 2:
            // Only what costs no time and no connection.
            isCalm = true
            lagLimits = Configuration.LagLimits()
            for fault in SimulatedFaults.Class.allCases where Self.isHarmless(fault) && random.chance(0.5) {
                faults[fault] = Double(random.magnitude(1...255)) / 1000
            }
        case 3, 4:
            faults = .swarm(seed: seed, cuts: false)
            kernelLimits.pipeBytes = random.magnitude(64...8191)
        case 5:
            faults = .only(random.pick(SimulatedFaults.Class.allCases), Double(random.magnitude(4...300)) / 1000)
            kernelLimits.pipeBytes = random.magnitude(64...8191)
        default:
            faults = .swarm(seed: seed)
            kernelLimits.pipeBytes = random.magnitude(64...8191)
        }
    }

    private static func isHarmless(_ fault: SimulatedFaults.Class) -> Bool {
        switch fault {
        case .partialReceive, .receiveBuffersExhausted, .receiveEndsEarly, .shortSend, .sendTakesNothing,
            .acceptNotPermitted, .acceptEndsEarly, .interruptedOperation, .interruptedTurn, .staleCompletion,
            .wallClockJump, .lateTimer, .spuriousWake, .hangUpWithInput, .staleEvent, .oneEventPerWait:
            true
        default: false
        }
    }

    /// The server's configuration.
    var configuration: Configuration {
        var configuration = Configuration()
        configuration.heartbeatSeconds = heartbeatSeconds
        configuration.onLag = onLag
        configuration.limits = lagLimits
        configuration.connectionsMax = connectionsMax
        configuration.connectionsPerAddressMax = perAddressMax
        configuration.connectionsPerUserMax = perUserMax
        setMemory(in: &configuration)
        configuration.historyBytes = historyBytes
        configuration.channelRules = Channels.names.map { name in
            var rules = Configuration.ChannelRules()
            if name == Channels.kindChannel { rules.discriminator = "kind" }
            if name == Channels.timeChannel { rules.stamp = ["seq", "channel", "time"] }
            if name == Channels.bareChannel { rules.stamp = [] }
            if stateKeys > 0 { rules.state = StateModel.rules(name) }
            return (name, rules)
        }
        return configuration
    }
}
