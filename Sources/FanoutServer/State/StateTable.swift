/// The present state of one channel: the newest event of each key, in the order of their numbers.

import Glibc
import Planted
import Wire

/// Rows by key and by number. Every change costs O(1) on average, whatever the table holds; what replaces the whole
/// state costs O(rows).
///
/// ```
///  first ---------------------------------> last        rising seq
///  [row][superseded][row][removed][row] ... [row]
///                         ^ also in a list of their own, the oldest first, as the superseded are
/// ```
/// A key that was removed leaves a row with the event that removed it: for readers that are brought up to date. The
/// oldest of these are forgotten when there are more than `removedMost`.
struct StateTable: ~Copyable {
    private(set) var slab = StateSlab()
    private var index: DigestIndex
    private var indexPlaces = DigestIndex.placesMin / 2
    /// While the index grows: the one before, and the place from which on rows are only in that one.
    private var older: DigestIndex?
    private var moved: UInt32 = 0
    private let secrets: (UInt64, UInt64)

    /// The row with the smallest number; the others follow by `next`.
    private(set) var first = StateRow.none
    private(set) var last = StateRow.none
    private var firstRemoved = StateRow.none
    private var lastRemoved = StateRow.none
    private var firstSuperseded = StateRow.none

    /// Keys of which there is something to know.
    private(set) var count = 0
    /// Keys of which it is known that they were removed.
    private(set) var removedCount = 0
    private(set) var supersededCount = 0
    /// What the lines' buffers take; and what the removed and the superseded cost.
    private(set) var bufferBytes = 0
    private(set) var removedBytes = 0
    private(set) var supersededBytes = 0
    /// Every removal with a number above this one is known.
    private(set) var removalsKnownFrom: UInt64
    /// The number of the newest event that changed anything, and how often that has happened.
    private(set) var lastChange: UInt64 = 0
    private(set) var version: UInt64 = 1
    /// Of a state that a producer made as a whole: its place. nil where it follows from every event.
    var asOf: UInt64?

    /// Rows of removed keys that are kept in any case.
    static let removedLeast = 1024

    /// - Parameter removalsKnownFrom: nothing is known of removals up to there.
    init(secrets: (UInt64, UInt64), removalsKnownFrom: UInt64) {
        self.secrets = secrets
        self.removalsKnownFrom = removalsKnownFrom
        index = DigestIndex(places: DigestIndex.placesMin / 2, secrets: secrets)
    }

    /// What it holds in memory, or soon may: rows, index, which takes the most just after it has grown, and lines.
    var bytes: Int {
        Self.recordBytes + slab.capacity * MemoryLayout<StateRow>.stride + bufferBytes
            + max(index.bytesHeld + olderBytes, (count + removedCount) * StateRow.indexBytes)
    }

    private var olderBytes: Int {
        switch older {
        case .some(let older): older.bytesHeld
        case .none: 0
        }
    }

    /// A table without rows, and its place among the tables.
    static let recordBytes = MemoryLayout<StateTable>.stride + 64
    /// What a table costs with its first rows, these left aside.
    static let emptyBytes = recordBytes + StateSlab.leastRows * MemoryLayout<StateRow>.stride

    /// A row by its place, from `first` on.
    subscript(place: UInt32) -> StateRow { slab.rows[place].pointee }

    /// The row of a key, if anything is known of it.
    func row(_ digest: ContentDigest) -> StateRow? { find(digest).map { slab.rows[$0].pointee } }

    // MARK: Changes

    /// The event is what there is to know of its key.
    mutating func put(_ digest: ContentDigest, _ line: UnsafeBufferPointer<UInt8>, seq: UInt64, _ walk: StateWalk?) {
        changed(seq)
        guard let place = find(digest) else { return insert(digest, line, seq) }
        let row = slab.rows[place]
        if let walk, walk.needs(row.pointee) {
            supersede(place)
            return insert(digest, line, seq)
        }
        let moves = !isPlanted("stateRowKeepsItsPlace")
        if moves { unlink(place) }
        if row.pointee.isRemoved {
            forgetRemoved(place)
            count += 1
            row.pointee.flags = []
        }
        write(line, seq, to: place)
        if moves { append(place) }
    }

    /// The event removes its key: if anything is known of that, the event is known in its place. False where nothing
    /// was.
    @discardableResult
    mutating func remove(
        _ digest: ContentDigest, _ line: UnsafeBufferPointer<UInt8>, seq: UInt64, _ walk: StateWalk?
    ) -> Bool {
        guard find(digest) != nil else { return false }
        put(digest, line, seq: seq, walk)
        guard let place = find(digest) else { preconditionFailure("what was put is found") }
        count -= 1
        if !isPlanted("removedRowCountsAsLive") { slab.rows[place].pointee.flags = .removed }
        noteRemoved(place)
        while removedCount > max(Self.removedLeast, count) { forgetOldestRemoval(walk) }
        compact(walk)
        return true
    }

    /// Forgets the removal that is the longest ago, if any is known.
    mutating func forgetOldestRemoval(_ walk: StateWalk?) {
        guard firstRemoved != StateRow.none else { return }
        removalsKnownFrom = max(removalsKnownFrom, slab.rows[firstRemoved].pointee.seq)
        drop(firstRemoved, walk)
        compact(walk)
    }

    /// The event is the whole state.
    mutating func reset(_ digest: ContentDigest, _ line: UnsafeBufferPointer<UInt8>, seq: UInt64, _ walk: StateWalk?) {
        changed(seq)
        if !isPlanted("stateResetKeepsRows") { detachAll(walk) }
        compact(walk)
        insert(digest, line, seq)
        // Whatever was removed before: who is behind is sent this.
        removalsKnownFrom = 0
    }

    /// The whole state is what a producer says it is, as of a place: the rows that `append` adds.
    mutating func replaceAll(asOf place: UInt64, _ walk: StateWalk?) {
        changed(place)
        detachAll(walk)
        compact(walk)
        asOf = place
        removalsKnownFrom = 0
    }

    /// Adds a row of a state that a producer made. `line` is an event as readers see it, with the state's own number.
    mutating func append(_ line: UnsafeBufferPointer<UInt8>) {
        guard let asOf else { preconditionFailure("rows are added to what a producer made") }
        insert(Self.producedKey(count), line, asOf)
    }

    /// The key of a row of a state that a producer made: its place there.
    static func producedKey(_ number: Int) -> ContentDigest { ContentDigest(high: 0, low: UInt64(number)) }

    /// Forgets everything.
    mutating func removeAll(at seq: UInt64, _ walk: StateWalk?) {
        changed(seq)
        detachAll(walk)
        asOf = nil
        removalsKnownFrom = max(removalsKnownFrom, seq)
        compact(walk)
    }

    /// Runs every row through other rules: it gets another key, or goes. What was removed is not known any more.
    /// - Parameters:
    ///   - head: the newest event.
    ///   - rekeyed: is told of each row that gets another key, or goes: then of none.
    mutating func rederive(
        at head: UInt64, _ walk: StateWalk?, rekeyed: (ContentDigest, ContentDigest?) -> Void,
        by change: (Span<UInt8>) -> StateChange
    ) {
        changed(head)
        while removedCount > 0 { forgetOldestRemoval(walk) }
        removalsKnownFrom = max(removalsKnownFrom, head)
        older = nil
        index = DigestIndex(places: indexPlaces, secrets: secrets)
        var place = first
        while place != StateRow.none {
            let row = slab.rows[place]
            let next = row.pointee.next
            if row.pointee.isLive {
                let key = row.pointee.digest
                switch change(row.pointee.bytes.span) {
                case .put(let digest):
                    if digest != key { rekeyed(key, digest) }
                    rekey(place, digest, walk)
                case .reset(let digest):
                    if digest != key { rekeyed(key, digest) }
                    dropAll(before: place, walk)
                    rekey(place, digest, walk)
                case .none, .remove:
                    rekeyed(key, nil)
                    dropUnindexed(place, walk)
                }
            }
            place = next
        }
        compact(walk)
    }

    private mutating func rekey(_ place: UInt32, _ digest: ContentDigest, _ walk: StateWalk?) {
        if let other = find(digest) { drop(other, walk) }
        slab.rows[place].pointee.digest = digest
        index.insert(digest, place: place)
    }

    private mutating func dropAll(before end: UInt32, _ walk: StateWalk?) {
        var place = first
        while place != end {
            let next = slab.rows[place].pointee.next
            if slab.rows[place].pointee.isLive { drop(place, walk) }
            place = next
        }
    }

    private mutating func changed(_ seq: UInt64) {
        lastChange = max(lastChange, seq)
        version &+= 1
    }

    // MARK: Walking

    /// What follows a row that a walk has been at; nothing is known of that row then.
    mutating func step(over place: UInt32) -> UInt32 {
        let next = slab.rows[place].pointee.next
        if slab.rows[place].pointee.isSuperseded { freeSuperseded(place) }
        return next
    }

    /// No walk needs what is superseded any more. O(superseded rows).
    mutating func walkEnded() {
        while firstSuperseded != StateRow.none { freeSuperseded(firstSuperseded) }
        compact(nil)
    }

    // MARK: Rows

    private mutating func insert(_ digest: ContentDigest, _ line: UnsafeBufferPointer<UInt8>, _ seq: UInt64) {
        growIndex()
        let place = slab.take()
        slab.rows[place].initialize(to: .freed)
        slab.rows[place].pointee.flags = []
        slab.rows[place].pointee.digest = digest
        write(line, seq, to: place)
        append(place)
        index.insert(digest, place: place)
        count += 1
    }

    /// Takes a row out that is in the index, or leaves it to a walk that needs it.
    private mutating func drop(_ place: UInt32, _ walk: StateWalk?) {
        unindex(place)
        dropUnindexed(place, walk)
    }

    private mutating func dropUnindexed(_ place: UInt32, _ walk: StateWalk?) {
        if let walk, walk.needs(slab.rows[place].pointee) { return becomeSuperseded(place) }
        if slab.rows[place].pointee.isRemoved { forgetRemoved(place) } else { count -= 1 }
        free(place)
    }

    /// Keeps a row for a walk, in its place, although its key is something else now.
    private mutating func supersede(_ place: UInt32) {
        unindex(place)
        becomeSuperseded(place)
    }

    private mutating func becomeSuperseded(_ place: UInt32) {
        let row = slab.rows[place]
        if row.pointee.isRemoved { forgetRemoved(place) } else { count -= 1 }
        row.pointee.flags.insert(.superseded)
        row.pointee.before = StateRow.none
        row.pointee.after = firstSuperseded
        if firstSuperseded != StateRow.none { slab.rows[firstSuperseded].pointee.before = place }
        firstSuperseded = place
        supersededCount += 1
        supersededBytes += row.pointee.cost
    }

    private mutating func freeSuperseded(_ place: UInt32) {
        let row = slab.rows[place].pointee
        if row.before == StateRow.none { firstSuperseded = row.after }
        if row.before != StateRow.none { slab.rows[row.before].pointee.after = row.after }
        if row.after != StateRow.none { slab.rows[row.after].pointee.before = row.before }
        supersededCount -= 1
        supersededBytes -= row.cost
        free(place)
    }

    /// Everything goes; what a walk needs stays in a list of its own, in which it finds its way.
    private mutating func detachAll(_ walk: StateWalk?) {
        var place = first
        while place != StateRow.none {
            let row = slab.rows[place].pointee
            if !row.isSuperseded { drop(place, walk) }
            place = row.next
        }
        first = StateRow.none
        last = StateRow.none
    }

    /// Puts a row behind the removed ones.
    private mutating func noteRemoved(_ place: UInt32) {
        let row = slab.rows[place]
        row.pointee.before = lastRemoved
        row.pointee.after = StateRow.none
        if lastRemoved == StateRow.none { firstRemoved = place } else { slab.rows[lastRemoved].pointee.after = place }
        lastRemoved = place
        removedCount += 1
        removedBytes += row.pointee.cost
    }

    /// Takes a row out of the list of removed ones.
    private mutating func forgetRemoved(_ place: UInt32) {
        let row = slab.rows[place].pointee
        if firstRemoved == place { firstRemoved = row.after }
        if lastRemoved == place { lastRemoved = row.before }
        if row.before != StateRow.none { slab.rows[row.before].pointee.after = row.after }
        if row.after != StateRow.none { slab.rows[row.after].pointee.before = row.before }
        removedCount -= 1
        removedBytes -= row.cost
    }

    private mutating func free(_ place: UInt32) {
        unlink(place)
        if !isPlanted("stateBytesKept") {
            bufferBytes -= Int(slab.rows[place].pointee.capacity) + StateRow.allocationBytes
        }
        slab.giveBack(place)
    }

    private mutating func append(_ place: UInt32) {
        slab.rows[place].pointee.previous = last
        slab.rows[place].pointee.next = StateRow.none
        if last == StateRow.none { first = place } else { slab.rows[last].pointee.next = place }
        last = place
    }

    /// Takes a row out of the list that it is in: the table's, or one that was detached from it.
    private mutating func unlink(_ place: UInt32) {
        let row = slab.rows[place].pointee
        if row.previous != StateRow.none { slab.rows[row.previous].pointee.next = row.next }
        if row.next != StateRow.none { slab.rows[row.next].pointee.previous = row.previous }
        if first == place { first = row.next }
        if last == place { last = row.previous }
    }

    /// Writes a line into a row, in the buffer that is there if that is about as large as it has to be.
    private mutating func write(_ line: UnsafeBufferPointer<UInt8>, _ seq: UInt64, to place: UInt32) {
        let row = slab.rows[place]
        let capacity = StateRow.capacity(line.count, seq: seq)
        if row.pointee.line == nil || capacity != row.pointee.capacity {
            if row.pointee.line != nil { bufferBytes -= Int(row.pointee.capacity) + StateRow.allocationBytes }
            Glibc.free(row.pointee.line)
            guard let buffer = malloc(capacity) else { preconditionFailure("no memory for the state of a channel") }
            row.pointee.line = buffer.bindMemory(to: UInt8.self, capacity: capacity)
            row.pointee.capacity = UInt32(capacity)
            bufferBytes += capacity + StateRow.allocationBytes
        }
        if let base = line.baseAddress { row.pointee.line?.update(from: base, count: line.count) }
        row.pointee.count = UInt32(line.count)
        row.pointee.seq = seq
    }

    // MARK: The index

    private func find(_ digest: ContentDigest) -> UInt32? {
        let rows = slab.rows
        if let place = index.find(digest, at: { rows[$0].pointee.digest }) { return place }
        switch older {
        case .some(let older): return older.find(digest, at: { rows[$0].pointee.digest })
        case .none: return nil
        }
    }

    private mutating func unindex(_ place: UInt32) {
        let rows = slab.rows
        let digest = rows[place].pointee.digest
        index.remove(digest, place: place, at: { rows[$0].pointee.digest })
        older?.remove(digest, place: place, at: { rows[$0].pointee.digest })
    }

    /// Makes room for another row. A larger index takes over a few rows with each one that is added: no single one
    /// waits for all others.
    private mutating func growIndex() {
        if older == nil {
            guard count + removedCount >= indexPlaces else { return }
            indexPlaces *= 2
            var other = DigestIndex(places: indexPlaces, secrets: secrets)
            swap(&index, &other)
            older = consume other
            moved = 0
        }
        let rows = slab.rows
        let end = min(moved + Self.movedAtOnce, slab.end)
        while moved < end {
            let row = rows[moved].pointee
            if row.flags.isDisjoint(with: [.free, .superseded]),
                index.find(row.digest, at: { rows[$0].pointee.digest }) == nil
            {
                index.insert(row.digest, place: moved)
            }
            moved += 1
        }
        if moved == slab.end { older = nil }
    }

    private static let movedAtOnce: UInt32 = 8

    // MARK: Giving memory back

    /// After many rows have gone, moves the others together. O(rows), and at least three times as many have gone since.
    private mutating func compact(_ walk: StateWalk?) {
        let rows = count + removedCount
        guard walk == nil, supersededCount == 0, slab.capacity > Self.compactLeast, rows * 4 < slab.capacity else {
            return
        }
        var other = StateTable(secrets: secrets, removalsKnownFrom: removalsKnownFrom)
        while other.indexPlaces < rows { other.indexPlaces *= 2 }
        other.index = DigestIndex(places: other.indexPlaces, secrets: secrets)
        var place = first
        while place != StateRow.none {
            other.take(slab.rows[place])
            place = slab.rows[place].pointee.next
        }
        other.lastChange = lastChange
        other.version = version
        other.asOf = asOf
        self = other
    }

    /// Below this there is little to give back.
    private static let compactLeast = 64

    /// Takes over another table's row, which is behind all that are here.
    private mutating func take(_ row: UnsafeMutablePointer<StateRow>) {
        let place = slab.take()
        slab.rows[place].initialize(to: row.pointee)
        row.pointee.line = nil
        append(place)
        index.insert(row.pointee.digest, place: place)
        bufferBytes += Int(row.pointee.capacity) + StateRow.allocationBytes
        if row.pointee.isRemoved { noteRemoved(place) } else { count += 1 }
    }
}
