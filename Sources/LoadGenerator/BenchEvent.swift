/// The events that are published: how they are made, and how they are known again.
///
/// `{"type":"bench","n":NNNNNNNNNN,"p":P,"pad":"xxx…"}`, of exactly as many bytes as asked for. `n` counts each
/// publisher's events from a thousand million on, so that it always has ten digits and stands at a fixed place, counted
/// from the end too: a server may put members of its own in front.

import Glibc

/// Makes and reads the events of one run.
struct BenchEvent {
    /// The least that holds all members.
    static let bytesMin = 64
    private static let numberFirst = 1_000_000_000
    private static let numberOffset = 20  // behind {"type":"bench","n":
    private static let numberDigits = 10
    private static let restOffset = numberOffset + numberDigits

    let bytes: Int
    private let templates: [[UInt8]]

    init(bytes: Int, publishers: Int) {
        self.bytes = bytes
        templates = (0..<publishers).map { publisher in
            let head = Array("{\"type\":\"bench\",\"n\":\(Self.numberFirst),\"p\":\(publisher),\"pad\":\"".utf8)
            let pad = [UInt8](repeating: UInt8(ascii: "x"), count: max(0, bytes - head.count - 2))
            return head + pad + Array("\"}".utf8)
        }
    }

    /// Writes event `number` of `publisher` to `place`, which has room for `bytes`.
    func write(_ number: Int, publisher: Int, to place: UnsafeMutablePointer<UInt8>) {
        templates[publisher].withUnsafeBufferPointer { template in
            guard let base = template.baseAddress else { return }
            memcpy(place, base, template.count)
        }
        var rest = Self.numberFirst + number
        for digit in (0..<Self.numberDigits).reversed() {
            place[Self.numberOffset + digit] = UInt8(48 + rest % 10)
            rest /= 10
        }
    }

    /// The publisher and the number of the event that `payload` ends with; nil where it is none of this run's, byte for
    /// byte, with nothing but an object's first members in front.
    func read(_ payload: Span<UInt8>) -> (publisher: Int, number: Int)? {
        let start = payload.count - bytes
        guard start >= 0, payload[0] == UInt8(ascii: "{") else { return nil }
        if start > 0, payload[start] != UInt8(ascii: ",") && payload[start] != UInt8(ascii: "{") { return nil }
        let number = start + Self.numberOffset
        guard let wide = payload.decimal(in: number..<(number + Self.numberDigits)), wide >= Self.numberFirst,
            let publisher = publisher(payload, at: number + Self.numberDigits + 5)
        else { return nil }
        let matches = templates[publisher].withUnsafeBufferPointer { template in
            payload.withUnsafeBufferPointer { its in
                guard let a = template.baseAddress, let b = its.baseAddress else { return false }
                // The opening brace is a comma where members were put in front.
                return memcmp(a + 1, b + start + 1, Self.numberOffset - 1) == 0
                    && memcmp(a + Self.restOffset, b + start + Self.restOffset, bytes - Self.restOffset) == 0
            }
        }
        return matches ? (publisher, wide - Self.numberFirst) : nil
    }

    private func publisher(_ payload: Span<UInt8>, at start: Int) -> Int? {
        guard let end = payload.first(UInt8(ascii: ","), from: start),
            let publisher = payload.decimal(in: start..<end), publisher < templates.count
        else { return nil }
        return publisher
    }
}
