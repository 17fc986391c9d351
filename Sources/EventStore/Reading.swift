/// Reading events, a page at a time.

extension EventStore {
    /// The next events from a place on: at most `StoreLimits.pageRowsMax` of them and about `pageBytesMax` bytes, at
    /// least one where there is one. O(log n) to find the place.
    ///
    /// A few channels are read through their index. Where many are asked for, a page looks at `scannedRowsMax` events
    /// of all channels, and may come out empty before the end.
    package func read(_ query: StoreQuery) throws(StoreFault) -> StoredPage {
        let rowsMax = min(max(query.rowsMax, 1), StoreLimits.pageRowsMax)
        var builder = PageBuilder(place: query.place, head: head, channels: channels)
        guard let names = query.channels else {
            try scan(query.place, rowsMax: rowsMax, rowsSeenMax: rowsMax, of: nil, into: &builder)
            return builder.finished()
        }
        let rows = Set(names).compactMap { channels[$0] }.filter { $0.mayHave(query.place) }
        if rows.isEmpty {
            builder.reachEnd()
        } else if rows.count <= StoreLimits.mergedChannelsMax {
            try merge(rows, query.place, rowsMax: rowsMax, into: &builder)
        } else {
            try scan(
                query.place, rowsMax: rowsMax, rowsSeenMax: StoreLimits.scannedRowsMax, of: Set(rows.map(\.id)),
                into: &builder)
        }
        return builder.finished()
    }

    /// Takes events in their order, those of `wanted` channels, until one of the limits is reached.
    private func scan(
        _ place: StoreQuery.Place, rowsMax: Int, rowsSeenMax: Int, of wanted: Set<Int64>?,
        into builder: inout PageBuilder
    ) throws(StoreFault) {
        let select: Statement
        switch place {
        case .after(let seq):
            select = statements.eventsAfter
            try select.bind(1, min(seq, UInt64(StoreLimits.numberMax)))
        case .before(let seq):
            select = statements.eventsBefore
            try select.bind(1, min(seq, UInt64(StoreLimits.numberMax) + 1))
        }
        // One more, to know whether there is more.
        try select.bind(2, Int64(rowsSeenMax + 1))
        defer { select.reset() }
        var seen = 0
        while try select.step() {
            if seen == rowsSeenMax || builder.isFull(rowsMax) { return }
            seen += 1
            if let wanted, !wanted.contains(select.integer(1)) {
                try builder.pass(select, database)
            } else {
                try builder.add(select, database)
            }
        }
        builder.reachEnd()
    }

    /// Takes the next numbers of each channel from its index, puts them in order, and then takes the events.
    ///
    /// Of many channels only some numbers are taken. What is behind the last number of a channel that has more could be
    /// behind that channel's next one: it is left to the next page.
    private func merge(
        _ rows: [ChannelRow], _ place: StoreQuery.Place, rowsMax: Int, into builder: inout PageBuilder
    ) throws(StoreFault) {
        let isForwards = if case .after = place { true } else { false }
        let count = min(rowsMax + 1, max(StoreLimits.mergedNumbersMin, 4 * rowsMax / rows.count))
        var seqs: [UInt64] = []
        var end: UInt64?
        for row in rows {
            let before = seqs.count
            try addNumbers(of: row, place, count: count, to: &seqs)
            guard seqs.count - before == count, let last = seqs.last else { continue }
            end = isForwards ? min(end ?? last, last) : max(end ?? last, last)
        }
        if let end { seqs.removeAll { isForwards ? $0 > end : $0 < end } }
        seqs.sort()
        if !isForwards { seqs.reverse() }
        let wanted = Set(rows.map(\.id))
        let select = statements.event
        defer { select.reset() }
        for seq in seqs.prefix(rowsMax) {
            if builder.isFull(rowsMax) { return }
            try select.bind(1, seq)
            guard try select.step(), wanted.contains(select.integer(1)) else {
                throw database.damaged("event \(seq) is in an index only")
            }
            try builder.add(select, database)
            select.reset()
        }
        if end == nil, seqs.count <= rowsMax { builder.reachEnd() }
    }

    /// Adds at most `count` numbers of a channel, in the query's direction.
    private func addNumbers(
        of row: ChannelRow, _ place: StoreQuery.Place, count: Int, to seqs: inout [UInt64]
    ) throws(StoreFault) {
        let select: Statement
        switch place {
        case .after(let seq):
            select = statements.channelAfter
            try select.bind(2, min(seq, UInt64(StoreLimits.numberMax)))
        case .before(let seq):
            select = statements.channelBefore
            try select.bind(2, min(seq, UInt64(StoreLimits.numberMax) + 1))
        }
        try select.bind(1, row.id)
        try select.bind(3, Int64(count))
        defer { select.reset() }
        while try select.step() { seqs.append(try select.number(0)) }
    }
}

extension ChannelRow {
    /// Whether the channel holds anything in the direction of a query.
    fileprivate func mayHave(_ place: StoreQuery.Place) -> Bool {
        guard values.events > 0 else { return false }
        switch place {
        case .after(let seq): return values.lastSeq > seq
        case .before(let seq): return values.firstSeq < seq
        }
    }
}

/// A page while it is put together, in the order in which rows come.
private struct PageBuilder {
    private var page: StoredPage
    private let isForwards: Bool
    private let head: UInt64
    private let channels: ChannelTable
    /// Indices into the page's channels by their ids.
    private var indices: [Int64: Int] = [:]

    init(place: StoreQuery.Place, head: UInt64, channels: ChannelTable) {
        self.head = head
        self.channels = channels
        switch place {
        case .after(let seq):
            isForwards = true
            page = StoredPage(reached: seq)
        case .before(let seq):
            isForwards = false
            page = StoredPage(reached: seq)
        }
    }

    func isFull(_ rowsMax: Int) -> Bool {
        page.rows.count >= rowsMax || page.bytes.count >= StoreLimits.pageBytesMax
    }

    /// Notes that an event was looked at and not wanted.
    mutating func pass(_ row: Statement, _ database: Database) throws(StoreFault) {
        try reach(try row.number(0), database)
    }

    /// Rows out of order would have a reader go round for ever.
    private mutating func reach(_ seq: UInt64, _ database: Database) throws(StoreFault) {
        guard isForwards ? seq > page.reached : seq < page.reached else {
            throw database.damaged("event \(seq) is out of order")
        }
        page.reached = seq
    }

    mutating func reachEnd() {
        page.isLast = true
        page.reached = isForwards ? max(page.reached, head) : 0
    }

    /// Adds the row that a statement stands on.
    mutating func add(_ row: Statement, _ database: Database) throws(StoreFault) {
        let seq = try row.number(0)
        try reach(seq, database)
        let id = row.integer(1)
        let index: Int
        if let known = indices[id] {
            index = known
        } else {
            guard let channel = channels.byID[id] else { throw database.damaged("an event of no channel") }
            index = page.channels.count
            page.channels.append(channel.name)
            indices[id] = index
        }
        var kind: Range<Int>?
        if !row.isNull(3) { kind = append(try row.text(at: 3)) }
        let line = append(try row.line(at: 4))
        page.rows.append(
            StoredPage.Row(seq: seq, channel: index, timeMs: row.integer(2), kind: kind, line: line))
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) -> Range<Int> {
        let start = page.bytes.count
        page.bytes.append(contentsOf: bytes)
        return start..<page.bytes.count
    }

    /// The page, its rows in rising order.
    func finished() -> StoredPage {
        var page = page
        if !isForwards { page.rows.reverse() }
        return page
    }
}
