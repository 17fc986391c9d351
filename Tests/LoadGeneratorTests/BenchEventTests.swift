/// The events that are published: their size, their form, and that nothing else is taken for one.

import Foundation
import Testing

@testable import LoadGenerator

@Suite("Bench events")
struct BenchEventTests {
    private func text(_ event: BenchEvent, _ number: Int, _ publisher: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: event.bytes)
        bytes.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            event.write(number, publisher: publisher, to: base)
        }
        return bytes
    }

    @Test("an event is JSON of exactly the size asked for", arguments: [64, 200, 16_384])
    func size(bytes: Int) throws {
        let event = BenchEvent(bytes: bytes, publishers: 64)
        for (number, publisher) in [(0, 0), (7, 9), (999_999_999, 63)] {
            let object = try JSONSerialization.jsonObject(with: Data(text(event, number, publisher)))
            let members = try #require(object as? [String: Any])
            #expect(members["n"] as? Int == 1_000_000_000 + number)
            #expect(members["p"] as? Int == publisher)
        }
    }

    @Test("an event is known again as it was published and with members in front")
    func known() {
        let event = BenchEvent(bytes: 100, publishers: 3)
        let plain = text(event, 12_345, 2)
        let stamped = Array("{\"seq\":9,\"channel\":\"events\",".utf8) + plain.dropFirst()
        for payload in [plain, stamped] {
            let found = event.read(payload.span)
            #expect(found?.publisher == 2)
            #expect(found?.number == 12_345)
        }
    }

    @Test("no event with one byte changed is taken for one of this run, but for its number's digits")
    func changed() {
        let event = BenchEvent(bytes: 80, publishers: 1)
        let plain = text(event, 5, 0)
        for index in plain.indices {
            var bytes = plain
            bytes[index] ^= 1
            let found = event.read(bytes.span)
            if (20..<30).contains(index) {
                #expect(found?.number != 5)
            } else {
                #expect(found == nil, "byte \(index)")
            }
        }
        func isTaken(_ bytes: [UInt8]) -> Bool { event.read(bytes.span) != nil }
        #expect(!isTaken(Array(plain.prefix(79))))
        #expect(isTaken(Array("{".utf8) + plain), "members in front are the server's matter")
        #expect(!isTaken(Array("[x".utf8) + plain))
        #expect(!isTaken([]))
    }
}
