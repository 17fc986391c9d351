/// How far somebody has come who goes over the rows of channels' state.

import Planted

/// A walk over rows that takes several turns: what it has not come to yet must not go meanwhile.
struct StateWalk: BitwiseCopyable {
    /// Rows with smaller numbers were all passed.
    var from: UInt64
    /// Rows with greater numbers are not its business.
    let head: UInt64

    func needs(_ row: StateRow) -> Bool {
        if isPlanted("nextRowNotKept"), row.seq == from { return false }
        return row.seq >= from && row.seq <= head
    }
}
