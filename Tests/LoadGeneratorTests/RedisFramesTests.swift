// Redis' protocol taken apart.

import Testing

@testable import LoadGenerator

@Suite("Redis frames")
struct RedisFramesTests {
    private static func message(_ payload: String) -> String {
        "*3\r\n$7\r\nmessage\r\n$6\r\nevents\r\n$\(payload.utf8.count)\r\n\(payload)\r\n"
    }

    private let good = Array(
        ("*3\r\n$9\r\nsubscribe\r\n$6\r\nevents\r\n:1\r\n" + message("hello") + message("") + ":17\r\n+OK\r\n"
            + message("*3\r\n$7\r\nmessage\r\n")).utf8)

    @Test("the answer to SUBSCRIBE, messages and answers are told apart wherever the stream is cut")
    func cuts() {
        let expected = [
            Taken(.subscribed), Taken(.event, "hello"), Taken(.event, ""), Taken(.notice), Taken(.notice),
            Taken(.event, "*3\r\n$7\r\nmessage\r\n"),
        ]
        expectEverywhere(good, expected, RedisFrames.next)
    }

    @Test(
        "what pub/sub does not send is a fault",
        arguments: [
            "-ERR max number of clients reached\r\n", "$3\r\nabc\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n", "*-1\r\n",
            "*3\r\n:1\r\n", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n", "*3\r\n$7\r\nmessage\r\n:1\r\n", "\r\n",
            "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$-1\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nabc\r\n", "*3\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\n1\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$99999999\r\n",
        ])
    func faults(text: String) {
        #expect(taken([Array(text.utf8)], RedisFrames.next) == [Taken(.fault)])
    }

    @Test("garbage never traps")
    func garbage() { expectNoTrap(good, RedisFrames.next) }

    @Test("what a client sends is what the protocol describes")
    func client() {
        var output: [UInt8] = []
        RedisFrames.appendSubscribe("events", to: &output)
        RedisFrames.appendPublishHead("events", payloadBytes: 200, to: &output)
        #expect(
            String(decoding: output, as: UTF8.self)
                == "*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\nevents\r\n*3\r\n$7\r\nPUBLISH\r\n$6\r\nevents\r\n$200\r\n")
    }
}
