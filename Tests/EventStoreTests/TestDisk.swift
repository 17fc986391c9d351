// Disks in memory, and folders that go away: what the store's tests write to.

import CTestDisk
import Foundation
import Synchronization
import Wire

@testable import EventStore

/// A disk in memory that can fail and lose power. `free` must be called, when no store uses it any more.
final class TestDisk {
    private static let count = Atomic<Int>(0)
    static let directory = "disk"
    static let database = "disk/events.db"
    static let log = "disk/events.db-wal"
    static let highWater = "disk/high-water"

    let handle: OpaquePointer
    let name: String

    init() throws {
        name = Self.nextName()
        handle = try require(test_disk_make(name))
    }

    /// What a power cut left of `disk`.
    init(cutting disk: TestDisk, at: Int, policy: Int, seed: UInt64) throws {
        name = Self.nextName()
        handle = try require(test_disk_cut(disk.handle, at, Int32(policy), seed, name))
    }

    func free() {
        test_disk_free(handle)
    }

    private static func nextName() -> String {
        "disk-\(count.wrappingAdd(1, ordering: .relaxed).newValue)"
    }

    var logged: Int { test_disk_logged(handle) }
    var used: UInt64 { test_disk_used(handle) }

    func calls(_ kinds: Int = TEST_DISK_EVERY) -> Int { test_disk_calls(handle, Int32(kinds)) }

    func fail(_ kinds: Int = TEST_DISK_EVERY, call: Int, forEver: Bool = false, errno: Int32) {
        test_disk_fail(handle, Int32(kinds), call, forEver ? 1 : 0, errno)
    }

    func stopFailing() {
        test_disk_fail(handle, 0, 0, 0, 0)
    }

    func setCapacity(_ bytes: UInt64) {
        test_disk_set_capacity(handle, bytes)
    }

    func size(_ path: String) -> Int64 { test_disk_size(handle, path) }

    func damage(_ path: String, at offset: Int64, _ bytes: [UInt8]) {
        test_disk_damage(handle, path, offset, bytes, Int64(bytes.count))
    }

    func shorten(_ path: String, to size: Int64) {
        test_disk_shorten(handle, path, size)
    }

    func configuration(epoch: UInt64 = 1) -> StoreConfiguration {
        var configuration = StoreConfiguration(directory: Self.directory, newEpoch: Epoch(rawValue: epoch))
        configuration.vfs = name
        return configuration
    }

    /// Opens a store on the disk for as long as `body` runs. What `body` does not close ends uncleanly.
    @discardableResult
    func open<Value>(
        _ configuration: StoreConfiguration? = nil, epoch: UInt64 = 1, nowMs: Int64 = 1_000_000,
        _ body: (EventStore) throws -> Value
    ) throws -> Value {
        let store = try EventStore.open(configuration ?? self.configuration(epoch: epoch), nowMs: nowMs)
        return try body(store)
    }
}

private struct NoDisk: Error {}

/// The disk, unless there was no memory for it.
private func require(_ disk: OpaquePointer?) throws -> OpaquePointer {
    guard let disk else { throw NoDisk() }
    return disk
}

/// A folder for one test on the machine's own file system.
final class TestFolder {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/fanout-store-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }

    var database: String { "\(path)/data/events.db" }

    func configuration(epoch: UInt64 = 1) -> StoreConfiguration {
        StoreConfiguration(directory: "\(path)/data", newEpoch: Epoch(rawValue: epoch))
    }

    @discardableResult
    func open<Value>(
        epoch: UInt64 = 1, newLog: Bool = false, used: UsedNumber? = nil, _ body: (EventStore) throws -> Value
    ) throws -> Value {
        var configuration = configuration(epoch: epoch)
        configuration.beginsNewLog = newLog
        configuration.used = used
        let store = try EventStore.open(configuration, nowMs: 1_000_000)
        return try body(store)
    }

    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(path)/data/\(name)") }
}

extension StoreRows {
    /// A key.
    static func key(_ name: UInt64, payload: UInt64 = 1) -> StoreRows {
        StoreRows(key: StoreKey(name: digest(name), payload: digest(payload)))
    }

    /// A producer.
    static func producer(_ name: UInt64, epoch: UInt64 = 1, last: UInt64, payload: UInt64 = 1) -> StoreRows {
        let (name, payload) = (digest(name), digest(payload))
        return StoreRows(producer: StoreProducer(name: name, payload: payload, epoch: epoch, lastNumber: last))
    }

    private static func digest(_ number: UInt64) -> ContentDigest { ContentDigest(high: 7, low: number) }
}

extension StoreBatch {
    /// Adds one publication; lines are what the events are, kinds may be left out, and changes of the state.
    mutating func publish(
        _ lines: [String], kinds: [String?] = [], on channel: String = "events", at seq: UInt64,
        level: StoreLevel = .committed, timeMs: Int64 = 1_000_000, _ rows: StoreRows = StoreRows(),
        changes: [StoreChange] = []
    ) {
        for (index, line) in lines.enumerated() {
            let line = Array(line.utf8)
            let change = index < changes.count ? changes[index] : .none
            if index < kinds.count, let kind = kinds[index] {
                let kind = Array(kind.utf8)
                add(line: line.span, kind: kind.span, change: change)
            } else {
                add(line: line.span, kind: nil, change: change)
            }
        }
        finish(Publication(channel: channel, firstSeq: seq, timeMs: timeMs, level: level, rows: rows))
    }
}

extension EventStore {
    /// Stores one publication in a transaction of its own.
    func publish(
        _ lines: [String], kinds: [String?] = [], on channel: String = "events", at seq: UInt64? = nil,
        level: StoreLevel = .committed, timeMs: Int64 = 1_000_000, _ rows: StoreRows = StoreRows(),
        changes: [StoreChange] = []
    ) throws {
        var batch = StoreBatch()
        batch.publish(
            lines, kinds: kinds, on: channel, at: seq ?? head + 1, level: level, timeMs: timeMs, rows, changes: changes)
        _ = try append(batch)
    }

    /// Ends a channel, or begins it again, in a transaction of its own.
    func setEnded(_ isEnded: Bool, _ channel: String) throws {
        var batch = StoreBatch()
        batch.setEnded(isEnded, channel: channel)
        _ = try append(batch)
    }

    /// Every key that is remembered, as `name payload first-last`, the oldest first.
    func keys() throws -> [String] {
        try storedKeys(.max, since: .min).map {
            "\($0.key.name.low) \($0.key.payload.low) \($0.range.first)-\($0.range.last)"
        }
    }

    /// Every event in the store, page by page, as `seq channel line`.
    func everything() throws -> [String] {
        var found: [String] = []
        var place: UInt64 = 0
        while true {
            let page = try read(StoreQuery(.after(place)))
            found += page.texts
            place = page.reached
            if page.isLast { return found }
        }
    }
}

extension StoredPage {
    func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    /// The rows as `seq channel line`.
    var texts: [String] { rows.map { "\($0.seq) \(channels[$0.channel]) \(text($0.line))" } }

    var seqs: [UInt64] { rows.map(\.seq) }
}

/// The fault that `body` ends with; nil where it does not.
func faultOf(_ body: () throws -> Void) -> StoreFault? {
    do {
        try body()
        return nil
    } catch {
        return error as? StoreFault
    }
}
