// A target that is wrong on purpose: inputs of its corpus break one bound each, and every one must be reported.

enum CanaryTarget {
    static func judge(_ input: Input) {
        switch NaiveText.string(input) {
        case "claim": expect(false, "a claim that does not hold")
        case "trap": expect(input.span[input.count &+ 0] == 0, "a byte behind the end")
        case "overflow":
            let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: input.count)
            copy.initialize(from: input.baseAddress ?? UnsafePointer(copy), count: input.count)
            expect(copy[input.count] != copy[0] || input.count > 0, "a byte behind memory")
            copy.deallocate()
        case "time":
            var random = SeededRandom(seed: 1)
            var sum: UInt64 = 0
            for _ in 0..<300_000_000 { sum ^= random.next() }
            expect(sum != 1, "a sum")
        case "memory":
            let pieces = (0..<33).map { [UInt8](repeating: UInt8($0), count: 2 << 20) }
            expect(pieces.count == 33, "pieces")
        default: break
        }
    }
}
