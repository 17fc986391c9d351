// NATS' client protocol taken apart.

import Testing

@testable import LoadGenerator

@Suite("NATS frames")
struct NatsFramesTests {
    private let good = Array(
        """
        INFO {"server_id":"N","version":"2.9.10","proto":1,"max_payload":1048576}\r
        PONG\r
        MSG events 1 5\r
        hello\r
        PING\r
        MSG events.7 1 reply.to 12\r
        MSG a 1 3\r
        b\r
        MSG events 1 0\r
        \r
        +OK\r

        """.utf8)

    @Test("greeting, messages and pings are told apart wherever the stream is cut")
    func cuts() {
        let expected = [
            Taken(.notice), Taken(.subscribed), Taken(.event, "hello"), Taken(.ping),
            // A payload that looks like a frame is only counted.
            Taken(.event, "MSG a 1 3\r\nb"), Taken(.event, ""), Taken(.notice),
        ]
        expectEverywhere(good, expected, NatsFrames.next)
    }

    @Test(
        "what the protocol does not allow is a fault",
        arguments: [
            "-ERR 'Maximum Connections Exceeded'\r\n", "HMSG a 1 1 1\r\n", "MSG a 1 \r\n", "MSG a 1 x\r\nx\r\n",
            "MSG a 1 -1\r\n", "MSG a 1 123456789\r\n", "MSG a 1 1\r\nabc\r\n", "MSG\r\n", "\r\n", "PING\n", "PONGS\r\n",
            "MSG a 1 99999999\r\n", "INFO " + String(repeating: "x", count: 5000),
        ])
    func faults(text: String) {
        #expect(taken([Array(text.utf8)], NatsFrames.next) == [Taken(.fault)])
    }

    @Test("garbage never traps")
    func garbage() { expectNoTrap(good, NatsFrames.next) }

    @Test("what a client sends is what the protocol describes")
    func client() {
        var output: [UInt8] = []
        NatsFrames.appendConnect(to: &output)
        NatsFrames.appendSubscribe("events", to: &output)
        NatsFrames.appendPublishHead("events", payloadBytes: 200, to: &output)
        let text = String(decoding: output, as: UTF8.self)
        #expect(text.hasPrefix(#"CONNECT {"verbose":false,"#))
        #expect(text.hasSuffix("}\r\nSUB events 1\r\nPING\r\nPUB events 200\r\n"))
    }
}
