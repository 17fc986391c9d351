/// The process's own memory, as its allocator keeps it.

import CLinux

/// What can be asked of the allocator.
package enum ProcessMemory {
    /// Gives pages that nothing uses any more back to the system, wherever in the heap they lie (malloc_trim(3)). It
    /// takes about a millisecond for each 100 MB of heap.
    package static func trim() { _ = malloc_trim(0) }
}
