// Those who come back beside everybody else: how much a turn gives them, who of them is too slow, what they leave.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Replay under load")
struct ReplayLoadTests {
    private static let e = SimulatedServer.epochText

    private func server(
        history: Int? = nil, pipeBytes: Int = 65_536, _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes) {
            $0.segmentBytes = 4096
            $0.historyBytes = history
            configure(&$0)
        }
    }

    private func publish(_ server: SimulatedServer, _ count: Int, bytes: Int = 100) throws {
        for _ in 0..<count {
            try server.publish("{\"pad\":\"\(String(repeating: "x", count: bytes))\"}")
        }
    }

    @Test("a turn gives out no more of the history than its share and one page, and live readers come first")
    func share() throws {
        let server = try server()
        server.engine.shares.replayBytes = 10_000
        try publish(server, 400)
        let live = try SimulatedReader(server, .sse)
        _ = live.take()
        server.kernel.limits.pipeBytes = 2000
        var readers: [PatientReader] = []
        for place in 0..<100 {
            readers.append(try PatientReader(server, ReaderKind.allCases[place % 5], Comeback("start")))
        }
        // They have read nothing: a page waits for each. Now all read, and events go on.
        for reader in readers { _ = server.kernel.peerRead(reader.client.peer) }
        var turns = 0
        var published = 400
        while server.engine.hub.replayingCount > 0 {
            let before = server.engine.metrics.replayedBytes
            try server.publish("{\"now\":1}")
            published += 1
            server.kernel.advance(milliseconds: 10)
            _ = server.engine.turn(wait: false)
            let replayed = server.engine.metrics.replayedBytes - before
            #expect(replayed <= 10_000 + 4096 + 512, "\(replayed) bytes in a turn")
            #expect(!server.engine.rest.isResting, "publishers rest for those who come back")
            _ = server.engine.turn(wait: false)
            let heard = String(decoding: server.kernel.peerRead(live.client.peer), as: UTF8.self)
            #expect(heard.contains("id: \(Self.e)-\(published)\n"), "\(published) has not come two turns later")
            for reader in readers { _ = server.kernel.peerRead(reader.client.peer) }
            turns += 1
            try #require(turns < 10_000)
        }
        #expect(turns > 20)
    }

    @Test(
        "a reader whose socket takes nothing is ended for its age alone, with a place that continues exactly",
        arguments: ReaderKind.allCases)
    func tooOld(kind: ReaderKind) throws {
        let server = try server(pipeBytes: 700) {
            $0.limits.events = 2
            $0.limits.bytes = 300
            $0.limits.ageMilliseconds = 5000
        }
        try publish(server, 200)
        let slow = try PatientReader(server, kind, Comeback("start"))
        // It takes a little now and then, less than its limits say it may be behind.
        for _ in 0..<20 {
            server.pass(milliseconds: 2000)
            slow.read(350)
        }
        #expect(server.engine.hub.replayingCount == 1)
        server.pass(milliseconds: 6000)
        #expect(server.engine.hub.replayingCount == 0)
        let records = try slow.finish()
        let bye = try #require(records.last)
        #expect(bye.kind == "$bye" && bye.object["code"] as? Int == 4008)
        let seen = records.seqs
        #expect(seen == Array(1...seen.count) && seen.count < 200)
        #expect(bye.object["last"] as? String == "\(Self.e)-\(seen.count)")
        let again = try SimulatedReader(server, kind, Comeback(after: seen.count))
        #expect(again.takeSeqs() == Array(seen.count + 1...200))
        for client in [slow.client, again.client] { server.kernel.peerReset(client.peer) }
        server.settle()
        server.checkNothingIsHeld()
    }

    @Test(
        "who wants to skip what it cannot take is left alone while it replays, and misses nothing",
        arguments: ReaderKind.allCases)
    func leftAlone(kind: ReaderKind) throws {
        let server = try server(pipeBytes: 700) {
            $0.limits.ageMilliseconds = 1000
            $0.heartbeatSeconds = 1000
        }
        try publish(server, 200)
        let slow = try PatientReader(server, kind, Comeback("start", ("on_lag", "gap")))
        server.pass(milliseconds: 60_000, step: 500)
        #expect(server.engine.hub.replayingCount == 1)
        #expect(server.metric("fanout_laggards_total") ?? 0 == 0)
        try publish(server, 5)
        #expect(try slow.finish().seqs == Array(1...205))
    }

    @Test(
        "once it has everything up to the head, a reader that stops again is judged by what was added",
        arguments: ReaderKind.allCases)
    func caughtUp(kind: ReaderKind) throws {
        let server = try server(pipeBytes: 500) {
            $0.limits.events = 3
            $0.limits.ageMilliseconds = 1000
        }
        try publish(server, 20)
        let slow = try PatientReader(server, kind, Comeback("start", ("on_lag", "gap")))
        #expect(server.engine.hub.replayingCount == 0, "one page is all there is")
        try publish(server, 30)
        server.pass(milliseconds: 3000)
        try publish(server, 30)
        _ = try slow.finish()
        try publish(server, 1)
        let records = try slow.finish()
        let gap = try #require(records.first("$gap"))
        #expect(gap["why"] as? String == "lagged")
        let (from, to) = (gap["from"] as? Int ?? 0, gap["to"] as? Int ?? 0)
        #expect(gap["dropped"] as? Int == to - from + 1)
        #expect(records.seqs == (1...81).filter { !(from...to).contains($0) })
        #expect(records.seqs.last == 81)
    }

    @Test("acks count those who replay, as readers that are behind")
    func acks() throws {
        let server = try server(pipeBytes: 300)
        try publish(server, 200)
        let slow = try PatientReader(server, .jsonlHTTP, Comeback("start"))
        let filtered = try PatientReader(server, .sse, Comeback("start", channels: ["events"], types: ["x"]))
        let live = try SimulatedReader(server, .webSocket)
        _ = live.take()
        #expect(server.engine.hub.replayingCount >= 1)
        let publisher = try server.connect(SimulatedServer.httpUnix)
        publisher.write(RequestText.post("{\"n\":1}"))
        let answer = try #require(Answer.all(publisher.takeAll()).first)
        #expect(answer.json["subscribers"] as? Int == 2 && answer.json["behind"] as? Int == 1, "\(answer.body)")
        slow.client.close()
        filtered.client.close()
    }

    @Test("/v1/lag and /metrics tell who replays and what is held")
    func reports() throws {
        let server = try server(history: 60_000, pipeBytes: 300)
        try publish(server, 300)
        let slow = try PatientReader(server, .sse, Comeback("start"))
        let operatorClient = try server.connect()
        operatorClient.write(RequestText.get("/v1/lag"))
        let answer = try #require(Answer.all(operatorClient.takeAll()).first)
        let entry = (answer.json["subscribers"] as? [[String: Any]])?.first { $0["state"] as? String == "replaying" }
        #expect(entry?["transport"] as? String == "sse", "\(answer.body)")
        #expect(server.metric("fanout_replaying_subscribers") == 1)
        let oldest = server.engine.hub.oldestHeld
        #expect(server.metric("fanout_history_first_seq") == oldest)
        #expect(server.metric("fanout_history_events") == 301 - oldest)
        let held = try #require(server.metric("fanout_history_bytes"))
        #expect(held <= 60_000 && held > 30_000)
        let replayed = try #require(server.metric("fanout_replayed_bytes_total"))
        let seqs = try slow.finish().seqs
        #expect(seqs == Array(Int(oldest)...300))
        #expect(try #require(server.metric("fanout_replayed_bytes_total")) > replayed)
        #expect(server.metric("fanout_replaying_subscribers") == 0)
    }

    @Test("memory is where it was after a thousand have come back and gone")
    func memoryAfter() throws {
        let server = try server(pipeBytes: 2000)
        try publish(server, 300)
        let before = server.engine.memoryHeld
        for round in 0..<3 {
            let readers = try (0..<100).map { place in
                try PatientReader(
                    server, ReaderKind.allCases[place % 5],
                    Comeback(after: place, channels: place % 3 == 0 ? ["events"] : []))
            }
            for (place, reader) in readers.enumerated() {
                switch (place + round) % 4 {
                case 0: #expect(try reader.finish().seqs == Array(place + 1...300))
                case 2: reader.read(1000)
                default: break
                }
                // Of a raw TCP reader that only closes nobody knows that it is gone.
                server.kernel.peerReset(reader.client.peer)
            }
            server.settle()
        }
        server.checkNothingIsHeld()
        let after = server.engine.memoryHeld
        #expect(after.runs == before.runs || after.runs <= RunBlocks.chunkBytes)
        #expect(after.segments <= before.segments + 4 * (4096 + SegmentStore.pageBytes))
        #expect(after.input == before.input && after.subscriptions == before.subscriptions)
    }

    @Test("events of 256 KiB are replayed like any other", arguments: ReaderKind.allCases)
    func largeEvents(kind: ReaderKind) throws {
        let server = try server()
        let largest = 262_144 - 10
        for bytes in [10, largest, 10, largest, largest, 10] { try publish(server, 1, bytes: bytes) }
        let live = try SimulatedReader(server, kind, Comeback("start"))
        let records = live.take()
        #expect(records.seqs == Array(1...6))
        #expect(records.map { $0.text.utf8.count }.max() ?? 0 > largest)
        let filtered = try SimulatedReader(server, kind, Comeback(after: 2, channels: ["events"]))
        #expect(filtered.takeSeqs() == [3, 4, 5, 6])
    }

    @Test("a server that stops tells those who replay where they were", arguments: ReaderKind.allCases)
    func shutdown(kind: ReaderKind) throws {
        let server = try server(pipeBytes: 700)
        try publish(server, 200)
        let slow = try PatientReader(server, kind, Comeback("start"))
        server.kernel.raiseSignal(15)
        server.settle()
        let records = try slow.finish()
        let bye = try #require(records.last)
        #expect(bye.kind == "$bye" && bye.object["code"] as? Int == 1001)
        #expect(records.seqs == Array(1...records.seqs.count))
        #expect(bye.object["last"] as? String == "\(Self.e)-\(records.seqs.count)")
    }
}
