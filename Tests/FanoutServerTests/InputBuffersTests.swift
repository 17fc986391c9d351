// The table of input buffers: what a crowd took is given back.
import Testing

@testable import FanoutServer

@Suite("Input buffers")
struct InputBuffersTests {
    @Test("a crowd of buffers that has gone leaves room for those who come next")
    func crowd() {
        var inputs = InputBuffers()
        for round in 0..<3 {
            let taken = (0..<1000).map { _ in inputs.take() }
            #expect(Set(taken).count == 1000)
            for (place, index) in taken.enumerated() {
                var bytes = [UInt8](repeating: UInt8(place % 251), count: 10 + round)
                bytes.withUnsafeMutableBufferPointer { inputs.append($0, to: index) }
            }
            for (place, index) in taken.enumerated() {
                #expect(inputs[index].waiting.allSatisfy { $0 == UInt8(place % 251) })
            }
            for index in taken.shuffled() { inputs.release(index) }
            #expect(inputs.inUse == 0 && inputs.bytesHeld == 0)
        }
    }
}
