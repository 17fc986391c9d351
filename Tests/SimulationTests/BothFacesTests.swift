/// The server on completions and on epoll: where nothing goes wrong, nobody can tell which it is.

import FanoutServer
import Glibc
import Reactor
import Testing

@testable import FanoutServer

/// What the clients of a calm world do, one thing after the other, all of it decided beforehand: nothing depends on
/// what the server answers, or on when it does.
private struct Script {
    enum Step {
        case connect(SocketAddress)
        case write(client: Int, [UInt8])
        case read(client: Int, max: Int)
        case finish(client: Int)
        case leave(client: Int, reset: Bool)
        /// After everybody has read everything.
        case pass(milliseconds: UInt64)
    }

    private enum Kind { case reader(isWebSocket: Bool, isRaw: Bool), http, ingest }

    private(set) var steps: [Step] = []
    private var random: SeededRandom
    private var maker: EventMaker
    private var kinds: [Kind?] = []
    private let epoch: String
    private static let headers = "Host: localhost:7575\r\n"

    init(seed: UInt64, epoch: String) {
        self.epoch = epoch
        random = SeededRandom(seed: seed &* 0x9e37_79b9_7f4a_7c15 ^ 0x424f_5448)
        maker = EventMaker(random: random.fork(), bytesMax: random.chance(0.3) ? 4096 : 126)
        for _ in 0..<40 + random.below(60) { draw() }
    }

    private mutating func draw() {
        let present = kinds.indices.filter { kinds[$0] != nil }
        if present.isEmpty || (present.count < 12 && random.chance(0.25)) { return connect() }
        let client = random.pick(present)
        switch random.below(20) {
        case 0:
            steps.append(.leave(client: client, reset: random.chance(0.3)))
            kinds[client] = nil
        case 1:
            steps.append(.finish(client: client))
            kinds[client] = nil
        case 2, 3: steps.append(.pass(milliseconds: UInt64(random.magnitude(1...4095))))
        case 4...8: steps.append(.read(client: client, max: random.magnitude(1...4095)))
        default: say(client)
        }
    }

    private mutating func connect() {
        let client = kinds.count
        switch random.below(8) {
        case 0:
            steps.append(.connect(World.unix("events.socket")))
            kinds.append(.reader(isWebSocket: false, isRaw: true))
        case 1:
            steps.append(.connect(World.jsonl))
            kinds.append(.reader(isWebSocket: false, isRaw: true))
        case 2...4:
            steps.append(.connect(random.chance(0.7) ? World.http : World.unix("http.socket")))
            var head = "GET /v1/events\(Wanted.drawn(&random, head: 40).query(epoch: epoch, &random)) HTTP/1.1\r\n"
            let accept = random.below(3)
            if accept == 1 { head += "Accept: text/event-stream\r\n" }
            if accept == 2 {
                head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            kinds.append(.reader(isWebSocket: accept == 2, isRaw: false))
            write(client, head + Self.headers + "\r\n")
        case 5:
            steps.append(.connect(World.unix(random.chance(0.5) ? "ingest.socket" : "ingest/a.socket")))
            kinds.append(.ingest)
            if random.chance(0.7) { write(client, "{\"$ack\":true}\n") }
        default:
            steps.append(.connect(World.http))
            kinds.append(.http)
        }
    }

    private mutating func say(_ client: Int) {
        switch kinds[client] {
        case .reader(true, _):
            let payload = Array("ping \(random.below(1000))".utf8)
            steps.append(.write(client: client, clientFrame(random.pick([9, 9, 10]), payload)))
        case .reader(_, true):
            write(client, Wanted.drawn(&random, head: 40).line(epoch: epoch, &random) + "\n")
        case .reader:
            steps.append(.read(client: client, max: .max))
        case .ingest:
            for _ in 0..<random.magnitude(1...15) {
                write(client, random.chance(0.05) ? "{\"a\":01}\n" : event(0) + "\n")
            }
        case .http:
            let channel = random.below(Channels.names.count)
            let batch = (0..<random.magnitude(1...15)).map { _ in event(channel) + "\n" }.joined()
            var text = "POST /v1/events?channel=\(Channels.names[channel]) HTTP/1.1\r\n" + Self.headers
            text += "Content-Type: application/x-ndjson\r\nContent-Length: \(batch.utf8.count)\r\n\r\n" + batch
            if random.chance(0.3) {
                text += "GET \(random.pick(["/healthz", "/nowhere", "/"])) HTTP/1.1\r\n" + Self.headers + "\r\n"
            }
            write(client, text)
        case nil: break
        }
    }

    private mutating func event(_ channel: Int) -> String {
        let name = Channels.names[channel]
        let made = maker.event(discriminator: Channels.discriminator(channel), channelBytes: name.utf8.count)
        return String(decoding: made.text, as: UTF8.self).replacing("\n", with: " ").replacing("\r", with: " ")
    }

    /// In one piece or in several.
    private mutating func write(_ client: Int, _ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = random.chance(0.8) ? rest.count : random.length(upTo: rest.count)
            steps.append(.write(client: client, Array(rest.prefix(count))))
            rest = rest.dropFirst(count)
        }
    }
}

/// A server that such a script is played to, and what each client got of it.
private final class Stage {
    struct Outcome: Equatable {
        var bytes: [UInt8] = []
        var hasEnded = false
        var wasReset = false
    }

    private final class Client {
        let peer: SimulatedPeer
        var unsent: [UInt8] = []
        var isGone = false
        var isFinishing = false
        var hasFinished = false
        var outcome = Outcome()

        init(_ peer: SimulatedPeer) { self.peer = peer }
    }

    private let world: World
    private var kernel: SimulatedKernel { world.kernel }
    var epoch: String { world.truth.epoch }
    var sendsParked: Int { kernel.trace.sendsParked }
    private var clients: [Client] = []
    private var isRunning = true

    init(seed: UInt64, usesEpoll: Bool) throws {
        world = try World(seed: seed) { plan in
            plan.usesEpoll = usesEpoll
            plan.faults = .none
            plan.connectionsMax = nil
            plan.lagLimits.events = 1 << 30
            plan.lagLimits.bytes = 1 << 30
            plan.lagLimits.ageMilliseconds = 1 << 30
            // Who reads a little and leaves has read what had found room by then: that must not depend on the face.
            plan.kernelLimits.pipeBytes = max(plan.kernelLimits.pipeBytes, 256)
            plan.kernelLimits.writableWithAnyRoom = true
            plan.crampedPipeBytes = nil
            (plan.memoryMax, plan.perAddressMax, plan.perUserMax) = (nil, nil, nil)
            // What has gone while it was sent depends on how many turns that took.
            plan.historyBytes = nil
            // How many requests are used before a publisher waits for its answers to be read depends on how many turns
            // they came in, and so does who goes on first where several wait.
            plan.shares.answersPendingBytes = Engine.Shares().answersPendingBytes
        }
    }

    /// Plays all of it, stops the server, and says what everybody got.
    func play(_ script: Script) throws -> [Outcome] {
        for step in script.steps { try take(step) }
        drain()
        kernel.raiseSignal(SIGTERM)
        for _ in 0..<200 where isRunning {
            drain()
            kernel.advance(milliseconds: 50)
        }
        #expect(!isRunning, "the server did not stop")
        drain()
        return clients.map(\.outcome)
    }

    private func take(_ step: Script.Step) throws {
        switch step {
        case .connect(let address): clients.append(Client(try #require(kernel.connect(to: address))))
        case .write(let index, let bytes): clients[index].unsent += bytes
        case .read(let index, let bytesMax): read(clients[index], max: bytesMax)
        case .finish(let index): clients[index].isFinishing = true
        case .leave(let index, let reset):
            let client = clients[index]
            guard !client.isGone else { break }
            client.isGone = true
            if reset { kernel.peerReset(client.peer) } else { kernel.peerClose(client.peer) }
        case .pass(let milliseconds):
            drain()
            kernel.advance(milliseconds: milliseconds)
        }
        settle()
    }

    /// Turns until nothing more happens by itself, while the clients write what they still have.
    private func settle() {
        var calm = 0
        for _ in 0..<20_000 where calm < 4 {
            for client in clients where !client.isGone { write(client) }
            if isRunning, !world.engine.turn(wait: false) { isRunning = false }
            world.attendAuditor()
            let isQuiet =
                kernel.isQuiet && world.engine.delivery.queue.count == 0 && world.engine.deferred.isEmpty
                && world.engine.replays.isEmpty
            calm = isQuiet || !isRunning ? calm + 1 : 0
        }
    }

    /// Everybody reads everything, one after the other.
    private func drain() {
        for _ in 0..<2_000 {
            settle()
            var isDone = true
            for client in clients where !client.isGone && kernel.peerUnread(client.peer) > 0 {
                read(client, max: .max)
                settle()
                isDone = false
            }
            if isDone { break }
        }
        for client in clients where !client.isGone {
            client.outcome.hasEnded = kernel.peerAtEnd(client.peer)
            client.outcome.wasReset = kernel.peerWasReset(client.peer)
        }
    }

    private func read(_ client: Client, max: Int) {
        if !client.isGone { client.outcome.bytes += kernel.peerRead(client.peer, max: max) }
    }

    private func write(_ client: Client) {
        guard !client.hasFinished else { return }
        if !client.unsent.isEmpty {
            let taken = kernel.peerWrite(client.peer, client.unsent)
            if taken < 0 { client.unsent = [] } else { client.unsent.removeFirst(taken) }
        }
        if client.isFinishing, client.unsent.isEmpty {
            client.hasFinished = true
            kernel.peerFinish(client.peer)
        }
    }
}

@Suite("The server on completions and on epoll")
struct BothFacesTests {
    @Test("without faults, the same script gives every client the same bytes and the same end")
    func sameStreams() throws {
        var bytes = 0
        var ends = 0
        var sendsParked = 0
        for seed in 0..<100 as Range<UInt64> {
            let stages = try [false, true].map { try Stage(seed: seed, usesEpoll: $0) }
            let script = Script(seed: seed, epoch: stages[0].epoch)
            let first = try stages[0].play(script)
            let second = try stages[1].play(script)
            #expect(first.count == second.count)
            for (index, (one, other)) in zip(first, second).enumerated() where one != other {
                let same = zip(one.bytes, other.bytes).prefix { $0 == $1 }.count
                Issue.record(
                    """
                    seed \(seed), client \(index): \(one.bytes.count) and \(other.bytes.count) bytes, equal up to \
                    \(same); ends \(one.hasEnded) \(other.hasEnded), resets \(one.wasReset) \(other.wasReset)
                    \(String(decoding: one.bytes.dropFirst(max(0, same - 40)).prefix(200), as: UTF8.self))
                    \(String(decoding: other.bytes.dropFirst(max(0, same - 40)).prefix(200), as: UTF8.self))
                    """)
            }
            bytes += first.reduce(0) { $0 + $1.bytes.count }
            ends += first.count { $0.hasEnded }
            sendsParked += stages.map(\.sendsParked).min() ?? 0
        }
        #expect(bytes > 200_000 && ends > 200, "\(bytes) bytes, \(ends) ends: the scripts say too little")
        #expect(sendsParked > 500, "\(sendsParked) sends found no room: the pipes are too wide")
    }
}
