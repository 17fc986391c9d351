// Pages of the history: made once for all who need them, and gone with the last of them.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Replay pages")
struct ReplayPagesTests {
    // MARK: The table

    /// Pages for one kind of reader, and their segments.
    private final class Table {
        var segments = SegmentStore(segmentBytes: 1024)
        var pages = ReplayPages()

        func insert(_ range: ClosedRange<UInt64>) {
            let page = ReplayPage(
                format: 1, filter: 0, first: range.lowerBound, last: range.upperBound,
                segment: segments.take(chain: .sse, bytesMin: 1))
            _ = pages.insert(page, &segments)
        }

        /// The first event of the page that speaks for one.
        func first(_ seq: UInt64) -> UInt64? { pages.find(seq, format: 1, filter: 0).map { pages.pages[$0].first } }
    }

    @Test("a page is found by each event that it speaks for, by no other, and for its own readers only")
    func find() {
        let table = Table()
        for range in [10...19, 20...20, 30...39] as [ClosedRange<UInt64>] { table.insert(range) }
        #expect([9, 10, 19, 20, 21, 29, 30, 39, 40].map(table.first) == [nil, 10, 10, 20, nil, nil, 30, 30, nil])
        let others = [table.pages.find(10, format: 2, filter: 0), table.pages.find(10, format: 1, filter: 1)]
        #expect(others == [nil, nil])
        func nearest(_ seq: UInt64, _ least: UInt64) -> UInt64? {
            let place = table.pages.nearest(before: seq, notBefore: least, format: 1, filter: 0)
            return place.map { table.pages.pages[$0].last }
        }
        #expect(nearest(19, 1) == nil && nearest(20, 1) == 19 && nearest(21, 1) == 20 && nearest(30, 1) == 20)
        #expect(nearest(40, 39) == 39 && nearest(40, 40) == nil && nearest(29, 20) == 20 && nearest(29, 21) == nil)
        table.pages.removeAll(&table.segments)
        #expect(table.segments.bytesHeld == 0 && table.first(10) == nil && table.pages.made == 3)
    }

    @Test("of more pages than are kept, the one that was asked for longest ago goes, and its segment with it")
    func leastRecent() {
        let table = Table()
        for number in 0..<UInt64(ReplayPages.countMax) { table.insert(number * 10...number * 10 + 9) }
        #expect(table.first(5) == 0, "the first one is asked for again")
        let before = table.segments.bytesHeld
        table.insert(10_000...10_009)
        #expect(table.pages.pages.count == ReplayPages.countMax && table.segments.bytesHeld == before)
        #expect(table.first(5) == 0 && table.first(15) == nil)
        table.pages.removeAll(&table.segments)
        #expect(table.segments.bytesHeld == 0)
    }

    // MARK: In the server

    private static let segmentBytes = 2048

    private func server(pipeBytes: Int = 65_536) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes, socketsMax: 2048) {
            $0.segmentBytes = Self.segmentBytes
            $0.limits.events = 1 << 30
            $0.limits.bytes = 1 << 30
        }
    }

    /// Readers of SSE who ask in one moment, and what each was sent.
    private func comeBack(_ server: SimulatedServer, _ queries: [String], _ fields: [String]) throws -> [[UInt8]] {
        var peers: [SimulatedPeer] = []
        var received = [[UInt8]](repeating: [], count: queries.count)
        while peers.count < queries.count {
            if let peer = server.kernel.connect(to: SimulatedServer.httpUnix) {
                peers.append(peer)
            } else {
                server.settle()
            }
        }
        server.settle()
        for (peer, query) in zip(peers, queries) {
            let request = Array(RequestText.get("/v1/events?" + query, fields).utf8)
            try #require(server.kernel.peerWrite(peer, request) == request.count)
        }
        for _ in 0..<10_000 {
            server.settle()
            var isDone = true
            for place in peers.indices {
                let bytes = server.kernel.peerRead(peers[place])
                if !bytes.isEmpty { isDone = false }
                received[place] += bytes
            }
            if isDone { break }
        }
        for peer in peers { server.kernel.peerClose(peer) }
        server.settle()
        // What every answer begins with.
        return try received.map { bytes in
            Array(bytes[(try #require(Answer.firstIndex(of: Array("\r\n\r\n".utf8), in: bytes)) + 4)...])
        }
    }

    private static let accept = ["Accept: text/event-stream"]

    @Test("a thousand readers from one place: each page is made once, and all are sent the same bytes")
    func shared() throws {
        let server = try server(pipeBytes: 4096)
        for number in 0..<200 { try server.publish("{\"n\":\(number)}") }
        let streams = try comeBack(
            server, Array(repeating: "from=start", count: 1000), Self.accept)
        #expect(Set(streams).count == 1)
        let events = StreamReader.events(String(decoding: streams[0], as: UTF8.self)).records
        #expect(events.seqs == Array(1...200))
        let bytes = streams[0].count
        // A page ends where the next frame would not fit.
        let frame = bytes / 200 + 2
        #expect(server.engine.hub.pages.made <= UInt64(bytes / (Self.segmentBytes - frame) + 1))
        #expect(server.engine.hub.pages.made >= UInt64(bytes / Self.segmentBytes))
        #expect(server.metric("fanout_replay_pages_total") == server.engine.hub.pages.made)
        #expect(server.metric("fanout_replaying_subscribers") == 0)
        server.checkNothingIsHeld()
    }

    @Test("readers who come back to different places share pages too: their number follows the history, not them")
    func differentPlaces() throws {
        let server = try server(pipeBytes: 4096)
        for number in 0..<200 { try server.publish("{\"n\":\(number)}") }
        let queries = (0..<200).map { "from=\(SimulatedServer.epochText)-\($0)" }
        let streams = try comeBack(server, queries, Self.accept)
        for (after, stream) in streams.enumerated() {
            let records = StreamReader.events(String(decoding: stream, as: UTF8.self)).records
            #expect(records.seqs == Array(after + 1...200))
        }
        // Each page may begin with a block's first event instead of where the one before it ended.
        let blocks = UInt64(server.engine.hub.window.blockCount)
        #expect(server.engine.hub.pages.made <= 3 * blocks + 2, "\(server.engine.hub.pages.made) for \(blocks) blocks")
    }

    @Test("readers with different filters, more of them than pages are kept, all come to the end")
    func manyFilters() throws {
        let server = try server(pipeBytes: 1024)
        for number in 0..<120 {
            let kinds = (0..<100).map { "\"k\($0)\":1" }.joined(separator: ",")
            try server.publish("{\"type\":\"t\(number % 3)\",\(number % 40 == 0 ? kinds : "\"n\":\(number)")}")
        }
        let queries = (0..<ReplayPages.countMax * 2).map { "from=start&types=t0,other\($0)" }
        let streams = try comeBack(server, queries, Self.accept)
        for stream in streams {
            let records = StreamReader.events(String(decoding: stream, as: UTF8.self)).records
            #expect(records.seqs == (1...120).filter { ($0 - 1) % 3 == 0 })
        }
        server.checkNothingIsHeld()
    }

    @Test("pages are given back with the last who replays; who is still being sent one keeps its bytes alone")
    func givenBack() throws {
        let server = try server()
        for number in 0..<200 { try server.publish("{\"n\":\(number)}") }
        let before = server.engine.memoryHeld
        server.kernel.limits.pipeBytes = 512
        let slow = try PatientReader(server, .sse, Comeback("start"))
        #expect(server.engine.hub.replayingCount == 1 && !server.engine.hub.pages.pages.isEmpty)
        let quick = try SimulatedReader(server, .webSocket, Comeback("start"))
        #expect(quick.takeSeqs() == Array(1...200))
        #expect(!server.engine.hub.pages.pages.isEmpty, "somebody still replays")
        slow.client.close()
        #expect(server.engine.hub.replayingCount == 0 && server.engine.hub.pages.pages.isEmpty)
        quick.client.close()
        server.settle()
        #expect(server.engine.memoryHeld.segments <= before.segments + 4 * (Self.segmentBytes + 4096))
        server.checkNothingIsHeld()
    }

    @Test("with memory at its limit pages go first, and are made again for those who need them")
    func pressed() throws {
        let server = try SimulatedServer(pipeBytes: 512) {
            $0.segmentBytes = Self.segmentBytes
            $0.memoryMax = 400_000
            $0.limits.ageMilliseconds = 1 << 30
        }
        for number in 0..<300 { try server.publish("{\"type\":\"t\",\"n\":\(number)}") }
        let readers = try (0..<40).map { try PatientReader(server, .sse, Comeback("start", types: ["t", "x\($0)"])) }
        for reader in readers {
            #expect(try reader.finish().seqs == Array(1...300))
            #expect(server.engine.memoryHeld.total <= 400_000)
        }
        #expect(server.engine.memoryHeld.total <= 400_000)
        #expect(server.metric("fanout_memory_resets_total") == 0)
    }

    @Test("a page goes on while events come, so that who is at its end gets them from it")
    func extended() throws {
        let server = try server(pipeBytes: 300)
        for number in 0..<40 { try server.publish("{\"n\":\(number)}") }
        let slow = try PatientReader(server, .sse, Comeback("start"))
        let quick = try SimulatedReader(server, .sse, Comeback("start"))
        #expect(quick.takeSeqs() == Array(1...40))
        let made = server.engine.hub.pages.made
        #expect(made > 1 && server.engine.hub.replayingCount == 1)
        for number in 40..<44 { try server.publish("{\"n\":\(number)}") }
        let late = try SimulatedReader(server, .sse, Comeback(after: 38))
        #expect(late.takeSeqs() == Array(39...44))
        #expect(try slow.finish().seqs == Array(1...44))
        #expect(server.engine.hub.pages.made == made)
    }

    @Test(
        "what a page says is what live readers were sent, for every kind of event and channel",
        arguments: ReaderKind.allCases)
    func sameBytes(kind: ReaderKind) throws {
        let server = try SimulatedServer {
            $0.segmentBytes = Self.segmentBytes
            var bare = Configuration.ChannelRules()
            bare.stamp = []
            var timed = Configuration.ChannelRules()
            timed.stamp = ["time", "seq"]
            $0.channelRules = [("bare", bare), ("timed", timed)]
        }
        let live = try SimulatedReader(server, kind)
        _ = live.client.takeAll()
        for number in 0..<60 {
            let channel = ["events", "bare", "timed", "a/b"][number % 4]
            let pad = String(repeating: "x", count: [0, 60, 61, 62, 99, 3000, 65_500][number % 7])
            try server.publish(number % 5 == 0 ? "{}" : "{\"n\":\(number),\"pad\":\"\(pad)\"}", on: channel)
            server.pass(milliseconds: 10)
        }
        let expected = live.client.takeAll()
        let back = try SimulatedReader(server, kind, Comeback("start"))
        let bytes = back.client.takeAll()
        #expect(bytes.count > expected.count && Array(bytes.suffix(expected.count)) == expected)
    }
}
