// MQTT 3.1.1 packets taken apart.

import Testing

@testable import LoadGenerator

@Suite("MQTT frames")
struct MQTTFramesTests {
    private static func message(_ payload: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        MQTTFrames.appendPublishHead("events", payloadBytes: payload.count, to: &output)
        return output + payload
    }

    private static let long = [UInt8](repeating: 0x30, count: 300)
    private let good =
        [0x20, 2, 0, 0, 0x90, 3, 0, 1, 0] + message(Array("hello".utf8)) + [0xD0, 0] + message([]) + message(long)

    @Test("answers and messages are told apart wherever the stream is cut")
    func cuts() {
        let expected = [
            Taken(.notice), Taken(.subscribed), Taken(.event, "hello"), Taken(.notice), Taken(.event, ""),
            Taken(.event, Self.long),
        ]
        expectEverywhere(good, expected, MQTTFrames.next)
    }

    @Test(
        "what a broker does not send at QoS 0 is a fault",
        arguments: [
            // Refused: the protocol's version, and the subscription.
            [0x20, 2, 0, 1], [0x90, 3, 0, 1, 0x80],
            // Wrong sizes.
            [0x20, 0], [0x20, 1, 0], [0x90, 2, 0, 1], [0xD0, 1, 0], [0x30, 0], [0x30, 1, 0], [0x30, 2, 0, 1],
            // QoS 1, DUP, retained, and packets that only clients send.
            [0x32, 4, 0, 1, 0x61, 0], [0x38, 2, 0, 0], [0x31, 2, 0, 0], [0x10, 0], [0xC0, 0], [0xE0, 0], [0, 0],
            // Lengths of five bytes, and beyond what is believed.
            [0x30, 0xFF, 0xFF, 0xFF, 0xFF], [0x30, 0xFF, 0xFF, 0xFF, 0x7F],
        ] as [[UInt8]])
    func faults(packet: [UInt8]) {
        #expect(taken([packet], MQTTFrames.next) == [Taken(.fault)])
    }

    @Test("garbage never traps")
    func garbage() { expectNoTrap(good, MQTTFrames.next) }

    @Test("what a client sends is what the standard describes")
    func client() {
        var output: [UInt8] = []
        MQTTFrames.appendConnect(to: &output)
        #expect(output == [0x10, 12, 0, 4, 0x4D, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0])
        output = []
        MQTTFrames.appendSubscribe("ab", to: &output)
        #expect(output == [0x82, 7, 0, 1, 0, 2, 0x61, 0x62, 0])
    }

    @Test(
        "a packet is read as it was written, at each length of its length",
        arguments: [
            0, 1, 117, 118, 119, 120, 16_373, 16_374, 16_375, 16_376, 1_000_000, 2_097_141, 2_097_142, 2_097_143,
        ])
    func heads(count: Int) {
        var output: [UInt8] = []
        MQTTFrames.appendPublishHead("events", payloadBytes: count, to: &output)
        let frame = MQTTFrames.next((output + [UInt8](repeating: 1, count: count)).span, from: 0)
        // What is larger than anything that is read is refused by its length.
        guard count <= 1_000_000 else { return #expect(frame.kind == .fault) }
        #expect(frame.kind == .event && frame.payload.range == output.count..<(output.count + count))
    }
}
