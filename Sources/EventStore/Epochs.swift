/// Which numberings there were, and what a reader's place in one of them means now.

import Planted
import Wire

/// A numbering that has ended: what was kept of it.
package struct Incarnation: Equatable, Sendable {
    /// Its name.
    package let epoch: Epoch
    /// The first number it could give.
    package let firstSeq: UInt64
    /// The last event that was kept when it ended. Numbers behind it may have been seen, and are lost.
    package let lastSeq: UInt64
    /// The greatest number that it is known to have given; `lastSeq` where nothing was lost, or nothing is known.
    package let usedSeq: UInt64

    /// - Parameter usedSeq: nil where nothing is known to be lost.
    package init(epoch: Epoch, firstSeq: UInt64, lastSeq: UInt64, usedSeq: UInt64? = nil) {
        self.epoch = epoch
        self.firstSeq = firstSeq
        self.lastSeq = lastSeq
        self.usedSeq = max(lastSeq, usedSeq ?? lastSeq)
    }

    /// The numbers of events that are known to be lost.
    package var lost: ClosedRange<UInt64>? { usedSeq > lastSeq ? lastSeq + 1...usedSeq : nil }
}

/// What a cursor means to a log: where reading goes on, and what to say first.
package enum CursorPlace: Equatable, Sendable {
    /// Everything after this number, without a word (what retention has removed aside).
    case after(UInt64)
    /// `from` to `to`, as the cursor's own numbering counts, were lost when it ended: what the cursor has of it, and
    /// what else is known to be lost. Then everything after `from` - 1, which may have some of the same numbers.
    case rewound(from: UInt64, to: UInt64)
    /// The present numbering has not come so far.
    case ahead
    /// No numbering of this log.
    case unknownEpoch
}

/// The present numbering and those before it. A plain value: the loop and the store each have one.
///
/// Numbers are one order over all numberings of a log: each begins behind all that the one before it may have used.
package struct Epochs: Equatable, Sendable {
    /// The present numbering.
    package var present: Epoch
    /// The first number of the present numbering.
    package var firstSeq: UInt64
    /// Those before, the oldest first.
    package var past: [Incarnation]

    package init(present: Epoch, firstSeq: UInt64, past: [Incarnation] = []) {
        self.present = present
        self.firstSeq = firstSeq
        self.past = past
    }

    /// What a cursor means where the newest event has the number `head`. O(number of incarnations).
    ///
    /// A place before the present numbering's first number is good: readers that form cursors from `$hello` and the
    /// last `seq` they saw name what an earlier numbering left by the present epoch.
    package func place(of cursor: Cursor, head: UInt64) -> CursorPlace {
        if cursor.epoch == present { return cursor.seq <= head ? .after(cursor.seq) : .ahead }
        guard let incarnation = past.last(where: { $0.epoch == cursor.epoch }) else { return .unknownEpoch }
        let isBeforeLoss = cursor.seq == incarnation.lastSeq && incarnation.lost != nil
        if cursor.seq <= incarnation.lastSeq, !isBeforeLoss { return .after(cursor.seq) }
        if isPlanted("lostTailUnsaid") { return .after(cursor.seq) }
        return .rewound(from: incarnation.lastSeq + 1, to: max(cursor.seq, incarnation.usedSeq))
    }

    /// The first of the numberings that lost events whose numbers are greater than `seq`. O(number of incarnations).
    package func nextLoss(after seq: UInt64) -> Incarnation? {
        // Most often it is asked for a place in the present one.
        seq + 1 >= firstSeq ? nil : past.first { $0.usedSeq > seq && $0.lost != nil }
    }

    /// The greatest number up to `seq` of an event that is known to be lost; 0 where there is none. The same cost.
    package func lastLost(upTo seq: UInt64) -> UInt64 {
        past.last { $0.usedSeq <= seq && $0.lost != nil }?.usedSeq ?? 0
    }
}
