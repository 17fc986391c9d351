// Coming back to what only the database has: exactly what was missed, or exactly what is gone, on every transport.
import CTestDisk
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Replay from the database")
struct StoredReplayTests {
    private static let e = SimulatedServer.epochText
    static let other = "00000000000000e2"

    /// A server with small segments on a disk.
    private func server(
        _ store: SimulatedStore, pipeBytes: Int = 65_536, _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes, store: store) {
            $0.segmentBytes = 1024
            configure(&$0)
        }
    }

    /// Publishes as many events, of two kinds and on two channels in turn; every seventh is large.
    private func publish(_ server: SimulatedServer, _ count: Int, large: Int = 300) throws {
        for _ in 0..<count {
            let number = server.engine.hub.head
            let kind = number % 3 == 0 ? "a\\u0062" : "c"
            let pad = String(repeating: "x", count: number % 7 == 0 ? large : 0)
            try server.publish(
                "{\"type\":\"\(kind)\",\"n\":\(number),\"pad\":\"\(pad)\"}", on: number % 2 == 0 ? "events" : "other")
        }
        server.settle()
    }

    /// Ends a server in order: its numbering goes on in the next.
    private func stop(_ server: SimulatedServer) {
        server.engine.end(signal: 15)
        server.settle()
        server.pass(milliseconds: 6000, step: 1000)
        #expect(!server.isRunning)
    }

    /// The disk of a server that published so many events and was stopped.
    private func disk(_ count: Int, large: Int = 300) throws -> SimulatedStore {
        let store = SimulatedStore()
        let server = try server(store)
        try publish(server, count, large: large)
        stop(server)
        return store
    }

    // MARK: Exact continuation

    @Test(
        "after a restart, whatever the place, what follows is what live readers were sent, byte for byte",
        arguments: ReaderKind.allCases)
    func everyPlace(kind: ReaderKind) throws {
        let store = SimulatedStore()
        let first = try server(store)
        let live = try SimulatedReader(first, kind)
        _ = live.take()
        try publish(first, 40)
        let expected = live.take()
        #expect(expected.seqs == Array(1...40))
        stop(first)
        let server = try server(store)
        #expect(server.engine.hub.head == 40 && server.engine.hub.oldestHeld == 41)
        for after in 0...40 {
            let reader = try SimulatedReader(server, kind, Comeback(after: after))
            let records = reader.take()
            #expect(records.first?.kind == "$hello" && records.first?.object["seq"] as? Int == 40)
            #expect(records.dropFirst().map(\.text) == expected.dropFirst(after).map(\.text), "after \(after)")
            if kind == .sse { #expect(records.map(\.id) == (after...40).map { "\(Self.e)-\($0)" }) }
            #expect(server.engine.hub.replayingCount == 0)
            try #require(server.engine.hub.stretches.stretches.isEmpty && server.engine.hub.pages.pages.isEmpty)
        }
        // From the database, and on from memory.
        let early = try SimulatedReader(server, kind, Comeback(after: 10))
        #expect(early.takeSeqs() == Array(11...40))
        try publish(server, 5)
        #expect(early.takeSeqs() == Array(41...45))
        #expect(try SimulatedReader(server, kind, Comeback(after: 30)).takeSeqs() == Array(31...45))
        #expect(try SimulatedReader(server, kind, Comeback("start")).takeSeqs() == Array(1...45))
    }

    @Test("channels and kinds choose what is read as they choose what is live", arguments: ReaderKind.allCases)
    func filtered(kind: ReaderKind) throws {
        let server = try server(try disk(700))
        func expected(_ after: Int, _ isWanted: (Int) -> Bool) -> [Int] {
            (1...700).filter { $0 > after && isWanted($0 - 1) }
        }
        let cases: [(channels: [String], types: [String], isWanted: (Int) -> Bool)] = [
            (["other"], [], { $0 % 2 == 1 }), (["*"], ["ab"], { $0 % 3 == 0 }), ([], ["c", "none"], { $0 % 3 != 0 }),
            (["events", "never"], ["ab"], { $0 % 6 == 0 }), (["never"], [], { _ in false }),
            ([], ["none"], { _ in false }), (["other", "events"], [], { _ in true }),
        ]
        for (channels, types, isWanted) in cases {
            for after in [0, 1, 17, 255, 256, 499, 500, 501, 698, 699, 700] {
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
        "events that come while the database is read follow without a hole and without repetition",
        arguments: ReaderKind.allCases)
    func switching(kind: ReaderKind) throws {
        for pipeBytes in [200, 777, 4096] {
            let store = try disk(300)
            let server = try server(store, pipeBytes: pipeBytes)
            server.engine.shares.replayBytes = 500
            let whole = try PatientReader(server, kind, Comeback("start"))
            let part = try PatientReader(server, kind, Comeback("start", channels: ["other"]))
            for round in 0..<900 {
                store.isHeld = round % 3 != 0
                if server.engine.hub.head < 400 { try publish(server, 1) }
                whole.read(97)
                part.read(61)
            }
            store.isHeld = false
            server.settle()
            #expect(try whole.finish().seqs == Array(1...400), "\(pipeBytes)")
            #expect(try part.finish().seqs == (1...400).filter { $0 % 2 == 0 }, "\(pipeBytes)")
            #expect(server.engine.hub.replayingCount == 0)
        }
    }

    @Test("events larger than a page of the database come one by one, at any place", arguments: [ReaderKind.sse])
    func large(kind: ReaderKind) throws {
        let server = try server(try disk(70, large: 150_000))
        for after in [0, 6, 7, 8, 20, 69] {
            #expect(
                try SimulatedReader(server, kind, Comeback(after: after)).takeSeqs() == Array((after + 1)...70),
                "after \(after)")
        }
        server.engine.shares.replayBytes = 1
        #expect(try SimulatedReader(server, kind, Comeback(after: 33)).takeSeqs() == Array(34...70))
    }

    // MARK: Waiting

    @Test("who waits for a slow disk is no laggard, gets keep-alives, and then everything")
    func slowDisk() throws {
        let store = try disk(100)
        let server = try server(store) { $0.heartbeatSeconds = 5 }
        store.isHeld = true
        let sse = try SimulatedReader(server, .sse, Comeback(after: 50))
        let lines = try SimulatedReader(server, .jsonlHTTP, Comeback(after: 60, types: ["c"]))
        try publish(server, 30)
        #expect(server.engine.hub.replayingCount == 2)
        server.pass(milliseconds: 60_000, step: 500)
        #expect(server.metric("fanout_replaying_subscribers") == 2)
        store.isHeld = false
        server.settle()
        let events = StreamReader.events(sse.client.takeText())
        #expect(events.comments > 5 && events.records.seqs == Array(51...130))
        #expect(lines.take().seqs == (61...130).filter { ($0 - 1) % 3 != 0 })
        #expect(server.engine.hub.replayingCount == 0)
    }

    @Test("readers who come back together share what is read, and those who go are not waited for")
    func sharing() throws {
        let store = try disk(600)
        let server = try server(store)
        store.isHeld = true
        var readers: [SimulatedReader] = []
        for number in 0..<60 {
            readers.append(try SimulatedReader(server, [.sse, .jsonlHTTP][number % 2], Comeback(after: number)))
        }
        let gone = try SimulatedReader(server, .sse, Comeback(after: 400))
        gone.client.close()
        store.isHeld = false
        server.settle()
        for (number, reader) in readers.enumerated() { #expect(reader.takeSeqs() == Array((number + 1)...600)) }
        #expect(server.engine.storedReplay.pages <= 6, "\(server.engine.storedReplay.pages)")
        for reader in readers { reader.client.close() }
        server.settle()
        server.pass(milliseconds: 3000)
        server.checkNothingIsHeld()
    }

    @Test("however many places are asked for, every reader arrives, and what is asked for at once is bounded")
    func manyPlaces() throws {
        let store = try disk(3000, large: 10)
        let server = try server(store)
        store.isHeld = true
        var readers: [SimulatedReader] = []
        for number in 0..<32 {
            let channels = number % 2 == 0 ? ["events", "own/\(number)"] : number % 3 == 1 ? ["*"] : []
            readers.append(try SimulatedReader(server, .sse, Comeback(after: 40 + number * 88, channels: channels)))
        }
        #expect(server.engine.storedReplay.requests.count == 16)
        #expect(server.metric("fanout_replay_stored_waiting") ?? 0 > 4)
        store.isHeld = false
        server.settle()
        for (number, reader) in readers.enumerated() {
            let expected = ((41 + number * 88)...3000).filter { number % 2 != 0 || $0 % 2 == 1 }
            try #require(reader.takeSeqs() == expected, "\(number)")
        }
        #expect(server.engine.storedReplay.waiting.isEmpty && server.engine.storedReplay.requests.isEmpty)
    }

    @Test("a reader that asks anew while it waits is sent what it asked for last")
    func again() throws {
        let store = try disk(50)
        let server = try server(store)
        store.isHeld = true
        let reader = try SimulatedReader(server, .eventsSocket, Comeback(after: 3))
        let other = try SimulatedReader(server, .webSocket, Comeback(after: 5, channels: ["other"]))
        other.client.write(ServerFrame.clientText(Comeback(after: 40, channels: ["events"]).line))
        store.isHeld = false
        server.settle()
        #expect(reader.takeSeqs() == Array(4...50))
        #expect(other.takeSeqs() == [41, 43, 45, 47, 49])
    }

    @Test("the server stops in order while readers wait for the disk")
    func stopping() throws {
        let store = try disk(50)
        let server = try server(store)
        store.isHeld = true
        let reader = try SimulatedReader(server, .jsonlHTTP, Comeback(after: 3))
        server.engine.end(signal: 15)
        server.settle()
        #expect(reader.take().last?.kind == "$bye")
        reader.client.close()
        store.isHeld = false
        server.settle()
        #expect(!server.isRunning)
    }

    @Test("what cannot be read ends the stream with 1011, from where the reader may come back")
    func readFault() throws {
        let store = try disk(600)
        let server = try server(store)
        let reader = try SimulatedReader(server, .sse, Comeback(after: 20))
        store.isHeld = false
        #expect(reader.takeSeqs() == Array(21...600))
        stop(server)
        let second = try self.server(store)
        store.fail(TEST_DISK_READ, errno: 5)
        let late = try SimulatedReader(second, .sse, Comeback(after: 20))
        let records = late.take()
        let bye = try #require(records.last)
        #expect(records.map(\.kind) == ["$hello", "$bye"])
        #expect(bye.object["code"] as? Int == 1011 && bye.object["why"] as? String == "internal")
        #expect(bye.object["last"] as? String == "\(Self.e)-20" && bye.id == "\(Self.e)-20")
        #expect(second.metric("fanout_closed_total", "reason=\"internal\",transport=\"sse\"") == 1)
        store.stopFailing()
        #expect(try SimulatedReader(second, .sse, Comeback(after: 20)).takeSeqs() == Array(21...600))
    }

    // MARK: What is gone

    @Test("what retention has removed is one $gap, exact, then what is left", arguments: ReaderKind.allCases)
    func pruned(kind: ReaderKind) throws {
        let store = try disk(100)
        store.prepare = { $0.retention = RetentionLimits(events: 10) }
        let server = try server(store)
        server.pass(milliseconds: 3000)
        // Of each channel the newest ten are left: 81...100.
        #expect(server.engine.hub.removed.newest == 80)
        let everything = try SimulatedReader(server, kind, Comeback(after: 30)).take()
        let gap = try #require(everything.first("$gap"))
        #expect(gap["from"] as? Int == 31 && gap["to"] as? Int == 80 && gap["dropped"] as? Int == 50)
        #expect(gap["why"] as? String == "pruned" && gap["epoch"] as? String == Self.e)
        #expect(everything.seqs == Array(81...100))
        let some = try SimulatedReader(server, kind, Comeback(after: 30, channels: ["events"])).take()
        #expect(some.first("$gap")?["to"] as? Int == 79 && some.first("$gap")?["dropped"] == nil)
        #expect(some.seqs == [81, 83, 85, 87, 89, 91, 93, 95, 97, 99])
        #expect(try SimulatedReader(server, kind, Comeback(after: 80)).take().first("$gap") == nil)
        #expect(
            try SimulatedReader(server, kind, Comeback(after: 79, channels: ["events"])).take().first("$gap") == nil)
        let failing = try SimulatedReader(server, .jsonlHTTP, Comeback(after: 80, ("on_gap", "fail")))
        #expect(failing.takeSeqs() == Array(81...100))
    }

    @Test("what went with a channel that is no more is said after a restart, too")
    func forgotten() throws {
        let store = SimulatedStore()
        store.prepare = { $0.retention = RetentionLimits(events: 0) }
        do {
            let server = try SimulatedServer(store: store)
            let client = try server.connect()
            for channel in ["gone", "gone", "other"] {
                client.write(RequestText.post("{}", to: "/v1/events?channel=\(channel)"))
            }
            client.write(RequestText.make("DELETE", "/v1/channels?channel=gone"))
            server.pass(milliseconds: 5_000)
        }
        store.prepare = { _ in }
        let server = try SimulatedServer(store: store)
        let name = try #require(ChannelName("gone"))
        #expect(server.engine.hub.channels.index(of: name) == nil, "the database has forgotten it")
        for channels in [[], ["gone"], ["gone", "other"], ["**"]] {
            let records = try SimulatedReader(server, .jsonlHTTP, Comeback(after: 0, channels: channels)).take()
            let gap = try #require(records.first("$gap"), "\(channels)")
            #expect(gap["why"] as? String == "pruned" && gap["from"] as? Int == 1, "\(channels)")
            #expect((gap["to"] as? Int ?? 0) >= 2, "\(channels)")
        }
    }

    @Test("what is removed while a reader is sent the past is one $gap in its place")
    func prunedMeanwhile() throws {
        let store = try disk(2000)
        let server = try server(store, pipeBytes: 200) { $0.channelRules = [] }
        server.engine.shares.replayBytes = 500
        let reader = try PatientReader(server, .jsonlHTTP, Comeback(after: 100))
        for _ in 0..<20 { reader.read(500) }
        let queue = try #require(server.engine.storage?.queue)
        for channel in ["events", "other"] {
            #expect(queue.ask(.retention([ChannelRetention(channel: channel, limits: RetentionLimits(events: 100))])))
        }
        for _ in 0..<6 {
            reader.read(50)
            server.pass(milliseconds: 500)
        }
        #expect(server.engine.hub.removed.newest == 1800)
        let records = try reader.finish()
        let place = try #require(records.firstIndex { $0.kind == "$gap" })
        let before = records[..<place].compactMap(\.seq).last ?? 0
        #expect(records.filter { $0.kind == "$gap" }.count == 1)
        #expect(records[place].object["from"] as? Int == before + 1 && records[place].object["to"] as? Int == 1800)
        #expect(records[place].object["dropped"] as? Int == 1800 - before)
        #expect(before > 101 && before < 1800)
        #expect(records.seqs == Array(101...before) + Array(1801...2000))
    }

    // MARK: Numberings

    @Test(
        "a place in a numbering that ended goes on exactly; what was lost with it is said",
        arguments: ReaderKind.allCases)
    func epochs(kind: ReaderKind) throws {
        let store = SimulatedStore()
        let first = try server(store)
        try publish(first, 30)
        // Seen by readers, and never stored: then the process is killed.
        store.isHeld = true
        try publish(first, 5)
        store.isHeld = false
        store.prepare = { $0.newEpoch = Epoch(rawValue: 0xe2) }
        let server = try server(store)
        let head = Int(server.engine.hub.head)
        #expect(server.engine.hub.epoch == Epoch(rawValue: 0xe2) && head >= 35)
        try publish(server, 3)
        let kept = try SimulatedReader(server, kind, Comeback(after: 20)).take()
        #expect(kept.first("$gap") == nil && kept.seqs == Array(21...30) + Array((head + 1)...(head + 3)))
        #expect(kept.first?.object["epoch"] as? String == Self.other)
        let lost = try SimulatedReader(server, kind, Comeback(after: 34)).take()
        let gap = try #require(lost.first("$gap"))
        #expect(gap["why"] as? String == "rewound" && gap["epoch"] as? String == Self.e)
        #expect(gap["from"] as? Int == 31 && gap["to"] as? Int == 34)
        #expect(lost.seqs == Array((head + 1)...(head + 3)))
        if kind == .sse { #expect(lost.first { $0.kind == "$gap" }?.id == "\(Self.other)-34") }
        let same = try SimulatedReader(server, kind, Comeback("\(Self.other)-25")).take()
        #expect(same.first("$gap") == nil && same.seqs == Array(26...30) + Array((head + 1)...(head + 3)))
        let ahead = try SimulatedReader(server, kind, Comeback("\(Self.other)-\(head + 9)")).take()
        #expect(ahead.first("$gap")?["why"] as? String == "ahead")
        #expect(ahead.seqs == Array(1...30) + Array((head + 1)...(head + 3)), "from the oldest event held")
        let unknown = try SimulatedReader(server, kind, Comeback("00000000000000ff-3")).take()
        #expect(unknown.first("$gap")?["why"] as? String == "unknown_epoch" && unknown.seqs == ahead.seqs)
        let failing = try SimulatedReader(server, .eventsSocket, Comeback(after: 34, ("on_gap", "fail"))).take()
        #expect(failing.last?.object["code"] as? Int == 4410)
    }

    // MARK: Memory

    @Test("what is not stored yet stays in memory, whatever it takes, and goes when it is")
    func unstored() throws {
        let store = SimulatedStore()
        let server = try server(store) { $0.historyBytes = 1 << 20 }
        store.isHeld = true
        for _ in 0..<12_000 { try server.publish("{\"pad\":\"\(String(repeating: "x", count: 200))\"}") }
        let window = server.engine.hub.window.bytesHeld(server.engine.delivery.log.segments)
        #expect(server.engine.hub.oldestHeld == 1 && window > 2 << 20)
        let reader = try SimulatedReader(server, .jsonlHTTP, Comeback(after: 0))
        #expect(reader.takeSeqs() == Array(1...12_000))
        store.isHeld = false
        server.settle()
        #expect(server.engine.hub.window.bytesHeld(server.engine.delivery.log.segments) <= 1 << 20)
        #expect(server.engine.hub.oldestHeld > 6000)
        #expect(try SimulatedReader(server, .jsonlHTTP, Comeback(after: 0)).takeSeqs() == Array(1...12_000))
        #expect(server.metric("fanout_gaps_total") == 0)
    }
}
