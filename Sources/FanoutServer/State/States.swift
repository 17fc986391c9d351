/// The state of all channels: their tables, and what these come to.

import Wire

/// Tables by number, and sums that cost O(1). Loop thread only.
///
/// All changes go through here, so that the sums are right and a walk finds what it needs.
struct States: ~Copyable {
    /// No table.
    static let none: Int32 = -1

    private var tables: [UnsafeMutablePointer<StateTable>] = []
    private var secrets: (UInt64, UInt64) = (0, 0)
    /// Of removals up to here nothing is known where a table has none: the newest event at the start.
    private let bornAt: UInt64
    /// What all tables may take, but for what was removed and for what a walk still needs.
    private(set) var bytesMax = Int.max
    /// What they take; what that is of removed keys, and of rows that are only there for a walk.
    private(set) var bytes = 0
    private(set) var removedBytes = 0
    private(set) var supersededBytes = 0
    /// Keys of which there is something to know.
    private(set) var rowCount = 0
    /// What events will add that have numbers and that nobody has seen yet, by key and altogether.
    private var pending: [PendingKey: Pending] = [:]
    private(set) var pendingBytes = 0
    /// The walk that is under way. There is one at a time.
    private(set) var walk: StateWalk?
    /// Tables that kept something for it.
    private var walked: [Int32] = []
    /// The table whose removals are forgotten next when room is needed.
    private var shedding = 0

    /// - Parameter head: the newest event of the database.
    init(head: UInt64) { bornAt = head }

    deinit {
        for table in tables {
            table.deinitialize(count: 1)
            table.deallocate()
        }
    }

    /// Before the first change: what they may take, and numbers that nobody can know.
    mutating func prepare(bytesMax: Int, secrets: (UInt64, UInt64)) {
        self.bytesMax = bytesMax
        self.secrets = secrets
    }

    /// A channel's table.
    subscript(number: Int32) -> StateTable {
        unsafeAddress { UnsafePointer(tables[Int(number)]) }
    }

    /// How many tables there are.
    var tableCount: Int { tables.count }

    /// From where on removals are known; `none` is a channel that keeps state and has had none since the start.
    func removalsKnownFrom(_ number: Int32) -> UInt64 {
        number == Self.none ? bornAt : tables[Int(number)].pointee.removalsKnownFrom
    }

    // MARK: Changes

    /// A new table.
    mutating func makeTable() -> Int32 {
        let table = UnsafeMutablePointer<StateTable>.allocate(capacity: 1)
        table.initialize(to: StateTable(secrets: secrets, removalsKnownFrom: bornAt))
        tables.append(table)
        bytes += table.pointee.bytes
        return Int32(tables.count - 1)
    }

    /// Does to a table what an event of these bytes and this number does to its state.
    /// - Parameter isDerived: whether the state follows from every event, or is what a producer says now and then.
    mutating func apply(
        _ change: StateChange, to number: Int32, _ line: UnsafeBufferPointer<UInt8>, seq: UInt64, isDerived: Bool
    ) {
        switch change {
        case .none: return
        case .put(let digest): self.change(number) { $0.put(digest, line, seq: seq, $1) }
        case .remove(let digest): self.change(number) { $0.remove(digest, line, seq: seq, $1) }
        case .reset(let digest):
            self.change(number) {
                $0.reset(digest, line, seq: seq, $1)
                $0.asOf = isDerived ? nil : seq
            }
        }
        makeRoom()
    }

    /// Begins a state that a producer made; `append` adds its rows.
    mutating func replaceAll(_ number: Int32, asOf place: UInt64) {
        change(number) { $0.replaceAll(asOf: place, $1) }
    }

    /// See `replaceAll`.
    mutating func append(_ line: UnsafeBufferPointer<UInt8>, to number: Int32) {
        change(number) { table, _ in table.append(line) }
    }

    /// Forgets a channel's state, as of an event.
    mutating func removeAll(_ number: Int32, at seq: UInt64) {
        change(number) { $0.removeAll(at: seq, $1) }
    }

    /// Runs a channel's rows through other rules; see `StateTable.rederive`. O(rows).
    mutating func rederive(
        _ number: Int32, at head: UInt64, isDerived: Bool, rekeyed: (ContentDigest, ContentDigest?) -> Void,
        by rule: (Span<UInt8>) -> StateChange
    ) {
        change(number) {
            $0.rederive(at: head, $1, rekeyed: rekeyed, by: rule)
            if isDerived || $0.count == 0 { $0.asOf = nil }
        }
    }

    private mutating func change(_ number: Int32, _ body: (inout StateTable, StateWalk?) -> Void) {
        let table = tables[Int(number)]
        let before = (table.pointee.bytes, table.pointee.removedBytes, table.pointee.supersededBytes)
        let rowsBefore = table.pointee.count
        let keptBefore = table.pointee.supersededCount
        body(&table.pointee, walk)
        bytes += table.pointee.bytes - before.0
        removedBytes += table.pointee.removedBytes - before.1
        supersededBytes += table.pointee.supersededBytes - before.2
        rowCount += table.pointee.count - rowsBefore
        if keptBefore == 0, table.pointee.supersededCount > 0 { walked.append(number) }
    }

    // MARK: Limits

    /// Whether so many bytes more may be kept. What is not there yet counts, what was removed gives way.
    func hasRoom(for growth: Int) -> Bool {
        growth <= 0 || bytes - removedBytes - supersededBytes + pendingBytes + growth <= bytesMax
    }

    /// Whether what is staged might not fit: only then it has to be looked at.
    var isNearlyFull: Bool { !hasRoom(for: Self.stagedBytesMax) }

    /// The most that staged events can add: their bytes, and for each a row and what is stamped.
    private static let stagedBytesMax = 2 << 20

    /// What was removed goes where there is no room for it, the oldest of a table first.
    private mutating func makeRoom() {
        while removedBytes > 0, bytes - supersededBytes > bytesMax {
            if shedding >= tables.count { shedding = 0 }
            if tables[shedding].pointee.removedCount == 0 {
                shedding += 1
            } else {
                change(Int32(shedding)) { $0.forgetOldestRemoval($1) }
            }
        }
    }

    /// What a key costs now, and when events have been shown that are held back; 0 where it is not there.
    func cost(of key: ContentDigest, in number: Int32) -> Int {
        guard number != Self.none else { return 0 }
        let cost = rowCost(key, number)
        guard let pending = pending[PendingKey(table: number, key: key)] else { return cost }
        return max(cost, pending.cost)
    }

    private func rowCost(_ key: ContentDigest, _ number: Int32) -> Int {
        guard let row = tables[Int(number)].pointee.row(key), row.isLive else { return 0 }
        return row.cost
    }

    /// What goes when a table's state is replaced as a whole.
    func replaceableBytes(of number: Int32) -> Int {
        guard number != Self.none else { return 0 }
        let table = tables[Int(number)]
        return table.pointee.bytes - table.pointee.removedBytes - table.pointee.supersededBytes
    }

    // MARK: What is held back

    /// An event was accepted, and nobody has seen it yet: its key will cost so much.
    mutating func hold(_ key: ContentDigest, in number: Int32, cost: Int) {
        let place = PendingKey(table: number, key: key)
        var entry = pending[place] ?? Pending()
        entry.events += 1
        entry.cost = max(entry.cost, cost)
        charge(&entry, place)
        pending[place] = entry
    }

    /// Such an event is shown, after its change was applied.
    mutating func show(_ key: ContentDigest, in number: Int32) {
        let place = PendingKey(table: number, key: key)
        guard var entry = pending[place] else { return }
        entry.events -= 1
        if entry.events == 0 {
            pendingBytes -= entry.charged
            pending[place] = nil
            if pending.isEmpty { pending = [:] }
        } else {
            charge(&entry, place)
            pending[place] = entry
        }
    }

    private mutating func charge(_ entry: inout Pending, _ place: PendingKey) {
        let charged = max(0, entry.cost - rowCost(place.key, place.table))
        pendingBytes += charged - entry.charged
        entry.charged = charged
    }

    /// What it takes to know what is held back.
    var pendingBytesHeld: Int {
        pending.capacity * (MemoryLayout<PendingKey>.stride + MemoryLayout<Pending>.stride + 1)
    }

    // MARK: Walks

    /// Begins to go over rows as they are now, none of which goes before `walkPassed` has said so.
    mutating func beginWalk(head: UInt64) {
        precondition(walk == nil, "one walk at a time")
        walk = StateWalk(from: 0, head: head)
    }

    /// All rows below a number were passed, in every table.
    mutating func walkPassed(below seq: UInt64) { walk?.from = seq }

    /// Moves a walk on from a row that it has been at.
    mutating func step(_ number: Int32, over place: UInt32) -> UInt32 {
        var next = StateRow.none
        change(number) { table, _ in next = table.step(over: place) }
        return next
    }

    /// The walk is over, at its end or not: what was kept for it goes. O(that).
    mutating func endWalk() {
        walk = nil
        for number in walked { change(number) { table, _ in table.walkEnded() } }
        walked.removeAll(keepingCapacity: true)
    }
}

/// A key of which an event is held back.
private struct PendingKey: Hashable {
    var table: Int32
    var key: ContentDigest
}

/// What is held back of a key.
private struct Pending {
    var events = 0
    /// What the largest of them costs, and what that is more than the key costs now.
    var cost = 0
    var charged = 0
}
