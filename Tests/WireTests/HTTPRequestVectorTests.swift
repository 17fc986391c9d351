// Runs the table of requests, whole and in pieces.

import Testing

@testable import Wire

@Suite("Requests, one by one")
struct HTTPRequestVectorTests {
    @Test("there are at least 200 vectors, each with its own title")
    func volume() {
        #expect(RequestVector.all.count >= 200)
        #expect(RequestVector.all.allSatisfy { !$0.title.isEmpty })
    }

    @Test("a request gets the status it deserves", arguments: RequestVector.all)
    func whole(_ vector: RequestVector) {
        let outcome = HTTPStreamReader.read(vector.bytes, pieces: Pieces.whole(vector.bytes.count))
        #expect(outcome.status == vector.status, "\(String(describing: outcome.fault))")
    }

    @Test("a request means the same byte by byte, at every single split and at random splits")
    func splits() {
        var numbers = SeededNumbers(7)
        for vector in RequestVector.all {
            let count = vector.bytes.count
            let whole = HTTPStreamReader.read(vector.bytes, pieces: Pieces.whole(count))
            #expect(HTTPStreamReader.read(vector.bytes, pieces: Pieces.single(count)) == whole, "\(vector.title)")
            // Every place for short vectors, some for long ones.
            for place in stride(from: 1, to: count, by: max(1, count / 200)) {
                let cut = HTTPStreamReader.read(vector.bytes, pieces: Pieces.twoAt(place, of: count))
                #expect(cut == whole, "\(vector.title), cut at \(place)")
            }
            for _ in 0..<8 {
                let pieces = Pieces.random(count, &numbers)
                #expect(HTTPStreamReader.read(vector.bytes, pieces: pieces) == whole, "\(vector.title), \(pieces)")
            }
        }
    }
}
