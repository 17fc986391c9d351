// Lives of a server on one disk, by chance: whoever comes back gets each event once, or is told of it.
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Replay from the database, by chance")
struct StoredReplayChanceTests {
    private static let channels = ["a", "b/1", "b/2"]
    private static let filters: [(channels: [String], types: [String])] = [
        ([], []), (["a"], []), (["b/*"], []), (["b/**", "a"], ["ab"]), ([], ["c"]),
        (["a", "none", "b/2"], ["ab", "c"]),
    ]

    private struct Published {
        var seq: Int
        var channel: String
        var kind: String
    }

    /// A reader, and what is owed to it.
    private struct Coming {
        var reader: PatientReader
        var place: Int
        var filter: Int
    }

    /// One life after the other of a server with the same disk.
    private final class Lives {
        let store = SimulatedStore()
        var random: SeededRandom
        var published: [Published] = []
        /// Whether retention has been told to remove anything.
        var isRetained = false
        var gaps = 0

        init(seed: UInt64) { random = SeededRandom(seed: seed) }

        func chance(_ percent: Int) -> Bool { random.below(100) < percent }

        func publish(_ server: SimulatedServer) throws {
            for _ in 0...random.below(40) {
                let channel = channels[random.below(channels.count)]
                let kind = chance(50) ? "ab" : "c"
                let pad = String(repeating: "x", count: chance(5) ? random.below(9000) : random.below(60))
                let text = "{\"type\":\"\(kind == "ab" ? "a\\u0062" : "c")\",\"pad\":\"\(pad)\"}"
                let seq = Int(try server.publish(text, on: channel))
                published.append(Published(seq: seq, channel: channel, kind: kind))
            }
            server.settle()
        }

        func comeBack(_ server: SimulatedServer) throws -> Coming {
            let head = Int(server.engine.hub.head)
            let place = chance(20) ? 0 : max(0, head - random.below(chance(50) ? 1 + head : 60))
            let filter = random.below(filters.count)
            let from = "\(server.engine.hub.epoch)-\(place)"
            let comeback = Comeback(from, channels: filters[filter].channels, types: filters[filter].types)
            let kind = ReaderKind.allCases[random.below(ReaderKind.allCases.count)]
            return Coming(reader: try PatientReader(server, kind, comeback), place: place, filter: filter)
        }

        func live(_ number: Int) throws {
            store.prepare = { $0.newEpoch = Epoch(rawValue: 0xe1 + UInt64(number)) }
            let server = try SimulatedServer(pipeBytes: [300, 5000, 65_536][random.below(3)], store: store) {
                $0.segmentBytes = 1024
                $0.historyBytes = 1 << 20
            }
            var readers: [Coming] = []
            for _ in 0..<60 {
                switch random.below(10) {
                case 0...1: try publish(server)
                case 2...3: readers.append(try comeBack(server))
                case 4: store.isHeld = chance(60)
                case 5 where chance(15) && number > 0:
                    isRetained = true
                    let limits = RetentionLimits(events: Int64(1 + random.below(50)))
                    let retention = ChannelRetention(channel: channels[random.below(channels.count)], limits: limits)
                    _ = server.engine.storage?.queue.ask(.retention([retention]))
                    server.pass(milliseconds: 1500, step: 500)
                default: for coming in readers { coming.reader.read(random.below(4000)) }
                }
            }
            store.isHeld = false
            server.settle()
            for coming in readers { try check(coming) }
            #expect(server.engine.storedReplay.requests.isEmpty && server.engine.hub.replayingCount == 0)
            for coming in readers { coming.reader.client.close() }
            if chance(50) {
                server.engine.end(signal: 15)
                server.pass(milliseconds: 6000, step: 1000)
                #expect(!server.isRunning)
            }
        }

        /// Everything that is owed has come in order, once, or a `$gap` has it.
        private func check(_ coming: Coming) throws {
            let filter = filters[coming.filter]
            let patterns = filter.channels.compactMap { ChannelPattern($0) }
            let owed = published.filter { event in
                guard event.seq > coming.place, filter.types.isEmpty || filter.types.contains(event.kind) else {
                    return false
                }
                return patterns.isEmpty || patterns.contains { $0.matches(ChannelName(event.channel)!) }
            }
            var next = 0
            var place = coming.place
            for record in try coming.reader.finish() where record.kind != "$hello" && record.kind != "$ping" {
                if record.kind == "$gap" {
                    gaps += 1
                    let from = try #require(record.object["from"] as? Int)
                    let to = try #require(record.object["to"] as? Int)
                    // It begins behind what was looked at, which need not have been for this reader.
                    let isExact = from > place && to >= from && (next == owed.count || owed[next].seq >= from)
                    try #require(isRetained && isExact, "\(record.text) behind \(place)")
                    place = to
                    while next < owed.count, owed[next].seq <= to { next += 1 }
                } else {
                    let seq = try #require(record.seq)
                    try #require(next < owed.count && owed[next].seq == seq, "\(seq) behind \(place)")
                    place = seq
                    next += 1
                }
            }
            try #require(next == owed.count, "\(owed.count - next) of \(owed.count) have not come")
        }
    }

    @Test("each event comes once and in its order, or in one $gap, over restarts, slow disks and retention")
    func lives() throws {
        var gaps = 0
        for seed in 1...12 as ClosedRange<UInt64> {
            let lives = Lives(seed: seed)
            for number in 0..<4 { try lives.live(number) }
            gaps += lives.gaps
        }
        #expect(gaps > 4, "retention was met: \(gaps)")
    }
}
