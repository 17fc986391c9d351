// Bytes from outside that are almost right, in pieces of any size, at every door: nothing traps and nothing stays.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Hostile input")
struct HostileInputTests {
    /// What is right, to be made wrong.
    static let samples: [(address: SocketAddress, bytes: [UInt8])] = [
        (
            SimulatedServer.http,
            Array(
                (RequestText.get("/v1/events?channel=a/*&types=x&from=start", ["Accept: text/event-stream"]) + "junk")
                    .utf8)
        ),
        (SimulatedServer.http, Array((RequestText.post("{\"type\":\"x\"}") + RequestText.get("/healthz")).utf8)),
        (SimulatedServer.http, Array((HTTPCycleTests.chunked + HTTPCycleTests.chunked).utf8)),
        (
            SimulatedServer.http,
            Array(RequestText.get("/v1/events", RequestText.upgrade).utf8)
                + ServerFrame.clientText("{\"$subscribe\":{\"channel\":[\"a\"],\"from\":\"00000000000000e1-1\"}}")
                + ServerFrame.client(9, [1, 2]) + ServerFrame.client(8, [3, 232])
        ),
        (
            SimulatedServer.httpUnix,
            Array(RequestText.post("{}\n{\"a\":[1,2,{\"b\":null}]}\n", type: "application/x-ndjson").utf8)
        ),
        (
            SimulatedServer.events,
            Array("{\"$subscribe\":{\"channel\":[\"a/**\",\"b\"],\"types\":[\"x\"],\"on_lag\":\"gap\"}}\nmore\n".utf8)
        ),
        (SimulatedServer.jsonl, Array("\n\n{\"$subscribe\":{\"from\":\"start\",\"on_gap\":\"fail\"}}\n".utf8)),
        (
            SimulatedServer.ingest,
            Array(
                "{\"$ack\":true}\n{\"type\":\"x\"}\n{\"$publish\":{\"event\":{\"a\":1},\"channel\":\"a/b\"}}\n{}"
                    .utf8)
        ),
        (
            SimulatedServer.ingestFixed,
            Array("{\"$publish\":{\"event\":{\"\\u0073eq\":1}}}\n{\"a\":\"\\ud800\"}\r\n\n[]\n".utf8)
        ),
    ]

    private func mutated(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<random.below(5) {
            let place = random.below(max(1, bytes.count))
            switch random.below(7) {
            case 0: bytes.insert(UInt8(random.below(256)), at: min(place, bytes.count))
            case 1 where !bytes.isEmpty: bytes.remove(at: place)
            case 2 where !bytes.isEmpty: bytes[place] = UInt8(random.below(256))
            case 3 where !bytes.isEmpty: bytes[place] ^= UInt8(1 << random.below(8))
            case 4: bytes.removeSubrange(min(place, bytes.count)...)
            case 5: bytes += bytes.prefix(random.below(64))
            default:
                bytes.insert(
                    contentsOf: [UInt8](
                        repeating: random.pick([0x5B, 0x20, 0x0A, 0xFF, 0x22]),
                        count: random.magnitude(1...2000)), at: min(place, bytes.count))
            }
        }
        return bytes
    }

    @Test("mutated input at every door, with events going out meanwhile", arguments: 0..<12)
    func mutations(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed) &* 977)
        let faults = seed % 3 == 2 ? SimulatedFaults.swarm(seed: UInt64(seed), cuts: true) : .none
        let server = try SimulatedServer(
            seed: UInt64(seed), pipeBytes: random.pick([300, 4096, 65_536]), faults: faults
        ) {
            $0.limits.events = 30
            $0.onLag = random.chance(0.5) ? .gap : .close
        }
        var clients: [SimulatedClient] = []
        for _ in 0..<150 {
            let sample = random.pick(Self.samples)
            guard let peer = server.kernel.connect(to: sample.address) else { continue }
            let client = SimulatedClient(server, peer)
            clients.append(client)
            let bytes = mutated(sample.bytes, &random)
            var pieces: [Int] = []
            while pieces.reduce(0, +) < bytes.count { pieces.append(random.magnitude(1...max(1, bytes.count))) }
            client.write(bytes, pieces: pieces)
            if random.chance(0.5) { try server.publish("{\"type\":\"x\",\"pad\":\"xxxxxxxxxxxxxxxxxxxx\"}", on: "a/b") }
            if random.chance(0.1) { server.pass(milliseconds: random.magnitude(1...20_000), step: 4000) }
            switch random.below(6) {
            case 0: client.read()
            case 1 where !clients.isEmpty:
                let gone = clients.remove(at: random.below(clients.count))
                if random.chance(0.5) { server.kernel.peerReset(gone.peer) } else { gone.close() }
            case 2: server.kernel.peerFinish(clients.removeLast().peer)
            default: break
            }
        }
        server.kernel.heal()
        // Accepting may be resting.
        server.pass(milliseconds: 2_000)
        let healthy = try SimulatedReader(server, .sse)
        _ = healthy.take()
        let seq = try server.publish("{\"type\":\"still here\"}")
        #expect(healthy.takeSeqs() == [Int(seq)])
        server.kernel.raiseSignal(15)
        server.settle()
        server.pass(milliseconds: 6_000, step: 500)
        #expect(!server.isRunning)
        #expect(server.log.allSatisfy { line in line.unicodeScalars.allSatisfy { $0.value >= 0x20 } })
    }
}
