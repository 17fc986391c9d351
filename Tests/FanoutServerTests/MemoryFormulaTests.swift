// The formula of the server's memory: its numbers as published, and what the counts it stands on count.
import Foundation
import Testing

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Memory formula")
struct MemoryFormulaTests {
    private static let document: String = {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        return (try? String(contentsOf: root.appending(path: "EVENTS.md"), encoding: .utf8)) ?? ""
    }()

    /// The number in the table row that begins with `name`.
    private func published(_ name: String) -> Int? {
        let row = Self.document.split(separator: "\n").first { $0.hasPrefix("| " + name + " |") }
        guard let cell = row?.split(separator: "|").dropFirst().first else { return nil }
        return Int(cell.filter(\.isNumber))
    }

    @Test("EVENTS.md has the numbers of the code, and its example adds up")
    func document() {
        #expect(published("base") == MemoryFormula.baseBytes)
        #expect(published("connection") == MemoryFormula.connectionBytes)
        #expect(published("spare") == MemoryFormula.historySlackBytes)
        #expect(published("turn") == MemoryFormula.turnBytes)
        #expect(published("database") == MemoryFormula.databaseBytes)
        #expect(published("send buffer, TCP") == 2 * Engine.sendBufferTCPBytes)
        #expect(published("receive buffer, TCP") == 2 * Engine.receiveBufferTCPBytes)
        #expect(published("send buffer, unix") == 2 * Engine.sendBufferUnixBytes)
        let example = MemoryFormula.heapBytesMax(
            connections: 10_000, memoryMax: 256 << 20, history: MemoryFormula.historyDefaultBytes)
        #expect(published("example, heap") == example)
        #expect(published("example, kernel") == MemoryFormula.kernelBytesMax(tcp: 1_000, unix: 9_000))
    }

    @Test("a connection's own records fit into what the formula allows it")
    func connection() {
        let records =
            MemoryLayout<Connection>.stride + 2 * MemoryLayout<InputBuffer>.stride + InputBuffer.capacityMin
            + MemoryLayout<RunBlocks.Block>.stride + 64
        #expect(records + 1024 <= MemoryFormula.connectionBytes, "\(records) bytes")
    }

    @Test("what is on its way to the disk fits into what the formula allows a database")
    func database() {
        // Beyond that publishing is refused; a turn that has begun may add to it.
        let bytes = StoreQueue.bytesMax + 4 << 20
        let events = StoreQueue.eventsMax + 2 * Int(Engine.Limits.turnEvents) + Staging.eventsMax
        let place =
            MemoryLayout<StoreBatch.Event>.stride + MemoryLayout<StoreBatch.Entry>.stride
            + MemoryLayout<StoreBatch.Change>.stride
        let places = events * place
        let cache = 4 << 20
        let pages = StoreLimits.untakenPagesMax * (StoreLimits.pageBytesMax + EventRules().eventBytesMax)
        let held = 2 * bytes
        let sum = 3 * bytes + 2 * places + held + cache + pages
        #expect(sum <= MemoryFormula.databaseBytes, "\(sum)")
    }

    @Test("a ring's bound has no overflow")
    func ring() {
        #expect(MemoryFormula.ringBytesMax(limitBytes: 100, turnBytes: 7) == 207)
        #expect(MemoryFormula.ringBytesMax(limitBytes: .max) == .max)
    }

    @Test("marks of tiny frames end a segment, and are counted by the page")
    func marks() {
        var log = FrameLog()
        var runs: [OutboundRun] = []
        for seq in 1...10_000 as ClosedRange<UInt64> {
            let (run, bytes) = log.reserve(.jsonl, byteCount: 3)
            bytes.update(repeating: 65, count: 3)
            log.commit(run, seq: seq)
            log.segments[run.segment].references += 1
            runs.append(run)
        }
        #expect(Set(runs.map(\.segment)).count == 3, "4,096 frames to a segment")
        #expect(log.segments.bytesHeld == 3 * SegmentStore.segmentBytes)
        #expect(log.segments.markBytesHeld == (2 * 16 + 8) * SegmentStore.pageBytes)
        for run in runs { log.segments.release(run.segment) }
        #expect(log.segments.markBytesHeld <= 16 * SegmentStore.pageBytes)
    }

    @Test("segments beyond the pool give their pages back to the system")
    func pages() throws {
        func resident() throws -> Int {
            let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
            return try #require(Int(fields[1])) * SegmentStore.pageBytes
        }
        var store = SegmentStore()
        let taken = (0..<2000).map { _ in store.take(chain: .jsonl, bytesMin: 1) }
        for index in taken { store[index].base.update(repeating: 1, count: SegmentStore.segmentBytes) }
        let large = store.take(chain: .sse, bytesMin: 32 << 20)
        store[large].base.update(repeating: 1, count: 32 << 20)
        let full = try resident()
        for index in taken { store.release(index) }
        store.release(large)
        // 157 MB were written, 4 MiB stay in the pool. Other suites run beside this one.
        #expect(try full - resident() > 80 << 20)
    }

    @Test("run blocks go back to the system when nobody is behind any more, in whatever order they come back")
    func blocks() {
        var random = SeededRandom(seed: 7)
        var blocks = RunBlocks()
        var held: [UInt32] = []
        for _ in 0..<20_000 {
            if held.isEmpty || random.chance(held.count < 3000 ? 0.6 : 0.4) {
                let index = blocks.take()
                blocks[index].runs[30] = OutboundRun(segment: index, start: 1, count: 2)
                held.append(index)
            } else {
                held.swapAt(random.below(held.count), held.count - 1)
                let index = held.removeLast()
                #expect(blocks[index].runs[30].segment == index, "nobody else wrote there")
                blocks.release(index)
            }
        }
        #expect(Set(held).count == held.count && blocks.inUse == held.count)
        let chunks = Set(held.map { $0 / UInt32(RunBlocks.blocksPerChunk) })
        #expect(blocks.bytesHeld == chunks.count * RunBlocks.chunkBytes)
        for index in held { blocks.release(index) }
        #expect(blocks.inUse == 0 && blocks.bytesHeld == 0)
    }

    @Test("a list of slots shrinks with what is in it")
    func slots() {
        var list = SlotList()
        for slot in 0..<10_000 as Range<UInt32> { _ = list.append(slot) }
        #expect(list.bytesHeld == 4 * 16_384)
        for _ in 0..<9_990 { _ = list.remove(at: 0) }
        #expect(list.count == 10 && list.bytesHeld <= 4 * 64)
        #expect(Set((0..<10).map { list[$0] }).count == 10)
        list.deallocate()
    }

    @Test("an embedding program's events are taken by the byte too, one at least")
    func inbox() throws {
        let inbox = Inbox()
        for size in [10, 20, 300, 5, 5] {
            let entry = Inbox.Entry(channel: .standard, event: [UInt8](repeating: 65, count: size))
            #expect(inbox.add(entry))
        }
        #expect(inbox.take(atMost: 10, bytesMax: 100).map(\.event.count) == [10, 20])
        #expect(inbox.take(atMost: 10, bytesMax: 100).map(\.event.count) == [300])
        #expect(inbox.take(atMost: 1, bytesMax: 100).map(\.event.count) == [5])
        #expect(inbox.take(atMost: 10, bytesMax: 100).map(\.event.count) == [5])
    }

    @Test("a number of bytes has a unit or none")
    func byteCounts() {
        let texts = ["0": 0, "16777216": 16 << 20, "16k": 16 << 10, "3M": 3 << 20, "2G": 2 << 30, "2g": 2 << 30]
        for (text, bytes) in texts { #expect(ValueSyntax.byteCount(text) == bytes, "\(text)") }
        for text in ["", "M", "-1", "+1", "1.5G", "1 M", "1MB", "0x10", "99999999999999999999", "9999999999999G"] {
            #expect(ValueSyntax.byteCount(text) == nil, "\(text)")
        }
    }

    @Test("the smallest limit of the process's cgroups counts, of either version, those above it too")
    func cgroups() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "fanout-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        func put(_ path: String, _ text: String) throws {
            let file = root.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(MemoryLimit.cgroupBytes(root: root.path) == nil)
        try put("proc/self/cgroup", "0::/a/b\n")
        #expect(MemoryLimit.cgroupBytes(root: root.path) == nil)
        try put("sys/fs/cgroup/a/b/memory.max", "max\n")
        #expect(MemoryLimit.cgroupBytes(root: root.path) == nil)
        try put("sys/fs/cgroup/a/memory.max", "500000000\n")
        #expect(MemoryLimit.cgroupBytes(root: root.path) == 500_000_000)
        try put("sys/fs/cgroup/a/b/memory.max", "600000000\n")
        #expect(MemoryLimit.cgroupBytes(root: root.path) == 500_000_000)
        try put("proc/self/cgroup", "9:name=systemd:/\n4:memory,cpu:/x/y\n0::/a/b\n")
        try put("sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "400000000\n")
        #expect(MemoryLimit.cgroupBytes(root: root.path) == 400_000_000)
        // A container: the path is the host's, the mount is its own.
        try put("proc/self/cgroup", "4:memory:/docker/0123/../4567\n")
        try put("sys/fs/cgroup/memory/memory.limit_in_bytes", "300000000\n")
        #expect(MemoryLimit.cgroupBytes(root: root.path) == 300_000_000)
        try put("proc/self/cgroup", "nonsense\n:memory\n\n")
        #expect(MemoryLimit.cgroupBytes(root: root.path) == nil)
        #expect(MemoryLimit.standardBudget() >= MemoryFormula.memoryDefaultLeast)
    }

    @Test("a program that embeds a server is told of a budget that is too small", arguments: [-1, 0, 1, 16_777_215])
    func budgetTooSmall(bytes: Int) {
        var configuration = Configuration()
        configuration.memoryMax = bytes
        #expect(throws: StartError.self) { _ = try Server(configuration) }
    }
}
