// The first of many against sorting them all.
import Testing

@testable import FanoutServer
@testable import Reactor

@Suite("LagRanking")
struct LagRankingTests {
    @Test("who is further behind: events decide, then bytes, then age, then the lower slot")
    func order() {
        let table: [(LagStanding, LagStanding)] = [
            (standing(2, 0, 0, 9), standing(1, 9, 9, 0)), (standing(1, 2, 0, 9), standing(1, 1, 9, 0)),
            (standing(1, 1, 2, 9), standing(1, 1, 1, 0)), (standing(1, 1, 1, 3), standing(1, 1, 1, 4)),
        ]
        for (further, less) in table {
            #expect(less < further && !(further < less))
            for order in [[further, less], [less, further]] {
                var ranking = LagRanking(countMax: 1)
                order.forEach { ranking.offer($0) }
                #expect(ranking.furthestFirst == [further])
            }
        }
    }

    @Test("the first of any number, in order, are those of the sorted list", arguments: 0..<50)
    func againstSorting(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let all = (0..<random.below(200)).map { slot in
            // Small numbers, so that ties are usual.
            standing(random.below(4), random.below(3), random.below(3), slot)
        }
        let countMax = 1 + random.below(40)
        var ranking = LagRanking(countMax: countMax)
        for standing in all.shuffled(by: &random) { ranking.offer(standing) }
        #expect(ranking.furthestFirst == Array(all.sorted(by: >).prefix(countMax)))
    }

    private func standing(_ events: Int, _ bytes: Int, _ age: Int, _ slot: Int) -> LagStanding {
        LagStanding(events: UInt64(events), bytes: UInt32(bytes), milliseconds: UInt32(age), slot: UInt32(slot))
    }
}

extension Array {
    /// The same elements in an order that the seed decides.
    fileprivate func shuffled(by random: inout SeededRandom) -> [Element] {
        var result = self
        for place in result.indices.dropFirst() { result.swapAt(place, random.below(place + 1)) }
        return result
    }
}
