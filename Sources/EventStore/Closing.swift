/// The clean end: after it, and only then, the numbering goes on at the next start.

extension EventStore {
    /// Closes the database. After this nothing of the store works any more, unless `isOpen` says so: then it could not
    /// say that the end is clean, and all is as it was.
    ///
    /// - Parameters:
    ///   - used: the greatest number that the caller has given to an event, whether it was stored or refused.
    ///   - isWhole: whether every event that anybody may have seen is stored. If not, the end is not a clean one.
    package func close(used: UInt64, isWhole: Bool) throws(StoreFault) {
        let last = max(used, head)
        if isWhole {
            try write(.synced) { () throws(StoreFault) in
                try database.execute("UPDATE log SET head = \(last), clean = 1 WHERE id = 1", "close")
            }
        }
        isOpen = false
        statements.finish()
        do {
            try database.checkpoint(emptying: true)
        } catch {
            // Without space what the log holds stays in the log, which is as good.
            guard error.isPassing else { throw error }
        }
        try database.close()
        guard isWhole else { return }
        // The seal comes last: it is the time of a change that nothing changes any more.
        let seal = configuration.vfs == nil ? FileIdentity(of: configuration.path)?.changed ?? 0 : 0
        try HighWater(number: last, seal: seal).write(configuration.highWaterPath, vfs: configuration.vfs)
    }
}
