// Chunked bodies: round trips, limits and noise.

import Testing

@testable import Wire

@Suite("A chunked body")
struct ChunkedDecoderTests {
    /// Decodes `bytes` in pieces; the body and how many bytes were taken.
    private func decode(
        _ bytes: [UInt8], pieces: [Int], bodyBytesMax: Int = 1 << 20
    ) throws(HTTPFault) -> (body: [UInt8], taken: Int, isOver: Bool) {
        var decoder = ChunkedDecoder(bodyBytesMax: bodyBytesMax)
        var body: [UInt8] = []
        var offset = 0
        for piece in pieces {
            let part = Array(bytes[offset..<(offset + piece)])
            var consumed = 0
            while true {
                let step = try decoder.next(part.span, consumed: &consumed, limits: HTTPLimits())
                if case .data(let range) = step {
                    #expect(!range.isEmpty)
                    body.append(contentsOf: part[range.range])
                } else if step == .end {
                    return (body, offset + consumed, true)
                } else {
                    #expect(consumed == piece)
                    break
                }
            }
            offset += piece
        }
        return (body, offset, false)
    }

    @Test("random bodies in random chunks come out whole at random splits")
    func roundTrip() throws {
        var numbers = SeededNumbers(11)
        for _ in 0..<200 {
            var wire: [UInt8] = []
            var expected: [UInt8] = []
            for _ in 0..<Int.random(in: 0...5, using: &numbers) {
                let count = Int.random(in: 1...300, using: &numbers)
                let chunk = (0..<count).map { _ in UInt8.random(in: 0...255, using: &numbers) }
                wire += Array((String(count, radix: 16) + "\r\n").utf8) + chunk + Array("\r\n".utf8)
                expected += chunk
            }
            wire += Array("0\r\nX: 1\r\n\r\n".utf8)
            let length = wire.count
            wire += Array("next".utf8)
            let result = try decode(wire, pieces: Pieces.random(wire.count, &numbers))
            #expect(result.body == expected && result.taken == length && result.isOver)
        }
    }

    @Test("the body's limit is inclusive, over all chunks together")
    func limit() throws {
        let six = Array("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n".utf8)
        #expect(try decode(six, pieces: [six.count], bodyBytesMax: 6).body.count == 6)
        #expect(throws: HTTPFault.bodyTooLarge) { _ = try decode(six, pieces: [six.count], bodyBytesMax: 5) }
        #expect(throws: HTTPFault.bodyTooLarge) { _ = try decode(six, pieces: [six.count], bodyBytesMax: 0) }
        let none = Array("0\r\n\r\n".utf8)
        #expect(try decode(none, pieces: [none.count], bodyBytesMax: 0).isOver)
    }

    @Test("the largest limit does not make a size overflow")
    func largestLimit() throws {
        for size in ["7fffffffffffffff", "8000000000000000", "ffffffffffffffff", "fffffffffffffff"] {
            let bytes = Array("1\r\na\r\n\(size)\r\nabc".utf8)
            do throws(HTTPFault) {
                let result = try decode(bytes, pieces: [bytes.count], bodyBytesMax: .max)
                #expect(size == "fffffffffffffff" && result.body.count == 4)
            } catch {
                #expect(error.status == 413)
            }
        }
    }

    @Test("data is passed on as it comes, before its chunk is complete")
    func incremental() throws {
        let bytes = Array("5\r\nab".utf8)
        let result = try decode(bytes, pieces: Pieces.single(bytes.count))
        #expect(result.body == Array("ab".utf8) && !result.isOver)
    }

    @Test("a decoder that has ended takes nothing more")
    func over() throws {
        let bytes = Array("0\r\n\r\nGET".utf8)
        var decoder = ChunkedDecoder(bodyBytesMax: 0)
        var consumed = 0
        for _ in 0..<2 {
            let step = try decoder.next(bytes.span, consumed: &consumed, limits: HTTPLimits())
            #expect(step == .end && consumed == 5)
        }
    }

    @Test("random bytes are a body, a fault or an unfinished body, the same at any split")
    func garbage() {
        var numbers = SeededNumbers(12)
        let alphabet = Array("0123aF;\r\n \t:X=\"g\u{0}".utf8)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...24, using: &numbers)
            let bytes = (0..<count).map { _ in alphabet.randomElement(using: &numbers) ?? 0 }
            let outcomes = [Pieces.whole(count), Pieces.single(count), Pieces.random(count, &numbers)].map { pieces in
                do throws(HTTPFault) {
                    let result = try decode(bytes, pieces: pieces)
                    return "\(result)"
                } catch {
                    return "\(error)"
                }
            }
            #expect(Set(outcomes).count == 1, "\(bytes)")
        }
    }
}
