// on_lag=conflate and on_lag=resnapshot: laggards that are brought up to date.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Lag policies")
struct LagPolicyTests {
    private func server(
        _ policy: Configuration.LagPolicy, pipeBytes: Int = 512, _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> SimulatedServer {
        try SimulatedServer.keeping(pipeBytes: pipeBytes) {
            $0.onLag = policy
            $0.limits.events = 20
            $0.limits.bytes = 100_000
            configure(&$0)
        }
    }

    /// Publishes in a turn of its own.
    private func put(_ server: SimulatedServer, _ key: String, _ n: Int = 0) throws {
        try server.put(key, n, pad: 20)
        server.settle()
    }

    /// A reader that does not read while `body` publishes and half a second passes; what it then reads.
    private func stall(
        _ server: SimulatedServer, _ reader: SimulatedReader, _ body: () throws -> Void
    ) throws -> [Record] {
        try body()
        server.pass(milliseconds: 600)
        return reader.take()
    }

    private func subscribe(_ server: SimulatedServer, _ kind: ReaderKind, _ comeback: Comeback) throws
        -> SimulatedReader
    {
        let reader = try SimulatedReader(server, kind, comeback)
        _ = reader.take()
        return reader
    }

    /// What has been delivered or is in a gap, exactly once each; returns the sums of `dropped` and of events.
    private func checkCovered(_ records: [Record], from first: Int = 0, to head: Int) {
        var position = first
        var covered = first
        for record in records {
            if record.kind == "$gap" {
                let (from, to) = (record.object["from"] as? Int ?? -1, record.object["to"] as? Int ?? -1)
                #expect(from == position + 1 && to >= from, "a gap \(from) to \(to) behind \(position)")
                covered = to
            } else if !record.isControl, let seq = record.seq {
                #expect(seq > position, "\(seq) after \(position)")
                if seq > covered { #expect(seq == max(covered, position) + 1, "\(seq) after \(position)") }
                position = seq
            }
        }
        #expect(max(position, covered) == head)
    }

    @Test(
        "conflate: one $gap says how many events were not sent, then comes the newest of each key, then what follows",
        arguments: ReaderKind.allCases)
    func conflate(kind: ReaderKind) throws {
        let server = try server(.conflate)
        try server.put("old")
        let reader = try subscribe(server, kind, Comeback("now", channels: ["kept/a"]))
        let records = try stall(server, reader) {
            for n in 0..<60 { try put(server, "k\(n % 3)", n) }
            try server.gone("old")
            try server.publish("{\"type\":\"plain\"}", on: "kept/a")
        }
        let gap = try #require(records.firstIndex { $0.kind == "$gap" })
        let sent = records[..<gap]
        #expect(sent.compactMap(\.seq) == Array(2..<2 + sent.count), "what had gone out or was in flight")
        #expect(records[gap].object["why"] as? String == "conflated")
        #expect(records[gap].object["from"] as? Int == sent.count + 2)
        #expect(records[gap].object["to"] as? Int == 63)
        #expect(records[gap].object["dropped"] as? Int == 62 - sent.count - 4)
        #expect(records[(gap + 1)...].map(\.kind) == ["put", "put", "put", "gone"])
        #expect(records[(gap + 1)...].map(\.seq) == [59, 60, 61, 62], "no $snapshot, no $live")
        if kind == .sse {
            #expect(
                records[gap].id == "\(SimulatedServer.epochText)-\(sent.count + 1)", "cut now, it comes back to there")
        }
        checkCovered(records, from: 1, to: 63)
        #expect(server.metric("fanout_conflations_total") == 1)
        #expect(server.metric("fanout_conflated_events_total") == UInt64(58 - sent.count))
        #expect(server.metric("fanout_gaps_total") == 1)
        try put(server, "k9")
        #expect(reader.takeSeqs() == [64])
    }

    @Test(
        "conflate: where every event that was missed is the newest of its key, nothing is missing and nothing is said")
    func nothingConflated() throws {
        let server = try server(.conflate)
        let reader = try subscribe(server, .jsonlHTTP, Comeback("now", channels: ["kept/a"]))
        let records = try stall(server, reader) { for n in 0..<60 { try put(server, "k\(n)") } }
        #expect(records.map(\.seq) == Array(1...60))
        #expect(server.metric("fanout_conflations_total") == 1 && server.metric("fanout_gaps_total") == 0)
    }

    @Test(
        "resnapshot: one $gap, then $snapshot, all that is true, $live, then what follows",
        arguments: ReaderKind.allCases)
    func resnapshot(kind: ReaderKind) throws {
        let server = try server(.resnapshot)
        try server.put("old")
        try server.put("gone")
        let reader = try subscribe(server, kind, Comeback("now", channels: ["kept/a"]))
        let records = try stall(server, reader) {
            for n in 0..<60 { try put(server, "k\(n % 3)", n) }
            try server.gone("gone")
        }
        let gap = try #require(records.firstIndex { $0.kind == "$gap" })
        let sent = records[..<gap].count
        #expect(records[gap].object["why"] as? String == "lagged")
        #expect(records[gap].object["from"] as? Int == sent + 3)
        #expect(records[gap].object["to"] as? Int == 63)
        #expect(records[gap].object["dropped"] as? Int == 61 - sent - 3, "three of them are rows")
        #expect(records[(gap + 1)...].map(\.kind) == ["$snapshot", "put", "put", "put", "put", "$live"])
        #expect(records[(gap + 1)...].map(\.seq) == [63, 1, 60, 61, 62, 63])
        if kind == .sse { #expect(records[gap].id == "\(SimulatedServer.epochText)-\(sent + 2)") }
        #expect(server.metric("fanout_resnapshots_total") == 1 && server.metric("fanout_conflations_total") == 0)
        #expect(server.metric("fanout_resnapshot_events_total") == UInt64(58 - sent))
        try put(server, "k9")
        #expect(reader.takeSeqs() == [64])
    }

    @Test(
        "where no channel keeps state both do as gap does", arguments: [Configuration.LagPolicy.conflate, .resnapshot])
    func withoutState(policy: Configuration.LagPolicy) throws {
        let server = try server(policy)
        let reader = try subscribe(server, .jsonlHTTP, Comeback("now", channels: ["events"]))
        let records = try stall(server, reader) {
            for n in 0..<60 {
                try server.publish(
                    "{\"type\":\"put\",\"key\":\"k\",\"n\":\(n),\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}")
                server.settle()
            }
        }
        #expect(records.kinds.last == "$gap")
        #expect(records.last?.object["why"] as? String == "lagged" && records.last?.object["to"] as? Int == 60)
        #expect(records.last?.object["dropped"] as? Int == 60 - (records.count - 1))
        #expect(server.metric("fanout_conflations_total") == 0 && server.metric("fanout_resnapshots_total") == 0)
    }

    @Test("a channel's rules and a reader's own word decide, for each reader alone")
    func whose() throws {
        let server = try server(.close) { $0.channelRules[0].rules.onLag = .conflate }
        let readers = try [
            Comeback("now", channels: ["kept/a"]), Comeback("now", channels: ["kept/a"], ("on_lag", "resnapshot")),
            Comeback("now", channels: ["kept/a"], ("on_lag", "gap")), Comeback("now", channels: []),
            Comeback("now", channels: ["kept/a"], ("on_lag", "conflate"), ("on_gap", "fail")),
        ].map { try subscribe(server, .jsonlHTTP, $0) }
        let healthy = try subscribe(server, .eventsSocket, Comeback("now"))
        for n in 0..<60 {
            try put(server, "k\(n % 3)", n)
            #expect(healthy.takeSeqs() == [n + 1], "who keeps up is sent each")
        }
        server.pass(milliseconds: 600)
        let said = readers.map { $0.take().kinds.filter { $0.hasPrefix("$") } }
        #expect(said == [["$gap"], ["$gap", "$snapshot", "$live"], ["$gap"], ["$bye"], ["$bye"]])
        #expect(server.metric("fanout_conflations_total") == 1 && server.metric("fanout_resnapshots_total") == 1)
    }

    @Test(
        "control=off: the rows come without a word", arguments: [Configuration.LagPolicy.conflate, .resnapshot])
    func silent(policy: Configuration.LagPolicy) throws {
        let server = try server(policy)
        try server.put("old")
        let reader = try subscribe(server, .webSocket, Comeback("now", channels: ["kept/a"], ("control", "off")))
        let records = try stall(server, reader) { for n in 0..<60 { try put(server, "k\(n % 2)", n) } }
        #expect(records.allSatisfy { $0.kind == "put" })
        #expect(records.suffix(2).map(\.seq) == [60, 61])
        #expect(records.contains { $0.seq == 1 } == (policy == .resnapshot))
    }

    @Test("kinds: only what was asked for counts as missed, and only that is sent")
    func kinds() throws {
        let server = try server(.conflate)
        let reader = try subscribe(server, .jsonlHTTP, Comeback("now", channels: ["kept/a"], types: ["put"]))
        let records = try stall(server, reader) {
            for n in 0..<60 {
                try put(server, "k\(n % 3)", n)
                try server.publish("{\"type\":\"whole\",\"n\":\(n)}", on: "kept/a")
            }
            try server.gone("k0")
        }
        let gap = try #require(records.first { $0.kind == "$gap" })
        #expect(gap.object["dropped"] as? Int == 60 - (records.count - 1))
        #expect(records.suffix(2).map(\.seq) == [117, 119] && records.last?.kind == "put")
        checkRising(records)
    }

    private func checkRising(_ records: [Record]) {
        let seqs = records.filter { !$0.isControl }.compactMap(\.seq)
        #expect(seqs == seqs.sorted() && Set(seqs).count == seqs.count)
    }

    @Test(
        "/v1/lag says of a reader that it is brought up to date, and the kernel's patience has no end for it",
        arguments: [Configuration.LagPolicy.conflate, .resnapshot])
    func seen(policy: Configuration.LagPolicy) throws {
        let server = try server(policy)
        let reader = try subscribe(server, .jsonlTCP, Comeback("now", channels: ["kept/a"]))
        for n in 0..<60 { try put(server, "k\(n % 3)", n) }
        server.pass(milliseconds: 600)
        let lag = try server.ask("GET", "/v1/lag")
        #expect(
            lag.body.contains("\"state\":\"\(policy == .conflate ? "conflating" : "resnapshotting")\""), "\(lag.body)")
        let slot = try #require(
            (0..<UInt32(server.engine.delivery.connections.slotsUsed)).first {
                server.engine.delivery.connections[$0].transport == .jsonlTCP
            })
        #expect(server.engine.delivery.connections[slot].flags.contains(.kernelIsPatient))
        server.pass(milliseconds: 60_000, step: 1000)
        _ = reader.take()
        #expect(try server.ask("GET", "/v1/lag").body.contains("\"state\":\"live\""))
    }

    @Test("what was removed so long ago that nobody knows it any more: the whole state is sent instead")
    func forgottenRemovals() throws {
        let server = try server(.conflate)
        for n in 0..<1100 { try server.put("k\(n)") }
        let reader = try subscribe(server, .jsonlHTTP, Comeback("now", channels: ["kept/a"]))
        let records = try stall(server, reader) {
            for n in 0..<40 { try put(server, "x", n) }
            for n in 0..<1100 { try server.gone("k\(n)") }
        }
        #expect(records.kinds.suffix(4) == ["$gap", "$snapshot", "put", "$live"])
        #expect(server.metric("fanout_resnapshots_total") == 1)
    }

    @Test("what has changed is looked for a turn's share at a time, whatever becomes of it meanwhile", arguments: 0..<6)
    func sought(seed: Int) throws {
        let server = try SimulatedServer.keeping()
        let hub = server.engine.hub
        for n in 0..<3000 { try server.put("k\(n)") }
        let index = hub.images.add([try #require(ChannelPattern("kept/a"))], [], key: [], .jsonl, .changes)
        hub.images[index].after = 500
        hub.beginImage(index)
        var random = SeededRandom(seed: UInt64(seed))
        var steps = 0
        while hub.images[index].stage != .complete {
            #expect(hub.buildImage(index, bytesMax: 2000) < 2400)
            steps += 1
            for _ in 0..<random.below(20) {
                // The newest ones are those where the search begins.
                let key = "k\(random.below(2) == 0 ? random.below(3000) : 2900 + random.below(200))"
                if random.below(3) == 0 { try server.gone(key) } else { try server.put(key) }
            }
            if seed % 3 == 0, steps == 5 + seed { try server.publish("{\"type\":\"all\"}", on: "kept/a") }
        }
        #expect(steps > 3000 * 64 / 2000)
        var seqs: [UInt64] = []
        for segment in hub.images[index].segments {
            let segment = hub.delivery.log.segments[segment]
            for mark in 0..<Int(segment.markCount) { seqs.append(segment.marks?[mark].seq ?? 0) }
        }
        #expect(seqs == Array(501...3000))
    }

    @Test("a state that a producer makes: resnapshot goes back to it, and to what came after it")
    func produced() throws {
        let server = try server(.resnapshot)
        let reader = try subscribe(server, .jsonlHTTP, Comeback("now", channels: ["made"]))
        func publish(_ count: Int) throws {
            for n in 0..<count {
                try server.publish("{\"type\":\"d\",\"n\":\(n),\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxx\"}", on: "made")
                server.settle()
            }
        }
        let records = try stall(server, reader) {
            try publish(50)
            #expect(try server.ask("PUT", "/v1/snapshot?channel=made", body: "{\"a\":1}\n{\"a\":2}\n").status == 200)
            try publish(5)
        }
        let gap = try #require(records.firstIndex { $0.kind == "$gap" })
        #expect(records[gap].object["to"] as? Int == 50 && records[gap].object["dropped"] == nil)
        #expect(records[(gap + 1)...].map(\.seq) == [50, 50, 50, 50, 51, 52, 53, 54, 55])
    }

    @Test("a reader that falls behind again and again ends with what is true", arguments: 0..<24)
    func again(seed: Int) throws {
        let policy: Configuration.LagPolicy = seed % 2 == 0 ? .conflate : .resnapshot
        let server = try server(policy, pipeBytes: 200 + seed * 37) { if seed % 3 == 0 { $0.historyBytes = 0 } }
        server.engine.shares.replayBytes = 400 + seed * 50
        var random = SeededRandom(seed: UInt64(seed))
        for n in 0..<30 { try server.put("k\(n)") }
        let readers = try ReaderKind.allCases.map {
            try SimulatedReader(server, $0, Comeback("snapshot", channels: ["kept/**"]))
        }
        var bytes: [[UInt8]] = readers.map(\.client.received)
        for reader in readers { reader.client.received = [] }
        for step in 0..<400 {
            let key = "k\(random.below(40))"
            switch random.below(12) {
            case 0, 1: try server.gone(key)
            case 2: try server.publish("{\"type\":\"whole\",\"n\":\(step)}", on: "kept/b")
            case 3 where step % 50 == 0: try server.publish("{\"type\":\"all\",\"n\":\(step)}", on: "kept/a")
            default: try server.put(key, step, on: random.below(5) == 0 ? "kept/b" : "kept/a", pad: random.below(50))
            }
            _ = server.engine.turn(wait: false)
            if random.below(3) == 0 { server.pass(milliseconds: random.below(300)) }
            let place = random.below(readers.count * 3)
            if place < readers.count {
                for _ in 0..<1 + random.below(4) {
                    bytes[place] += server.kernel.peerRead(readers[place].client.peer)
                    _ = server.engine.turn(wait: false)
                }
            }
        }
        var truth = KeptState()
        let answer = try server.ask("GET", "/v1/snapshot?channel=kept/**", ["Accept: application/x-ndjson"])
        truth.apply(StreamReader.lines(Array(answer.body.utf8)))
        for (place, reader) in readers.enumerated() {
            reader.client.received = bytes[place] + reader.client.takeAll()
            var state = KeptState()
            let records = reader.take()
            state.apply(records)
            #expect(state.rows == truth.rows, "\(reader.kind)")
            #expect(!state.isLoading)
        }
        #expect((server.metric("fanout_conflations_total") ?? 0) + (server.metric("fanout_resnapshots_total") ?? 0) > 0)
    }
}
