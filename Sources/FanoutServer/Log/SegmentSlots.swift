/// Where segments lie: pages of the system's that are touched as far as they are used, and given back to it.

import Glibc

/// Address space for segments of the usual size, many to a mapping, each with room for its marks behind it.
///
/// ```
///  mapping:  |bytes|marks|bytes|marks|...       a slot is `bytes` and `marks`, each a whole number of pages
/// ```
/// Address space is never given back, pages are: a burst leaves nothing resident and no hole in the process's map.
/// Huge pages are declined, since one touched byte of them would cost 2 MiB.
final class SegmentSlots {
    /// Slots in one mapping: 4 MiB of address space.
    private static let slotsPerMapping = 32
    private static let marksBytes = SegmentStore.marksMax * MemoryLayout<FrameMark>.stride

    private let bytesRoom: Int
    private var slotBytes: Int { bytesRoom + Self.marksBytes }
    private var mappings: [UnsafeMutableRawPointer] = []
    private var used = slotsPerMapping

    init(segmentBytes: Int) { bytesRoom = Self.wholePages(segmentBytes) }

    deinit {
        for mapping in mappings { munmap(mapping, Self.slotsPerMapping * slotBytes) }
    }

    /// A slot that was never used. O(1).
    func next() -> (base: UnsafeMutablePointer<UInt8>, marks: UnsafeMutablePointer<FrameMark>) {
        if used == Self.slotsPerMapping {
            mappings.append(Self.map(Self.slotsPerMapping * slotBytes))
            used = 0
        }
        let slot = mappings[mappings.count - 1] + used * slotBytes
        used += 1
        return Self.parts(slot, bytesRoom)
    }

    /// Gives a slot's pages back to the system; the slot can be used again and is then all zeros.
    func giveBack(_ base: UnsafeMutablePointer<UInt8>) { madvise(base, slotBytes, MADV_DONTNEED) }

    /// A mapping of its own for a segment that is larger than the usual.
    static func mapLarge(
        capacity: Int
    ) -> (base: UnsafeMutablePointer<UInt8>, marks: UnsafeMutablePointer<FrameMark>) {
        parts(map(wholePages(capacity) + marksBytes), wholePages(capacity))
    }

    /// Ends such a mapping.
    static func unmapLarge(_ base: UnsafeMutablePointer<UInt8>, capacity: Int) {
        munmap(base, wholePages(capacity) + marksBytes)
    }

    private static func parts(
        _ slot: UnsafeMutableRawPointer, _ bytesRoom: Int
    ) -> (base: UnsafeMutablePointer<UInt8>, marks: UnsafeMutablePointer<FrameMark>) {
        (
            slot.bindMemory(to: UInt8.self, capacity: bytesRoom),
            (slot + bytesRoom).bindMemory(to: FrameMark.self, capacity: SegmentStore.marksMax)
        )
    }

    private static func wholePages(_ byteCount: Int) -> Int {
        (byteCount + SegmentStore.pageBytes - 1) / SegmentStore.pageBytes * SegmentStore.pageBytes
    }

    private static func map(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let pages = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let pages, pages != MAP_FAILED else { preconditionFailure("the system has no memory for events") }
        madvise(pages, byteCount, MADV_NOHUGEPAGE)
        return pages
    }
}
