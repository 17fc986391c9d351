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
