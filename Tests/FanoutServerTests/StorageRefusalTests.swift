// A disk that is full or cannot be written to: publishers are told, nobody else notices, and it passes by itself.
import CTestDisk
import Glibc
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("A database that cannot write")
struct StorageRefusalTests {
    private func lines(_ client: SimulatedClient) -> [String] {
        client.takeText().split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
    }

    private func code(_ line: String) -> String? { (JSONObject(line)?["error"] as? [String: Any])?["code"] as? String }

    /// A server whose disk takes no write since its first event, which is not stored.
    private func refusingServer(errno: Int32 = ENOSPC) throws -> (SimulatedServer, SimulatedStore) {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.fail(TEST_DISK_WRITE, errno: errno)
        let client = try server.connect()
        client.write(RequestText.post("{\"n\":1}", to: "/v1/events?ack=accepted"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
        #expect(server.engine.isStorageRefusing, "\(String(describing: server.engine.storage?.state))")
        return (server, store)
    }

    @Test("a publication is refused before it has a number, and taken again within a second of space coming back")
    func refuses() throws {
        let (server, store) = try refusingServer()
        let reader = try SimulatedReader(server, .sse, query: "from=start")
        let client = try server.connect()
        for level in ["none", "accepted", "committed", "synced"] {
            client.write(RequestText.post("{\"n\":2}", to: "/v1/events?ack=\(level)"))
            let answers = Answer.all(client.takeAll())
            #expect(answers.map(\.status) == [503] && answers.first?.errorCode == "storage_full")
            #expect(answers.first?.fields["retry-after"] == "1")
        }
        #expect(server.engine.hub.accepted == 1)
        #expect(reader.takeSeqs().last == 1, "readers get what there is")
        client.write(RequestText.post("{", to: "/v1/events"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [400], "what is wrong anyway is told first")
        server.pass(milliseconds: 5_000)
        #expect(server.engine.isStorageRefusing)
        store.stopFailing()
        server.pass(milliseconds: 1_000)
        #expect(!server.engine.isStorageRefusing)
        client.write(RequestText.post("{\"n\":3}"))
        #expect(Answer.all(client.takeAll()).first?.json["seq"] as? Int == 2, "no number was left out")
        #expect(reader.takeSeqs() == [2])
        #expect(try store.everything().map(\.seq) == [1, 2])
    }

    @Test(
        "the refusal says what is wrong with the disk",
        arguments: [
            (StoreFault.Kind.full, "storage_full"), (.readOnly, "storage_readonly"), (.notSynced, "storage_failed"),
        ])
    func codes(kind: StoreFault.Kind, code: String) throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        let fault = StoreFault(kind, operation: "write to", path: "disk", detail: "")
        var report = StoreReport()
        report.reserved = 1000
        report.state = kind == .notSynced ? .ended(fault) : .refusing(fault)
        server.engine.storage?.note(report)
        do throws(PublishFault) {
            try server.engine.storage?.checkTakes(1, after: 0)
            Issue.record("it was taken")
        } catch {
            #expect(error.status == 503 && error.code == code)
        }
        report.state = .running
        server.engine.storage?.note(report)
        try server.engine.storage?.checkTakes(1000, after: 0)
        #expect(throws: PublishFault.self) { try server.engine.storage?.checkTakes(1001, after: 0) }
    }

    @Test("an answer that waited when the disk became full comes when there is space again")
    func waits() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.fail(TEST_DISK_WRITE, errno: ENOSPC)
        let client = try server.connect()
        client.write(RequestText.post("{\"n\":1}"))
        server.pass(milliseconds: 100_000, step: 500)
        #expect(client.takeAll().isEmpty && !client.isClosed)
        store.stopFailing()
        server.pass(milliseconds: 1_000)
        #expect(Answer.all(client.takeAll()).first?.json["level"] as? String == "synced")
    }

    @Test("a writer with acks is told line for line, one without loses its lines, which is counted and logged")
    func lines() throws {
        let (server, store) = try refusingServer()
        let asking = try server.connect(SimulatedServer.ingest)
        asking.write("{\"$ack\":true}\n{\"n\":2}\n{\"$publish\":{\"event\":{},\"ack\":\"none\"}}\n")
        #expect(lines(asking).map(code) == ["storage_full", "storage_full"])
        let before = server.engine.metrics.refusedEvents
        let silent = try server.connect(SimulatedServer.ingest)
        silent.write("{\"n\":3}\n{\"n\":4}\n{\"$publish\":{\"event\":{\"n\":5}}}\n")
        silent.close()
        #expect(server.engine.metrics.refusedEvents == before + 3)
        server.pass(milliseconds: 2_000)
        #expect(server.log.filter { $0.contains("storage_full") }.count == 2, "\(server.log)")
        store.stopFailing()
        server.pass(milliseconds: 1_000)
        asking.write("{\"n\":6}\n")
        #expect(lines(asking).compactMap { JSONObject($0)?["seq"] as? Int } == [2])
        #expect(server.engine.hub.accepted == 2)
    }

    @Test("standard input waits for space, its last line too", arguments: [true, false])
    func standardInput(wasRead: Bool) throws {
        let (server, store) = try refusingServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        let (descriptor, source) = server.kernel.openSource()
        try server.engine.readStandardInput(descriptor, asText: false)
        let client = SimulatedClient(server, source)
        if wasRead { client.write("{\"n\":2}\n{\"n\":3}\n") }
        client.write("{\"n\":4}")
        client.finish()
        server.pass(milliseconds: 10_000)
        #expect(server.engine.hub.accepted == 1 && server.engine.metrics.refusedEvents == 0)
        store.stopFailing()
        server.pass(milliseconds: 1_000)
        #expect(reader.take().compactMap { $0.object["n"] as? Int } == (wasRead ? [2, 3, 4] : [4]))
    }

    @Test("what an embedding program hands over waits for space")
    func inbox() throws {
        let (server, store) = try refusingServer()
        let inbox = Inbox()
        server.engine.inbox = inbox
        inbox.attach(server.loop.wakeup)
        for number in 0..<3 {
            #expect(inbox.add(Inbox.Entry(channel: .standard, event: Array("{\"n\":\(number)}".utf8))))
        }
        server.pass(milliseconds: 3_000)
        #expect(server.engine.hub.accepted == 1 && server.engine.metrics.refusedEvents == 0)
        store.stopFailing()
        server.pass(milliseconds: 1_000)
        #expect(server.engine.hub.accepted == 4)
    }

    @Test("publishers are told although very much waits for the disk")
    func pressed() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(pipeBytes: 1 << 20, store: store)
        store.isHeld = true
        let writer = try server.connect(SimulatedServer.ingest)
        for _ in 0..<40 { writer.write(String(repeating: "{}\n", count: 1000)) }
        #expect(server.engine.writersWait)
        store.fail(TEST_DISK_WRITE, errno: ENOSPC)
        store.isHeld = false
        server.pass(milliseconds: 100)
        let client = try server.connect()
        client.write(RequestText.post("{}"))
        #expect(Answer.all(client.takeAll()).map(\.errorCode) == ["storage_full"])
        client.write(RequestText.get("/readyz"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
    }

    @Test("a database that has failed refuses everything that is published")
    func failed() throws {
        let store = SimulatedStore()
        let server = try SimulatedServer(store: store)
        store.fail(TEST_DISK_SYNC, errno: EIO)
        let client = try server.connect()
        client.write(RequestText.post("{}"))
        server.pass(milliseconds: 100)
        #expect(client.takeAll().isEmpty, "what was not stored is not said to be")
        #expect(server.engine.storage?.hasEnded == true)
        guard server.isRunning else { return }
        let other = try server.connect()
        other.write(RequestText.post("{}"))
        #expect(Answer.all(other.takeAll()).map(\.errorCode) == ["storage_failed"])
    }
}
