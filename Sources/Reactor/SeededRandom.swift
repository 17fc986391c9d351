/// A small seeded random number generator: xoshiro256** filled by SplitMix64 (Blackman and Vigna, both public domain).
///
/// It is for simulation, for seeded tests and for jitter: never for secrets. The same seed gives the same numbers on
/// every machine and in every build. The standard library's shuffling is deliberately not used by the simulation: its
/// algorithm is not promised to stay the same between releases.
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    /// Any seed is good, zero included: SplitMix64 never fills all four words with zero.
    package init(seed: UInt64) {
        var mixer = seed
        state = (Self.mix(&mixer), Self.mix(&mixer), Self.mix(&mixer), Self.mix(&mixer))
    }

    /// The next 64 bits.
    package mutating func next() -> UInt64 {
        let result = Self.rotate(state.1 &* 5, by: 7) &* 9
        let shifted = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= shifted
        state.3 = Self.rotate(state.3, by: 45)
        return result
    }

    /// A number in `0 ..< bound`; `bound` must be positive.
    package mutating func below(_ bound: Int) -> Int {
        precondition(bound > 0, "a random number below \(bound) does not exist")
        return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// A number in the range, both ends included.
    package mutating func within(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + below(range.upperBound - range.lowerBound + 1)
    }

    /// True with this probability: 0 is never, 1 is always. Draws a number in either case, so that what follows in the
    /// sequence does not depend on the probability.
    package mutating func chance(_ probability: Double) -> Bool {
        fraction() < probability
    }

    /// A number in `0 ..< 1`, of 53 random bits.
    package mutating func fraction() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// A length in `1 ... max` for splitting things: one in four is 1, one in four is `max`, the rest lie anywhere.
    package mutating func length(upTo max: Int) -> Int {
        switch below(4) {
        case 0: 1
        case 1: max
        default: within(1...max)
        }
    }

    /// A magnitude in the range, about as likely to have few binary digits as many: log-uniform in steps of one bit.
    package mutating func magnitude(_ range: ClosedRange<Int>) -> Int {
        precondition(range.lowerBound > 0, "a magnitude is positive")
        let lowest = range.lowerBound.bitWidth - range.lowerBound.leadingZeroBitCount
        let highest = range.upperBound.bitWidth - range.upperBound.leadingZeroBitCount
        let bits = within(lowest...highest)
        let floor = Swift.max(range.lowerBound, 1 << (bits - 1))
        let ceiling = Swift.min(range.upperBound, (1 << (bits - 1)) + ((1 << (bits - 1)) - 1))
        return within(floor...ceiling)
    }

    /// One element; the collection must not be empty.
    package mutating func pick<Elements: RandomAccessCollection>(_ elements: Elements) -> Elements.Element {
        elements[elements.index(elements.startIndex, offsetBy: below(elements.count))]
    }

    /// Puts the array into a random order (Fisher and Yates).
    package mutating func shuffle<Element>(_ array: inout [Element]) {
        guard array.count > 1 else { return }
        for last in stride(from: array.count - 1, through: 1, by: -1) {
            array.swapAt(last, below(last + 1))
        }
    }

    /// A generator of its own for a part of the program, so that what that part draws does not disturb the rest.
    package mutating func fork() -> SeededRandom {
        SeededRandom(seed: next())
    }

    private static func mix(_ state: inout UInt64) -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    private static func rotate(_ word: UInt64, by bits: UInt64) -> UInt64 {
        (word << bits) | (word >> (64 - bits))
    }
}
