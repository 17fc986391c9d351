// The trie of patterns against trying each pattern in turn.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Pattern index")
struct PatternIndexTests {
    private static let segments = ["a", "b", "c", "*"]

    private func drawPattern(_ random: inout SeededRandom) throws -> ChannelPattern {
        var parts = (0..<random.within(1...4)).map { _ in random.pick(Self.segments) }
        if random.chance(0.3) { parts[parts.count - 1] = "**" }
        return try #require(ChannelPattern(parts.joined(separator: "/")))
    }

    private func drawName(_ random: inout SeededRandom) throws -> ChannelName {
        let parts = (0..<random.within(1...5)).map { _ in random.pick(["a", "b", "c", "d"]) }
        return try #require(ChannelName(parts.joined(separator: "/")))
    }

    @Test("finds what trying every pattern finds, while patterns come and go", arguments: 0..<4 as Range<UInt64>)
    func agreesWithTrying(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var index = PatternIndex()
        var inserted: [(entry: UInt32, pattern: ChannelPattern)] = []
        for step in 0..<2000 as Range<UInt32> {
            if random.chance(0.55) || inserted.isEmpty {
                let pattern = try drawPattern(&random)
                index.insert(step, under: pattern)
                inserted.append((step, pattern))
            } else {
                let (entry, pattern) = inserted.remove(at: random.below(inserted.count))
                index.remove(entry, under: pattern)
            }
            let name = try drawName(&random)
            var found: [UInt32] = []
            index.forEach(naming: name) { found.append($0) }
            let expected = inserted.filter { $0.pattern.matches(name) }.map(\.entry)
            #expect(found.sorted() == expected.sorted(), "\(name) at step \(step)")
            #expect(index.contains(name) == !expected.isEmpty)
        }
        for (entry, pattern) in inserted { index.remove(entry, under: pattern) }
        #expect(index.nodesInUse == 1, "the root alone is left")
    }

    @Test("the same pattern may be there several times, and each is removed alone")
    func repeated() throws {
        var index = PatternIndex()
        let pattern = try #require(ChannelPattern("a/*"))
        let name = try #require(ChannelName("a/b"))
        index.insert(1, under: pattern)
        index.insert(1, under: pattern)
        index.insert(2, under: pattern)
        index.remove(1, under: pattern)
        var found: [UInt32] = []
        index.forEach(naming: name) { found.append($0) }
        #expect(found.sorted() == [1, 2])
    }

    @Test("a pattern's segments are told apart")
    func segments() throws {
        var segments = try #require(ChannelPattern("ab/*/c/**")).segments
        #expect(segments.next() == .name(0..<2))
        #expect(segments.next() == .any)
        #expect(segments.next() == .name(5..<6))
        #expect(segments.next() == .rest)
        #expect(segments.next() == nil)
    }

    @Test("groups looked up for a channel are few enough to keep, or are forgotten and looked up again")
    func forgetting() throws {
        let model = try HubModel(slots: 2048)
        for slot in 0..<1100 as Range<UInt32> { try model.attach(slot, ["**"], types: ["x\(slot)"], .sse) }
        for channel in 0..<1200 {
            let name = try #require(ChannelName("c/\(channel)"))
            #expect(model.hub.channel(name) != nil)
        }
        for channel in 0..<1200 as Range<UInt32> { #expect(model.hub.subscriberCount(of: channel) == 1100) }
        #expect(model.hub.listBytes <= Hub.listBytesMax + 2 * 4 * 1100)
        try model.publish("{\"type\":\"x7\"}", kind: "x7", on: "c/3")
        #expect(model.takeSeqs(7) == [1])
    }
}
