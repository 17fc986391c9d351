// Coming back: exactly what was missed, or exactly what is gone, on every transport.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Replay")
struct ReplayTests {
    private static let e = SimulatedServer.epochText

    /// A server with small segments, and so many bytes of history; nil is the usual.
    private func server(
        history: Int? = nil, pipeBytes: Int = 65_536, _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes) {
            $0.segmentBytes = 1024
            $0.historyBytes = history
            configure(&$0)
        }
    }

    /// Publishes as many events, of two kinds and on two channels in turn; every seventh is large, where it fits.
    private func publish(_ server: SimulatedServer, _ count: Int) throws {
        for _ in 0..<count {
            let number = server.engine.hub.head
            let kind = number % 3 == 0 ? "a\\u0062" : "c"
            let pad = String(repeating: "x", count: number % 7 == 0 ? 300 : 0)
            try server.publish(
                "{\"type\":\"\(kind)\",\"n\":\(number),\"pad\":\"\(pad)\"}", on: number % 2 == 0 ? "events" : "other")
        }
    }

    // MARK: Exact continuation

    @Test(
        "whatever the place, what follows is what live readers were sent, byte for byte", arguments: ReaderKind.allCases
    )
    func everyPlace(kind: ReaderKind) throws {
        let server = try server()
        let live = try SimulatedReader(server, kind)
        _ = live.take()
        try publish(server, 40)
        let expected = live.take()
        #expect(expected.seqs == Array(1...40))
        for after in 0...40 {
            let reader = try SimulatedReader(server, kind, Comeback(after: after))
            let records = reader.take()
            #expect(records.first?.kind == "$hello" && records.first?.object["seq"] as? Int == 40)
            #expect(records.dropFirst().map(\.text) == expected.dropFirst(after).map(\.text), "after \(after)")
            if kind == .sse {
                #expect(records.map(\.id) == (after...40).map { "\(Self.e)-\($0)" }, "the place asked for comes first")
            }
        }
        try publish(server, 1)
        #expect(live.takeSeqs() == [41])
    }

    @Test("channels and kinds choose what is replayed as they choose what is live", arguments: ReaderKind.allCases)
    func filtered(kind: ReaderKind) throws {
        let server = try server()
        try publish(server, 60)
        func expected(_ after: Int, _ isWanted: (Int) -> Bool) -> [Int] {
            (1...60).filter { $0 > after && isWanted($0 - 1) }
        }
        let cases: [(channels: [String], types: [String], isWanted: (Int) -> Bool)] = [
            (["other"], [], { $0 % 2 == 1 }), (["*"], ["ab"], { $0 % 3 == 0 }), ([], ["c", "none"], { $0 % 3 != 0 }),
            (["events", "never"], ["ab"], { $0 % 6 == 0 }), (["never"], [], { _ in false }),
            ([], ["none"], { _ in false }),
        ]
        for (channels, types, isWanted) in cases {
            for after in [0, 1, 17, 30, 58, 59, 60] {
                let reader = try SimulatedReader(
                    server, kind, Comeback(after: after, channels: channels, types: types))
                let records = reader.take()
                #expect(records.map(\.kind).contains("$gap") == false, "nothing is gone")
                #expect(records.seqs == expected(after, isWanted), "\(channels) \(types) after \(after)")
                try #require(server.engine.hub.replayingCount == 0)
            }
        }
    }

    @Test(
        "events that come while somebody replays follow without a hole and without repetition",
        arguments: ReaderKind.allCases)
    func switching(kind: ReaderKind) throws {
        for pipeBytes in [64, 200, 777, 4096] {
            let server = try server(pipeBytes: pipeBytes)
            server.engine.shares.replayBytes = 100
            try publish(server, 30)
            let whole = try PatientReader(server, kind, Comeback("start"))
            let part = try PatientReader(server, kind, Comeback("start", channels: ["other"]))
            for _ in 0..<200 {
                if server.engine.hub.head < 60 { try publish(server, 1) }
                whole.read(97)
                part.read(61)
            }
            #expect(try whole.finish().seqs == Array(1...60), "\(pipeBytes)")
            #expect(try part.finish().seqs == (1...60).filter { $0 % 2 == 0 }, "\(pipeBytes)")
            #expect(server.engine.hub.replayingCount == 0)
            try publish(server, 1)
            #expect(try whole.finish().seqs == Array(1...61))
        }
    }

    @Test(
        "who comes back with the newest place is live at once, and nothing is replayed", arguments: ReaderKind.allCases)
    func atTheHead(kind: ReaderKind) throws {
        let server = try server()
        try publish(server, 20)
        let before = server.engine.metrics.replayedBytes
        for comeback in [
            Comeback(after: 20), Comeback(after: 19, channels: ["events"]), Comeback("start", channels: ["never"]),
        ] {
            let reader = try SimulatedReader(server, kind, comeback)
            let records = reader.take()
            #expect(records.map(\.kind) == ["$hello"])
            if kind == .sse { #expect(records[0].id == "\(Self.e)-20", "there is nothing to come back for") }
        }
        #expect(server.engine.metrics.replayedBytes == before)
    }

    @Test(
        "a stream of one connection that asks anew goes back to its place",
        arguments: [ReaderKind.eventsSocket, .webSocket])
    func again(kind: ReaderKind) throws {
        let server = try server()
        try publish(server, 10)
        let reader = try SimulatedReader(server, kind)
        try publish(server, 2)
        #expect(reader.takeSeqs() == [11, 12])
        let line = Comeback(after: 3, channels: ["other"]).line
        reader.client.write(kind == .webSocket ? ServerFrame.clientText(line) : Array(line.utf8))
        let records = reader.take()
        #expect(records.first?.kind == "$hello" && records.seqs == [4, 6, 8, 10, 12])
        try publish(server, 2)
        #expect(reader.takeSeqs() == [14])
    }

    @Test("a channel's rules may begin every stream with the oldest event held")
    func byRule() throws {
        var rules = Configuration.ChannelRules()
        rules.from = .start
        let server = try server { $0.channelRules = [("other", rules)] }
        try publish(server, 10)
        let reader = try SimulatedReader(server, .sse, query: "channel=other")
        #expect(reader.takeSeqs() == [2, 4, 6, 8, 10])
        #expect(try SimulatedReader(server, .sse, query: "channel=other&from=now").takeSeqs() == [])
        #expect(try SimulatedReader(server, .sse, query: "channel=events").takeSeqs() == [])
    }

    @Test(
        "control=off: what is held comes, and not a word beside it",
        arguments: [ReaderKind.jsonlHTTP, .sse, .webSocket])
    func silent(kind: ReaderKind) throws {
        let server = try server(history: 40_000)
        try publish(server, 200)
        let oldest = Int(server.engine.hub.oldestHeld)
        #expect(oldest > 100)
        let reader = try SimulatedReader(server, kind, Comeback("start", ("control", "off")))
        let records = reader.take()
        #expect(records.compactMap(\.seq) == Array(oldest...200) && records.count == 201 - oldest)
    }

    // MARK: What is gone

    @Test("what is gone is said once, exactly, and then comes all that is held", arguments: ReaderKind.allCases)
    func pruned(kind: ReaderKind) throws {
        let server = try server(history: 40_000)
        try server.publish("{}", on: "rare")
        try publish(server, 300)
        let oldest = Int(server.engine.hub.oldestHeld)
        let onEvents = (2...301).filter { $0 % 2 == 1 }
        let cases: [(comeback: Comeback, gap: [String: Int]?, seqs: [Int])] = [
            (Comeback("start"), ["from": 1, "to": oldest - 1, "dropped": oldest - 1], Array(oldest...301)),
            (Comeback(after: 5), ["from": 6, "to": oldest - 1, "dropped": oldest - 6], Array(oldest...301)),
            (
                Comeback(after: oldest - 2), ["from": oldest - 1, "to": oldest - 1, "dropped": 1], Array(oldest...301)
            ),
            (Comeback(after: oldest - 1), nil, Array(oldest...301)),
            (Comeback(after: oldest), nil, Array(oldest + 1...301)),
            (
                Comeback(after: 5, channels: ["events"]), ["from": 6, "to": onEvents.last { $0 < oldest }!],
                onEvents.filter { $0 >= oldest }
            ),
            (Comeback("start", channels: ["rare"]), ["from": 1, "to": 1], []),
            (Comeback(after: 1, channels: ["rare"]), nil, []),
        ]
        for (comeback, gap, seqs) in cases {
            let before = server.engine.metrics.gaps
            let records = try SimulatedReader(server, kind, comeback).take()
            if gap != nil { #expect(records[1].kind == "$gap", "before any event") }
            let said = records.first("$gap")
            #expect(records.count { $0.kind == "$gap" } == (gap == nil ? 0 : 1), "\(comeback)")
            for name in ["from", "to", "dropped"] { #expect(said?[name] as? Int == gap?[name], "\(comeback): \(name)") }
            #expect(records.seqs == seqs, "\(comeback)")
            #expect(server.engine.metrics.gaps - before == (gap == nil ? 0 : 1))
            guard let gap, kind == .sse else { continue }
            #expect(records.first { $0.kind == "$gap" }?.id == "\(Self.e)-\(gap["to"]!)")
            #expect(records[0].id == (comeback.from == "start" ? "\(Self.e)-0" : comeback.from))
        }
    }

    @Test(
        "a place that means nothing here is said to be so; then comes all that is held", arguments: ReaderKind.allCases)
    func meaningless(kind: ReaderKind) throws {
        let server = try server(history: 40_000)
        try publish(server, 300)
        let oldest = Int(server.engine.hub.oldestHeld)
        for (from, why) in [("\(Self.e)-301", "ahead"), ("00000000000000ff-2", "unknown_epoch")] {
            let records = try SimulatedReader(server, kind, Comeback(from)).take()
            #expect(records.prefix(2).map(\.kind) == ["$hello", "$gap"])
            let gap = try #require(records.first("$gap"))
            #expect(gap["why"] as? String == why && gap["from"] == nil && gap["to"] == nil && gap["dropped"] == nil)
            #expect(records.seqs == Array(oldest...300))
            guard kind == .sse else { continue }
            #expect(records[0].id == from, "who is cut here asks the same again")
            #expect(records[1].id == "\(Self.e)-\(oldest - 1)")
        }
        guard kind == .sse else { return }
        let records = try SimulatedReader(server, .sse, ["Last-Event-ID: nonsense"]).take()
        #expect(records.first("$gap")?["why"] as? String == "unknown_epoch" && records.seqs == Array(oldest...300))
        #expect(records[0].id == "", "no id at all: a browser keeps what it has")
    }

    @Test("on_gap=fail ends a stream only if something of its channels is really gone", arguments: ReaderKind.allCases)
    func failing(kind: ReaderKind) throws {
        let server = try server(history: 40_000)
        try server.publish("{}", on: "rare")
        try publish(server, 300)
        let oldest = Int(server.engine.hub.oldestHeld)
        for (after, channels, isGone) in [
            (oldest - 2, [], true), (oldest - 1, [], false), (0, ["rare"], true), (1, ["rare"], false),
        ] as [(Int, [String], Bool)] {
            let reader = try SimulatedReader(
                server, kind, Comeback(after: after, channels: channels, ("on_gap", "fail")))
            // An answer with a body is not taken for a stream.
            if isGone, kind != .eventsSocket, kind != .jsonlTCP {
                #expect(reader.client.takeText().contains("\"cursor_gone\""), "after \(after) on \(channels)")
                continue
            }
            let records = reader.take()
            if isGone {
                let bye = try #require(records.first("$bye"))
                #expect(bye["code"] as? Int == 4410 && bye["last"] as? String == "\(Self.e)-\(after)")
            } else {
                #expect(records.seqs == (channels.isEmpty ? Array(oldest...300 + 1) : []))
            }
        }
    }

    @Test(
        "with no history everything behind a place is gone, as it was before there was any",
        arguments: ReaderKind.allCases)
    func noHistory(kind: ReaderKind) throws {
        let server = try server(history: 0)
        try publish(server, 10)
        let records = try SimulatedReader(server, kind, Comeback(after: 4)).take()
        #expect(records.map(\.kind) == ["$hello", "$gap"])
        let gap = try #require(records.first("$gap"))
        #expect(gap["from"] as? Int == 5 && gap["to"] as? Int == 10 && gap["dropped"] as? Int == 6)
        #expect(server.engine.hub.window.bytesHeld(server.engine.delivery.log.segments) == 0)
    }

    @Test(
        "what goes while a reader is sent the history is said in its place in the stream",
        arguments: ReaderKind.allCases)
    func prunedUnderWay(kind: ReaderKind) throws {
        for onGap in ["report", "fail"] {
            let server = try server(history: 120_000, pipeBytes: 900)
            try publish(server, 60)
            #expect(server.engine.hub.oldestHeld == 1)
            let reader = try PatientReader(server, kind, Comeback("start", ("on_gap", onGap)))
            try publish(server, 300)
            let oldest = Int(server.engine.hub.oldestHeld)
            let records = try reader.finish()
            let last =
                if let gap = records.firstIndex(where: { $0.kind == "$gap" }) { records[gap - 1].seq } else {
                    records.seqs.last
                }
            let seen = try #require(last)
            #expect(records.seqs.filter { $0 <= seen } == Array(1...seen) && seen < oldest - 1)
            if onGap == "fail" {
                let bye = try #require(records.last)
                #expect(bye.kind == "$bye" && bye.object["code"] as? Int == 4410)
                #expect(bye.object["last"] as? String == "\(Self.e)-\(seen)" && records.seqs.last == seen)
            } else {
                let gap = try #require(records.first("$gap"))
                #expect(gap["why"] as? String == "pruned" && gap["from"] as? Int == seen + 1)
                #expect(gap["to"] as? Int == oldest - 1 && gap["dropped"] as? Int == oldest - 1 - seen)
                #expect(records.count { $0.kind == "$gap" } == 1)
                #expect(records.seqs.filter { $0 > seen } == Array(oldest...360))
            }
        }
    }

    // MARK: Ended channels

    @Test(
        "of a channel that has ended a reader gets the rest, then $bye 1000; who has it all gets 204 on SSE",
        arguments: ReaderKind.allCases)
    func ended(kind: ReaderKind) throws {
        let server = try server()
        try publish(server, 40)
        let keeper = try server.connect(SimulatedServer.httpUnix)
        keeper.write(RequestText.make("DELETE", "/v1/channels?channel=other"))
        #expect(Answer.all(keeper.takeAll()).map(\.status) == [200])
        for after in [0, 17, 38, 39, 40] {
            let reader = try SimulatedReader(server, kind, Comeback(after: after, channels: ["other"]))
            if kind == .sse, after == 40 {
                #expect(reader.head?.status == 204)
                continue
            }
            let records = reader.take()
            #expect(records.seqs == (1...40).filter { $0 % 2 == 0 && $0 > after })
            #expect(records.last?.kind == "$bye" && records.last?.object["code"] as? Int == 1000)
            #expect(records.last?.object["last"] as? String == "\(Self.e)-40" && reader.client.isAtEnd)
        }
    }

    @Test(
        "a channel that ends while somebody replays it ends the stream behind the last event",
        arguments: ReaderKind.allCases)
    func endsUnderWay(kind: ReaderKind) throws {
        let server = try server(pipeBytes: 200)
        try publish(server, 40)
        let reader = try PatientReader(server, kind, Comeback("start", channels: ["other"]))
        let keeper = try server.connect(SimulatedServer.httpUnix)
        keeper.write(RequestText.make("DELETE", "/v1/channels?channel=other"))
        #expect(Answer.all(keeper.takeAll()).map(\.status) == [200])
        let records = try reader.finish()
        #expect(records.seqs == (1...40).filter { $0 % 2 == 0 })
        #expect(records.last?.object["code"] as? Int == 1000 && reader.client.isAtEnd)
    }

    @Test(
        "of a channel that has ended and has gone from the history, that is said before the end",
        arguments: ReaderKind.allCases)
    func endedAndGone(kind: ReaderKind) throws {
        let server = try server(history: 0)
        try server.publish("{}", on: "other")
        let keeper = try server.connect(SimulatedServer.httpUnix)
        keeper.write(RequestText.make("DELETE", "/v1/channels?channel=other"))
        #expect(Answer.all(keeper.takeAll()).map(\.status) == [200])
        let records = try SimulatedReader(server, kind, Comeback("start", channels: ["other"])).take()
        #expect(records.map(\.kind) == ["$hello", "$gap", "$bye"])
        let later = try SimulatedReader(server, kind, Comeback(after: 1, channels: ["other"]))
        if kind == .sse { #expect(later.head?.status == 204) } else { #expect(later.take().last?.kind == "$bye") }
    }
}
