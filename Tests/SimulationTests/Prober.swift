/// A client that says one thing to which there is one right answer: most often a refusal with its own code.

import Reactor

/// Sends one request, or one WebSocket handshake and one burst of frames, and holds the answer against what the
/// specifications and DESIGN section 12 say.
final class Prober: Client {
    private let probe: Probe
    private var responses = ResponseReader()
    private var stream: StreamReader?
    private var record: StreamRecord
    private var hasAnswer = false
    private var hasClosed = false

    init(_ world: World, _ peer: SimulatedPeer, number: Int) {
        var random = world.random.fork()
        probe = Probe.drawn(&random, hasRoom: world.plan.hasRoom)
        record = StreamRecord(epoch: world.truth.epoch, isSSE: false)
        super.init(world, peer, "prober \(number) (\(probe.name))", pace: .eager)
        unsent = Array(probe.request)
    }

    override var isAwaitingAnswer: Bool { !hasAnswer || probe.mustEnd }

    override func take(_ bytes: [UInt8]) throws {
        guard stream == nil else { return try hear(bytes) }
        responses.append(bytes)
        guard let response = try responses.next() else { return }
        guard !hasAnswer else { throw Malformed("a second answer: \(response)") }
        let isTurnedAway =
            [429, 503].contains(response.status) && world.plan.isTight || response.status == 503 && world.isShuttingDown
        // Whoever was held up for ten seconds, by a suspended machine or slow completions, is told so.
        if response.status == 408 || isTurnedAway {
            hasAnswer = true
            return leave(reset: false)
        }
        guard response.status == probe.status else {
            throw Malformed("\(response.status) instead of \(probe.status): \(response.body.excerpt)")
        }
        if response.status == 101 {
            stream = StreamReader(.webSocket)
            unsent += probe.frames
            return try hear(responses.takeRest())
        }
        hasAnswer = true
        world.sightings.probes += 1
        guard response.keepsAlive != probe.mustEnd || world.isShuttingDown else {
            throw Malformed("after \(response.status) the connection \(probe.mustEnd ? "goes on" : "ends")")
        }
        if !probe.mustEnd { leave(reset: false) }
    }

    private func hear(_ bytes: [UInt8]) throws {
        stream?.append(bytes)
        while !isGone, let told = try stream?.next() {
            guard !hasClosed else { throw Malformed("\(told) after a close frame") }
            switch told {
            case .event(let seq, let channel, let time, let payload, let id):
                try world.truth.observe(seq: seq, channel: channel, time: time, payload: payload)
                try record.noteEvent(seq, id: id)
            case .unstamped: break
            case .record(let json, let id, let retry):
                try record.noteRecord(json, id: id, retry: retry, discriminators: ["type"]) { $0 == 1013 }
            case .ping(let payload): unsent += clientFrame(10, payload)
            case .comment, .pong: break
            case .close(let code, _): try closed(code.map(UInt64.init))
            }
        }
    }

    /// The right code, unless the stream was ended for a reason of the server's own.
    private func closed(_ code: UInt64?) throws {
        hasClosed = true
        hasAnswer = true
        var others: Set<UInt64> = []
        if !world.plan.isCalm { others = [4008, 4408] }
        if world.plan.isTight { others.insert(1013) }
        if world.isShuttingDown { others.insert(1001) }
        if let bye = record.byeCode, bye == code, others.contains(bye) { return }
        guard code == probe.closeCode else { throw Malformed("close \(code ?? 0) instead of \(probe.closeCode ?? 0)") }
        world.sightings.probes += 1
    }

    override func ended(_ end: End) throws {
        if hasAnswer || world.isShuttingDown { return }
        if end == .clean, mayBeBrokenOff(isSilent: record.entries.isEmpty && responses.isAtBoundary) { return }
        if !world.plan.isCalm || world.plan.isTight { return }
        throw Malformed("ended without an answer")
    }

    override func settle() { hasBeenPatient = true }

    private var hasBeenPatient = false

    /// Called when the world has settled: whoever is still there must have been answered, and left or been ended.
    func noteComplete() {
        guard !isGone, hasBeenPatient else { return }
        world.fail("\(name): \(hasAnswer ? "was not let go" : "never had its answer")")
    }
}
