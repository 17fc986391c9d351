// What readers and publishers say to brokers, and what they make of the answers, from connecting to the first event.

import Testing

@testable import LoadGenerator

@Suite("Brokers' dialects")
struct BrokerDialectTests {
    /// What became of a conversation: what was said to the server, and the findings behind the handshake.
    private struct Talk: Equatable {
        var said: [UInt8] = []
        var findings: [Finding] = []
        var refusal: String?
    }

    /// Talks as a run does: each piece of what the server says is taken as far as it goes.
    private func talk(_ dialect: Dialect, channel: String? = nil, _ pieces: [[UInt8]]) throws -> Talk {
        var talk = Talk()
        let place = try Place(
            dialect == .mqttWS || dialect == .natsWS ? "ws://127.0.0.1:1" : "\(dialect.name)://127.0.0.1:1")
        let route = try place.route(try #require(Transport(rawValue: dialect.name)))
        #expect(route.dialect == dialect)
        dialect.appendOpening(route, channel: channel, to: &talk.said)
        var state = OpeningState()
        var unwrapper = WebSocketUnwrapper()
        var kept: [UInt8] = []
        var isStanding = false
        for var piece in pieces {
            if state.isInFrames { piece = unwrap(&unwrapper, piece) }
            kept += piece
            while !isStanding {
                let wasInFrames = state.isInFrames
                let step = dialect.handshake(kept.span, channel: channel, &state, say: &talk.said)
                if case .refused(let why) = step {
                    talk.refusal = why
                    return talk
                }
                guard step.used >= 0 else { break }
                kept.removeFirst(step.used)
                if state.isInFrames, !wasInFrames { kept = unwrap(&unwrapper, kept) }
                if case .done = step { isStanding = true }
            }
            while isStanding, !kept.isEmpty {
                let finding = dialect.find(kept.span)
                guard finding.frame > 0 else { break }
                if case .reply(let frame) = finding {
                    dialect.appendReply(to: kept.span.extracting(first: frame), into: &talk.said)
                }
                talk.findings.append(finding)
                kept.removeFirst(finding.frame)
            }
        }
        return talk
    }

    private func unwrap(_ unwrapper: inout WebSocketUnwrapper, _ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        var answers: [UInt8] = []
        let outcome = bytes.withUnsafeMutableBufferPointer { unwrapper.unwrap($0, answers: &answers) }
        guard case .payload(let count) = outcome else { return [] }
        return Array(bytes[..<count])
    }

    /// The same conversation with the server's words cut anywhere must go the same way.
    private func expect(
        _ dialect: Dialect, channel: String? = nil, _ words: [UInt8], says: [UInt8], _ findings: [Finding]
    ) throws {
        let expected = Talk(said: says, findings: findings)
        #expect(try talk(dialect, channel: channel, [words]) == expected)
        #expect(try talk(dialect, channel: channel, words.map { [$0] }) == expected)
        for cut in 0...words.count {
            #expect(try talk(dialect, channel: channel, [Array(words[..<cut]), Array(words[cut...])]) == expected)
        }
    }

    private func framed(_ payload: [UInt8]) -> [UInt8] { [0x82, UInt8(payload.count)] + payload }
    private func masked(_ payload: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        WebSocketDialect.append(opcode: 2, payload.span, to: &output)
        return output
    }
    private func upgrade(_ target: String, _ fields: String) -> [UInt8] {
        Array("GET \(target) HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\(fields)\r\n".utf8)
    }
    private let switching = Array("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".utf8)

    private static let connect = #"CONNECT {"verbose":false,"pedantic":false,"lang":"fanout","version":"1"}"# + "\r\n"
    private static let natsWords = Array("INFO {}\r\nPING\r\nPONG\r\nMSG a 1 3\r\nabc\r\nPING\r\n".utf8)

    @Test("a reader of NATS stands with the PONG, and answers each PING")
    func nats() throws {
        let says = Array((Self.connect + "SUB a 1\r\nPING\r\nPONG\r\nPONG\r\n").utf8)
        try expect(
            .nats, channel: "a", Self.natsWords, says: says, [.event(frame: 16, payload: 11..<14), .reply(frame: 6)])
    }

    @Test("inside of a WebSocket NATS is the same, its words cut into frames anywhere")
    func natsInFrames() throws {
        let says =
            upgrade("/", NatsDialect.requestFields) + masked(Array((Self.connect + "SUB a 1\r\nPING\r\n").utf8))
            + masked(Array("PONG\r\n".utf8)) + masked(Array("PONG\r\n".utf8))
        for size in [1, 5, 9, 40] {
            let frames = stride(from: 0, to: Self.natsWords.count, by: size).flatMap {
                framed(Array(Self.natsWords[$0..<min($0 + size, Self.natsWords.count)]))
            }
            try expect(
                .natsWS, channel: "a", switching + frames, says: says,
                [.event(frame: 16, payload: 11..<14), .reply(frame: 6)])
        }
    }

    @Test("a reader of Redis stands with the answer to SUBSCRIBE")
    func redis() throws {
        try expect(
            .redis,
            Array(
                "*3\r\n$9\r\nsubscribe\r\n$6\r\nevents\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$6\r\nevents\r\n$1\r\nx\r\n".utf8
            ),
            says: Array("*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\nevents\r\n".utf8), [.event(frame: 36, payload: 33..<34)])
    }

    @Test("a reader of MQTT stands with the grant of its subscription")
    func mqtt() throws {
        var says = upgrade("/mqtt", MQTTDialect.requestFields)
        var packets: [UInt8] = []
        MQTTFrames.appendConnect(to: &packets)
        MQTTFrames.appendSubscribe("events", to: &packets)
        says += masked(packets)
        let words =
            switching + framed([0x20, 2, 0, 0]) + framed([0x90, 3, 0, 1, 0]) + framed([0x30, 4, 0, 1, 0x61, 7])
        try expect(.mqttWS, words, says: says, [.event(frame: 6, payload: 5..<6)])
    }

    @Test(
        "a refusal is told as one",
        arguments: [
            (Dialect.nats, "-ERR 'Authorization Violation'\r\n"), (.nats, "HTTP/1.1 400 Bad Request\r\n"),
            (.redis, "-ERR max number of clients reached\r\n"),
            (.natsWS, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            (.mqttWS, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        ])
    func refusals(dialect: Dialect, words: String) throws {
        #expect(try talk(dialect, [Array(words.utf8)]).refusal != nil)
    }

    @Test("a refused CONNECT and a refused SUBSCRIBE are told as such")
    func refusedPackets() throws {
        for packet in [[0x20, 2, 0, 5], [0x90, 3, 0, 1, 0x80]] as [[UInt8]] {
            #expect(try talk(.mqttWS, [switching + framed(packet)]).refusal != nil)
        }
    }

    // MARK: Publishers

    private func welcome(_ dialect: PublishDialect, _ words: [UInt8], _ state: inout OpeningState) -> (Bool, [UInt8]) {
        var said: [UInt8] = []
        var rest = words
        while true {
            let step = dialect.handshake(rest.span, &state, say: &said)
            guard step.used >= 0 else { return (false, said) }
            rest.removeFirst(step.used)
            if case .done = step { return (true, said) }
        }
    }

    @Test("publishers are welcome when the server has said so")
    func publishers() throws {
        var state = OpeningState()
        #expect(welcome(.nats, Array("INFO {}\r\n".utf8), &state).0 == false)
        #expect(welcome(.nats, Array("INFO {}\r\nPONG\r\n".utf8), &state).0 == true)
        #expect(welcome(.redis, [], &state).0 == true)
        let (isWelcome, said) = welcome(.mqttWS, switching + framed([0x20, 2, 0, 0]), &state)
        #expect(isWelcome)
        var packet: [UInt8] = []
        MQTTFrames.appendConnect(to: &packet)
        #expect(said == masked(packet))
        state = OpeningState()
        #expect(welcome(.mqttWS, switching + framed([0x20, 2, 0, 5]), &state).0 == false)
    }

    @Test("an event is published in each protocol's own words, and what answers it is counted")
    func publishing() throws {
        func words(_ url: String) throws -> [UInt8] {
            let route = try Place(url).publishRoute()
            var output: [UInt8] = []
            Array("abc".utf8).withUnsafeBufferPointer {
                route.dialect.append($0, route, channel: 0, inBatchOf: 1, to: &output)
            }
            return output
        }
        #expect(try words("nats://127.0.0.1:4222") == Array("PUB events 3\r\nabc\r\n".utf8))
        #expect(
            try words("redis://127.0.0.1:6379")
                == Array("*3\r\n$7\r\nPUBLISH\r\n$6\r\nevents\r\n$3\r\nabc\r\n".utf8))
        #expect(try words("mqtt-ws://127.0.0.1:1") == masked([0x30, 11, 0, 6] + Array("eventsabc".utf8)))
        #expect(PublishDialect.redis.find(Array(":12\r\n".utf8).span) == .taken(frame: 5))
        #expect(PublishDialect.redis.find(Array("+OK\r\n".utf8).span) == .skip(frame: 5))
        #expect(PublishDialect.nats.find(Array("PING\r\n".utf8).span) == .reply(frame: 6))
        #expect(PublishDialect.mqttWS.find([0x89, 0].span) == .reply(frame: 2))
        #expect(PublishDialect.mqttWS.find([0x82, 2, 0xD0, 0].span) == .skip(frame: 4))
    }
}

extension HandshakeStep {
    /// How many bytes were taken; -1 where more must come, or where it is over.
    fileprivate var used: Int {
        switch self {
        case .step(let used), .done(let used): used
        case .incomplete, .refused: -1
        }
    }
}

extension Finding {
    /// How many bytes it has; 0 where that is not known.
    fileprivate var frame: Int {
        switch self {
        case .event(let frame, _), .skip(let frame), .reply(let frame), .gap(let frame), .end(let frame),
            .taken(let frame):
            frame
        case .incomplete, .fault: 0
        }
    }
}
