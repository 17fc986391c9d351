// Runs the table of client frames at every split, and conversations and noise at random ones.

import Testing

@testable import Wire

@Suite("A client's frames")
struct WebSocketDecoderTests {
    @Test("a vector gives its events and its close code, whole and at every split", arguments: WebSocketVector.all)
    func everySplit(_ vector: WebSocketVector) {
        let count = vector.bytes.count
        var numbers = SeededNumbers(21)
        var ways = [Pieces.whole(count), Pieces.single(count)] + (0..<8).map { _ in Pieces.random(count, &numbers) }
        for place in 0...count { ways.append(Pieces.twoAt(place, of: count)) }
        for pieces in ways {
            let outcome = WebSocketOutcome.read(vector.bytes, pieces: pieces, limits: vector.limits)
            #expect(outcome.events == vector.events, "\(pieces)")
            #expect(outcome.fault?.closeCode == vector.closeCode, "\(pieces)")
        }
    }

    @Test("every two cuts of a conversation give the same events")
    func twoCuts() {
        let bytes =
            ClientFrame.make(1, [0xE2, 0x82], final: false) + ClientFrame.make(9, [1, 2, 3])
            + ClientFrame.make(0, [0xAC, 0x41]) + ClientFrame.make(2, [UInt8](repeating: 9, count: 130))
            + ClientFrame.close(1000, [0x6F, 0x6B])
        let expected: [WebSocketOutcome.Event] = [
            .ping([1, 2, 3]), .message(1, [0xE2, 0x82, 0xAC, 0x41]), .message(2, [UInt8](repeating: 9, count: 130)),
            .close(1000, [0x6F, 0x6B]),
        ]
        for first in 0...bytes.count {
            for second in first...bytes.count {
                let pieces = [first, second - first, bytes.count - second].filter { $0 > 0 }
                let outcome = WebSocketOutcome.read(bytes, pieces: pieces)
                #expect(outcome.events == expected && outcome.fault == nil, "\(pieces)")
            }
        }
    }

    @Test("the lengths at which the header changes, at some splits", arguments: [65_535, 65_536, 65_537, 100_000])
    func longMessages(_ length: Int) {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let bytes = ClientFrame.make(2, payload) + ClientFrame.make(9, [7])
        var limits = WebSocketLimits()
        limits.messageBytesMax = length
        for pieces in [
            [bytes.count], [1, bytes.count - 1], [9, 3, bytes.count - 12], [length, bytes.count - length],
        ] {
            let outcome = WebSocketOutcome.read(bytes, pieces: pieces, limits: limits)
            #expect(outcome.events == [.message(2, payload), .ping([7])] && outcome.isIdle)
        }
        limits.messageBytesMax = length - 1
        #expect(WebSocketOutcome.read(bytes, pieces: [bytes.count], limits: limits).fault?.closeCode == 1009)
    }

    @Test("1,024 fragments pass and 1,025 are 1008")
    func fragments() {
        func message(fragments: Int) -> [UInt8] {
            ClientFrame.text("a", final: false)
                + [[UInt8]](repeating: ClientFrame.more("b", final: false), count: fragments - 2).flatMap { $0 }
                + ClientFrame.more("c")
        }
        let good = message(fragments: 1024)
        #expect(WebSocketOutcome.read(good, pieces: [good.count]).events.count == 1)
        let bad = message(fragments: 1025)
        #expect(WebSocketOutcome.read(bad, pieces: [bad.count]).fault?.closeCode == 1008)
    }

    @Test("a decoder is idle exactly between messages")
    func idleness() {
        let bytes = ClientFrame.text("a", final: false) + ClientFrame.make(9) + ClientFrame.more("b")
        for count in 0...bytes.count {
            let outcome = WebSocketOutcome.read(Array(bytes.prefix(count)), pieces: Pieces.whole(count))
            #expect(outcome.isIdle == (count == 0 || count == bytes.count), "\(count)")
        }
    }

    @Test("close codes are refused exactly where the RFC and the registry reserve them")
    func closeCodes() {
        for code in UInt16(0)...UInt16.max {
            let allowed =
                [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014].contains(code)
                || (3000...4999).contains(code)
            let bytes = ClientFrame.close(code)
            let outcome = WebSocketOutcome.read(bytes, pieces: [bytes.count])
            if allowed {
                #expect(outcome.events == [.close(code, [])])
            } else {
                #expect(outcome.fault?.closeCode == 1002 && outcome.events.isEmpty)
            }
        }
    }

    @Test("a fault is told with the byte that shows it")
    func earliness() {
        // The least prefix that must be refused, for some vectors.
        let prefixes: [([UInt8], UInt16)] = [
            ([0xC1], 1002), ([0x83], 1002), ([0x80], 1002), ([0x09], 1002), ([0x81, 0x00], 1002), ([0x89, 0xFE], 1002),
            ([0x88, 0x81], 1002), ([0x82, 0xFF, 0x80], 1002), ([0x82, 0xFE, 0x00, 0x7D], 1002),
            ([0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1], 1009), ([0x81, 0x85, 0, 0, 0, 0, 0xC0], 1007),
        ]
        for (bytes, code) in prefixes {
            #expect(WebSocketOutcome.read(bytes, pieces: [bytes.count]).fault?.closeCode == code)
            let shorter = Array(bytes.dropLast())
            #expect(WebSocketOutcome.read(shorter, pieces: Pieces.whole(shorter.count)).fault == nil)
        }
    }

    @Test("a decoder that has refused something swallows the rest")
    func swallowing() throws {
        var decoder = WebSocketDecoder()
        var bytes: [UInt8] = [0x83, 0x80]
        bytes.withUnsafeMutableBufferPointer { input in
            var consumed = 0
            #expect(throws: WebSocketFault.self) {
                _ = try decoder.next(input, consumed: &consumed, limits: WebSocketLimits())
            }
        }
        var more = ClientFrame.text("a")
        try more.withUnsafeMutableBufferPointer { input in
            var consumed = 0
            let event = try decoder.next(input, consumed: &consumed, limits: WebSocketLimits())
            #expect(event == nil && consumed == input.count)
        }
        #expect(!decoder.isIdle)
    }

    @Test("random conversations come out as they went in, at random splits")
    func roundTrip() {
        var numbers = SeededNumbers(22)
        for _ in 0..<400 {
            var bytes: [UInt8] = []
            var events: [WebSocketOutcome.Event] = []
            for _ in 0..<Int.random(in: 1...6, using: &numbers) {
                let count = Int.random(in: 0...400, using: &numbers)
                let payload = (0..<count).map { _ in UInt8.random(in: 0...255, using: &numbers) }
                if Bool.random(using: &numbers) {
                    let ping = Array(payload.prefix(125))
                    bytes += ClientFrame.make(9, ping)
                    events.append(.ping(ping))
                }
                let cut = Int.random(in: 0...count, using: &numbers)
                bytes += ClientFrame.make(2, Array(payload[..<cut]), final: false)
                if Bool.random(using: &numbers) {
                    bytes += ClientFrame.make(10, [1])
                    events.append(.pong([1]))
                }
                bytes += ClientFrame.make(0, Array(payload[cut...]))
                events.append(.message(2, payload))
            }
            let outcome = WebSocketOutcome.read(bytes, pieces: Pieces.random(bytes.count, &numbers))
            #expect(outcome.events == events && outcome.fault == nil && outcome.isIdle)
        }
    }

    @Test("random bytes never trap and mean the same at any split")
    func garbage() {
        var numbers = SeededNumbers(23)
        let openings: [UInt8] = [0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A]
        let lengths: [UInt8] = [0x80, 0x81, 0x85, 0xFD, 0xFE, 0xFF]
        for round in 0..<60_000 {
            let count = Int.random(in: 0...60, using: &numbers)
            var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &numbers) }
            if round % 3 > 0 {
                // Mostly legal headers reach deeper than plain noise does.
                var place = 0
                while place + 1 < count {
                    bytes[place] = openings.randomElement(using: &numbers) ?? 0
                    bytes[place + 1] = lengths.randomElement(using: &numbers) ?? 0
                    place += 6 + Int(bytes[place + 1] & 0x7F) % 6
                }
            }
            let whole = WebSocketOutcome.read(bytes, pieces: Pieces.whole(count))
            #expect(WebSocketOutcome.read(bytes, pieces: Pieces.single(count)) == whole, "\(bytes)")
            #expect(WebSocketOutcome.read(bytes, pieces: Pieces.random(count, &numbers)) == whole, "\(bytes)")
        }
    }

    @Test("a decoder is as large as its comment says")
    func size() {
        #expect(MemoryLayout<WebSocketDecoder>.size <= 180)
    }
}
