/// The seeded generator: known values, ranges, and the swarm that is drawn with it.

import Testing

@testable import Reactor

@Suite("Seeded random numbers")
struct SimulatedRandomTests {
    @Test("SplitMix64 and xoshiro256** give the published sequence for seed 0")
    func publishedSequence() {
        var random = SeededRandom(seed: 0)
        // From the reference implementation, whose state SplitMix64(0) fills.
        #expect(random.next() == 0x99ec_5f36_cb75_f2b4)
        #expect(random.next() == 0xbf6e_1f78_4956_452a)
        #expect(random.next() == 0x1a5f_849d_4933_e6e0)
    }

    @Test("numbers stay in their range and reach both ends")
    func ranges() {
        var random = SeededRandom(seed: 7)
        var seen = Set<Int>()
        for _ in 0..<1000 { seen.insert(random.within(3...9)) }
        #expect(seen == Set(3...9))
        for _ in 0..<1000 { #expect((1...500).contains(random.magnitude(1...500))) }
        for _ in 0..<1000 { #expect((1...7).contains(random.length(upTo: 7))) }
    }

    @Test("a magnitude is as often small as large")
    func magnitudes() {
        var random = SeededRandom(seed: 11)
        let small = (0..<10_000).count { _ in random.magnitude(1...1023) < 32 }
        #expect((4_000...6_000).contains(small))
    }

    @Test("shuffling keeps every element")
    func shuffling() {
        var random = SeededRandom(seed: 3)
        var numbers = Array(0..<100)
        random.shuffle(&numbers)
        #expect(numbers != Array(0..<100))
        #expect(numbers.sorted() == Array(0..<100))
    }

    @Test("a swarm turns on about half of the classes, between 0.1 % and 50 %, and leaves cuts out when told to")
    func swarm() {
        var on = 0
        for seed in 0..<200 as Range<UInt64> {
            let faults = SimulatedFaults.swarm(seed: seed)
            for fault in SimulatedFaults.Class.allCases where faults[fault] > 0 {
                on += 1
                #expect((0.001...0.5).contains(faults[fault]))
            }
            let harmless = SimulatedFaults.swarm(seed: seed, cuts: false)
            for fault in SimulatedFaults.Class.allCases where fault.cutsConnections {
                #expect(harmless[fault] == 0)
            }
        }
        let share = Double(on) / Double(200 * SimulatedFaults.Class.allCases.count)
        #expect((0.4...0.6).contains(share))
    }
}
