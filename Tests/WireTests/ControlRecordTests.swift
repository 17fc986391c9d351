// The server's own records, byte for byte in every form.

import Foundation
import Testing
import Wire

@Suite("Control records")
struct ControlRecordTests {
    private let epoch = Epoch(rawValue: 0xE1)

    private func text(_ record: ControlRecord, _ format: WireFormat, discriminator: String = "type", id: UInt64? = nil)
        -> String
    {
        String(decoding: bytes(record, format, discriminator: discriminator, id: id), as: UTF8.self)
    }

    private func bytes(_ record: ControlRecord, _ format: WireFormat, discriminator: String = "type", id: UInt64? = nil)
        -> [UInt8]
    {
        var output: [UInt8] = []
        record.append(
            to: &output, format: format, discriminator: Array(discriminator.utf8).span,
            eventID: id.map { Cursor(epoch: epoch, seq: $0) })
        return output
    }

    private var records: [(ControlRecord, String)] {
        [
            (
                .hello(epoch: epoch, seq: 41, server: "fanout/0.1.0", heartbeatSeconds: 15),
                #"{"type":"$hello","epoch":"00000000000000e1","seq":41,"server":"fanout/0.1.0","heartbeat_s":15}"#
            ),
            (
                .gap(why: .lagged, epoch: epoch, from: 5, to: 9, dropped: 3),
                #"{"type":"$gap","epoch":"00000000000000e1","from":5,"to":9,"dropped":3,"why":"lagged"}"#
            ),
            (
                .gap(why: .unknownEpoch, epoch: epoch, from: nil, to: nil, dropped: nil),
                #"{"type":"$gap","epoch":"00000000000000e1","why":"unknown_epoch"}"#
            ),
            (
                .gap(why: .pruned, epoch: epoch, from: 1, to: .max, dropped: nil),
                #"{"type":"$gap","epoch":"00000000000000e1","from":1,"to":18446744073709551615,"why":"pruned"}"#
            ),
            (
                .gap(why: .rewound, epoch: epoch, from: nil, to: nil, dropped: 0),
                #"{"type":"$gap","epoch":"00000000000000e1","dropped":0,"why":"rewound"}"#
            ),
            (
                .bye(code: 4008, why: "slow", last: Cursor(epoch: epoch, seq: 1042), retryMilliseconds: 250),
                #"{"type":"$bye","code":4008,"why":"slow","last":"00000000000000e1-1042","retry_ms":250}"#
            ),
            (
                .bye(code: 1000, why: "ended", last: nil, retryMilliseconds: nil),
                #"{"type":"$bye","code":1000,"why":"ended"}"#
            ),
            (
                .bye(code: 1001, why: "shutdown", last: nil, retryMilliseconds: 0),
                #"{"type":"$bye","code":1001,"why":"shutdown","retry_ms":0}"#
            ),
        ]
    }

    @Test("each record is the contract's object, byte for byte, in every form")
    func samples() {
        for (record, object) in records {
            #expect(text(record, .jsonl, id: 3) == object + "\n")
            #expect(text(record, .sse) == "event: \(record.name)\ndata: \(object)\n\n")
            #expect(text(record, .sse, id: 3) == "event: \(record.name)\nid: 00000000000000e1-3\ndata: \(object)\n\n")
            #expect(textFrames(bytes(record, .webSocket, id: 3)) == [Array(object.utf8)])
        }
    }

    @Test("a browser gets the record under its name, with its id")
    func eventStream() {
        let stream = records.flatMap { bytes($0.0, .sse, id: 3) }
        let events = serverSentEvents(stream)
        #expect(events.map(\.event) == records.map { "\($0.0.name)" })
        #expect(events.map(\.data) == records.map(\.1))
        #expect(events.allSatisfy { $0.id == "00000000000000e1-3" })
    }

    @Test("a keep-alive is a line, a comment or a ping frame")
    func ping() {
        #expect(text(.ping, .jsonl) == #"{"type":"$ping"}"# + "\n")
        #expect(text(.ping, .sse, id: 3) == ":\n\n")
        #expect(serverSentEvents(bytes(.ping, .sse)).isEmpty)
        #expect(bytes(.ping, .webSocket) == [0x89, 0x00])
    }

    @Test("the channel's discriminator names the record, escaped where it must be")
    func discriminator() throws {
        #expect(text(.ping, .jsonl, discriminator: "kind") == #"{"kind":"$ping"}"# + "\n")
        #expect(text(.ping, .jsonl, discriminator: "a\"\\\n") == #"{"a\"\\\n":"$ping"}"# + "\n")
        let object =
            try JSONSerialization.jsonObject(with: Data(bytes(.ping, .jsonl, discriminator: "é\u{1}")))
            as? [String: String]
        #expect(object == ["é\u{1}": "$ping"])
    }

    @Test("a long record has a longer frame header")
    func longFrame() {
        let discriminator = String(repeating: "d", count: 300)
        let frames = textFrames(
            bytes(
                .hello(epoch: epoch, seq: 1, server: "s", heartbeatSeconds: 15), .webSocket,
                discriminator: discriminator))
        #expect(frames.count == 1)
        #expect(frames.first.map { faultOfText($0) == nil } == true)
    }

    @Test("the reasons for gaps are the contract's words")
    func reasons() {
        #expect(
            ControlRecord.GapReason.allCases.map(\.rawValue) == [
                "lagged", "conflated", "pruned", "ahead", "unknown_epoch", "rewound", "upstream",
            ])
    }
}
