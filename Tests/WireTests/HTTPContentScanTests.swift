// What a head mostly consists of is passed over, and nothing else.
import Testing

@testable import Wire

@Suite("Passing over content")
struct HTTPContentScanTests {
    @Test("every byte in every place of a word is found where it is no content, and passed where it is")
    func everyByte() {
        for byte in UInt8.min...UInt8.max {
            for place in 0..<24 {
                for before in [UInt8(ascii: "a"), 0x20, 0xFF, 0x80, 0x7E] {
                    var text = [UInt8](repeating: before, count: 24)
                    text[place] = byte
                    let found = HTTPContentScan.end(in: text.span, 0..<24)
                    #expect(found == (byte < 0x20 || byte == 0x7F ? place : 24), "\(byte) at \(place)")
                }
            }
        }
    }

    @Test("only whole words are looked at, and nothing outside the range")
    func ranges() {
        let text = [UInt8](repeating: UInt8(ascii: "x"), count: 32)
        for start in 0...32 {
            for end in start...32 {
                #expect(HTTPContentScan.end(in: text.span, start..<end) == start + (end - start) / 8 * 8)
            }
        }
    }
}
