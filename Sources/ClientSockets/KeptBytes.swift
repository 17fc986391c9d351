/// What a connection has half received.

import Glibc

/// The bytes of a frame whose end has not come yet; nothing is allocated while there are none. A plain value in a row
/// of a table: its owner calls `release` when the row is done with.
package struct KeptBytes {
    /// Where they are; nil when there are none.
    package private(set) var bytes: UnsafeMutablePointer<UInt8>?
    /// How many they are.
    package private(set) var count: UInt32 = 0

    package init() {}

    /// Keeps a copy of these bytes instead of those kept before. O(count).
    package mutating func keep(_ place: UnsafePointer<UInt8>, _ count: Int) {
        release()
        if count == 0 { return }
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
        memcpy(copy, place, count)
        bytes = copy
        self.count = UInt32(count)
    }

    /// Keeps nothing any more.
    package mutating func release() {
        bytes?.deallocate()
        bytes = nil
        count = 0
    }
}
