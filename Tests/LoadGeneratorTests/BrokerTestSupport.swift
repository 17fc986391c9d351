// What the tests of the brokers' framers share: streams cut anywhere, and garbage from a seed.

import Testing

@testable import LoadGenerator

/// A framer: the frame that begins at a place of some bytes.
typealias Framer = (Span<UInt8>, Int) -> BrokerFrame

/// Repeatable random numbers (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A frame with its payload's bytes, so that it can be compared wherever it lay.
struct Taken: Equatable, CustomStringConvertible {
    var kind: BrokerFrame.Kind
    var payload: [UInt8]

    init(_ kind: BrokerFrame.Kind, _ text: String = "") {
        self.init(kind, Array(text.utf8))
    }

    init(_ kind: BrokerFrame.Kind, _ payload: [UInt8]) {
        self.kind = kind
        self.payload = payload
    }

    var description: String { "\(kind) \(String(decoding: payload, as: UTF8.self))" }
}

/// Feeds pieces as a connection would, what is not whole being kept; ends behind the first fault.
func taken(_ pieces: [[UInt8]], _ framer: Framer) -> [Taken] {
    var kept: [UInt8] = []
    var all: [Taken] = []
    for piece in pieces {
        kept += piece
        var start = 0
        while start < kept.count {
            let frame = framer(kept.span, start)
            if frame.kind == .incomplete {
                #expect(frame.next == start && frame.payload.isEmpty)
                break
            }
            #expect(frame.next <= kept.count && frame.payload.end <= kept.count)
            all.append(Taken(frame.kind, Array(kept[frame.payload.range])))
            if frame.kind == .fault { return all }
            #expect(frame.next > start)
            guard frame.next > start else { return all }
            start = frame.next
        }
        kept.removeFirst(start)
    }
    return all
}

/// The same stream whole, in two pieces cut at every byte, and byte by byte, must give the same frames.
func expectEverywhere(
    _ stream: [UInt8], _ expected: [Taken], _ framer: Framer, _ place: SourceLocation = #_sourceLocation
) {
    #expect(taken([stream], framer) == expected, sourceLocation: place)
    #expect(taken(stream.map { [$0] }, framer) == expected, sourceLocation: place)
    for cut in 0...stream.count {
        let pieces = [Array(stream[..<cut]), Array(stream[cut...])]
        #expect(taken(pieces, framer) == expected, "cut at \(cut)", sourceLocation: place)
    }
}

/// Random bytes, and a good stream with random changes, may be anything but a trap; and each frame lies inside.
func expectNoTrap(_ good: [UInt8], _ framer: Framer) {
    var random = SeededNumbers(state: 7)
    for round in 0..<20_000 {
        var bytes = good
        if round % 4 == 0 {
            bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        } else {
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0...3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(bytes[place], at: place)
                default: bytes.removeSubrange(place...)
                }
            }
        }
        _ = taken([bytes], framer)
    }
}
