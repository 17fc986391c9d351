// Readers that stop reading: what they are told, exactly.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Laggards")
struct LaggardTests {
    private func server(_ policy: Configuration.LagPolicy, pipeBytes: Int = 512) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes) {
            $0.onLag = policy
            $0.limits.events = 20
            $0.limits.bytes = 100_000
        }
    }

    /// Publishes one event per millisecond-rich turn.
    private func publish(_ server: SimulatedServer, _ count: Int) throws {
        for index in 0..<count {
            try server.publish("{\"type\":\"tick\",\"n\":\(index),\"pad\":\"xxxxxxxxxxxxxxxxxxxx\"}")
            server.settle()
        }
    }

    /// All that a stream says: strictly rising, each hole covered by exactly one `$gap`, each `$gap` a hole.
    private func checkHoles(_ records: [Record], sourceLocation: SourceLocation = #_sourceLocation) {
        var last = 0
        for record in records {
            if record.kind == "$hello", last == 0 { last = record.seq ?? 0 }
            if record.kind == "$gap" {
                let (from, to) = (record.object["from"] as? Int ?? -1, record.object["to"] as? Int ?? -1)
                #expect(
                    from == last + 1, "the gap begins at \(from), the last event was \(last)",
                    sourceLocation: sourceLocation)
                #expect(to >= from, sourceLocation: sourceLocation)
                #expect(record.object["dropped"] as? Int == to - from + 1, sourceLocation: sourceLocation)
                last = to
            } else if !record.isControl, let seq = record.seq {
                #expect(seq == last + 1, "event \(seq) after \(last)", sourceLocation: sourceLocation)
                last = seq
            }
        }
    }

    @Test(
        "on_lag=close: a stalled reader gets whole frames, then $bye 4008 with the last event it was sent",
        arguments: ReaderKind.allCases)
    func close(kind: ReaderKind) throws {
        let server = try server(.close)
        let reader = try SimulatedReader(server, kind)
        #expect(reader.take().map(\.kind) == ["$hello"])
        let healthy = try SimulatedReader(server, .eventsSocket)
        _ = healthy.take()
        var seen: [Int] = []
        for _ in 0..<40 {
            try publish(server, 1)
            seen += healthy.takeSeqs()
            server.pass(milliseconds: 20)
        }
        server.pass(milliseconds: 500)
        #expect(seen == Array(1...40), "a reader that keeps up gets everything")
        #expect(server.metric("fanout_laggards_total") == 1)
        let bytes = reader.client.read()
        let records = reader.take()
        checkHoles(records)
        let bye = try #require(records.last)
        let lastEvent = try #require(records.last { !$0.isControl }?.seq)
        #expect(bye.kind == "$bye")
        #expect(bye.object["code"] as? Int == 4008)
        #expect(bye.object["why"] as? String == "slow")
        #expect(bye.object["last"] as? String == "\(SimulatedServer.epochText)-\(lastEvent)")
        #expect((bye.object["retry_ms"] as? Int).map { 100..<1000 ~= $0 } == true)
        if kind == .webSocket { #expect(ServerFrame.all(bytes).last?.closeCode == 4008) }
        if kind == .sse { #expect(bye.id == bye.object["last"] as? String) }
        #expect(reader.client.isAtEnd)
        reader.client.close()
        healthy.client.close()
        // The raw reader's end is noticed when something is written to it.
        try publish(server, 1)
        server.pass(milliseconds: 20_000, step: 1000)
        server.checkNothingIsHeld()
    }

    @Test("on_lag=gap: a stalled reader goes on at the head behind one exact $gap", arguments: ReaderKind.allCases)
    func gap(kind: ReaderKind) throws {
        let server = try server(.gap)
        let reader = try SimulatedReader(server, kind)
        var records = reader.take()
        for _ in 0..<60 {
            try publish(server, 1)
            server.pass(milliseconds: 20)
        }
        server.pass(milliseconds: 500)
        records += reader.take()
        try publish(server, 3)
        records += reader.take()
        checkHoles(records)
        #expect(records.count { $0.kind == "$gap" } == 1, "one stall is one gap")
        #expect(records.last?.seq == 63)
        let gap = try #require(records.first { $0.kind == "$gap" })
        #expect(gap.object["why"] as? String == "lagged")
        #expect(gap.object["epoch"] as? String == SimulatedServer.epochText)
        if kind == .sse { #expect(gap.id == "\(SimulatedServer.epochText)-\(gap.object["to"] as? Int ?? 0)") }
        #expect(server.metric("fanout_gaps_total") == 1)
    }

    @Test("a second stall behind a $gap that has not gone out begins where that gap ends", arguments: 0..<20)
    func gapAfterGap(seed: Int) throws {
        let server = try server(.gap, pipeBytes: 200 + seed * 13)
        let reader = try SimulatedReader(server, .eventsSocket)
        var records = reader.take()
        var bytes: [UInt8] = []
        var random = SeededRandom(seed: UInt64(seed))
        for _ in 0..<30 {
            for _ in 0..<25 {
                try publish(server, 1)
                server.pass(milliseconds: 15, step: 15)
            }
            server.pass(milliseconds: 300)
            // About enough for the ring to become empty, so that the gap is queued and stalls in its turn.
            for _ in 0..<random.within(1...6) {
                bytes += server.kernel.peerRead(reader.client.peer, max: random.within(1...130))
                server.settle()
            }
        }
        bytes += reader.client.takeAll()
        records += StreamReader.lines(bytes)
        try publish(server, 1)
        records += reader.take()
        checkHoles(records)
        #expect(records.count { $0.kind == "$gap" } > 1)
        #expect(records.last?.seq == 751)
    }

    @Test("dropped counts the events that matched, and no others")
    func filtered() throws {
        let server = try server(.close)
        let reader = try SimulatedReader(server, .sse, query: "types=mine&on_lag=gap")
        var records = reader.take()
        for index in 0..<90 {
            try server.publish(
                "{\"type\":\"\(index % 3 == 0 ? "mine" : "other")\",\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxx\"}")
            server.settle()
            server.pass(milliseconds: 20)
        }
        server.pass(milliseconds: 400)
        records += reader.take()
        try server.publish("{\"type\":\"mine\"}")
        records += reader.take()
        let got = records.count { $0.kind == "mine" }
        let gap = try #require(records.first { $0.kind == "$gap" })
        #expect(gap.object["dropped"] as? Int == 31 - got)
        let (from, to) = (gap.object["from"] as? Int ?? 0, gap.object["to"] as? Int ?? 0)
        for record in records where record.kind == "mine" {
            #expect(!(from...to).contains(record.seq ?? 0), "event \(record.seq ?? 0) came and is in the gap")
        }
    }

    @Test("control=off: a laggard is cut or skips without a word")
    func silent() throws {
        for policy in Configuration.LagPolicy.allCases {
            let server = try server(policy)
            let reader = try SimulatedReader(server, .jsonlHTTP, query: "control=off")
            try publish(server, 60)
            server.pass(milliseconds: 500)
            let records = reader.take()
            #expect(records.allSatisfy { !$0.isControl })
            #expect(reader.client.isAtEnd == (policy == .close))
            if policy == .gap {
                try publish(server, 1)
                #expect(reader.takeSeqs() == [61])
            }
        }
    }

    @Test("a byte that waits longer than the age limit is enough to be cut")
    func age() throws {
        let server = try SimulatedServer(pipeBytes: 300) { $0.limits.ageMilliseconds = 2000 }
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        try publish(server, 8)
        server.pass(milliseconds: 1_900)
        #expect(server.metric("fanout_laggards_total") == 0)
        server.pass(milliseconds: 600)
        #expect(server.metric("fanout_laggards_total") == 1)
        #expect(reader.take().last?.kind == "$bye")
    }

    @Test("a burst beyond the ring is kept for a reader that goes on reading")
    func burst() throws {
        let server = try server(.close, pipeBytes: 65_536)
        let reader = try SimulatedReader(server, .eventsSocket)
        _ = reader.take()
        for _ in 0..<35 { try server.publish("{\"type\":\"burst\"}") }
        server.settle()
        #expect(reader.takeSeqs() == Array(1...35))
        #expect(server.metric("fanout_laggards_total") == 0)
    }

    @Test("a laggard that never takes its $bye is reset after thirty seconds")
    func byeTimeout() throws {
        let server = try server(.close)
        let reader = try SimulatedReader(server, .webSocket)
        try publish(server, 60)
        server.pass(milliseconds: 29_000, step: 1000)
        #expect(!reader.client.isClosed)
        server.pass(milliseconds: 2_000)
        #expect(reader.client.isClosed)
        server.checkNothingIsHeld()
    }

    @Test("a reader that stalls on nothing but pongs misses no event, and is told of no gap")
    func pongsOnly() throws {
        let server = try server(.gap, pipeBytes: 300)
        let reader = try SimulatedReader(server, .webSocket)
        var records = reader.take()
        try publish(server, 1)
        for _ in 0..<20 { reader.client.write(ServerFrame.client(9, [UInt8](repeating: 7, count: 100))) }
        server.pass(milliseconds: 11_000)
        #expect(server.metric("fanout_laggards_total") == 1)
        records += reader.take()
        try publish(server, 1)
        records += reader.take()
        #expect(records.map(\.kind) == ["$hello", "tick", "tick"])
        checkHoles(records)
    }

    @Test("$subscribe from a reader that is behind loses nothing in silence")
    func resubscribeWhileBehind() throws {
        let server = try server(.gap)
        let reader = try SimulatedReader(server, .eventsSocket)
        var records = reader.take()
        try publish(server, 15)
        reader.client.server.kernel.peerWrite(reader.client.peer, Array("{\"$subscribe\":{}}\n".utf8))
        server.settle()
        try publish(server, 40)
        server.pass(milliseconds: 600)
        records += reader.take()
        try publish(server, 1)
        records += reader.take()
        // The old subscription's events and the new one's: all there, or all covered.
        let gaps = records.filter { $0.kind == "$gap" }
        let covered = gaps.flatMap { Array(($0.object["from"] as! Int)...($0.object["to"] as! Int)) }
        let seen = records.filter { !$0.isControl }.compactMap(\.seq)
        #expect(Set(seen).union(covered) == Set(1...56))
        #expect(Set(seen).isDisjoint(with: covered))
    }

    @Test("$subscribe from a reader that skips: its gap comes before the new $hello")
    func resubscribeWhileSkipping() throws {
        let server = try server(.gap)
        let reader = try SimulatedReader(server, .eventsSocket)
        var records = reader.take()
        try publish(server, 60)
        server.pass(milliseconds: 600)
        reader.client.server.kernel.peerWrite(reader.client.peer, Array("{\"$subscribe\":{}}\n".utf8))
        server.settle()
        records += reader.take()
        try publish(server, 1)
        records += reader.take()
        checkHoles(records)
        #expect(records.last?.seq == 61)
        #expect(records.suffix(3).map(\.kind) == ["$gap", "$hello", "tick"])
    }

    @Test("a reader that missed more events than can be counted is told of them without a number")
    func missedBeyondCount() throws {
        let server = try server(.gap)
        let reader = try SimulatedReader(server, .eventsSocket)
        for _ in 0..<40 {
            try publish(server, 1)
            server.pass(milliseconds: 20)
        }
        let connections = server.engine.delivery.connections.records
        let slot = try #require(
            (0..<server.engine.delivery.connections.slotsUsed).first { connections[$0].flags.contains(.skipping) })
        for missed in [UInt32.max - 2, .max] {
            connections[slot].missed = missed
            try publish(server, 3)
            #expect(connections[slot].missed == .max, "the count stays where it ends")
        }
        var records: [Record] = []
        for _ in 0..<20 { records += reader.take() }
        let gap = try #require(records.first { $0.kind == "$gap" }, "nothing is missed in silence")
        #expect(gap.object["to"] as? Int == 46 && gap.object["dropped"] == nil)
        try publish(server, 1)
        #expect(reader.takeSeqs() == [47])
    }
}
