// The hub: who gets what, what a publisher is told, what it costs.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Hub")
struct HubTests {
    static let patterns = [
        "a", "b", "a/b", "a/c", "a/b/c", "*", "**", "a/*", "a/**", "*/b", "*/*", "*/b/**", "a/*/c", "new/1", "new/*",
        "new/**",
    ]
    static let channels = ["a", "b", "a/b", "a/c", "a/b/c", "c", "c/b", "c/b/d", "new/1", "new/2", "new/2/3", "events"]
    static let kinds: [(event: String, kind: String?)] = [
        ("{}", nil), ("{\"type\":\"x\"}", "x"), ("{\"type\":\"\\u0078\"}", "x"), ("{\"type\":\"y\"}", "y"),
        ("{\"type\":\"\"}", ""), ("{\"type\":\"\u{e9}\"}", "é"), ("{\"type\":\"\\u00e9\"}", "é"),
        ("{\"type\":\"a,b\"}", "a,b"), ("{\"n\":{\"type\":\"x\"}}", nil), ("{\"n\":1,\"type\":\"z\\\"\"}", "z\""),
    ]
    static let transports: [Transport] = [.jsonlUnix, .jsonlTCP, .jsonlHTTP, .sse, .webSocket]

    @Test("hundreds of subscribers come and go, and each gets exactly what it asked for", arguments: 0..<6)
    func random(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let model = try HubModel()
        var free = Array(0..<300 as Range<UInt32>)
        for step in 0..<1500 {
            switch random.below(10) {
            case 0..<4 where !free.isEmpty:
                let count = random.chance(0.2) ? 0 : random.within(1...3)
                let patterns = (0..<count).map { _ in random.pick(Self.patterns) }
                let types = random.chance(0.6) ? [] : [random.pick(["x", "y", "", "é", "a,b", "z\"", "none"]), "x"]
                try model.attach(
                    free.remove(at: random.below(free.count)), patterns, types: types, random.pick(Self.transports))
            case 4..<7 where !model.readers.isEmpty:
                let slot = random.pick(model.readers.keys.sorted())
                #expect(model.takeSeqs(slot) == model.readers[slot]!.expected)
                model.detach(slot)
                free.append(slot)
            default:
                let event = random.pick(Self.kinds)
                try model.publish(event.event, kind: event.kind, on: random.pick(Self.channels))
            }
            if step % 50 == 0 {
                let fault = model.checkReaders() ?? model.checkStructure()
                #expect(fault == nil, "step \(step)")
                if fault != nil { return }
            }
        }
        #expect(model.checkReaders() == nil)
        for slot in model.readers.keys.sorted() { model.detach(slot) }
        #expect(model.checkStructure() == nil)
        #expect(model.delivery.blocks.inUse == 0)
        #expect(model.delivery.log.segments.bytesHeld <= 3 * SegmentStore.segmentBytes)
    }

    @Test("a group reads channels that exist and those that come later, each once", arguments: [true, false])
    func laterChannels(channelsFirst: Bool) throws {
        let model = try HubModel()
        if channelsFirst { for channel in Self.channels { try model.publish("{}", kind: nil, on: channel) } }
        // Patterns that overlap, and one that is named twice.
        try model.attach(0, ["a/b", "a/*", "a/**", "a/b"], .sse)
        try model.attach(1, ["new/1"], .sse)
        try model.attach(2, [], .sse)
        try model.attach(3, ["**", "a"], .sse)
        for channel in Self.channels { try model.publish("{}", kind: nil, on: channel) }
        #expect(model.checkReaders() == nil)
        #expect(model.checkStructure() == nil)
    }

    @Test("a pattern named twice by one subscriber is left behind nowhere when it goes")
    func repeatedLiteral() throws {
        let model = try HubModel()
        for _ in 0..<3 {
            try model.attach(0, ["later", "later"], .sse)
            model.detach(0)
        }
        try model.publish("{}", kind: nil, on: "later")
        #expect(model.checkStructure() == nil)
        try model.attach(0, ["later", "later"], .sse)
        try model.publish("{}", kind: nil, on: "later")
        #expect(model.checkReaders() == nil)
    }

    @Test("an event is encoded once for each form in use, whoever and how many read it")
    func encodedOnce() throws {
        let model = try HubModel()
        for slot in 0..<50 as Range<UInt32> {
            try model.attach(slot, slot % 2 == 0 ? [] : ["events"], slot % 3 == 0 ? .sse : .webSocket)
        }
        try model.publish("{}", kind: nil, on: "events")
        let first = model.delivery.connections[0].ring.front
        for slot in 0..<50 as Range<UInt32> where slot % 3 == 0 {
            let front = model.delivery.connections[slot].ring.front
            #expect(front.segment == first.segment && front.start == first.start && front.count == first.count)
        }
        #expect(model.delivery.log.segments[first.segment].references == 1 + 17)
        #expect(model.delivery.log.segments.bytesHeld == 2 * SegmentStore.segmentBytes, "no JSONL reader, no JSONL")
        // Adjacent frames extend the run and take no second reference.
        try model.publish("{}", kind: nil, on: "events")
        #expect(model.delivery.log.segments[first.segment].references == 1 + 17)
        #expect(model.delivery.connections[0].ring.runCount == 1)
    }

    @Test("a time stamp never goes back, even where the clock does")
    func timeStamps() throws {
        let server = try SimulatedServer { configuration in
            var rules = Configuration.ChannelRules()
            rules.stamp = ["time"]
            configuration.channelRules = [("timed", rules)]
        }
        let reader = try SimulatedReader(server, .jsonlTCP)
        _ = reader.take()
        var times: [String] = []
        for jump in [0, 5_000, -86_400_000, 1_000, -31_536_000_000, 200_000_000] as [Int64] {
            server.kernel.jumpWallClock(milliseconds: jump)
            try server.publish("{}", on: "timed")
            times += reader.take().compactMap { $0.object["time"] as? String }
        }
        #expect(times.count == 6)
        #expect(times == times.sorted(), "\(times)")
        #expect(times[2] == times[1] && times[5] == times[1])
        #expect(times[1] > times[0])
    }

    @Test("a receipt names the last event's readers, and those that were behind before it")
    func receipts() throws {
        let model = try HubModel()
        var receipt = try model.publish("{}", kind: nil, on: "events")
        #expect(receipt == Hub.Receipt(first: 1, last: 1, count: 1, subscribers: 0, behind: 0))
        for slot in 0..<5 as Range<UInt32> { try model.attach(slot, [], .jsonlUnix) }
        try model.attach(9, ["other"], .jsonlUnix)
        receipt = try model.publish("{}", kind: nil, on: "events")
        #expect(receipt == Hub.Receipt(first: 2, last: 2, count: 1, subscribers: 5, behind: 0))
        _ = model.takeBytes(0)
        for slot in 1..<5 as Range<UInt32> { model.delivery.connections[slot].waitingSince &-= 5 }
        receipt = try model.publish("{}", kind: nil, on: "events")
        #expect(receipt == Hub.Receipt(first: 3, last: 3, count: 1, subscribers: 5, behind: 4))
    }

    @Test(
        "newest is the newest event that a subscription could have got",
        arguments: [
            ([], 6), (["**"], 6), (["a"], 1), (["a", "b"], 4), (["nowhere"], 0), (["a/*"], 3), (["a/**"], 5),
            (["*"], 6),
            (["a", "a/*"], 3), (["nowhere/**"], 0),
        ] as [([String], UInt64)])
    func newest(patterns: [String], seq: UInt64) throws {
        let model = try HubModel()
        for channel in ["a", "a/x", "a/b", "b", "a/b/c", "c"] { try model.publish("{}", kind: nil, on: channel) }
        var subscription = Subscription()
        subscription.patterns = patterns.compactMap { ChannelPattern($0) }
        #expect(model.hub.newest(for: subscription.patterns) == seq)
    }

    @Test(
        "a channel's stamp decides what stands in front of its events and what they may not bring",
        arguments: [
            ([], "{\"seq\":9,\"a\":1}", "{\"seq\":9,\"a\":1}"),
            (["seq"], "{\"channel\":\"x\"}", "{\"seq\":1,\"channel\":\"x\"}"),
            (["channel"], "{\"seq\":9}", "{\"channel\":\"c\",\"seq\":9}"),
            (["seq", "channel"], "{}", "{\"seq\":1,\"channel\":\"c\"}"),
            (["channel", "seq"], "{}", "{\"seq\":1,\"channel\":\"c\"}"),
        ] as [([String], String, String)])
    func stamps(stamp: [String], event: String, sent: String) throws {
        var rules = Configuration.ChannelRules()
        rules.stamp = stamp
        let model = try HubModel { [rules] in $0.channelRules = [("c", rules)] }
        try model.attach(0, [], .jsonlUnix)
        try model.publish(event, kind: nil, on: "c")
        #expect(String(decoding: model.takeBytes(0), as: UTF8.self) == sent + "\n")
        for member in stamp {
            #expect(throws: PublishFault.self) { try model.publish("{\"\(member)\":1}", kind: nil, on: "c") }
        }
        #expect(model.hub.head == 1)
    }

    @Test("time is stamped in UTC with milliseconds")
    func time() throws {
        var rules = Configuration.ChannelRules()
        rules.stamp = ["time"]
        let model = try HubModel { [rules] in $0.channelRules = [("**", rules)] }
        try model.attach(0, [], .jsonlUnix)
        try model.publish("{\"a\":1}", kind: nil, on: "c")
        let text = String(decoding: model.takeBytes(0), as: UTF8.self)
        #expect(text.wholeMatch(of: #/{"time":"2026-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ","a":1}\n/#) != nil, "\(text)")
    }

    @Test("what is staged is published together or forgotten")
    func staging() throws {
        let model = try HubModel()
        let channel = try #require(model.hub.channel(.standard))
        let good = Array("{\"a\":1}".utf8)
        let bad = Array("{\"a\":}".utf8)
        try model.hub.stage(good.span, rules: model.hub.channels[channel].rules)
        #expect(throws: PublishFault.self) {
            try model.hub.stage(bad.span, rules: model.hub.channels[channel].rules)
        }
        #expect(model.hub.stagedCount == 1)
        model.hub.discardStaged()
        #expect(model.hub.publishStaged(on: channel).count == 0)
        #expect(model.hub.head == 0)
    }

    @Test("an event of 262,144 bytes is staged, one more is not, and a megabyte of them fits")
    func stagingLimits() throws {
        var staging = Staging()
        let text = Array("{\"a\":\"\(String(repeating: "x", count: 262_144 - 8))\"}".utf8)
        for _ in 0..<4 { try staging.add(text.span, rules: EventRules()) }
        #expect(staging.events.count == 4)
        #expect(staging.bytes(of: staging.events[3]).elementsEqual(text))
        let longer = text + [32]
        #expect(throws: EventFault.self) { try staging.add(longer.span, rules: EventRules()) }
        staging.removeAll()
        // White space counts, as it was received.
        let padded = [UInt8](repeating: 32, count: 262_142) + Array("{}".utf8)
        try staging.add(padded.span, rules: EventRules())
        #expect(staging.bytes(of: staging.events[0]).elementsEqual("{}".utf8))
    }

    @Test("there is an end to channels, and what exists goes on")
    func channelLimit() throws {
        var table = ChannelTable()
        let rules = CompiledRules(event: EventRules())
        for index in 0..<ChannelTable.channelsMax {
            let name = try #require(ChannelName("c/\(index)"))
            guard table.insert(Channel(name: name, rules: rules)) == UInt32(index) else {
                Issue.record("channel \(index) was refused")
                return
            }
        }
        let more = try #require(ChannelName("more"))
        #expect(table.insert(Channel(name: more, rules: rules)) == nil)
        let known = try #require(ChannelName("c/99999"))
        #expect(table.index(of: known) == 99_999)
    }
}
