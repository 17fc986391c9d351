// What a server does when it cannot accept, in virtual time.
import Testing

@testable import FanoutServer
@testable import Reactor

@Suite("No descriptor left")
struct AcceptingTests {
    static let all = [
        SimulatedServer.http, SimulatedServer.jsonl, SimulatedServer.httpUnix, SimulatedServer.events,
        SimulatedServer.ingest, SimulatedServer.ingestFixed,
    ]

    /// A server with one reader, and no descriptor beside those that are open and the spare one.
    private func exhausted() throws -> (SimulatedServer, SimulatedReader) {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        // 0, 1, 2 and the spare are not counted among the open ones.
        server.kernel.limits.descriptorsMax = server.kernel.openDescriptors + 4
        return (server, reader)
    }

    @Test("a raw reader is told $bye 1013 and when to come back, everybody else is closed without a word")
    func farewell() throws {
        let (server, _) = try exhausted()
        for address in Self.all {
            let client = try server.connect(address)
            #expect(client.isAtEnd, "\(address)")
            #expect(!server.kernel.peerWasReset(client.peer), "\(address)")
            let isRaw = address == SimulatedServer.events || address == SimulatedServer.jsonl
            let records = StreamReader.lines(client.takeAll())
            #expect(records.map(\.kind) == (isRaw ? ["$bye"] : []), "\(address)")
            guard isRaw else { continue }
            #expect(records.first?.object["code"] as? Int == 1013)
            #expect(records.first?.object["why"] as? String == "overload")
            #expect(1000..<15_000 ~= (records.first?.object["retry_ms"] as? Int ?? 0))
            #expect(records.first?.object["last"] == nil)
        }
        #expect(server.metric("fanout_accept_shed_total") == 6)
        #expect(server.metric("fanout_accept_errors_total") == 6)
        #expect(server.metric("fanout_accept_resting") == 6)
        #expect(server.log.filter { $0.contains("EMFILE") && $0.contains("ulimit -n") }.count == 1)
    }

    @Test("a reader that has written already reads its $bye all the same")
    func unread() throws {
        let (server, _) = try exhausted()
        let peer = try #require(server.kernel.connect(to: SimulatedServer.jsonl))
        server.kernel.peerWrite(peer, Array("{\"$subscribe\":{\"channel\":\"a\"}}\n".utf8))
        let client = SimulatedClient(server, peer)
        #expect(StreamReader.lines(client.takeAll()).map(\.kind) == ["$bye"])
        #expect(!server.kernel.peerWasReset(peer))
    }

    @Test("at most twenty tries in a second, one connection turned away for each, and readers miss nothing")
    func pace() throws {
        let (server, reader) = try exhausted()
        _ = reader.take()
        for address in Self.all { for _ in 0..<500 { _ = server.kernel.connect(to: address) } }
        let seconds: UInt64 = 10
        var numbers: [UInt64] = []
        for _ in 0..<seconds {
            server.pass(milliseconds: 1000, step: 10)
            numbers.append(try server.publish("{\"type\":\"x\"}"))
            server.settle()
        }
        let errors = try #require(server.metric("fanout_accept_errors_total"))
        #expect(errors <= UInt64(Self.all.count) + 20 * seconds)
        #expect(errors >= 6 * (seconds - 2), "every listener is tried each second")
        #expect(server.metric("fanout_accept_shed_total") == errors)
        #expect(reader.take().filter { $0.kind == "x" }.count == numbers.count)
        #expect(server.log.filter { $0.contains("accepting rests") }.count == 1)
        #expect(server.metric("fanout_stale_completions_total") == 0)
    }

    @Test("accepting is back within 1.1 s of a descriptor, on every listener", arguments: 0..<6)
    func recovery(_ place: Int) throws {
        for milliseconds in [0, 50, 150, 1234, 4321, 9999] {
            let (server, reader) = try exhausted()
            // More than are turned away before the reader leaves, which frees one descriptor.
            let peers = (0..<100).compactMap { _ in server.kernel.connect(to: Self.all[place]) }
            server.settle()
            server.pass(milliseconds: milliseconds, step: 10)
            #expect(server.metric("fanout_accept_resting") == 1)
            #expect(server.metric("fanout_accepted_total") == 1)
            reader.client.close()
            let freed = server.kernel.now
            while server.engine.metrics.accepted == 1, server.kernel.now < freed + 5000 {
                server.pass(milliseconds: 2, step: 2)
            }
            #expect(server.kernel.now - freed <= 1100, "after \(milliseconds) ms")
            // Then there are enough for all: nobody who waits is forgotten.
            server.kernel.limits.descriptorsMax = 1000
            server.pass(milliseconds: 1100, step: 10)
            #expect(server.engine.resting.isEmpty)
            #expect(
                UInt64(peers.count) + 1
                    == (server.metric("fanout_accepted_total") ?? 0) + (server.metric("fanout_accept_shed_total") ?? 0))
            for address in Self.all { #expect(try !server.connect(address).isClosed) }
        }
    }

    @Test("an aborted connection is passed over at once; what is forbidden rests, and turns nobody away")
    func otherErrors() throws {
        let server = try SimulatedServer(faults: .only(.acceptAborted, 1))
        _ = try server.connect(SimulatedServer.jsonl)
        #expect(server.metric("fanout_accept_resting") == 0)
        server.kernel.faults = .only(.acceptNotPermitted, 1)
        let client = try server.connect(SimulatedServer.jsonl)
        #expect(server.metric("fanout_accept_resting") == 1)
        server.pass(milliseconds: 10_000, step: 10)
        #expect(try #require(server.metric("fanout_accept_errors_total")) <= 14)
        #expect(server.metric("fanout_accept_shed_total") == 0)
        #expect(!client.isClosed)
        #expect(server.log.contains { $0.contains("EPERM") && $0.contains("firewall") })
        server.kernel.faults = .none
        server.pass(milliseconds: 1100, step: 10)
        #expect(server.metric("fanout_accept_resting") == 0)
        #expect(StreamReader.lines(client.takeAll()).map(\.kind) == ["$hello"])
    }

    @Test("a table that is full turns away like a want of descriptors, and a place that is free is used again")
    func fullTable() throws {
        let server = try SimulatedServer(socketsMax: 12)
        // Six listeners leave six places, fewer than are reserved for health: a reader finds none.
        #expect(server.metric("fanout_connections_max") == 6)
        var clients: [SimulatedClient] = []
        for _ in 0..<6 { clients.append(try server.connect()) }
        #expect(clients.allSatisfy { !$0.isClosed })
        let raw = try server.connect(SimulatedServer.jsonl)
        #expect(StreamReader.lines(raw.takeAll()).map(\.kind) == ["$bye"])
        #expect(raw.isAtEnd && !server.kernel.peerWasReset(raw.peer))
        let web = try server.connect()
        #expect(web.takeAll().isEmpty && web.isAtEnd)
        #expect(server.log.contains { $0.contains("all 6 places are taken") })
        #expect(server.metric("fanout_accept_resting") == 2)
        clients.forEach { $0.close() }
        server.pass(milliseconds: 1100, step: 10)
        #expect(server.engine.resting.isEmpty)
        #expect(server.kernel.openDescriptors == Self.all.count)
        #expect(try !server.connect().isClosed)
    }

    @Test("a server that stops while its listeners rest stops")
    func stopping() throws {
        let (server, reader) = try exhausted()
        for address in Self.all { _ = try server.connect(address) }
        server.kernel.raiseSignal(15)
        server.settle()
        #expect(reader.take().last?.kind == "$bye")
        reader.client.close()
        server.pass(milliseconds: 3000)
        #expect(!server.isRunning)
        #expect(server.kernel.openDescriptors == 0)
    }
}
