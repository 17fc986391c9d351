/// The process's own memory, as its allocator keeps it.

import CLinux

/// What can be asked of the allocator.
package enum ProcessMemory {
    /// Lets the allocator keep so many free bytes at the end of its heap, and take blocks of up to so many from there
    /// (mallopt(3)). By itself it gives back what is more than 128 KiB, or twice the largest block that it had mapped:
    /// a batch of events would get its pages from the system, each with a fault, and give them back, every time.
    package static func keepFreed(byteCount: Int32) {
        mallopt(M_TRIM_THRESHOLD, byteCount)
        mallopt(M_MMAP_THRESHOLD, byteCount)
    }

    /// Gives pages that nothing uses any more back to the system, wherever in the heap they lie (malloc_trim(3)). It
    /// takes about a millisecond for each 100 MB of heap.
    package static func trim() { _ = malloc_trim(0) }
}
