/// What the server adds to an event.

/// An event's number and time, and which of them are put in front of it.
package struct Stamp: BitwiseCopyable, Sendable {
    /// What goes in front. `epoch` and `seq` are the SSE id in any case.
    package var members: StampMembers
    /// The numbering of `seq`.
    package var epoch: Epoch
    /// The event's number.
    package var seq: UInt64
    /// When the server accepted it: milliseconds since 1970, UTC.
    package var timeMilliseconds: Int64

    package init(members: StampMembers, epoch: Epoch, seq: UInt64, timeMilliseconds: Int64) {
        self.members = members
        self.epoch = epoch
        self.seq = seq
        self.timeMilliseconds = timeMilliseconds
    }

    /// The event's place in the order.
    package var cursor: Cursor { Cursor(epoch: epoch, seq: seq) }
}
