/// What the store knows of its channels, in memory: the table `channel` and what is derived from it.

/// A channel's row. In a transaction that changes it, `saved` has what it was before.
final class ChannelRow {
    struct Values: Equatable {
        var isEnded = false
        /// Events held, and the bytes of their lines.
        var events: Int64 = 0
        var bytes: Int64 = 0
        /// The first and last event's numbers; `firstSeq` is 0 where none is held, `lastSeq` where none ever was.
        var firstSeq: UInt64 = 0
        var lastSeq: UInt64 = 0
        /// The newest event that retention has removed.
        var prunedSeq: UInt64 = 0
    }

    let id: Int64
    let name: String
    var values: Values
    /// What to go back to; nil outside a transaction that changes the row.
    var saved: Values?
    /// Whether the open transaction made the row.
    var isNew: Bool
    var retention: RetentionLimits

    init(id: Int64, name: String, values: Values, isNew: Bool, retention: RetentionLimits) {
        self.id = id
        self.name = name
        self.values = values
        self.isNew = isNew
        self.retention = retention
    }
}

/// All channels, by name, and what the open transaction has done to them.
struct ChannelTable {
    private(set) var rows: [String: ChannelRow] = [:]
    /// The same by their ids in the database.
    private(set) var byID: [Int64: ChannelRow] = [:]
    /// Rows that the open transaction changed or made.
    private(set) var touched: [ChannelRow] = []
    /// Limits of channels by name; others have `retention`.
    private var limits: [String: RetentionLimits] = [:]
    private let retention: RetentionLimits
    private var nextID: Int64 = 1

    init(retention: RetentionLimits) {
        self.retention = retention
    }

    subscript(name: String) -> ChannelRow? { rows[name] }

    /// Takes a row as the database has it; its id is at most `StoreLimits.numberMax`.
    mutating func load(id: Int64, name: String, values: ChannelRow.Values) {
        let row = ChannelRow(id: id, name: name, values: values, isNew: false, retention: limits(of: name))
        rows[name] = row
        byID[id] = row
        nextID = max(nextID, id + 1)
    }

    /// The channel's row, made if there is none, for a transaction that will change it.
    mutating func touch(_ name: String) -> ChannelRow {
        if let row = rows[name] {
            touch(row)
            return row
        }
        let row = ChannelRow(id: nextID, name: name, values: .init(), isNew: true, retention: limits(of: name))
        row.saved = row.values
        nextID += 1
        rows[name] = row
        byID[row.id] = row
        touched.append(row)
        return row
    }

    /// The same for a row that is at hand.
    mutating func touch(_ row: ChannelRow) {
        guard row.saved == nil else { return }
        row.saved = row.values
        touched.append(row)
    }

    /// What the open transaction did is done.
    mutating func commit() {
        for row in touched {
            row.saved = nil
            row.isNew = false
        }
        touched.removeAll(keepingCapacity: true)
    }

    /// What the open transaction did is undone.
    mutating func rollBack() {
        for row in touched {
            if row.isNew { remove(row) }
            if let saved = row.saved { row.values = saved }
            row.saved = nil
        }
        touched.removeAll(keepingCapacity: true)
    }

    /// Forgets a channel whose row is gone.
    mutating func remove(_ row: ChannelRow) {
        rows[row.name] = nil
        byID[row.id] = nil
    }

    /// Gives a channel limits of its own, whether or not it exists; nil takes them back.
    mutating func setLimits(_ limits: RetentionLimits?, of name: String) {
        self.limits[name] = limits
        rows[name]?.retention = self.limits(of: name)
    }

    private func limits(of name: String) -> RetentionLimits { limits[name] ?? retention }
}
