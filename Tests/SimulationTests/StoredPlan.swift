/// What kind of world with a database a seed makes.

import Reactor

@testable import EventStore
@testable import FanoutServer

/// Everything about such a world that is drawn before it begins.
struct StoredPlan {

    var steps: Int
    var readersMax: Int
    var publishersMax: Int
    var batchMax: Int
    var eventBytesMax: Int
    var usesEpoll: Bool
    var faults = SimulatedFaults.none
    var kernelLimits = SimulatedKernel.Limits()
    var onLag: Configuration.LagPolicy
    var lagLimits = Configuration.LagLimits()
    var shares = Engine.Shares()
    var segmentBytes = SegmentStore.segmentBytes
    var historyBytes: Int?
    /// What of each channel is kept, and of those that are not named.
    var retention: [String: Configuration.Retention] = [:]
    /// Channels whose events nobody may see before they are on the disk.
    var syncedChannels: Set<String> = []
    /// Channels that keep state, and by which rules; and how many keys there are.
    var stateRules: [String: StoredRules] = [:]
    var keys = 0
    /// How often, at a step of the world, the process or the power ends, or it is asked to.
    var endRate: Double
    /// How often, at a step, something is wrong with the disk; and whether that may be something lasting.
    var troubleRate: Double
    var mayBreak: Bool
    /// How often the disk keeps the database's thread waiting, and for how long at most.
    var stallRate: Double
    var stallMilliseconds: Int
    /// Nanoseconds that pass at most each time the database looks at the clock.
    var clockStepNs: Int

    /// Whether a fault may end a connection.
    var cutsConnections: Bool { SimulatedFaults.Class.allCases.contains { $0.cutsConnections && faults[$0] > 0 } }

    /// Whether connections may be turned away for want of descriptors.
    var isTight: Bool { faults[.acceptOutOfDescriptors] > 0 || faults[.acceptNoMemory] > 0 }

    init(_ random: inout SeededRandom, seed: UInt64) {
        usesEpoll = seed % 2 == 1
        steps = random.chance(0.85) ? 100 + random.below(300) : 300 + random.below(900)
        readersMax = 1 + random.below(random.chance(0.8) ? 6 : 16)
        publishersMax = 1 + random.below(4)
        batchMax = random.magnitude(1...63)
        eventBytesMax = random.chance(0.1) ? 4096 : 126
        onLag = random.chance(0.5) ? .close : .gap
        kernelLimits.waitMillisecondsMax = UInt64(random.pick([10, 100, 1000]))
        endRate = random.chance(0.15) ? 0 : Double(random.magnitude(1...15)) / 1000
        troubleRate = random.chance(0.5) ? 0 : Double(random.magnitude(1...31)) / 1000
        mayBreak = random.chance(0.4)
        stallRate = random.chance(0.4) ? 0 : Double(random.magnitude(1...255)) / 1000
        stallMilliseconds = random.magnitude(1...4095)
        clockStepNs = random.chance(0.5) ? 0 : random.magnitude(1...4_000_000)
        drawHistory(&random)
        drawChannels(&random)
        drawFaults(&random, seed)
        // By a chance of its own: the other worlds stay what they were.
        var own = SeededRandom(seed: seed ^ 0x5354_4154_4500)
        guard own.chance(0.7) else { return }
        keys = own.magnitude(1...31)
        for name in Channels.names where own.chance(0.6) { stateRules[name] = own.pick(StoredRules.allCases) }
    }

    private mutating func drawHistory(_ random: inout SeededRandom) {
        if random.chance(0.7) {
            segmentBytes = random.pick([512, 1024, 2048, 4096])
            let blockBytes = segmentBytes + SegmentStore.pageBytes + 512 * MemoryLayout<HeldEvent>.stride
            historyBytes = (1 + random.below(4)) * blockBytes
        }
        if random.chance(0.4) {
            shares.answersPendingBytes = UInt32(random.magnitude(16...16_383))
            shares.turnInputBytes = random.magnitude(16...16_383)
            shares.turnWork = UInt64(random.magnitude(4...255))
        }
        guard random.chance(0.6) else { return }
        shares.replayBytes = random.magnitude(16...16_383)
        shares.replayLooked = random.magnitude(1...255)
    }

    private mutating func drawChannels(_ random: inout SeededRandom) {
        let isRetained = random.chance(0.5)
        let isSynced = random.chance(0.5)
        for name in Channels.names {
            if isRetained, random.chance(0.6) {
                var limits = Configuration.Retention()
                switch random.below(3) {
                case 0: limits.count = random.magnitude(1...63)
                case 1: limits.bytes = random.magnitude(100...8191)
                default: limits.ageSeconds = random.magnitude(1...7)
                }
                retention[name] = limits
            }
            if isSynced, random.chance(0.3) { syncedChannels.insert(name) }
        }
    }

    private mutating func drawFaults(_ random: inout SeededRandom, _ seed: UInt64) {
        if random.chance(0.5) {
            faults = .swarm(seed: seed, cuts: random.chance(0.5))
            for fault in SimulatedFaults.Class.allCases {
                faults[fault] *= fault.cutsConnections ? 0.02 : 0.3
            }
            // Keys are remembered by the wall clock, as they must be over restarts.
            faults[.wallClockJump] = 0
            faults[.attachRefused] = 0
        }
        if random.chance(0.6) { kernelLimits.pipeBytes = random.magnitude(128...8191) }
        guard random.chance(0.6) else { return }
        lagLimits.events = random.magnitude(4...63)
        lagLimits.bytes = random.magnitude(512...16_383)
    }

    /// Rules beside those of `Channels`.
    var rules: [(pattern: String, rules: Configuration.ChannelRules)] = []

    /// The server's configuration.
    var configuration: Configuration {
        var configuration = Configuration()
        configuration.heartbeatSeconds = 2
        configuration.onLag = onLag
        configuration.limits = lagLimits
        configuration.segmentBytes = segmentBytes
        configuration.historyBytes = historyBytes
        configuration.historyLeastBytes = historyBytes ?? configuration.historyLeastBytes
        configuration.channelRules = Channels.names.map { name in
            var rules = Configuration.ChannelRules()
            if name == Channels.kindChannel { rules.discriminator = "kind" }
            if name == Channels.timeChannel { rules.stamp = ["seq", "channel", "time"] }
            if name == Channels.bareChannel { rules.stamp = [] }
            rules.retention = retention[name]
            if syncedChannels.contains(name) { rules.visible = .synced }
            rules.state = stateRules[name]?.configuration
            return (name, rules)
        }
        configuration.channelRules += rules
        return configuration
    }
}
