// What a server that was killed had numbered and not stored: one $gap where it would be, and no hole beside it.
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Lost events")
struct LostEventsTests {
    private static let e = SimulatedServer.epochText

    private static func text(_ epoch: UInt64) -> String { Epoch(rawValue: epoch).description }

    /// Servers on one disk that are killed one after the other, each with `kept` events stored and `lost` ones seen.
    /// The last one lives; each knows how far the one before it had numbered.
    private func servers(_ ends: [(kept: Int, lost: Int)], then last: Int) throws -> (SimulatedServer, SimulatedStore) {
        let store = SimulatedStore()
        var used: UsedNumber?
        for (index, end) in ends.enumerated() {
            store.prepare = {
                $0.newEpoch = Epoch(rawValue: 0xe1 + UInt64(index))
                $0.used = used
            }
            let server = try SimulatedServer(store: store) { $0.segmentBytes = 1024 }
            try publish(server, end.kept)
            store.isHeld = true
            try publish(server, end.lost)
            used = UsedNumber(epoch: server.engine.hub.epoch, seq: server.engine.hub.accepted)
            store.isHeld = false
        }
        store.prepare = {
            $0.newEpoch = Epoch(rawValue: 0xe1 + UInt64(ends.count))
            $0.used = used
        }
        let server = try SimulatedServer(store: store) { $0.segmentBytes = 1024 }
        try publish(server, last)
        return (server, store)
    }

    private func publish(_ server: SimulatedServer, _ count: Int) throws {
        for _ in 0..<count {
            let number = server.engine.hub.accepted + 1
            try server.publish("{\"n\":\(number)}", on: number % 2 == 0 ? "even" : "odd")
        }
        server.settle()
    }

    /// Events as their numbers, gaps as what they say; `$hello` is left out.
    private func told(_ server: SimulatedServer, _ kind: ReaderKind, _ comeback: Comeback) throws -> [String] {
        try SimulatedReader(server, kind, comeback).take().compactMap { record in
            if let seq = record.seq, record.kind != "$hello" { return "\(seq)" }
            guard record.kind == "$gap" else { return nil }
            let said = record.object
            let dropped = (said["dropped"] as? Int).map { " (\($0))" } ?? ""
            return "\(said["why"]!) \(said["epoch"]!) \(said["from"] ?? "")-\(said["to"] ?? "")\(dropped)"
        }
    }

    private func texts(_ numbers: ClosedRange<Int>) -> [String] { numbers.map(String.init) }

    @Test(
        "nothing was lost: numbers go on as if there had been no end, and nobody is told",
        arguments: ReaderKind.allCases)
    func nothingLost(kind: ReaderKind) throws {
        let (server, _) = try servers([(30, 0), (5, 0)], then: 3)
        #expect(server.engine.hub.head == 38 && server.engine.hub.epoch == Epoch(rawValue: 0xe3))
        #expect(try told(server, kind, Comeback("start")) == texts(1...38))
        #expect(try told(server, kind, Comeback(after: 30)) == texts(31...38))
        #expect(try told(server, kind, Comeback("\(Self.text(0xe2))-35")) == texts(36...38))
        #expect(try told(server, kind, Comeback("\(Self.text(0xe3))-20")) == texts(21...38))
    }

    @Test("what was lost is one $gap in its place, exact, whatever the reader's place", arguments: ReaderKind.allCases)
    func oneGap(kind: ReaderKind) throws {
        let (server, _) = try servers([(30, 5)], then: 3)
        let all = "rewound \(Self.e) 31-35"
        let after = texts(36...38)
        #expect(server.engine.hub.head == 38)
        #expect(try told(server, kind, Comeback("start")) == texts(1...30) + ["\(all) (5)"] + after)
        #expect(try told(server, kind, Comeback(after: 20)) == texts(21...30) + ["\(all) (5)"] + after)
        #expect(try told(server, kind, Comeback("\(Self.text(0xe2))-29")) == ["30", "\(all) (5)"] + after)
        // Who stands in front of it, by either name, and who has seen some or all of it.
        #expect(try told(server, kind, Comeback(after: 30)) == ["\(all) (5)"] + after)
        #expect(try told(server, kind, Comeback("\(Self.text(0xe2))-30")) == ["\(all) (5)"] + after)
        #expect(try told(server, kind, Comeback(after: 31)) == [all] + after)
        #expect(try told(server, kind, Comeback(after: 35)) == [all] + after)
        #expect(try told(server, kind, Comeback("\(Self.text(0xe2))-35")) == after)
        #expect(try told(server, kind, Comeback("\(Self.text(0xe2))-36")) == texts(37...38))
        // Some of what was lost may have been on the channel.
        let odd = try told(server, kind, Comeback(after: 28, channels: ["odd"]))
        #expect(odd == ["29", all, "37"])
        #expect(try told(server, kind, Comeback(after: 28, channels: ["*"])) == ["29", "30", all] + after)
        #expect(try told(server, kind, Comeback(after: 20, channels: ["none"])) == [all])
        let reader = try SimulatedReader(server, kind, Comeback(after: 30)).take()
        if kind == .sse { #expect(reader.first { $0.kind == "$gap" }?.id == "\(Self.text(0xe2))-35") }
    }

    @Test("each end that lost something is told by itself, and pages that many share begin behind it")
    func manyEnds() throws {
        let (server, _) = try servers([(300, 10), (0, 4), (250, 0), (1, 7), (0, 0)], then: 0)
        #expect(server.engine.hub.head == 572)
        let gaps = ["rewound \(Self.e) 301-310 (10)", "rewound \(Self.text(0xe2)) 311-314 (4)"]
        let last = "rewound \(Self.text(0xe4)) 566-572 (7)"
        let everything = texts(1...300) + gaps + texts(315...565) + [last]
        // Places before and behind it ask for the same stretch of 256.
        let places = [0, 1, 255, 256, 299, 300, 310, 314, 320, 511, 512, 564, 565, 572]
        let readers = try places.map {
            try SimulatedReader(server, .jsonlHTTP, Comeback("\(Self.text(0xe6))-\($0)"))
        }
        for (place, reader) in zip(places, readers) {
            let seqs = reader.take().seqs
            #expect(seqs == (Array(1...300) + Array(315...565)).filter { $0 > place }, "\(place)")
        }
        #expect(try told(server, .jsonlHTTP, Comeback("start")) == everything)
        let late = try told(server, .jsonlHTTP, Comeback(after: 298))
        #expect(late == texts(299...300) + gaps + texts(315...565) + [last])
        // A place among what was lost, which no reader should have by this name: the rest of it is told.
        let within = try told(server, .sse, Comeback("\(Self.text(0xe6))-305"))
        #expect(within.first == "rewound \(Self.e) 306-310 (5)" && within.last == last)
        try publish(server, 2)
        let seen = try told(server, .sse, Comeback("\(Self.text(0xe4))-570"))
        #expect(seen == ["rewound \(Self.text(0xe4)) 566-572", "573", "574"])
    }

    @Test("who wants no gap is sent what lies before it, and ends there with the place where it stands")
    func noGapWanted() throws {
        let (server, _) = try servers([(30, 5)], then: 3)
        for place in [20, 30] {
            let failing = try SimulatedReader(server, .eventsSocket, Comeback(after: place, ("on_gap", "fail"))).take()
            #expect(failing.seqs == Array((place + 1)..<31))
            #expect(failing.last?.object["code"] as? Int == 4410 && failing.first("$gap") == nil)
        }
    }

    @Test("a reader that is told nothing but events jumps over what was lost")
    func controlOff() throws {
        let (server, _) = try servers([(30, 5)], then: 3)
        let silent = try told(server, .eventsSocket, Comeback(after: 28, ("control", "off")))
        #expect(silent == ["29", "30"] + texts(36...38))
    }

    @Test("a channel that had ended has lost nothing")
    func endedChannel() throws {
        let store = SimulatedStore()
        let first = try SimulatedServer(store: store)
        try publish(first, 4)
        let name = try #require(ChannelName("odd"))
        let channel = try #require(first.engine.hub.channel(name))
        _ = first.engine.hub.end(channel)
        try publish(first, 0)
        store.isHeld = true
        try first.publish("{}", on: "even")
        first.settle()
        store.isHeld = false
        store.prepare = {
            $0.newEpoch = Epoch(rawValue: 0xe2)
            $0.used = UsedNumber(epoch: SimulatedServer.epoch, seq: 5)
        }
        let server = try SimulatedServer(store: store)
        let reader = try SimulatedReader(server, .jsonlHTTP, Comeback(after: 3, channels: ["odd"])).take()
        #expect(reader.first("$gap") == nil && reader.last?.object["code"] as? Int == 1000)
        #expect(try told(server, .jsonlHTTP, Comeback(after: 3, channels: ["even"])) == ["4", "rewound \(Self.e) 5-5"])
    }
}
