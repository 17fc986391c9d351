/// Counts what a table of state holds from scratch: for tests and the simulation.

import Wire

extension StateTable {
    /// The same as `bytes` with the lines counted anew. O(places).
    func countedBytes() -> Int {
        var lines = 0
        for place in 0..<slab.end where !slab.rows[place].pointee.flags.contains(.free) {
            lines += Int(slab.rows[place].pointee.capacity) + StateRow.allocationBytes
        }
        return bytes - bufferBytes + lines
    }

    /// What is wrong, if anything is: the order, what is found by key, and the sums. O(rows).
    func audit() -> String? {
        var live = 0
        var removed = 0
        var superseded = 0
        var seq: UInt64 = 0
        var removedCost = 0
        var place = first
        var before = StateRow.none
        while place != StateRow.none {
            let row = self[place]
            if row.flags.contains(.free) { return "a row in the list is free" }
            if row.previous != before { return "the row of \(row.seq) does not know what is before it" }
            if row.seq < seq { return "the row of \(row.seq) stands behind that of \(seq)" }
            seq = row.seq
            if row.isSuperseded {
                superseded += 1
            } else {
                if self.row(row.digest)?.seq != row.seq { return "the row of \(row.seq) is not found by its key" }
                if row.isRemoved { removed += 1 } else { live += 1 }
                if row.isRemoved { removedCost += row.cost }
            }
            before = place
            place = row.next
        }
        if live != count || removed != removedCount {
            return "\(live) rows and \(removed) removed ones where \(count) and \(removedCount) are counted"
        }
        // Those in lists that were detached are not seen.
        if superseded > supersededCount { return "\(superseded) superseded rows of \(supersededCount)" }
        if removedCost != removedBytes { return "removed rows cost \(removedCost), not \(removedBytes)" }
        return nil
    }
}
