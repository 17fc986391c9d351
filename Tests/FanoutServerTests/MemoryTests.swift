// The memory budget: who goes when it is passed, who is refused, and that nobody else notices.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Memory budget")
struct MemoryTests {
    private static let budget = 512 * 1024

    /// A server with a small budget and small segments, whose readers' own limits never bind. Connections made from
    /// here on have little room in the kernel.
    private func server(
        _ policy: Configuration.LagPolicy = .close, pipeBytes: Int = 512, budget: Int = budget
    ) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes) {
            $0.onLag = policy
            $0.memoryMax = budget
            $0.segmentBytes = 8192
            $0.limits.events = 1 << 30
            $0.limits.bytes = 1 << 30
            $0.limits.ageMilliseconds = 1 << 30
        }
    }

    /// A reader with all the room it needs.
    private func roomy(_ server: SimulatedServer, _ kind: ReaderKind) throws -> SimulatedReader {
        let before = server.kernel.limits.pipeBytes
        defer { server.kernel.limits.pipeBytes = before }
        server.kernel.limits.pipeBytes = 64 << 20
        return try SimulatedReader(server, kind)
    }

    private func roomy(_ server: SimulatedServer, _ address: SocketAddress) throws -> SimulatedClient {
        let before = server.kernel.limits.pipeBytes
        defer { server.kernel.limits.pipeBytes = before }
        server.kernel.limits.pipeBytes = 64 << 20
        return try server.connect(address)
    }

    private func event(_ number: Int, bytes: Int = 4000) -> String {
        "{\"n\":\(number),\"pad\":\"" + String(repeating: "x", count: bytes) + "\"}"
    }

    /// Publishes over a socket, as a publisher that rests when it is told to.
    private func post(_ server: SimulatedServer, _ publisher: SimulatedClient, _ count: Int) -> Int {
        var accepted = 0
        for number in 0..<count {
            publisher.write(RequestText.post(event(number)))
            for _ in 0..<50 where publisher.read().isEmpty { server.pass(milliseconds: 100) }
            accepted += Answer.all(publisher.takeAll()).count { $0.status == 200 }
        }
        return accepted
    }

    @Test("the reader that has stopped gets $bye 4008, whoever reads gets everything", arguments: ReaderKind.allCases)
    func close(kind: ReaderKind) throws {
        let server = try server()
        let healthy = try roomy(server, kind)
        let stopped = try SimulatedReader(server, kind)
        _ = healthy.take()
        let publisher = try roomy(server, SimulatedServer.httpUnix)
        var seen: [Int] = []
        for _ in 0..<10 {
            #expect(post(server, publisher, 40) == 40, "publishers rest, they are not refused")
            seen += healthy.takeSeqs()
            #expect(server.engine.memoryHeld.total <= Self.budget + 64 * 1024)
        }
        #expect(seen == Array(1...400))
        #expect(server.metric("fanout_laggards_total") == 1)
        #expect(server.metric("fanout_memory_resets_total") == 0)
        let records = stopped.take()
        let bye = try #require(records.last)
        #expect(bye.kind == "$bye" && bye.object["code"] as? Int == 4008)
        let last = records.last { !$0.isControl }?.seq ?? 0
        #expect(bye.object["last"] as? String == "\(SimulatedServer.epochText)-\(last)")
    }

    @Test("a reader that asked for it skips behind one exact $gap", arguments: ReaderKind.allCases)
    func gap(kind: ReaderKind) throws {
        let server = try server(.gap)
        let stopped = try SimulatedReader(server, kind)
        let publisher = try roomy(server, SimulatedServer.httpUnix)
        #expect(post(server, publisher, 200) == 200)
        #expect(server.metric("fanout_laggards_total") == 1)
        var records: [Record] = []
        for _ in 0..<20 { records += stopped.take() }
        let gaps = records.filter { $0.kind == "$gap" }
        #expect(gaps.count == 1)
        let (from, to) = (gaps.first?.object["from"] as? Int ?? 0, gaps.first?.object["to"] as? Int ?? 0)
        #expect(records.filter { !$0.isControl }.compactMap(\.seq) == Array(1..<from))
        #expect(to == 200 && gaps.first?.object["dropped"] as? Int == to - from + 1)
        #expect(post(server, publisher, 1) == 1)
        #expect(stopped.takeSeqs() == [201])
    }

    @Test("the larger laggard goes first, and alone where that is enough")
    func largestFirst() throws {
        let server = try server()
        let first = try SimulatedReader(server, .eventsSocket)
        let publisher = try roomy(server, SimulatedServer.httpUnix)
        #expect(post(server, publisher, 90) == 90)
        let second = try SimulatedReader(server, .sse)
        #expect(post(server, publisher, 30) == 30)
        #expect(server.metric("fanout_laggards_total") == 1)
        #expect(first.take().last?.kind == "$bye")
        #expect(second.take().allSatisfy { $0.kind != "$bye" })
    }

    @Test("a client that does not read its answers is reset when memory is short, a reader is not")
    func answers() throws {
        let server = try server(budget: 384 * 1024)
        let reader = try roomy(server, .sse)
        var clients: [SimulatedClient] = []
        for _ in 0..<30 {
            let client = try server.connect(SimulatedServer.httpUnix)
            for _ in 0..<8 { client.write(RequestText.get("/metrics")) }
            clients.append(client)
            server.pass(milliseconds: 100)
        }
        server.pass(milliseconds: 2000)
        #expect(server.engine.memory.resets > 0)
        #expect(clients.contains { $0.isClosed })
        #expect(server.engine.memoryHeld.total <= 384 * 1024)
        let seq = try server.publish("{}")
        #expect(reader.takeSeqs() == [Int(seq)])
    }

    @Test("new readers are turned away while memory is short, and come in when it is not")
    func newReaders() throws {
        let server = try server()
        let stopped = try SimulatedReader(server, .eventsSocket)
        // Past all sockets: nobody rests, and the budget is passed before the reader counts as a laggard.
        for number in 0..<160 { try server.publish(event(number)) }
        server.settle()
        #expect(server.engine.memory.isPressed)
        let raw = try server.connect(SimulatedServer.events)
        #expect(StreamReader.lines(raw.takeAll()).map(\.kind) == ["$bye"])
        let sse = try server.connect(SimulatedServer.http)
        sse.write(RequestText.get("/v1/events", ["Accept: text/event-stream"]))
        let plain = try server.connect(SimulatedServer.http)
        plain.write(RequestText.get("/v1/events"))
        server.pass(milliseconds: 16)
        #expect(stopped.client.isClosed == false)
        // Requests wait like publishers until memory is free again.
        server.pass(milliseconds: 2000)
        #expect(!server.engine.memory.isPressed)
        #expect(server.metric("fanout_laggards_total") == 1)
        let later = try SimulatedReader(server, .webSocket)
        #expect(later.take().map(\.kind) == ["$hello"])
    }

    @Test("bodies and lines beyond their share are refused with 503 overload; a reader's pong is not")
    func input() throws {
        let server = try server()
        let share = server.engine.memory.shareBytes
        var open: [SimulatedClient] = []
        for _ in 0..<share / 32_768 + 1 {
            let client = try server.connect(SimulatedServer.httpUnix)
            client.write(
                "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    + "Content-Length: 65536\r\n\r\n" + String(repeating: " ", count: 24_000))
            open.append(client)
        }
        let refused = open.filter { Answer.all($0.read()).first?.status == 503 }
        #expect(!refused.isEmpty && refused.count < open.count)
        for client in refused {
            #expect(Answer.all(client.received).first?.errorCode == "overload")
            #expect(client.isAtEnd)
        }
        #expect(server.engine.inputs.bytesHeld <= share)
        let writer = try server.connect(SimulatedServer.ingest)
        writer.write("{\"$ack\":true}\n{\"pad\":\"" + String(repeating: "x", count: 100_000))
        #expect(writer.takeText().contains("\"code\":\"overload\""))
        #expect(writer.isAtEnd)
        let reader = try SimulatedReader(server, .webSocket)
        _ = reader.take()
        let pong = ServerFrame.client(10, Array("half".utf8))
        reader.client.write(Array(pong[..<4]))
        reader.client.write(Array(pong[4...]))
        let seq = try server.publish("{}")
        #expect(reader.takeSeqs() == [Int(seq)])
        open.forEach { $0.close() }
        writer.close()
        #expect(server.engine.inputs.bytesHeld == 0)
    }

    @Test("what a subscription costs is counted, comes back with its last reader, and ends at its share")
    func subscriptions() throws {
        let server = try server()
        let empty = server.engine.hub.subscriptions.bytesHeld
        var readers: [SimulatedClient] = []
        var refused = 0
        for number in 0..<40 {
            let names = (0..<60).map { "&channel=c\(number)/" + String(repeating: "n", count: 60) + "\($0)" }.joined()
            let client = try server.connect(SimulatedServer.http)
            client.write(RequestText.get("/v1/events?control=on" + names))
            readers.append(client)
            if Answer.take(&client.received, toHead: true)?.status != 200 { refused += 1 }
            _ = client.read()
        }
        let statuses = readers.map { String(decoding: $0.received.prefix(12), as: UTF8.self) }
        #expect(statuses.contains("HTTP/1.1 200") && statuses.contains("HTTP/1.1 503"))
        #expect(server.engine.hub.subscriptions.bytesHeld <= server.engine.memory.shareBytes)
        let another = try SimulatedReader(server, .sse)
        #expect(another.take().map(\.kind) == ["$hello"], "what costs nothing is not refused")
        another.client.close()
        readers.forEach { $0.close() }
        server.settle()
        #expect(server.engine.hub.subscriptions.bytesHeld <= empty + 64, "the lists of two channels")
    }

    @Test("channels end at their share of memory, with the code of too many channels")
    func channels() throws {
        let server = try server()
        var made = 0
        for number in 0..<2000 {
            let name = try #require(ChannelName("channel-\(number)"))
            if server.engine.hub.channel(name) != nil { made += 1 } else { break }
        }
        #expect(10..<2000 ~= made)
        #expect(server.engine.hub.channels.bytesHeld <= server.engine.memory.shareBytes)
        let client = try server.connect(SimulatedServer.httpUnix)
        client.write(RequestText.post("{}", to: "/v1/events?channel=one-more"))
        let answer = Answer.all(client.takeAll()).first
        #expect(answer?.status == 503 && answer?.errorCode == "too_many_channels")
        client.write(RequestText.post("{}", to: "/v1/events?channel=channel-0"))
        #expect(Answer.all(client.takeAll()).first?.status == 200)
    }

    @Test("a batch whose runs would not fit is refused whole")
    func batch() throws {
        let server = try server(pipeBytes: 1 << 20, budget: 1 << 20)
        _ = try SimulatedReader(server, .eventsSocket)
        for _ in 0..<700 {
            let peer = try #require(server.kernel.connect(to: SimulatedServer.http))
            server.kernel.peerWrite(peer, Array(RequestText.get("/v1/events?types=a").utf8))
        }
        server.settle()
        let lines = (0..<1000).map { "{\"type\":\"\($0 % 2 == 0 ? "a" : "b")\"}" }.joined(separator: "\n")
        let publisher = try roomy(server, SimulatedServer.httpUnix)
        publisher.write(RequestText.post(lines, type: "application/x-ndjson"))
        let answer = Answer.all(publisher.takeAll()).first
        #expect(answer?.status == 503 && answer?.errorCode == "overload")
        #expect(server.engine.hub.head == 0)
    }

    @Test("a slot that was freed while its send rested for want of kernel memory is not sent to again")
    func freedWhileResting() throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        server.kernel.faults = .only(.sendNoMemory, 1)
        try server.publish("{}")
        server.settle()
        #expect(server.engine.starved.count == 1)
        server.kernel.peerReset(reader.client.peer)
        server.settle()
        #expect(server.engine.delivery.connections.total == 0)
        server.kernel.faults = .none
        server.pass(milliseconds: 100)
        #expect(server.engine.delivery.queue.count == 0)
        let next = try SimulatedReader(server, .eventsSocket)
        _ = next.take()
        let seq = try server.publish("{}")
        #expect(next.takeSeqs() == [Int(seq)])
    }

    @Test("time in which the server stood still makes nobody a laggard when memory is short")
    func pause() throws {
        let server = try server()
        let reader = try SimulatedReader(server, .eventsSocket)
        // Its first bytes are taken, all others wait in the server for its next turn, which comes late.
        for number in 1...100 { try server.publish(event(number)) }
        server.settle()
        var seen: [UInt8] = server.kernel.peerRead(reader.client.peer)
        server.kernel.advance(milliseconds: 3000)
        for number in 101...160 { try server.publish(event(number)) }
        server.settle()
        #expect(server.engine.memory.isPressed)
        #expect(server.metric("fanout_laggards_total") == 0 && server.engine.memory.resets == 0)
        seen += reader.client.takeAll()
        let records = StreamReader.lines(seen)
        #expect(records.filter { !$0.isControl }.compactMap(\.seq) == Array(1...160))
        #expect(!server.engine.memory.isPressed)
    }

    @Test("what resets will free is waited for: no reader is cut in addition")
    func resetsAreEnough() throws {
        let server = try server()
        let stopped = try SimulatedReader(server, .eventsSocket)
        for number in 0..<5 { try server.publish(event(number)) }
        var clients = 0
        func addClient() throws {
            let client = try server.connect(SimulatedServer.httpUnix)
            for _ in 0..<6 { client.write(RequestText.get("/metrics")) }
            clients += 1
        }
        while server.engine.memoryHeld.total < Self.budget - 100 * 1024 { try addClient() }
        server.pass(milliseconds: 1500)
        #expect(server.engine.memory.resets == 0)
        while server.engine.memory.resets == 0, clients < 50 { try addClient() }
        server.pass(milliseconds: 100)
        #expect(1...4 ~= server.engine.memory.resets)
        #expect(server.metric("fanout_laggards_total") == 0)
        #expect(!stopped.client.isClosed)
    }

    @Test("standard input is not refused because others fill the share of input")
    func standardInput() throws {
        let server = try server()
        let reader = try roomy(server, .eventsSocket)
        let (descriptor, source) = server.kernel.openSource()
        try server.engine.readStandardInput(descriptor, asText: false)
        let input = SimulatedClient(server, source)
        for _ in 0..<5 {
            let client = try server.connect(SimulatedServer.httpUnix)
            client.write(
                "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    + "Content-Length: 65536\r\n\r\n" + String(repeating: " ", count: 30_000))
        }
        #expect(server.engine.memory.refusals > 0)
        let line = event(1, bytes: 20_000)
        input.write(String(line.prefix(9000)))
        input.write(String(line.dropFirst(9000)) + "\n")
        input.write(event(2) + "\n")
        #expect(reader.takeSeqs() == [1, 2])
    }
}
