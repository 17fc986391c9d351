// What streams begin with is remembered, and never longer than it is true.
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("Openings")
struct OpeningTextsTests {
    private func hello(_ format: WireFormat, _ seq: UInt64, _ name: String) -> [UInt8] {
        let epoch = Epoch(rawValue: 7)
        var bytes: [UInt8] = []
        ControlRecord.hello(epoch: epoch, seq: seq, server: Engine.serverName, heartbeatSeconds: 15).append(
            to: &bytes, format: format, discriminator: Array(name.utf8).span,
            eventID: Cursor(epoch: epoch, seq: seq))
        return bytes
    }

    @Test("$hello follows the head, the format and the discriminator")
    func hellos() {
        var texts = OpeningTexts()
        let epoch = Epoch(rawValue: 7)
        let steps: [(UInt64, String)] = [(0, "type"), (0, "type"), (1, "type"), (1, "kind"), (1, "type"), (0, "type")]
        for (seq, name) in steps {
            for format in [WireFormat.jsonl, .sse, .webSocket] {
                var bytes = Array("x".utf8)
                texts.appendHello(
                    format, head: Cursor(epoch: epoch, seq: seq), heartbeatSeconds: 15,
                    discriminator: Array(name.utf8), schema: nil, to: &bytes)
                #expect(bytes == Array("x".utf8) + hello(format, seq, name))
            }
        }
    }

    @Test("heads follow the second and the content type")
    func heads() {
        var texts = OpeningTexts()
        for seconds in [0, 1_700_000_000, 1_700_000_000, 1_700_000_001, 1_700_000_000] as [Int64] {
            for isEventStream in [true, false] {
                var bytes: [UInt8] = []
                var expected: [UInt8] = []
                texts.appendHead(eventStream: isEventStream, dateSeconds: seconds, to: &bytes)
                HTTPResponse.appendStreamHead(
                    contentType: isEventStream ? "text/event-stream" : "application/x-ndjson", dateSeconds: seconds,
                    to: &expected)
                #expect(bytes == expected)
            }
        }
    }
}
