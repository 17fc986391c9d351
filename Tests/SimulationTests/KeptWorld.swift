/// One seeded world of channels that keep state: whoever knows a state knows what is true.

import FanoutServer
import Reactor
import Wire

@testable import FanoutServer

/// The server with little room and small shares, readers that stop, fall behind, are cut and come back, and a publisher
/// that cannot fail. Every now and then all is quiet: then every model is what is true, and so is the server's state.
final class KeptWorld {
    let seed: UInt64
    private let kernel: SimulatedKernel
    private let engine: Engine
    private var random: SeededRandom
    private(set) var truth = KeptTruth()
    private var readers: [KeptReader] = []
    private(set) var faults: [String] = []
    private var sightings = Sightings()
    private(set) var met: [String: Int] = [:]

    private static let channels = ["kept/a", "kept/b", "kept/c/d", "plain"]

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededRandom(seed: seed &* 0x9e37_79b9_7f4a_7c15 ^ 0x4b45_5054)
        var limits = SimulatedKernel.Limits()
        limits.pipeBytes = random.magnitude(128...8191)
        limits.waitMillisecondsMax = 100
        kernel = SimulatedKernel(seed: seed, limits: limits)
        var loopConfiguration = LoopConfiguration()
        loopConfiguration.backend = seed % 2 == 1 ? .simulatedEpoll(kernel) : .simulated(kernel)
        loopConfiguration.socketsMax = 128
        let loop = try EventLoop(loopConfiguration)
        var configuration = Configuration()
        var rules = Configuration.ChannelRules()
        var state = Configuration.StateRules()
        state.upsert = ["put": Configuration.StateKey(pointer: "/key")]
        state.remove = ["gone": Configuration.StateKey(pointer: "/key")]
        state.replace = ["whole"]
        state.snapshot = ["all"]
        rules.state = state
        if random.chance(0.3) { rules.from = .snapshot }
        configuration.channelRules = [("kept/**", rules)]
        configuration.onLag = random.pick(Configuration.LagPolicy.allCases)
        configuration.limits.events = random.magnitude(4...63)
        configuration.limits.bytes = random.magnitude(512...16_383)
        configuration.limits.ageMilliseconds = random.magnitude(300...4095)
        configuration.segmentBytes = random.pick([512, 1024, 4096, 65_536])
        configuration.historyBytes = random.pick([nil, nil, nil, 0, 64 << 10])
        let epoch = Epoch(rawValue: random.next())
        engine = try Engine(
            configuration, loop: loop, epoch: epoch, seed: random.next(),
            log: Log(level: .error, seconds: { loop.now / 1000 }, write: { _ in }))
        engine.shares.replayBytes = random.magnitude(64...16_383)
        engine.shares.replayLooked = random.magnitude(1...255)
        try engine.listen(.http, at: World.http)
        try engine.listen(.events, at: World.unix("events.socket"))
        kernel.onViolation = { [unowned self] in fail($0) }
        for number in 0..<2 + random.below(8) {
            readers.append(KeptReader(kernel, epoch: "\(epoch)", &random, number: number))
        }
        if random.chance(0.6) { kernel.faults = .swarm(seed: seed, cuts: random.chance(0.5)) }
    }

    private func fail(_ what: String) { if faults.count < 5 { faults.append("at \(kernel.now) ms: \(what)") } }

    /// Runs it to its end and says what was wrong.
    func run() -> [String] {
        for round in 0..<1 + random.below(3) where faults.isEmpty {
            for _ in 0..<60 + random.below(200) where faults.isEmpty { step() }
            rest(round)
        }
        for reader in readers {
            met["snapshots", default: 0] += reader.model.snapshots
            met["conflations", default: 0] += reader.model.conflations
            met["gaps", default: 0] += reader.model.gaps
            met["comebacks", default: 0] += max(0, reader.comebacks - 1)
            met["byes", default: 0] += reader.byes
            reader.leave()
        }
        met["resnapshots", default: 0] += Int(engine.metrics.resnapshots)
        met["images", default: 0] += Int(engine.hub.images.made)
        guard faults.isEmpty else { return faults }
        for _ in 0..<400 {
            kernel.advance(milliseconds: 100)
            turn()
        }
        let images = engine.hub.images.images.filter { $0.readers > 0 || !$0.waiting.isEmpty }
        if !images.isEmpty { fail("\(images.count) images have readers when all have gone") }
        audit()
        return faults
    }

    private func turn() {
        _ = engine.turn(wait: false)
        for fault in HistoryAudit(engine).faults(&sightings) { fail(fault) }
    }

    private func audit() {
        for fault in EngineAudit(engine).faults(&sightings) { fail(fault) }
        if engine.hub.images.builder == nil, engine.hub.states.walk != nil { fail("a walk that nobody goes on with") }
    }

    private func step() {
        for _ in 0..<random.below(random.chance(0.1) ? 40 : 4) { publish() }
        if random.chance(0.8) { turn() } else { kernel.advance(milliseconds: UInt64(random.magnitude(1...500))) }
        for reader in readers {
            switch random.below(12) {
            case 0: reader.connect(head: truth.head)
            case 1 where random.chance(0.1): reader.leave()
            case 2...5: read(reader, random.magnitude(1...4095))
            case 6: read(reader, .max)
            default: break
            }
        }
        if random.chance(0.3) { audit() }
    }

    private func read(_ reader: KeptReader, _ most: Int) {
        do {
            try reader.read(most, truth)
        } catch {
            fail("\(error)")
        }
    }

    private func publish() {
        let channel = random.pick(Self.channels)
        let key = "k\(random.below(12))"
        let pad = String(repeating: "x", count: random.below(random.chance(0.1) ? 600 : 40))
        var event = KeptEvent(channel: channel, kind: "put", change: .put(key), payload: [])
        switch random.below(20) {
        case 0, 1:
            event.kind = "whole"
            event.change = .put("\u{1}whole")
        case 2...5:
            event.kind = "gone"
            event.change = .gone(key)
        case 6, 7:
            event.kind = "plain"
            event.change = .plain
        case 8 where random.chance(0.2):
            event.kind = "all"
            event.change = .all
        default: break
        }
        if channel == "plain" { event.change = .plain }
        event.payload = Array(#"{"type":"\#(event.kind)","key":"\#(key)","n":\#(truth.head),"pad":"\#(pad)"}"#.utf8)
        guard let index = ChannelName(channel).flatMap(engine.hub.channel) else { return fail("no channel \(channel)") }
        do {
            try engine.hub.stage(event.payload.span, rules: engine.hub.channels[index].rules)
            let receipt = try engine.publishStaged(to: .channel(index), level: nil)
            truth.add(event)
            if receipt.last != truth.head { fail("event \(truth.head) is number \(receipt.last)") }
        } catch {
            fail("\(error)")
        }
    }

    /// Nothing is published, everybody reads: soon everybody has everything, and knows what is true.
    private func rest(_ round: Int) {
        let before = kernel.faults
        kernel.heal()
        for reader in readers { reader.connect(head: truth.head) }
        var calm = 0
        var turns = 0
        while calm < 4, faults.isEmpty {
            turn()
            kernel.advance(milliseconds: 20)
            let sent = engine.delivery.counters.bytesSent
            for reader in readers {
                read(reader, .max)
                reader.connect(head: truth.head)
            }
            turn()
            let isBusy =
                engine.delivery.counters.bytesSent != sent || !engine.replays.isEmpty || engine.hub.images.hasWork
                || !engine.starved.isEmpty || !engine.resting.isEmpty || !kernel.isQuiet
                || readers.contains(where: \.isAsking) || engine.delivery.queue.count > 0
                || engine.delivery.sendsInFlight > 0
            calm = isBusy ? 0 : calm + 1
            turns += 1
            if turns > 5000 { fail("\(turns) turns and no rest") }
        }
        checkServer()
        for reader in readers where faults.isEmpty {
            do {
                try reader.checkComplete(truth)
            } catch {
                fail("in round \(round): \(error); \(describe())")
            }
        }
        audit()
        kernel.faults = before
    }

    /// The connections that somebody reads, for a failure.
    private func describe() -> String {
        (0..<UInt32(engine.delivery.connections.slotsUsed)).compactMap { slot -> String? in
            let connection = engine.delivery.connections[slot]
            guard connection.phase != .free, connection.phase != .listener else { return nil }
            return "\(slot) \(connection.phase) \(connection.transport) \(String(connection.flags.rawValue, radix: 2)) "
                + "\(connection.ring.byteCount) bytes, \(connection.queuedSeq) \(connection.replaySeq)"
        }.joined(separator: "; ")
    }

    /// The server's own state, read from its tables.
    private func checkServer() {
        for name in Self.channels {
            guard let known = ChannelName(name), let channel = engine.hub.channels.index(of: known) else { continue }
            var seqs: Set<UInt64> = []
            let table = engine.hub.channels[channel].state
            if table != States.none {
                var place = engine.hub.states[table].first
                while place != StateRow.none {
                    let row = engine.hub.states[table][place]
                    if row.isLive { seqs.insert(row.seq) }
                    place = row.next
                }
            }
            let right = Set(truth.states[truth.events.count].of { $0 == name }.rows.values)
            if seqs != right { fail("the state of \(name) is \(seqs.sorted()), \(right.sorted()) is true") }
        }
    }
}
