// What WebSocket readers may send, and what ends them.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("WebSocket readers")
struct WebSocketReaderTests {
    private func reader(_ server: SimulatedServer) throws -> SimulatedReader {
        let reader = try SimulatedReader(server, .webSocket)
        #expect(reader.take().map(\.kind) == ["$hello"])
        return reader
    }

    private func frames(_ reader: SimulatedReader) -> [ServerFrame] { ServerFrame.all(reader.client.takeAll()) }

    @Test("pings are answered with their payload, in order, between events")
    func pings() throws {
        let server = try SimulatedServer()
        let reader = try reader(server)
        for count in [0, 1, 125] {
            reader.client.write(ServerFrame.client(9, [UInt8](repeating: 7, count: count)))
            try server.publish("{}")
        }
        #expect(frames(reader).map { $0.opcode == 10 ? $0.payload.count : -1 } == [0, -1, 1, -1, 125, -1])
    }

    @Test("a hundred control frames in a second are answered, the next is 1008")
    func controlFlood() throws {
        let server = try SimulatedServer()
        let reader = try reader(server)
        server.kernel.advance(milliseconds: 1000 - server.loop.now % 1000)
        server.settle()
        for index in 0..<100 { reader.client.write(ServerFrame.client(index % 2 == 0 ? 9 : 10)) }
        #expect(frames(reader).map(\.opcode) == Array(repeating: 10, count: 50))
        server.pass(milliseconds: 1000)
        for _ in 0..<100 { reader.client.write(ServerFrame.client(9)) }
        #expect(frames(reader).count == 100)
        reader.client.write(ServerFrame.client(9))
        let last = frames(reader)
        #expect(last.map(\.opcode) == [1, 8])
        #expect(last.last?.closeCode == 1008)
        #expect(JSONObject(last[0].text)?["code"] as? Int == 1008)
    }

    @Test("64 KiB of text in ten seconds pass, one byte more is 1008; after ten seconds they are forgiven")
    func textFlood() throws {
        let server = try SimulatedServer()
        let reader = try reader(server)
        for _ in 0..<2 {
            for _ in 0..<8 { reader.client.write(ServerFrame.clientText(String(repeating: "x", count: 8192))) }
            #expect(frames(reader).isEmpty)
            server.pass(milliseconds: 10_100, step: 1000)
        }
        for _ in 0..<8 { reader.client.write(ServerFrame.clientText(String(repeating: "x", count: 8192))) }
        reader.client.write(ServerFrame.clientText("x"))
        #expect(frames(reader).last?.closeCode == 1008)
    }

    @Test(
        "what a client must not send has its code",
        arguments: [
            (ServerFrame.client(2, [1]), 1003), (ServerFrame.client(1, [0xFF]), 1007),
            (ServerFrame.client(1, [UInt8](repeating: 65, count: 65_537)), 1009), (ServerFrame.client(3, []), 1002),
            (ServerFrame.client(0, [65]), 1002), (ServerFrame.client(9, [], final: false), 1002),
            ([0x81, 0x01, 0x41], 1002), ([0xC1, 0x80, 0, 0, 0, 0], 1002), (ServerFrame.client(8, [3]), 1002),
            (ServerFrame.client(8, [3, 237]), 1002), (ServerFrame.client(9, [UInt8](repeating: 1, count: 126)), 1002),
        ] as [([UInt8], Int)])
    func faults(bytes: [UInt8], code: Int) throws {
        let server = try SimulatedServer()
        for pieces in [[bytes.count], Array(repeating: 1, count: min(bytes.count, 300)) + [bytes.count]] {
            let reader = try reader(server)
            reader.client.write(bytes, pieces: pieces)
            let answer = frames(reader)
            #expect(answer.last?.closeCode == code)
            // A reader that broke the protocol gets the close frame and nothing else; one that broke a rule gets
            // `$bye`.
            #expect(answer.count == (code == 1003 ? 2 : 1))
            #expect(reader.client.isAtEnd)
            reader.client.close()
        }
        server.checkNothingIsHeld()
    }

    @Test("a close frame is answered with its code, or without one, and nothing follows")
    func closing() throws {
        let server = try SimulatedServer()
        let closes: [([UInt8], Int?)] = [([], nil), ([3, 232], 1000), ([15, 160] + Array("bye".utf8), 4000)]
        for (payload, code) in closes {
            let reader = try reader(server)
            reader.client.write(ServerFrame.client(8, payload) + ServerFrame.client(9) + ServerFrame.client(1, [0xFF]))
            try server.publish("{}")
            let answer = frames(reader)
            #expect(answer.map(\.opcode) == [8])
            #expect(answer.first?.closeCode == code)
            #expect(reader.client.isAtEnd)
        }
    }

    @Test("a first message in fragments, with pings between them, may be $subscribe", arguments: [1, 3, 1000])
    func fragments(pieceBytes: Int) throws {
        let server = try SimulatedServer()
        let reader = try reader(server)
        let text = Array("{\"$subscribe\":{\"channel\":\"a\",\"control\":\"off\"}}".utf8)
        var bytes = ServerFrame.client(1, Array(text[..<5]), final: false)
        bytes += ServerFrame.client(9, [9]) + ServerFrame.client(0, Array(text[5..<20]), final: false)
        bytes += ServerFrame.client(0, [], final: false) + ServerFrame.client(0, Array(text[20...]))
        bytes += ServerFrame.clientText("{\"$subscribe\":{}}")
        reader.client.write(bytes, pieces: Array(repeating: pieceBytes, count: bytes.count / pieceBytes + 1))
        try server.publish("{}")
        try server.publish("{}", on: "a")
        #expect(frames(reader).map(\.text) == ["\u{9}", "{\"seq\":2,\"channel\":\"a\"}"])
        #expect(server.engine.inputs.inUse == 0)
    }

    @Test("too many fragments in one message are 1008")
    func tooManyFragments() throws {
        let server = try SimulatedServer()
        let reader = try reader(server)
        reader.client.write(ServerFrame.client(1, [65], final: false))
        for _ in 0..<1023 { reader.client.write(ServerFrame.client(0, [65], final: false)) }
        #expect(frames(reader).isEmpty)
        reader.client.write(ServerFrame.client(0, [65], final: false))
        #expect(frames(reader).last?.closeCode == 1008)
    }

    @Test("a handshake that is not one has its status, and 426 says the version")
    func handshake() throws {
        let server = try SimulatedServer()
        let upgrade = ["Upgrade: websocket", "Connection: Upgrade"]
        let cases: [([String], Int)] = [
            (upgrade + ["Sec-WebSocket-Version: 13"], 400),
            (upgrade + ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"], 400),
            (upgrade + ["Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], 426),
        ]
        for (fields, status) in cases {
            let client = try server.connect()
            client.write(RequestText.get("/v1/events", fields))
            let answer = Answer.all(client.takeAll()).first
            #expect(answer?.status == status, "\(fields)")
            if status == 426 { #expect(answer?.fields["sec-websocket-version"] == "13") }
        }
        #expect(server.engine.hub.groupsInUse == 0)
    }
}
