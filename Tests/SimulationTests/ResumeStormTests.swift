// Everybody comes back at once: the others must not notice.

import FanoutServer
import Reactor
import Testing
import Wire

@testable import FanoutServer

@Suite("Everybody comes back at once")
struct ResumeStormTests {
    #if DEBUG
        private static let returning = 1000
    #else
        private static let returning = 10_000
    #endif
    private static let heartbeatSeconds = 1
    /// Many, because each accepts a few connections in a turn.
    private static let listeners = (0..<16).map { SocketAddress.unix(path: "/run/simulated/http-\($0).socket") }
    private static let ingest = SocketAddress.unix(path: "/run/simulated/ingest.socket")

    /// One reader's far end.
    private struct Far {
        let peer: SimulatedPeer
        var responses = ResponseReader()
        var stream: StreamReader?
        var record: StreamRecord
        /// When it last heard anything.
        var heardAt: UInt64 = 0
        var silenceMost: UInt64 = 0
        var events = 0
    }

    @Test("thousands resume in the same moment: a reader's events and heartbeats come as if nobody did")
    func storm() throws {
        let kernel = SimulatedKernel(seed: 7)
        var loopConfiguration = LoopConfiguration()
        loopConfiguration.backend = .simulated(kernel)
        loopConfiguration.socketsMax = 2 * Self.returning
        let loop = try EventLoop(loopConfiguration)
        var configuration = Configuration()
        configuration.heartbeatSeconds = Self.heartbeatSeconds
        let epoch = Epoch(rawValue: 77)
        let log = Log(level: .error, seconds: { loop.now / 1000 }, write: { _ in })
        let engine = try Engine(configuration, loop: loop, epoch: epoch, seed: 1, log: log)
        for address in Self.listeners { try engine.listen(.httpUnix, at: address) }
        let events = try #require(ChannelName("events").flatMap(engine.hub.channel))
        try engine.listen(.ingest(channel: events, fixed: false), at: Self.ingest)
        let publisher = try #require(kernel.connect(to: Self.ingest))

        func publish(_ channel: String) {
            kernel.peerWrite(publisher, Array(#"{"$publish":{"channel":"\#(channel)","event":{"n":1}}}"# + "\n"))
        }
        func connect(_ place: Int) -> Far? {
            kernel.connect(to: Self.listeners[place % Self.listeners.count]).map {
                Far(peer: $0, record: StreamRecord(epoch: "\(epoch)", isSSE: true))
            }
        }
        func ask(_ far: Far, _ channel: String, _ place: String = "") {
            let head = "GET /v1/events?channel=\(channel) HTTP/1.1\r\nHost: localhost:7575\r\n"
            kernel.peerWrite(far.peer, Array(head + "Accept: text/event-stream\r\n\(place)\r\n"))
        }
        /// A turn takes a millisecond, and a microsecond for each subscriber that it reaches.
        func turn() {
            let before = engine.delivery.counters.deliveries
            _ = engine.turn(wait: false)
            kernel.advance(milliseconds: 1 + (engine.delivery.counters.deliveries - before) / 1000)
        }
        func read(_ far: inout Far) throws {
            let bytes = kernel.peerRead(far.peer)
            far.silenceMost = max(far.silenceMost, far.heardAt == 0 ? 0 : kernel.now - far.heardAt)
            guard !bytes.isEmpty else { return }
            far.heardAt = kernel.now
            if far.stream == nil {
                far.responses.append(bytes)
                guard let response = try far.responses.next() else { return }
                #expect(response.status == 200)
                far.stream = StreamReader(.sse)
                far.stream?.append(far.responses.takeRest())
            } else {
                far.stream?.append(bytes)
            }
            while let told = try far.stream?.next() {
                switch told {
                case .event(let seq, _, _, _, let id):
                    far.events += 1
                    try far.record.noteEvent(seq, id: id)
                case .record(let json, let id, let retry):
                    try far.record.noteRecord(json, id: id, retry: retry, discriminators: ["type"]) { _ in false }
                default: break
                }
            }
        }

        // Twenty that were there before: half of them get events all the time, half of them only heartbeats.
        var present: [Far] = []
        for place in 0..<20 {
            let far = try #require(connect(place))
            ask(far, place < 10 ? "live" : "quiet")
            present.append(far)
        }
        for _ in 0..<10 { publish("resumed") }
        for _ in 0..<50 { turn() }
        for place in present.indices { try read(&present[place]) }
        #expect(present.allSatisfy { $0.record.helloCount == 1 })
        #expect(engine.hub.head == 10)

        var returning: [Far] = []
        var attempts = 0
        while returning.count < Self.returning, attempts < 20 * Self.returning {
            attempts += 1
            if let far = connect(returning.count) { returning.append(far) } else { turn() }
        }
        #expect(returning.count == Self.returning)
        for _ in 0..<Self.returning where engine.delivery.connections.total < Self.returning + 21 { turn() }
        #expect(engine.delivery.connections.total == Self.returning + 21)

        // All ask in one moment, and the events go on.
        for far in returning { ask(far, "resumed", "Last-Event-ID: \(epoch)-4\r\n") }
        for place in present.indices {
            try read(&present[place])
            present[place].heardAt = kernel.now
            present[place].silenceMost = 0
        }
        var published = present[0].events
        var latest = 0
        var turns = 0
        var behindMost = 0
        while latest < Self.returning || turns < 1500 {
            if latest < Self.returning || turns % 10 == 0 {
                publish("live")
                published += 1
            }
            turn()
            turns += 1
            for place in present.indices { try read(&present[place]) }
            for place in 0..<10 { behindMost = max(behindMost, published - present[place].events) }
            while latest < Self.returning, kernel.peerUnread(returning[latest].peer) > 0 { latest += 1 }
            try #require(turns < 20 * Self.returning, "they are never all answered")
        }
        let silenceMost = present.map(\.silenceMost).max() ?? 0
        #expect(silenceMost <= UInt64(Self.heartbeatSeconds) * 1000 + 64, "a reader heard nothing for so long")
        // The kernel reports 256 results in a turn; a receive, one without a buffer and two sends of everyone, `$hello`
        // and the page, may come first.
        #expect(behindMost <= 4 * Self.returning / 256 + 16, "an event takes so many turns to its readers")
        // All are sent the same page, which goes on while events come; it is given back with the last of them.
        #expect(engine.hub.pages.made <= 4, "\(engine.hub.pages.made) pages for one place")
        #expect(engine.hub.pages.pages.isEmpty)

        publish("resumed")
        for _ in 0..<200 { turn() }
        for place in returning.indices {
            try read(&returning[place])
            let record = returning[place].record
            var seqs: [UInt64] = []
            for entry in record.entries { if case .event(let seq) = entry { seqs.append(seq) } }
            guard case .hello? = record.entries.first, seqs == [5, 6, 7, 8, 9, 10, engine.hub.head],
                record.entries.count == 8
            else {
                Issue.record("not what it missed, and what came then: \(record.entries.prefix(10))")
                return
            }
        }
    }
}
