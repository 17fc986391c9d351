// What a reader may rely on while it is judged: on every transport.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Laggards judged")
struct LaggardJudgementTests {
    private func server(
        _ policy: Configuration.LagPolicy, pipeBytes: Int, events: Int = 20, bytes: Int = 100_000
    ) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes) {
            $0.onLag = policy
            $0.limits.events = events
            $0.limits.bytes = bytes
        }
    }

    private func publish(_ server: SimulatedServer, _ count: Int, late: Bool = false) throws {
        for index in 0..<count {
            try server.publish(
                "{\"type\":\"\(late ? "late" : "tick")\",\"n\":\(index),\"pad\":\"xxxxxxxxxxxxxxxxxxxx\"}")
        }
        server.settle()
    }

    private func label(of kind: ReaderKind) -> String {
        switch kind {
        case .eventsSocket: "jsonl_unix"
        case .jsonlTCP: "jsonl_tcp"
        case .jsonlHTTP: "jsonl_http"
        case .sse: "sse"
        case .webSocket: "websocket"
        }
    }

    /// Stops a reader and lets it be judged.
    private func stall(_ server: SimulatedServer) throws {
        for _ in 0..<60 {
            try publish(server, 1)
            server.pass(milliseconds: 10, step: 10)
        }
        server.pass(milliseconds: 500)
        #expect(server.metric("fanout_laggards_total") == 1)
    }

    @Test(
        "the socket is tried before anyone is judged: a burst beyond the limits reaches a reader that reads",
        arguments: ReaderKind.allCases, [512, 65_536])
    func burst(kind: ReaderKind, pipeBytes: Int) throws {
        let server = try server(.close, pipeBytes: pipeBytes)
        let reader = try SimulatedReader(server, kind)
        _ = reader.take()
        for round in 0..<10 {
            try publish(server, 39)
            #expect(reader.takeSeqs() == Array(round * 39 + 1...round * 39 + 39))
            server.pass(milliseconds: 300)
        }
        #expect(server.metric("fanout_laggards_total") == 0)
    }

    @Test(
        "far beyond the limits nobody is kept, and the metric says which limit and transport",
        arguments: ReaderKind.allCases)
    func reasons(kind: ReaderKind) throws {
        for reason in ["events", "bytes", "age"] {
            let server = try SimulatedServer(pipeBytes: 512) {
                if reason == "events" { $0.limits.events = 10 }
                if reason == "bytes" { $0.limits.bytes = 400 }
                if reason == "age" { $0.limits.ageMilliseconds = 2000 }
            }
            let reader = try SimulatedReader(server, kind)
            _ = reader.take()
            try publish(server, 40)
            server.pass(milliseconds: 2_500)
            let transport = label(of: kind)
            #expect(
                server.metric("fanout_laggards_total", "reason=\"\(reason)\",transport=\"\(transport)\"") == 1,
                "\(kind) \(reason)")
            #expect(server.metric("fanout_laggards_total") == 1)
            #expect(server.metric("fanout_closed_total", "reason=\"slow\",transport=\"\(transport)\"") == 1)
        }
    }

    @Test("a connection closed for lag gets no later event, whatever it writes", arguments: ReaderKind.allCases)
    func nothingLater(kind: ReaderKind) throws {
        let server = try server(.close, pipeBytes: 512)
        let reader = try SimulatedReader(server, kind)
        try stall(server)
        let subscribe = "{\"$subscribe\":{}}"
        for step in 0..<20 {
            try publish(server, 2, late: true)
            reader.client.write(kind == .webSocket ? ServerFrame.clientText(subscribe) : Array((subscribe + "\n").utf8))
            server.pass(milliseconds: 1_000)
            // A few bytes at a time, so that it is between cut and goodbye for long.
            if step > 10 { reader.client.received += server.kernel.peerRead(reader.client.peer, max: 40) }
        }
        let records = reader.take()
        #expect(!records.contains { $0.kind == "late" })
        #expect(records.count { $0.kind == "$hello" } == 1)
        #expect(records.last?.object["code"] as? Int == 4008)
        #expect(reader.client.isAtEnd)
        try publish(server, 1, late: true)
        #expect(reader.client.takeAll().isEmpty)
    }

    @Test("pongs of a reader beyond its limits are not refused, and come before the $gap that waits for it to read")
    func pongsWhileSkipping() throws {
        for isCut in [false, true] {
            let server = try server(.gap, pipeBytes: 512)
            let reader = try SimulatedReader(server, .webSocket)
            _ = reader.take()
            if isCut { try stall(server) } else { try publish(server, 35) }
            for number in 0..<10 { reader.client.write(ServerFrame.client(9, Array("ping \(number)".utf8))) }
            if !isCut { server.pass(milliseconds: 500) }
            let frames = ServerFrame.all(reader.client.takeAll())
            #expect(frames.filter { $0.opcode == 10 }.map(\.text) == (0..<10).map { "ping \($0)" })
            let lastPong = try #require(frames.lastIndex { $0.opcode == 10 })
            let gap = frames.firstIndex { $0.text.contains("$gap") }
            if isCut { #expect(try #require(gap) > lastPong) }
            server.pass(milliseconds: 1000)
            try publish(server, 1)
            #expect(ServerFrame.all(reader.client.takeAll()).last?.text.contains("tick") == true)
        }
    }

    @Test("a reader that skips, and asks and asks without taking an answer, is told to go before it costs much")
    func pongFlood() throws {
        let server = try server(.gap, pipeBytes: 512)
        let reader = try SimulatedReader(server, .webSocket)
        try stall(server)
        var most = 0
        for _ in 0..<3_000 where !reader.client.isClosed {
            reader.client.write(ServerFrame.client(9, [UInt8](repeating: 7, count: 125)))
            server.pass(milliseconds: 20, step: 20)
            most = (0..<UInt32(server.engine.delivery.connections.slotsUsed)).reduce(most) { most, slot in
                max(most, Int(server.engine.delivery.connections[slot].ring.byteCount))
            }
        }
        #expect(most < 68 * 1024, "\(most) bytes waited for one reader")
        #expect(server.metric("fanout_closed_total", "reason=\"policy\",transport=\"websocket\"") == 1)
        server.pass(milliseconds: 31_000, step: 1000)
        #expect(reader.client.isClosed)
        server.checkNothingIsHeld()
    }

    @Test(
        "time in which the server itself stood still is not held against its readers", arguments: ReaderKind.allCases,
        [false, true])
    func pause(kind: ReaderKind, readsMeanwhile: Bool) throws {
        let server = try SimulatedServer(pipeBytes: 4096) {
            $0.listenerLimits.httpSocket = Configuration.LagLimits()
            $0.listenerLimits.httpSocket?.ageMilliseconds = 1 << 30
        }
        // While anybody's send waits in the kernel, everybody is looked at.
        try server.connect(SimulatedServer.httpUnix).write(RequestText.get("/v1/events"))
        let reader = try SimulatedReader(server, kind)
        _ = reader.take()
        try publish(server, 300)
        server.pass(milliseconds: 100)
        // For longer than the age limit the server does nothing, so that a reader can get no more than a pipe full.
        if readsMeanwhile { reader.client.received = server.kernel.peerRead(reader.client.peer) }
        server.kernel.advance(milliseconds: 60_000)
        server.settle()
        #expect(server.metric("fanout_laggards_total") == 0)
        server.pass(milliseconds: 9_800)
        #expect(server.metric("fanout_laggards_total") == 0, "nor when it stops then, before its own time is over")
        server.pass(milliseconds: 600)
        #expect(server.metric("fanout_laggards_total") == 1)
        let records = reader.take()
        let seqs = records.filter { !$0.isControl }.compactMap(\.seq)
        #expect(seqs == Array(1...seqs.count))
        #expect(records.last?.object["last"] as? String == "\(SimulatedServer.epochText)-\(seqs.count)")
    }

    @Test(
        "who reads again in the very turn in which its oldest byte becomes too old is tried first",
        arguments: ReaderKind.allCases)
    func triedFirst(kind: ReaderKind) throws {
        let server = try SimulatedServer(pipeBytes: 6000) {
            $0.limits.ageMilliseconds = 2000
            $0.listenerLimits.httpSocket = Configuration.LagLimits()
        }
        // While anybody's send waits in the kernel, everybody is looked at.
        try server.connect(SimulatedServer.httpUnix).write(RequestText.get("/v1/events"))
        let reader = try SimulatedReader(server, kind)
        _ = reader.take()
        // Between two and three pipes full.
        try publish(server, 155)
        server.pass(milliseconds: 1_900)
        reader.client.received = server.kernel.peerRead(reader.client.peer)
        #expect(reader.client.received.count == 6000)
        server.kernel.advance(milliseconds: 600)
        #expect(server.engine.turn(wait: false))
        reader.client.received += server.kernel.peerRead(reader.client.peer)
        #expect(reader.client.received.count == 12_000, "it took more in the turn in which it was looked at")
        #expect(reader.takeSeqs() == Array(1...155), "and then the rest")
        #expect(server.metric("fanout_laggards_total") == 0)
        try publish(server, 155)
        server.pass(milliseconds: 2_500)
        #expect(server.metric("fanout_laggards_total") == 1, "who does not read again is cut")
    }
}
