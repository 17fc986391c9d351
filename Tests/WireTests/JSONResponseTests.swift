// Errors and acks, byte for byte.

import Foundation
import Testing
import Wire

@Suite("Answers to publishers")
struct JSONResponseTests {
    private let epoch = Epoch(rawValue: 0x9F)

    private func ack(_ ack: Ack) -> String {
        var output: [UInt8] = []
        ResponseJSON.appendAck(ack, to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    @Test("an ack is the object of the contract, byte for byte")
    func acks() {
        let one = Ack(last: Cursor(epoch: epoch, seq: 42), level: .accepted, subscribers: 3, behind: 0)
        let oneText =
            #"{"cursor":"000000000000009f-42","seq":42,"level":"accepted","dup":false,"subscribers":3,"behind":0}"#
        #expect(ack(one) == oneText)
        let batch = Ack(
            last: Cursor(epoch: epoch, seq: 42), batch: (Cursor(epoch: epoch, seq: 40), 3), level: .synced,
            isDuplicate: true, subscribers: 1000, behind: 17)
        let batchText =
            #"{"cursor":"000000000000009f-42","seq":42,"level":"synced","dup":true,"subscribers":1000,"behind":17,"#
            + #""first":"000000000000009f-40","count":3}"#
        #expect(ack(batch) == batchText)
        #expect(
            ack(Ack(last: Cursor(epoch: epoch, seq: 1), level: .none, subscribers: 0, behind: 0))
                == #"{"level":"none"}"#)
    }

    @Test("a repetition whose place is not known any more has none")
    func unknownPlace() {
        let place = Cursor(epoch: epoch, seq: 42)
        #expect(
            ack(Ack(last: place, level: .accepted, isDuplicate: true, isPlaceKnown: false, subscribers: 0, behind: 0))
                == #"{"cursor":null,"seq":null,"level":"accepted","dup":true,"subscribers":0,"behind":0}"#)
        let batch = Ack(
            last: place, batch: (place, 2), level: .accepted, isDuplicate: true, isPlaceKnown: false, subscribers: 0,
            behind: 0)
        #expect(ack(batch).hasSuffix(#","first":null,"count":2}"#))
    }

    @Test("what a program needs to put an error right stands beside its code")
    func details() {
        let details: [(ErrorDetail, String)] = [
            (.last(Cursor(epoch: epoch, seq: 7)), #""last":"000000000000009f-7""#), (.last(nil), #""last":"0""#),
            (.expected(.max), #""expected":18446744073709551615"#), (.producerEpoch(0), #""pepoch":0"#),
        ]
        for (detail, text) in details {
            var output: [UInt8] = []
            ResponseJSON.appendError(code: "c", message: "m", detail: detail, to: &output)
            #expect(String(decoding: output, as: UTF8.self) == #"{"error":{"code":"c","message":"m",\#(text)}}"#)
        }
    }

    @Test("a digest is the first half of SHA-256, whatever pieces it is made of")
    func digests() throws {
        // FIPS 180-2, the example "abc".
        var whole = ContentDigester()
        whole.add(Array("abc".utf8).span)
        let digest = whole.finish()
        #expect(digest == ContentDigest(high: 0xba78_16bf_8f01_cfea, low: 0x4141_40de_5dae_2223))
        var pieces = ContentDigester()
        pieces.add(UInt8(ascii: "a"))
        pieces.add([UInt8]().span)
        pieces.add(Array("bc".utf8).span)
        #expect(pieces.finish() == digest)
        #expect(ContentDigest(digest.bytes) == digest)
        #expect(digest.bytes.prefix(4) == [0xba, 0x78, 0x16, 0xbf])
        #expect(ContentDigest([1, 2, 3]) == nil && ContentDigest([UInt8](repeating: 0, count: 17)) == nil)
    }

    @Test("an error has a code and a message, whatever they hold")
    func errors() throws {
        var output: [UInt8] = []
        ResponseJSON.appendError(code: "bad_query", message: "what \"that\\\n\u{1} é", to: &output)
        #expect(
            String(decoding: output, as: UTF8.self)
                == #"{"error":{"code":"bad_query","message":"what \"that\\\n\u0001 é"}}"#)
        for code in EventFault.Code.allCases {
            var output: [UInt8] = []
            ResponseJSON.appendError(EventFault(code, at: 17), to: &output)
            let object = try JSONSerialization.jsonObject(with: Data(output)) as? [String: [String: String]]
            #expect(object?["error"]?["code"] == code.rawValue)
            #expect(object?["error"]?["message"]?.hasSuffix("(byte 17)") == true)
        }
    }
}
