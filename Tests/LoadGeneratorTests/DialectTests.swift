/// What readers' dialects find in received bytes: at every split of the input, and in bytes that no server should send.

import Testing

@testable import LoadGenerator

/// One stream of each dialect: three events with something else between them.
private struct Sample: CustomTestStringConvertible, Sendable {
    let dialect: Dialect
    let stream: [UInt8]
    let payloads = ["{\"a\":1}", "{\"b\":22}", "{\"c\":333}"]
    var testDescription: String { dialect.name }

    static let all = [
        Sample(
            dialect: .jsonl,
            stream: Array("{\"a\":1}\n{\"type\":\"$ping\"}\n{\"b\":22}\r\n\n{\"c\":333}\n".utf8)),
        Sample(
            dialect: .sse,
            stream: Array(
                (": hi\n\nid: 1\ndata: {\"a\":1}\n\n:\n\ndata:{\"b\":22}\r\nid: 2\r\n\r\n"
                    + "retry: 5\n\nevent: x\ndata: {\"c\":333}\n\n")
                    .utf8)),
        Sample(
            dialect: .ws,
            stream: [0x81, 7] + Array("{\"a\":1}".utf8) + [0x8A, 0] + [0x82, 8] + Array("{\"b\":22}".utf8)
                + [0x81, 9] + Array("{\"c\":333}".utf8)),
    ]
}

// Spans cannot go through the macros of the testing library.
extension Dialect {
    fileprivate func found(_ bytes: some Collection<UInt8>) -> Finding { find(Array(bytes).span) }

    fileprivate func step(_ bytes: some Collection<UInt8>, _ state: inout OpeningState) -> HandshakeStep {
        var say: [UInt8] = []
        return handshake(Array(bytes).span, channel: nil, &state, say: &say)
    }
}

@Suite("Dialects")
struct DialectTests {
    /// The payloads of all whole events at the front of `bytes`, and how many bytes were taken.
    private func events(_ dialect: Dialect, _ bytes: ArraySlice<UInt8>) -> (payloads: [String], used: Int) {
        var payloads: [String] = []
        var used = 0
        while true {
            let rest = Array(bytes.dropFirst(used))
            switch dialect.find(rest.span) {
            case .event(let frame, let payload):
                payloads.append(String(decoding: rest[payload], as: UTF8.self))
                used += frame
            case .skip(let frame), .gap(let frame), .end(let frame), .reply(let frame), .taken(let frame):
                used += frame
            case .incomplete, .fault: return (payloads, used)
            }
        }
    }

    @Test("the events of a stream are found whatever pieces it comes in", arguments: Sample.all)
    fileprivate func splits(sample: Sample) {
        for first in 0...sample.stream.count {
            let early = events(sample.dialect, sample.stream[..<first])
            let late = events(sample.dialect, sample.stream[early.used...])
            #expect(early.payloads + late.payloads == sample.payloads, "split at \(first)")
            #expect(early.used + late.used == sample.stream.count)
        }
    }

    @Test("fanout's own records are told from events")
    func records() {
        func find(_ line: String) -> Finding { Dialect.jsonl.found((line + "\n").utf8) }
        #expect(find(#"{"type":"$gap","from":1}"#) == .gap(frame: 25))
        #expect(find(#"{"type":"$bye","code":1001}"#) == .end(frame: 28))
        #expect(find(#"{"type":"$ping"}"#) == .skip(frame: 17))
        #expect(find(#"{"type":"$"#) == .skip(frame: 11))
        #expect(find(#"{"type":"gap"}"#) == .event(frame: 15, payload: 0..<14))
        let close: [UInt8] = [0x88, 2, 3, 0xE9]
        #expect(Dialect.ws.found(close) == .end(frame: 4))
    }

    @Test("a ping is answered with its own bytes, masked")
    func ping() {
        let frame: [UInt8] = [0x89, 3, 1, 2, 3]
        #expect(Dialect.ws.found(frame) == .reply(frame: 5))
        var pong: [UInt8] = []
        Dialect.ws.appendReply(to: frame.span, into: &pong)
        #expect(pong.prefix(2) == [0x8A, 0x83])
        let mask = Array(pong[2..<6])
        #expect(pong[6...].enumerated().map { $1 ^ mask[$0 & 3] } == [1, 2, 3])
    }

    @Test(
        "frames that are not read are faults",
        arguments: [
            [0x01, 1, 65], [0x80, 1, 65], [0xC1, 1, 65], [0x83, 0], [0x81, 0x81, 0, 0, 0, 0, 65],
            [0x81, 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            [0x81, 127, 0, 0, 0, 0, 0, 0x20, 0, 0],
        ] as [[UInt8]])
    func webSocketFaults(bytes: [UInt8]) {
        guard case .fault = Dialect.ws.found(bytes) else {
            Issue.record("\(bytes) was taken")
            return
        }
    }

    @Test("what has no end within a mebibyte is a fault, not a wait", arguments: [Dialect.jsonl, .sse])
    func endless(dialect: Dialect) {
        let bytes = [UInt8](repeating: 65, count: frameBytesMax)
        guard case .fault = dialect.found(bytes) else {
            Issue.record("it waits for more")
            return
        }
        #expect(dialect.found(bytes.dropLast()) == .incomplete)
    }

    @Test("random and mutated bytes are taken in bounds, whatever they are", arguments: Dialect.allCases)
    func noise(dialect: Dialect) {
        var random = SystemRandomNumberGenerator()
        let seeds =
            Sample.all.map(\.stream) + [Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n".utf8)]
        for turn in 0..<20_000 {
            var bytes = seeds[turn % seeds.count]
            if turn % 3 == 0 { bytes = (0..<Int.random(in: 0...40)).map { _ in .random(in: 0...255, using: &random) } }
            for _ in 0..<Int.random(in: 0...3) where !bytes.isEmpty {
                bytes[.random(in: 0..<bytes.count)] = .random(in: 0...255, using: &random)
            }
            var state = OpeningState()
            state.hellosDue = UInt8(turn & 1)
            var reply: [UInt8] = []
            switch dialect.handshake(bytes.span, channel: nil, &state, say: &reply) {
            case .step(let used), .done(let used): #expect((0...bytes.count).contains(used))
            case .incomplete, .refused: break
            }
            switch dialect.find(bytes.span) {
            case .event(let frame, let payload):
                #expect(frame > 0 && frame <= bytes.count && payload.lowerBound >= 0 && payload.upperBound <= frame)
            case .reply(let frame):
                #expect(frame > 0 && frame <= bytes.count)
                dialect.appendReply(to: bytes.span.extracting(0..<frame), into: &reply)
            case .skip(let frame), .gap(let frame), .end(let frame), .taken(let frame):
                #expect(frame > 0 && frame <= bytes.count)
            case .incomplete, .fault: break
            }
            for publishing in PublishDialect.allCases {
                if case .taken(let frame) = publishing.find(bytes.span) { #expect(frame > 0 && frame <= bytes.count) }
            }
        }
    }

    @Test("a raw stream stands with its last $hello, an HTTP one with its head")
    func handshakes() {
        var state = OpeningState()
        state.hellosDue = 2
        let hello = Array("{\"type\":\"$hello\"}\n{\"x\":1}\n".utf8)
        #expect(Dialect.jsonl.step(hello, &state) == .step(used: 18))
        let event = Array(hello[18...])
        #expect(Dialect.jsonl.step(event, &state) == .step(used: 8))
        #expect(Dialect.jsonl.step(hello, &state) == .done(used: 18))
        var other = OpeningState()
        other.hellosDue = 1
        if case .refused(let why) = Dialect.jsonl.step(event, &other) {
            #expect(why.contains("--no-hello"))
        } else {
            Issue.record("an event was taken for a greeting")
        }

        let head = Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5".utf8)
        #expect(Dialect.sse.step(head.prefix(40), &state) == .incomplete)
        #expect(Dialect.sse.step(head, &state) == .done(used: head.count - 1))
        #expect(state.isChunked)
        for refusal in [
            "HTTP/1.1 404 Not Found\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        ] {
            guard case .refused = Dialect.sse.step(refusal.utf8, &state) else {
                Issue.record("\(refusal) was taken")
                continue
            }
        }
    }

    @Test("an answer to a POST is one batch taken, in chunks too; a refusal is a fault")
    func answers() {
        func find(_ text: String) -> Finding { PublishDialect.http.find(Array(text.utf8).span) }
        #expect(find("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP") == .taken(frame: 40))
        #expect(find("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{") == .incomplete)
        #expect(find("HTTP/1.1 204 No Content\r\n\r\n") == .taken(frame: 27))
        let chunked = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        #expect(find(chunked) == .taken(frame: chunked.utf8.count))
        #expect(find(String(chunked.dropLast(2))) == .incomplete)
        #expect(find("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") == .fault("refused with status 503"))
        #expect(find("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n") != .incomplete)
    }
}
