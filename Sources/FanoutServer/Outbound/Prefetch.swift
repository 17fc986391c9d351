/// Fetching what a loop over connections will need, while it is busy with another one.

import CLinux

/// Between two deliveries to a connection the kernel goes through several KiB for each of the others: with many readers
/// a record has always left the caches that are near.
enum Prefetch {
    /// How many connections ahead of the present one.
    static let distance = 8

    /// Begins to fetch what a delivery needs of a record: its first cache line.
    @inline(__always)
    static func record(_ record: UnsafeMutablePointer<Connection>) { linux_prefetch(record) }
}
