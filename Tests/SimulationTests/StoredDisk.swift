/// The disk of a world with a database: in memory, and what ends of the process and of the power leave of it.

import CTestDisk
import Glibc
import Reactor
import Synchronization
import Wire

@testable import EventStore

/// One disk, from one end of the process to the next. What ends a process makes the next one's disk of it.
final class StoredDisk {
    /// How a process comes to an end, as its disk sees it.
    enum End {
        /// It is killed, or has ended: what it wrote stays, synced or not.
        case process
        /// The power goes: what was not synced stays in part, in whatever way.
        case power
    }

    /// What is wrong with the disk for a while, or from now on.
    enum Trouble: CaseIterable {
        case full, noRoom, readOnly, readFails, writeFails, syncFails

        /// Whether the server goes on when it is over. (It may end before that all the same.)
        var isPassing: Bool { self == .full || self == .noRoom || self == .readOnly || self == .readFails }
    }

    private static let count = Atomic<Int>(0)
    static let directory = "disk"

    let name: String
    private let handle: OpaquePointer

    convenience init() throws {
        let name = Self.nextName()
        try self.init(name, test_disk_make(name))
    }

    private init(_ name: String, _ handle: OpaquePointer?) throws {
        guard let handle else { throw Malformed("no memory for a disk") }
        self.name = name
        self.handle = handle
    }

    /// No file may be open any more.
    deinit { test_disk_free(handle) }

    private static func nextName() -> String { "world-\(count.wrappingAdd(1, ordering: .relaxed).newValue)" }

    /// How many operations there were: a place to end at.
    var logged: Int { test_disk_logged(handle) }

    /// What is left for the next process when this one ended after so many operations.
    func left(_ end: End, at: Int, _ random: inout SeededRandom) throws -> StoredDisk {
        let name = Self.nextName()
        switch end {
        case .process: return try StoredDisk(name, test_disk_stop(handle, at, name))
        case .power:
            let policy = Int32(random.below(Int(TEST_DISK_POLICIES)))
            let disk = try StoredDisk(name, test_disk_cut(handle, at, policy, random.next(), name))
            test_disk_settle(disk.handle)
            return disk
        }
    }

    func begin(_ trouble: Trouble, _ random: inout SeededRandom) {
        switch trouble {
        case .noRoom: test_disk_set_capacity(handle, test_disk_used(handle) + UInt64(random.magnitude(1...65_535)))
        case .full: fail(TEST_DISK_WRITE, ENOSPC)
        case .readOnly: fail(TEST_DISK_WRITE | TEST_DISK_TRUNCATE | TEST_DISK_DELETE, EROFS)
        case .readFails: fail(TEST_DISK_READ, EIO)
        case .writeFails: fail(TEST_DISK_WRITE | TEST_DISK_TRUNCATE, EIO, call: random.magnitude(1...31))
        case .syncFails: fail(TEST_DISK_SYNC, EIO, call: random.magnitude(1...7))
        }
    }

    func endTrouble() {
        test_disk_set_capacity(handle, 0)
        test_disk_fail(handle, 0, 0, 0, 0)
    }

    private func fail(_ kinds: Int, _ errno: Int32, call: Int? = nil) {
        test_disk_fail(handle, Int32(kinds), call ?? 1, call == nil ? 1 : 0, errno)
    }
}
