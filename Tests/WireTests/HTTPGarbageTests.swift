// Random and damaged bytes against every HTTP parser: nothing may trap, no split may matter.

import Testing

@testable import Wire

@Suite("Hostile bytes")
struct HTTPGarbageTests {
    @Test("random bytes never trap and mean the same at any split")
    func randomBytes() {
        var numbers = SeededNumbers(1)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...80, using: &numbers)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &numbers) }
            compare(bytes, &numbers)
        }
    }

    @Test("requests with random damage never trap and mean the same at any split")
    func damaged() {
        var numbers = SeededNumbers(2)
        let spice = Array("\r\n\r\n \t:;,/?%#*[]@0159afHTP\u{0}\u{7F}é".utf8)
        for round in 0..<40_000 {
            var bytes = RequestVector.all[round % RequestVector.all.count].bytes
            if bytes.count > 400 { bytes = Array(bytes.prefix(400)) }
            for _ in 0..<Int.random(in: 1...4, using: &numbers) {
                let place = Int.random(in: 0...bytes.count, using: &numbers)
                switch Int.random(in: 0..<4, using: &numbers) {
                case 0: bytes.insert(spice.randomElement(using: &numbers) ?? 0, at: place)
                case 1 where place < bytes.count: bytes.remove(at: place)
                case 2 where place < bytes.count: bytes[place] = spice.randomElement(using: &numbers) ?? 0
                default: bytes.insert(contentsOf: bytes.prefix(place).suffix(6), at: place)
                }
            }
            compare(bytes, &numbers)
        }
    }

    @Test("the head parser alone takes any bytes")
    func parserAlone() {
        var numbers = SeededNumbers(3)
        let alphabet = Array("GET / HTTP/1.1\r\nHost: a:1\r\n\r\n".utf8)
        for _ in 0..<40_000 {
            let count = Int.random(in: 0...60, using: &numbers)
            let bytes = (0..<count).map { _ in alphabet.randomElement(using: &numbers) ?? 0 }
            do throws(HTTPFault) {
                _ = try HTTPRequestHead.parse(bytes.span, limits: HTTPLimits())
            } catch {
                #expect(error.status >= 400)
            }
        }
    }

    @Test("checks of hosts, origins, queries, paths and media types take any bytes")
    func pureFunctions() {
        var numbers = SeededNumbers(4)
        let alphabet = Array("127.0.0.1localhost[]:://%2Fhttp&=?;q,\u{0}é\u{FF}".utf8)
        for _ in 0..<40_000 {
            let count = Int.random(in: 0...24, using: &numbers)
            let bytes = (0..<count).map { _ in alphabet.randomElement(using: &numbers) ?? 0 }
            let other = Array(bytes.reversed())
            let whole = ByteRange(0..<count)
            _ = HostCheck.isLoopbackLiteral(bytes.span, port: 80)
            _ = HostCheck.isListed(bytes.span, other.span)
            _ = HostCheck.originIsSame(bytes.span, host: other.span)
            _ = HostCheck.originIsListed(bytes.span, other.span)
            _ = MediaType.isAccepted(bytes.span, whole, "a/b")
            _ = TokenList.contains(bytes.span, whole, "close")
            _ = try? QueryString.decodedPairs(bytes.span, whole)
            _ = try? RequestPath.decode(bytes.span)
        }
    }

    private func compare(_ bytes: [UInt8], _ numbers: inout SeededNumbers) {
        let whole = HTTPStreamReader.read(bytes, pieces: Pieces.whole(bytes.count))
        let single = HTTPStreamReader.read(bytes, pieces: Pieces.single(bytes.count))
        let random = HTTPStreamReader.read(bytes, pieces: Pieces.random(bytes.count, &numbers))
        #expect(whole == single && whole == random, "\(bytes)")
    }
}
