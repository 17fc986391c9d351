// Cursors, epochs and numbers: texts that read back, and texts that are refused.

import Foundation
import Testing
import Wire

@Suite("Cursors, epochs and numbers")
struct CursorTests {
    @Test("a cursor reads back from its text")
    func roundTrip() {
        for epoch in [UInt64(0), 1, 0xE1, 0x9F00_0000_0000_0001, .max] {
            for seq in [UInt64(0), 1, 9, 10, 42, 99, 100, 9_999, 10_000, .max - 1, .max] {
                let cursor = Cursor(epoch: Epoch(rawValue: epoch), seq: seq)
                let text = cursor.description
                #expect(text == String(format: "%016lx-%lu", epoch, seq))
                #expect(cursor.byteCount == text.utf8.count)
                #expect(Cursor(text) == cursor)
                withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Cursor.byteCountMax) { memory in
                    #expect(cursor.write(into: memory.baseAddress!) == text.utf8.count)
                    #expect(memory[..<text.utf8.count].elementsEqual(text.utf8))
                }
                let digits = Array(text.utf8.prefix(16))
                #expect(Epoch(digits.span)?.rawValue == epoch)
                #expect(Epoch(rawValue: epoch).description == String(text.prefix(16)))
            }
        }
    }

    @Test("each place has one spelling; everything else is refused")
    func refused() {
        let epoch = "00000000000000e1"
        for text in [
            "", "-", "0", epoch, "\(epoch)-", "-1", "\(epoch)-01", "\(epoch)-00", "\(epoch)--1", "\(epoch)-+1",
            "\(epoch)- 1", "\(epoch)-1 ", " \(epoch)-1", "\(epoch)1", "\(epoch)_1", "\(epoch)-1a", "\(epoch)-0x1",
            "00000000000000E1-1", "0000000000000e1-1", "000000000000000e1-1",
            "0000000000000ge1-1", "\(epoch)-18446744073709551616", "\(epoch)-99999999999999999999",
            "\(epoch)-100000000000000000000", "\(epoch)-1-1", "\(epoch)-1\n", "\(epoch)-１", "\(epoch)-/", "\(epoch)-:",
            "\(epoch)-1.0", "0x000000000000e1-1", "+0000000000000e1-1",
        ] {
            #expect(Cursor(text) == nil, "\(text)")
        }
        #expect(Cursor("\(epoch)-18446744073709551615")?.seq == .max)
        #expect(Cursor("\(epoch)-0")?.seq == 0)
    }

    @Test("decimal numbers are written as Swift writes them, at every length")
    func decimals() {
        var values: [UInt64] = [0, .max]
        var power: UInt64 = 1
        for _ in 0..<20 {
            values += [power, power &- 1, power &+ 1, power &* 9]
            power = power &* 10
        }
        for value in values {
            var output: [UInt8] = []
            output.append(decimal: value)
            #expect(String(decoding: output, as: UTF8.self) == "\(value)")
            #expect(DecimalText.byteCount(value) == "\(value)".utf8.count)
            #expect(DecimalText.parse(output.span) == value)
        }
        for value in [Int.min, -1, 0, 1, .max] {
            var output: [UInt8] = []
            output.append(decimal: value)
            #expect(String(decoding: output, as: UTF8.self) == "\(value)")
        }
    }
}
