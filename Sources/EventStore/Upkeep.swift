/// What keeps the files small and numbering ahead of use: checkpoints, giving pages back, reserving numbers, probing.

extension EventStore {
    /// Copies the write-ahead log into the database and syncs both; with `emptying`, cuts the log's file to nothing,
    /// which gives its space back to a full disk.
    package func checkpoint(emptying: Bool = false) throws(StoreFault) {
        try checkPlace()
        try database.checkpoint(emptying: emptying)
        noteSynced()
    }

    /// Notes that the disk has everything that is committed.
    func noteSynced() {
        syncedHead = head
        isAllSynced = true
    }

    /// Gives up to `StoreLimits.vacuumedPagesMax` unused pages back to the file system.
    ///
    /// Pages that retention frees are used again by the next events; only where more than a quarter of the file is
    /// unused, and more than a mebibyte, is the file made smaller.
    /// - Returns: whether there is more to give back.
    package func vacuum() throws(StoreFault) -> Bool {
        guard try hasSurplus() else { return false }
        try checkPlace()
        try setLevel(.committed)
        isAllSynced = false
        try database.execute("PRAGMA incremental_vacuum(\(StoreLimits.vacuumedPagesMax))", "give back pages of")
        return try hasSurplus()
    }

    private func hasSurplus() throws(StoreFault) -> Bool {
        let unused = try database.integer("PRAGMA freelist_count")
        if unused <= 256 { return false }
        return unused > (try database.integer("PRAGMA page_count")) / 4
    }

    /// Lets numbers up to `StoreLimits.reservedNumbers` behind `used` be given to events, unless at least half of that
    /// is left already. Returns when the disk knows it.
    /// - Parameter used: the greatest number that the caller has given to an event.
    package func reserve(behind used: UInt64) throws(StoreFault) {
        let wanted = used + StoreLimits.reservedNumbers
        guard wanted > reserved, wanted - reserved > StoreLimits.reservedNumbers / 2 else { return }
        try HighWater(number: wanted, seal: HighWater.isOpen).write(configuration.highWaterPath, vfs: configuration.vfs)
        reserved = wanted
    }

    /// Writes next to nothing: whether the database takes writes again. The log is emptied first, if that can be done:
    /// on a full disk its space may be all there is.
    package func probe() throws(StoreFault) {
        do {
            try checkpoint(emptying: true)
        } catch {
            guard error.isPassing else { throw error }
        }
        try write(.synced) { () throws(StoreFault) in try statements.probe.run() }
        noteSynced()
    }

    /// That the whole file is sound; else `corrupt` with the first things SQLite says. Reads everything: for tests and
    /// for an operator who asks.
    package func checkIntegrity() throws(StoreFault) {
        let said = try database.text("PRAGMA integrity_check(10)")
        guard said == "ok" else { throw database.damaged(said) }
        for row in channels.rows.values { try checkSums(of: row) }
        for table in ["state", "snapshot"] {
            let lost = "SELECT count(*) FROM \(table) WHERE channel NOT IN (SELECT id FROM channel)"
            guard try database.integer(lost) == 0 else { throw database.damaged("\(table) of no channel") }
        }
    }

    /// That a channel's row says what its events say.
    private func checkSums(of row: ChannelRow) throws(StoreFault) {
        let sums = try database.prepare(
            """
            SELECT count(*), coalesce(sum(length(line)), 0), coalesce(min(seq), 0), coalesce(max(seq), 0)
            FROM event WHERE channel = ?1
            """)
        try sums.bind(1, row.id)
        guard try sums.step() else { throw database.damaged("no sums") }
        let values = row.values
        guard sums.integer(0) == values.events, sums.integer(1) == values.bytes,
            try sums.number(2) == values.firstSeq, try sums.number(3) <= values.lastSeq,
            values.events == 0 || values.prunedSeq < values.firstSeq
        else { throw database.damaged("channel \(row.name) and its events say different things") }
    }
}
