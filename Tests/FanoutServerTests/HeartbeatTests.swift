// Keep-alives on the virtual clock, and the end of the server.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Heartbeats")
struct HeartbeatTests {
    /// When keep-alives came, in milliseconds since the reader began, in steps of 50.
    private func beats(_ reader: SimulatedReader, _ server: SimulatedServer, for milliseconds: Int) -> [Int] {
        _ = reader.client.takeAll()
        var times: [Int] = []
        for time in stride(from: 50, through: milliseconds, by: 50) {
            server.pass(milliseconds: 50, step: 50)
            let bytes = reader.client.takeAll()
            if bytes.isEmpty { continue }
            switch reader.kind {
            case .sse: #expect(bytes == Array(":\n\n".utf8))
            case .webSocket:
                #expect(bytes == [0x89, 0])
                reader.client.write(ServerFrame.client(10))
            default: #expect(bytes == Array("{\"type\":\"$ping\"}\n".utf8))
            }
            times.append(time)
        }
        return times
    }

    @Test("every transport but events.socket has one each 12 to 15 seconds", arguments: ReaderKind.allCases)
    func period(kind: ReaderKind) throws {
        let server = try SimulatedServer(seed: 11)
        let reader = try SimulatedReader(server, kind)
        let times = beats(reader, server, for: 80_000)
        if kind == .eventsSocket {
            #expect(times.isEmpty)
        } else {
            #expect(times.count >= 5)
            for (earlier, later) in zip([0] + times, times) {
                #expect(12_000...15_100 ~= later - earlier, "\(times)")
            }
            #expect(Set(zip([0] + times, times).map { $1 - $0 }).count > 1, "they are jittered")
        }
    }

    @Test("many readers do not come due together")
    func jitter() throws {
        let server = try SimulatedServer(seed: 3)
        let readers = try (0..<60).map { _ in try SimulatedReader(server, .sse) }
        var due: [Int] = []
        for time in stride(from: 0, to: 15_200, by: 200) {
            server.pass(milliseconds: 200, step: 200)
            for reader in readers where server.kernel.peerUnread(reader.client.peer) > 0 {
                let hasBeat = reader.client.takeText().contains(":\n\n")
                if hasBeat { due.append(time) }
            }
        }
        #expect(due.count >= 60)
        #expect(Set(due).count >= 10)
    }

    @Test("whoever got an event since the last one needs none, except a WebSocket")
    func busy() throws {
        for kind in [ReaderKind.sse, .jsonlTCP, .jsonlHTTP] {
            let server = try SimulatedServer()
            let reader = try SimulatedReader(server, kind)
            for _ in 0..<8 {
                server.pass(milliseconds: 5_000, step: 500)
                try server.publish("{}")
            }
            let text = reader.client.takeText()
            #expect(!text.contains("$ping") && !text.contains(":\n\n\n"))
            #expect(!text.split(separator: "\n").contains(":"))
        }
    }

    @Test("$ping's first member is named as the channel says")
    func discriminator() throws {
        let server = try SimulatedServer {
            var rules = Configuration.ChannelRules()
            rules.discriminator = "kind"
            $0.channelRules = [("dash", rules)]
        }
        let reader = try SimulatedReader(server, .jsonlHTTP, query: "channel=dash")
        #expect(reader.client.takeText().hasPrefix("{\"kind\":\"$hello\""))
        server.pass(milliseconds: 15_100, step: 500)
        #expect(reader.client.takeText() == "{\"kind\":\"$ping\"}\n")
    }

    @Test("a WebSocket that answers no ping gets $bye 4408 when the next is due")
    func noPong() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .webSocket)
        _ = reader.take()
        server.pass(milliseconds: 23_000, step: 500)
        #expect(ServerFrame.all(reader.client.takeAll()).map(\.opcode) == [9])
        // Anything but a pong does not count.
        reader.client.write(ServerFrame.clientText("hello"))
        server.pass(milliseconds: 8_000, step: 500)
        let frames = ServerFrame.all(reader.client.takeAll())
        #expect(frames.map(\.opcode) == [1, 8])
        #expect(frames.last?.closeCode == 4408)
        #expect((JSONObject(frames[0].text)?["retry_ms"] as? Int).map { 100..<1000 ~= $0 } == true)
        #expect(reader.client.isAtEnd)
    }
}

@Suite("Ending")
struct EndingTests {
    @Test(
        "SIGTERM: every reader gets $bye 1001 and when to come back, then the engine is done",
        arguments: [15, 2] as [Int32])
    func signal(signal: Int32) throws {
        let server = try SimulatedServer()
        try server.publish("{}")
        let readers = try ReaderKind.allCases.map { try SimulatedReader(server, $0) }
        for reader in readers { _ = reader.take() }
        let idle = try server.connect()
        idle.write(RequestText.get("/healthz"))
        let half = try server.connect()
        half.write("GET /hea")
        let ingest = try server.connect(SimulatedServer.ingest)
        server.kernel.raiseSignal(signal)
        server.settle()
        for reader in readers {
            let bytes = reader.client.read()
            let records = reader.take()
            #expect(records.map(\.kind) == ["$bye"])
            #expect(records.first?.object["code"] as? Int == 1001)
            #expect(records.first?.object["last"] as? String == "\(SimulatedServer.epochText)-1")
            #expect((records.first?.object["retry_ms"] as? Int).map { 500...15_000 ~= $0 } == true)
            if reader.kind == .webSocket { #expect(ServerFrame.all(bytes).last?.closeCode == 1001) }
            #expect(server.kernel.peerAtEnd(reader.client.peer))
        }
        #expect(server.kernel.connect(to: SimulatedServer.http) == nil, "nobody comes in any more")
        for client in readers.map(\.client) + [idle, half, ingest] { server.kernel.peerClose(client.peer) }
        server.pass(milliseconds: 3_000)
        #expect(!server.isRunning)
        #expect(server.engine.ending?.exitCode == 0)
        server.checkNothingIsHeld()
    }

    @Test("readers that do not go are left behind after the drain time, a stalled one after five seconds")
    func stubborn() throws {
        let server = try SimulatedServer(pipeBytes: 300)
        let stubborn = try SimulatedReader(server, .sse)
        let stalled = try SimulatedReader(server, .eventsSocket)
        for _ in 0..<20 { try server.publish("{}") }
        server.kernel.raiseSignal(15)
        server.settle()
        _ = stubborn.client.takeAll()
        server.pass(milliseconds: 4_800)
        #expect(server.isRunning)
        #expect(server.kernel.serverHasClosed(stubborn.client.peer))
        #expect(!server.kernel.serverHasClosed(stalled.client.peer))
        server.pass(milliseconds: 400)
        #expect(!server.isRunning)
    }

    @Test("a second signal ends at once with 128 and its number", arguments: [15, 2] as [Int32])
    func twice(second: Int32) throws {
        let server = try SimulatedServer(pipeBytes: 300)
        let reader = try SimulatedReader(server, .eventsSocket)
        for _ in 0..<20 { try server.publish("{}") }
        server.kernel.raiseSignal(15)
        server.settle()
        #expect(server.isRunning)
        server.kernel.raiseSignal(second)
        server.settle()
        #expect(!server.isRunning)
        #expect(server.engine.ending?.exitCode == 128 + second)
        _ = reader
    }
}
