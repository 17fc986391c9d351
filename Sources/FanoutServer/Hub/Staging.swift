/// Events that were checked and wait to be published together.

import Glibc
import Wire

/// One checked event: its compacted bytes lie in the staging area.
struct StagedEvent: BitwiseCopyable {
    var offset: Int
    var record: EventRecord
}

/// A batch in the making. Its area is as large as the largest body that is accepted, in pages the kernel provides when
/// they are first touched; small events touch one.
struct Staging: ~Copyable {
    /// Events in one batch.
    static let eventsMax = 1000
    /// Bytes of a batch, as received.
    static let bytesMax = 1 << 20

    private let area: UnsafeMutablePointer<UInt8>
    private let areaBytes = Staging.bytesMax + EventRules().eventBytesMax
    private(set) var events: [StagedEvent] = []
    private var used = 0

    init() {
        let pages = mmap(nil, areaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        precondition(pages != MAP_FAILED, "no address space for a batch")
        area = pages!.bindMemory(to: UInt8.self, capacity: areaBytes)
        events.reserveCapacity(Staging.eventsMax)
    }

    deinit { munmap(area, areaBytes) }

    /// Checks one event and adds it. What was added before stays if it is refused.
    mutating func add(_ text: Span<UInt8>, rules: EventRules) throws(EventFault) {
        guard text.count <= rules.eventBytesMax, used + text.count <= areaBytes else {
            throw EventFault(.tooLarge, at: rules.eventBytesMax)
        }
        let record = try JSONScanner.compact(text, rules: rules, into: area + used)
        events.append(StagedEvent(offset: used, record: record))
        used += record.length
    }

    /// The compacted bytes of a staged event. Valid until `removeAll`.
    func bytes(of event: StagedEvent) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: area + event.offset, count: event.record.length)
    }

    /// Forgets the batch.
    mutating func removeAll() {
        events.removeAll(keepingCapacity: true)
        used = 0
    }
}
