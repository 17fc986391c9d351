// A database in a simulation: a disk in memory, and the work of the database's thread, done when the test says so.
import CTestDisk
import Synchronization

@testable import EventStore
@testable import FanoutServer
@testable import Reactor
@testable import Wire

/// The database of one `SimulatedServer` after the other: what one leaves on the disk the next one finds.
///
/// Its worker turns after each turn of the engine, on the clock of the simulation, unless `isHeld` says that the disk
/// takes long. What a test sees is therefore the same each time.
final class SimulatedStore {
    private static let count = Atomic<Int>(0)

    let disk: OpaquePointer
    private let vfs: String
    private(set) var worker: StoreWorker?
    /// While true nothing is stored, and nothing answered: the disk is slow.
    var isHeld = false
    /// Turns that one `run` may take: far more than any test needs.
    private let turnsMax = 100_000
    /// The worker's last wish.
    private var wait = StoreWait.none
    /// What the next opening is told, beside where.
    var prepare: (inout StoreConfiguration) -> Void = { _ in }

    init() {
        vfs = "simulated-\(Self.count.wrappingAdd(1, ordering: .relaxed).newValue)"
        guard let made = test_disk_make(vfs) else { preconditionFailure("no memory for a disk") }
        disk = made
    }

    deinit {
        worker = nil
        test_disk_free(disk)
    }

    /// Opens what is on the disk, for an engine on this loop. A worker that was not closed ends uncleanly, as if its
    /// process had been killed.
    func open(waking wakeup: Wakeup, by kernel: SimulatedKernel) throws -> StorageStart {
        worker = nil
        var configuration = StoreConfiguration(directory: "disk", newEpoch: SimulatedServer.epoch)
        configuration.vfs = vfs
        prepare(&configuration)
        let store = try EventStore.open(configuration, nowMs: kernel.wallClockMilliseconds())
        let opening = store.opening
        let since = kernel.wallClockMilliseconds() - IdempotencyKeys.windowMilliseconds
        let keys = try store.storedKeys(IdempotencyKeys.countMax, since: since)
        let producers = try store.storedProducers()
        let state = try store.storedState()
        let queue = try StoreQueue(signal: { wakeup.signal() })
        worker = StoreWorker(
            store: store, queue: queue,
            clock: { StoreTime(monotonicNs: kernel.now * 1_000_000, wallMs: kernel.wallClockMilliseconds()) })
        wait = .none
        return StorageStart(queue: queue, opening: opening, keys: keys, producers: producers, state: state)
    }

    /// Lets the worker turn until it wants to wait. False if there was nothing to do.
    @discardableResult
    func run() -> Bool {
        guard let worker, !isHeld, wait != .ended else { return false }
        for turns in 0..<turnsMax {
            wait = worker.turn()
            if wait != .none { return turns > 0 }
        }
        return true
    }

    /// Makes calls of these kinds fail from now on: all of them, or none.
    func fail(_ kinds: Int = TEST_DISK_EVERY, errno: Int32) {
        test_disk_fail(disk, Int32(kinds), 1, 1, errno)
    }

    func stopFailing() { test_disk_fail(disk, 0, 0, 0, 0) }

    /// The stored state, past the engine, as `seq line`. The engine's worker must have ended, or the file is not free.
    func state() throws -> [String] {
        worker = nil
        var configuration = StoreConfiguration(directory: "disk", newEpoch: Epoch(rawValue: 0xfe))
        configuration.vfs = vfs
        let state = try EventStore.open(configuration, nowMs: 0).storedState()
        return state.rows.map { "\($0.seq) \(String(decoding: state.bytes[$0.line], as: UTF8.self))" }
    }

    /// Reads the whole of what is stored, past the engine: each line with its number. The engine's worker must have
    /// ended, or the file is not free.
    func everything() throws -> [(seq: UInt64, line: String)] {
        worker = nil
        var configuration = StoreConfiguration(directory: "disk", newEpoch: Epoch(rawValue: 0xff))
        configuration.vfs = vfs
        let store = try EventStore.open(configuration, nowMs: 0)
        var found: [(seq: UInt64, line: String)] = []
        var place: UInt64 = 0
        while true {
            let page = try store.read(StoreQuery(.after(place)))
            found += page.rows.map { ($0.seq, String(decoding: page.bytes[$0.line], as: UTF8.self)) }
            place = page.reached
            if page.isLast { return found }
        }
    }
}
