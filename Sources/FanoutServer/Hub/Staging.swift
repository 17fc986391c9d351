/// Events that were checked and wait to be published together.

import Glibc
import Wire

/// One checked event: its compacted bytes lie in the staging area.
struct StagedEvent: BitwiseCopyable {
    var offset: Int
    var record: EventRecord
    /// What it does to its channel's state.
    var change = StateChange.none
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
    private let records: UnsafeMutablePointer<StagedEvent>
    private var count = 0
    private var used = 0
    /// Whether any event changes its channel's state.
    private(set) var hasChanges = false
    /// Whether the last event is its channel's last.
    private(set) var endsChannel = false

    init() {
        let pages = mmap(nil, areaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        precondition(pages != MAP_FAILED, "no address space for a batch")
        area = pages!.bindMemory(to: UInt8.self, capacity: areaBytes)
        records = .allocate(capacity: Staging.eventsMax)
    }

    deinit {
        munmap(area, areaBytes)
        records.deallocate()
    }

    /// What was added, in order. Valid until `removeAll`.
    var events: UnsafeBufferPointer<StagedEvent> { UnsafeBufferPointer(start: records, count: count) }

    /// Whether it holds as much as a batch may: another event might not fit.
    var isFull: Bool { count == Self.eventsMax || used >= Self.bytesMax }

    /// Whether two events are of one kind, written in one way, or of none.
    func areOfOneKind(_ first: StagedEvent, _ second: StagedEvent) -> Bool {
        guard let firstKind = first.record.kind, let secondKind = second.record.kind else {
            return first.record.kind == nil && second.record.kind == nil
        }
        return first.record.kindIsEscaped == second.record.kindIsEscaped
            && bytes(of: first)[firstKind.range].elementsEqual(bytes(of: second)[secondKind.range])
    }

    /// Checks one event and adds it; the caller sees to it that they are `eventsMax` at most. What was added before
    /// stays if it is refused.
    mutating func add(_ text: Span<UInt8>, rules: EventRules) throws(EventFault) {
        guard text.count <= rules.eventBytesMax, used + text.count <= areaBytes else {
            throw EventFault(.tooLarge, at: rules.eventBytesMax)
        }
        precondition(count < Staging.eventsMax, "a batch has more events than it may")
        let record = try JSONScanner.compact(text, rules: rules, into: area + used)
        (records + count).initialize(to: StagedEvent(offset: used, record: record))
        count += 1
        used += record.length
    }

    /// What the event that was added last does to its channel's state.
    mutating func setChange(_ change: StateChange) {
        records[count - 1].change = change
        if change != .none { hasChanges = true }
    }

    /// No event follows the one that was added last.
    mutating func setEndsChannel() { endsChannel = true }

    /// Takes back the event that was added last.
    mutating func removeLast() {
        count -= 1
        used = records[count].offset
    }

    /// Stages an event again that was staged before, compacted as it was left.
    mutating func restore(_ bytes: UnsafeBufferPointer<UInt8>, _ record: EventRecord, _ change: StateChange) {
        precondition(count < Staging.eventsMax && used + bytes.count <= areaBytes, "more is staged than was before")
        if let base = bytes.baseAddress { (area + used).update(from: base, count: bytes.count) }
        (records + count).initialize(to: StagedEvent(offset: used, record: record))
        count += 1
        used += bytes.count
        setChange(change)
    }

    /// The compacted bytes of a staged event. Valid until `removeAll`.
    func bytes(of event: StagedEvent) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: area + event.offset, count: event.record.length)
    }

    /// Forgets the batch.
    mutating func removeAll() {
        count = 0
        used = 0
        hasChanges = false
        endsChannel = false
    }
}
