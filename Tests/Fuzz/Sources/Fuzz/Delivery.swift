// How bytes may arrive: at once, one by one, or in pieces. A parser must make the same of each.

/// One way to cut an input into pieces.
enum Delivery {
    case whole, singleBytes
    /// Pieces of 1 to 40 bytes, drawn from a seed.
    case pieces(seed: UInt64)

    /// The ways to deliver an input in pieces, each to be compared with `whole`. The cuts depend on the bytes alone, so
    /// that an input that was found fails in every run.
    static func inPieces(_ input: Input) -> [Delivery] {
        var seed: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in input { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return [.singleBytes, .pieces(seed: seed)]
    }

    /// Where the pieces of `count` bytes end, the last one at `count`; an empty input is one empty piece.
    func ends(_ count: Int) -> [Int] {
        switch self {
        case .whole: return [count]
        case .singleBytes: return count == 0 ? [0] : Array(1...count)
        case .pieces(let seed):
            var random = SeededRandom(seed: seed)
            var ends: [Int] = []
            var end = 0
            repeat {
                end = min(count, end + 1 + Int(random.next() % 40))
                ends.append(end)
            } while end < count
            return ends
        }
    }
}

/// SplitMix64: the same numbers for the same seed everywhere.
struct SeededRandom {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
