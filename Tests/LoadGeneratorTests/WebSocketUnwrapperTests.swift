// The payload of WebSocket frames made one stream.

import Testing

@testable import LoadGenerator

@Suite("WebSocket unwrapped")
struct WebSocketUnwrapperTests {
    private struct Result {
        var stream: [UInt8] = []
        var answers: [UInt8] = []
        var end = "open"
    }

    /// Feeds pieces as a connection would.
    private func unwrapped(_ pieces: [[UInt8]]) -> Result {
        var unwrapper = WebSocketUnwrapper()
        var result = Result()
        for var piece in pieces {
            switch piece.withUnsafeMutableBufferPointer({ unwrapper.unwrap($0, answers: &result.answers) }) {
            case .payload(let count): result.stream += piece[..<count]
            case .closed(let count):
                result.stream += piece[..<count]
                result.end = "closed"
                return result
            case .fault:
                result.end = "fault"
                return result
            }
        }
        return result
    }

    private func frame(_ first: UInt8, _ payload: [UInt8]) -> [UInt8] {
        if payload.count <= 125 { return [first, UInt8(payload.count)] + payload }
        return [first, 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)] + payload
    }

    @Test("frames, fragments and pings between them become one stream wherever they are cut")
    func cuts() {
        let long = (0..<300).map { UInt8($0 & 0xFF) }
        let stream =
            frame(0x82, [1, 2, 3]) + frame(0x02, [4]) + frame(0x89, [9, 9]) + frame(0x00, []) + frame(0x80, [5])
            + frame(0x82, long) + frame(0x8A, []) + frame(0x89, []) + [0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, 6]
        var pongs: [UInt8] = []
        WebSocketDialect.append(opcode: 10, [9, 9].span, to: &pongs)
        WebSocketDialect.append(opcode: 10, [UInt8]().span, to: &pongs)
        var cuts = (0...stream.count).map { [Array(stream[..<$0]), Array(stream[$0...])] }
        cuts.append(stream.map { [$0] })
        for pieces in cuts {
            let result = unwrapped(pieces)
            #expect(result.stream == [1, 2, 3, 4, 5] + long + [6])
            #expect(result.answers == pongs)
            #expect(result.end == "open")
        }
    }

    @Test(
        "what no server may send is a fault, and a close frame is the end",
        arguments: [
            ([0x82, 0x81, 0, 0, 0, 0, 1], "fault"), ([0xC2, 0], "fault"), ([0x81, 0], "fault"), ([0x83, 0], "fault"),
            ([0x09, 0], "fault"), ([0x89, 126, 0, 126], "fault"), ([0x8B, 0], "fault"),
            ([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255], "fault"), ([0x82, 1, 7, 0x88, 0, 0x8B], "closed"),
            ([0x88, 2, 3, 0xE8], "closed"), ([0x88, 2, 3], "open"),
        ] as [([UInt8], String)])
    func ends(bytes: [UInt8], end: String) {
        #expect(end.contains(unwrapped([bytes]).end))
        #expect(end.contains(unwrapped(bytes.map { [$0] }).end))
    }

    @Test("garbage never traps, and gives no more than it has")
    func garbage() {
        var random = SeededNumbers(state: 3)
        for _ in 0..<20_000 {
            let pieces = (0..<3).map { _ in
                (0..<Int.random(in: 0...40, using: &random)).map { _ in
                    [UInt8(0x82), 0x89, 0x88, 0, 1, 2, 126, 127, .random(in: 0...255, using: &random)]
                        .randomElement(using: &random)!
                }
            }
            let result = unwrapped(pieces)
            #expect(result.stream.count <= pieces.reduce(0) { $0 + $1.count })
        }
    }
}
