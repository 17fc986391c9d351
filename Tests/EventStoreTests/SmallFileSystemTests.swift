// Real file systems of a few megabytes, filled and freed. They take the right to mount: where that is missing they are
// skipped.

import CTestDisk
import Foundation
import Glibc
import Synchronization
import Testing

@testable import EventStore

@Suite("Small file systems")
struct SmallFileSystemTests {
    /// What came of a thread: whether it was allowed to mount, and what was thrown there.
    private final class Outcome: Sendable {
        let isAllowed = Atomic<Bool>(false)
        let fault = Mutex<(any Error)?>(nil)
        let isOver = DispatchSemaphore(value: 0)
    }

    /// Runs `body` on a thread with a file system of its own in memory at `folder`, which nobody else sees, and which
    /// ends with the thread; false where the kernel does not allow it.
    private static func run(
        megabytes: Int, at folder: String, _ body: @escaping @Sendable () throws -> Void
    ) throws -> Bool {
        let outcome = Outcome()
        let thread = Thread {
            defer { outcome.isOver.signal() }
            guard test_disk_mount(folder, Int32(megabytes)) == 0 else { return }
            outcome.isAllowed.store(true, ordering: .releasing)
            do {
                try body()
            } catch {
                outcome.fault.withLock { $0 = error }
            }
        }
        thread.start()
        outcome.isOver.wait()
        if let fault = outcome.fault.withLock({ $0 }) { throw fault }
        return outcome.isAllowed.load(ordering: .acquiring)
    }

    private static let mayMount: Bool = {
        guard let folder = try? TestFolder() else { return false }
        defer { folder.remove() }
        return (try? run(megabytes: 1, at: folder.path) {}) ?? false
    }()

    /// Publishes until the worker refuses.
    private static func fill(_ bench: WorkerBench) {
        for round in 0..<100_000 {
            guard bench.last.state == .running else { return }
            bench.publish(10, level: round % 3 == 0 ? .synced : .committed, text: String(repeating: "x", count: 1000))
            bench.clock.nowNs += 1_000_000
            bench.run()
        }
    }

    @Test(
        "a full file system refuses what is new, and takes all that waited within a second of having space",
        .enabled(if: mayMount, "takes the right to mount"), arguments: [4, 8, 16])
    func fullAndFreed(megabytes: Int) throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        let (path, configuration, later) = (folder.path, folder.configuration(), folder.configuration(epoch: 2))
        let wasRun = try Self.run(megabytes: megabytes, at: path) {
            let filler = "\(path)/filler"
            try Data(count: megabytes << 19).write(to: URL(fileURLWithPath: filler))
            let spare = "\(path)/spare"
            try Data(count: 128 << 10).write(to: URL(fileURLWithPath: spare))
            let bench = try WorkerBench(EventStore.open(configuration, nowMs: 1_000_000))
            bench.run()
            // Emptying the log may make some room: until even that is of no use.
            for _ in 0..<50 {
                Self.fill(bench)
                for _ in 0..<3 {
                    bench.clock.nowNs += StoreWorker.probeIntervalNs
                    bench.run()
                }
                if bench.last.state != .running { break }
            }
            guard case .refusing(let fault) = bench.last.state else {
                Issue.record("never full")
                return
            }
            #expect(fault.kind == .full)
            let held = bench.last.committed
            #expect(held > 100)
            #expect(bench.queue.ask(.page(ticket: 1, StoreQuery(.after(0)))))
            bench.run()
            #expect(try bench.pages.first?.result.get().rows.count ?? 0 > 100)
            // Space comes back: nothing is started anew.
            try FileManager.default.removeItem(atPath: filler)
            bench.clock.nowNs += StoreWorker.probeIntervalNs
            bench.run()
            #expect(bench.last.state == .running)
            #expect(bench.last.committed == bench.used)
            Self.fill(bench)
            #expect(bench.last.committed > held + 100)
            // It ends while it is full: what was committed is there, and the end is told for what it was.
            Self.fill(bench)
            bench.queue.close(used: bench.used)
            #expect(bench.run() == .ended)
            // A start that finds no room at all says so, and needs no more than a little.
            var opened: EventStore?
            if let fault = faultOf({ opened = try EventStore.open(later, nowMs: 1_000_000) }) {
                #expect(fault.kind == .full)
                try FileManager.default.removeItem(atPath: spare)
                opened = try EventStore.open(later, nowMs: 1_000_000)
            }
            let store = try #require(opened)
            #expect(store.opening.beginning == (bench.last.state == .ended(nil) ? .goesOn : .uncleanEnd))
            #expect(try UInt64(store.everything().count) >= bench.last.committed)
            try store.checkIntegrity()
        }
        #expect(wasRun)
    }

    @Test(
        "a file system that holds a few times what retention keeps never fills",
        .enabled(if: mayMount, "takes the right to mount"))
    func keptSmall() throws {
        let folder = try TestFolder()
        defer { folder.remove() }
        var configuration = folder.configuration()
        configuration.retention = RetentionLimits(bytes: 500_000)
        let given = configuration
        let wasRun = try Self.run(megabytes: 8, at: folder.path) {
            let bench = try WorkerBench(EventStore.open(given, nowMs: 1_000_000))
            bench.run()
            for _ in 0..<2000 {
                #expect(bench.last.state == .running)
                bench.publish(20, text: String(repeating: "x", count: 1000))
                bench.clock.nowNs += 50_000_000
                bench.run()
            }
            #expect(bench.last.committed == 40_000)
        }
        #expect(wasRun)
    }
}
