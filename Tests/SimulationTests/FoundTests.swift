// What the simulation has found, each as its smallest scenario.
import FanoutServer
import Reactor
import Testing

@testable import FanoutServer

@Suite("Found in the simulation")
struct FoundTests {
    /// A server without faults that nobody else uses; what a peer got is all there is.
    private final class Stage {
        let world: World
        var kernel: SimulatedKernel { world.kernel }

        init(usesEpoll: Bool = false, _ change: (inout Plan) -> Void = { _ in }) throws {
            world = try World(seed: 1) { plan in
                plan.usesEpoll = usesEpoll
                plan.faults = .none
                (plan.connectionsMax, plan.perAddressMax, plan.perUserMax) = (nil, nil, nil)
                plan.lagLimits = Configuration.LagLimits()
                plan.kernelLimits = SimulatedKernel.Limits()
                plan.kernelLimits.waitMillisecondsMax = 10
                plan.shares = Engine.Shares()
                plan.heartbeatSeconds = 3600
                (plan.historyBytes, plan.memoryMax) = (nil, nil)
                plan.segmentBytes = SegmentStore.segmentBytes
                change(&plan)
            }
        }

        func connect(_ address: SocketAddress, _ text: String = "") throws -> SimulatedPeer {
            let peer = try #require(kernel.connect(to: address))
            write(peer, text)
            return peer
        }

        func write(_ peer: SimulatedPeer, _ text: String) {
            #expect(kernel.peerWrite(peer, Array(text.utf8)) == text.utf8.count)
        }

        func turns(_ count: Int) { for _ in 0..<count { _ = world.engine.turn(wait: false) } }

        func read(_ peer: SimulatedPeer) -> String { String(decoding: kernel.peerRead(peer), as: UTF8.self) }

        func batch(_ channel: String, _ bodies: [String]) -> String {
            let body = bodies.map { $0 + "\n" }.joined()
            return "POST /v1/events?channel=\(channel) HTTP/1.1\r\nHost: localhost:7575\r\n"
                + "Content-Type: application/x-ndjson\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body
        }
    }

    @Test(
        "a send that the kernel has no memory for is tried again; nobody loses a stream by it",
        arguments: [false, true])
    func sendWithoutMemory(usesEpoll: Bool) throws {
        let stage = try Stage(usesEpoll: usesEpoll)
        let reader = try stage.connect(World.unix("events.socket"))
        stage.turns(3)
        #expect(stage.read(reader).contains("$hello"))
        stage.kernel.faults = .only(.sendNoMemory, 1)
        _ = try stage.connect(World.unix("ingest.socket"), "{\"n\":1}\n")
        stage.turns(5)
        #expect(stage.read(reader) == "")
        #expect(stage.world.engine.loop.stats.sends < 10, "it is not tried in a spin")
        stage.kernel.faults = .none
        stage.kernel.advance(milliseconds: 100)
        stage.turns(5)
        #expect(stage.read(reader) == "{\"seq\":1,\"channel\":\"events\",\"n\":1}\n")
    }

    @Test("a $subscribe that comes behind the server's $bye begins no new stream", arguments: [false, true])
    func subscribeAfterBye(usesEpoll: Bool) throws {
        let stage = try Stage(usesEpoll: usesEpoll) { $0.connectionsMax = 9 }
        let line = "{\"$subscribe\":{\"channel\":\"a\"}}\n"
        let reader = try stage.connect(World.unix("events.socket"), line)
        stage.turns(1)
        stage.turns(3)
        _ = try stage.connect(World.unix("ingest/a.socket"), "{\"n\":1}\n")
        stage.turns(5)
        let text = stage.read(reader)
        #expect(text.hasPrefix("{\"type\":\"$bye\",\"code\":1013"))
        #expect(text.split(separator: "\n").count == 1)
    }

    @Test("a channel that is named twice, before it exists, is delivered once", arguments: [false, true])
    func namedTwice(usesEpoll: Bool) throws {
        let stage = try Stage(usesEpoll: usesEpoll)
        let reader = try stage.connect(
            World.http, "GET /v1/events?channel=new&channel=new&control=off HTTP/1.1\r\nHost: localhost:7575\r\n\r\n")
        stage.turns(3)
        #expect(stage.read(reader).hasSuffix("\r\n\r\n"))
        _ = try stage.connect(World.http, stage.batch("new", ["{\"n\":1}"]))
        stage.turns(5)
        #expect(stage.read(reader) == "{\"seq\":1,\"channel\":\"new\",\"n\":1}\n")
        stage.kernel.peerReset(reader)
        stage.turns(5)
        #expect(EngineAudit(stage.world.engine).faults(&stage.world.sightings) == [])
    }

    @Test(
        "an HTTP client that takes its answers slowly, longer than a connection may idle, gets them whole",
        arguments: [false, true])
    func slowAnswers(usesEpoll: Bool) throws {
        let stage = try Stage(usesEpoll: usesEpoll) { $0.kernelLimits.pipeBytes = 512 }
        let get = "GET /metrics HTTP/1.1\r\nHost: localhost:7575\r\n\r\n"
        let client = try stage.connect(World.http, get + get)
        var responses = ResponseReader()
        var bodies = 0
        for _ in 0..<400 where bodies < 2 {
            stage.kernel.advance(milliseconds: 5_000)
            stage.turns(3)
            responses.append(stage.kernel.peerRead(client, max: 200))
            while let response = try responses.next() {
                #expect(response.status == 200)
                bodies += 1
            }
        }
        #expect(bodies == 2)
        #expect(!stage.kernel.peerAtEnd(client))
        // Once it has them it is idle, and that ends.
        stage.kernel.advance(milliseconds: 80_000)
        stage.turns(5)
        #expect(stage.kernel.peerAtEnd(client))
    }

    @Test(
        "a reader that has just taken a burst is not cut for the next one before that was offered to it",
        arguments: [false, true])
    func burstAfterBurst(usesEpoll: Bool) throws {
        let stage = try Stage(usesEpoll: usesEpoll) { plan in
            plan.lagLimits.events = 2
            plan.onLag = .close
        }
        let reader = try stage.connect(World.unix("events.socket"))
        let publisher = try stage.connect(World.http)
        stage.turns(3)
        _ = stage.read(reader)
        let events = (0..<10).map { "{\"n\":\($0)}" }
        for burst in 0..<5 {
            stage.write(publisher, stage.batch("a", events))
            // Publishers may rest a little while the reader is over its limits.
            for _ in 0..<20 where stage.world.head < UInt64(10 * burst + 10) {
                stage.kernel.advance(milliseconds: 16)
                stage.turns(1)
            }
            #expect(stage.world.head == UInt64(10 * burst + 10))
        }
        stage.turns(3)
        let seqs = stage.read(reader).split(separator: "\n").map { $0.prefix { $0 != "," } }
        #expect(seqs == (1...50).map { "{\"seq\":\($0)" })
    }

    @Test("a publisher with more input than a turn's share does not keep the others waiting", arguments: [false, true])
    func inputInTurn(usesEpoll: Bool) throws {
        let stage = try Stage(usesEpoll: usesEpoll) { $0.shares.turnInputBytes = 16 }
        let lines = String(repeating: "{\"n\":1}\n", count: 200)
        _ = try stage.connect(World.unix("ingest.socket"), lines)
        _ = try stage.connect(World.unix("ingest/a.socket"), lines)
        stage.turns(20)
        let counts = (0..<2).map { stage.world.engine.hub.channels[$0].eventCount }
        #expect(counts[0] + counts[1] < 200, "they are not done yet")
        #expect(counts.allSatisfy { $0 > 10 }, "each gets its turns: \(counts)")
    }

    @Test("a $gap that is told to who comes after the end of a channel is counted", arguments: [false, true])
    func gapAfterEnd(usesEpoll: Bool) throws {
        let stage = try Stage(usesEpoll: usesEpoll) { $0.historyBytes = 0 }
        let keeper = try stage.connect(World.http, stage.batch("gone", ["{\"n\":1}"]))
        stage.turns(3)
        stage.write(keeper, "DELETE /v1/channels?channel=gone HTTP/1.1\r\nHost: localhost:7575\r\n\r\n")
        stage.turns(3)
        let before = stage.world.engine.metrics.gaps
        let reader = try stage.connect(
            World.http, "GET /v1/events?channel=gone&from=start HTTP/1.1\r\nHost: localhost:7575\r\n\r\n")
        stage.turns(4)
        let text = stage.read(reader)
        #expect(text.contains("\"$gap\"") && text.contains("\"$bye\""), "\(text)")
        #expect(stage.world.engine.metrics.gaps == before + 1)
    }

    @Test(
        "a reader that subscribes anew while it lags is told of every event it missed, in order, and of none twice",
        arguments: [false, true])
    func subscribeWhileLagging(usesEpoll: Bool) throws {
        for unread in stride(from: 0, to: 400, by: 7) {
            let stage = try Stage(usesEpoll: usesEpoll) { plan in
                plan.lagLimits.events = 4
                plan.onLag = .gap
                plan.eventBytesMax = 126
            }
            let publisher = try stage.connect(World.http)
            stage.kernel.limits.pipeBytes = 256
            let reader = try stage.connect(World.unix("events.socket"))
            let wanted = [Wanted.everything, Wanted(patterns: ["a"])]
            var record = StreamRecord(epoch: stage.world.truth.epoch, isSSE: false)
            var stream = StreamReader(.jsonl)
            func publish(_ count: Int) throws {
                var bodies: [String] = []
                for _ in 0..<count {
                    let event = stage.world.maker.event(discriminator: "type", channelBytes: 1)
                    _ = stage.world.truth.offer(event, channel: 1)
                    bodies.append(String(decoding: event.text, as: UTF8.self))
                }
                stage.write(publisher, stage.batch("a", bodies))
                stage.turns(4)
                stage.kernel.advance(milliseconds: 300)
                stage.turns(4)
                _ = stage.read(publisher)
                stage.world.attendAuditor()
            }
            func take(_ bytesMax: Int) throws {
                stream.append(stage.kernel.peerRead(reader, max: bytesMax))
                while let told = try stream.next() {
                    switch told {
                    case .event(let seq, _, _, _, let id): try record.noteEvent(seq, id: id)
                    case .record(let json, let id, let retry):
                        try record.noteRecord(json, id: id, retry: retry, discriminators: ["type"]) { _ in false }
                    default: Issue.record("\(told)")
                    }
                }
            }
            stage.turns(3)
            for _ in 0..<3 { try publish(6) }
            try take(unread)
            stage.turns(3)
            stage.write(reader, "{\"$subscribe\":{\"channel\":\"a\"}}\n")
            stage.turns(3)
            for _ in 0..<3 { try publish(6) }
            for _ in 0..<100 {
                try take(.max)
                stage.turns(2)
            }
            try publish(1)
            try take(.max)
            stage.turns(3)
            try take(.max)
            #expect(record.helloCount == 2)
            let verdict = StreamVerdict(
                truth: stage.world.truth, wanted: wanted, onLag: "gap", mayLag: true, isComplete: true, begin: (0, 0))
            do { try verdict.check(record.entries) } catch { Issue.record("\(error): \(record.entries)") }
        }
    }
}
