/// Where a reader is in the stream: what it asks for when it comes back.

import Wire

/// Follows what arrives and knows the `from` that misses nothing.
///
/// On channels whose events carry no `seq` (`"stamp": []`) the place stays where it was, so a reader that comes back
/// gets events again rather than missing some; a `$bye` tells the exact place there too.
///
/// Events between `$snapshot` and `$live` are no places: several may have one number, and behind an old one there may
/// be more history than anybody keeps. Who is cut there asks for the state again.
package struct ResumePlace {
    /// What the user asked for; nil leaves it to the server.
    private let asked: String?
    /// The last place known.
    package private(set) var cursor: Cursor?
    /// The epoch of the events that arrive now.
    private var epoch: Epoch?
    /// The cursor is the head of a `$hello` to which no place was asked for: the channel may begin its readers earlier,
    /// which the first event tells.
    private var isAssumed = false
    /// True exactly when `$snapshot` has arrived and its `$live` has not.
    private var isInState = false
    /// What the cursor was before the gap that nothing has followed yet.
    private var beforeGap: Cursor?

    /// Nothing has arrived yet; a cursor that is asked for is the place already.
    package init(asked: String?) {
        self.asked = asked
        cursor = asked.flatMap { Cursor($0) }
    }

    /// The `from` of the next connection.
    package var from: String? { isInState ? "snapshot" : cursor?.description ?? asked }

    /// A connection began, or the numbering changed.
    package mutating func hello(epoch text: String, seq: UInt64) {
        let bytes = Array(text.utf8)
        guard let epoch = Epoch(bytes.span) else { return }
        self.epoch = epoch
        guard cursor == nil else { return }
        switch asked {
        case nil, "now":
            // Only a stream that begins at the head is there already; any other has its replay before it.
            cursor = Cursor(epoch: epoch, seq: seq)
            isAssumed = asked == nil
        case "start":
            // The same place by a name that says so if this numbering is gone by the time it is asked for again.
            cursor = Cursor(epoch: epoch, seq: 0)
        default:
            break
        }
    }

    /// An event arrived.
    package mutating func event(_ line: [UInt8]) {
        beforeGap = nil
        guard !isInState, let epoch, let seq = Self.stampedSeq(line) else { return }
        // Numbers rise. One that does not is a snapshot's, or the producer's own where the server stamps nothing.
        if let cursor, !isAssumed, cursor.epoch == epoch, seq <= cursor.seq { return }
        isAssumed = false
        cursor = Cursor(epoch: epoch, seq: seq)
    }

    /// Events were missed and the server has said so: those up to `to` need not be asked for again. Where the place
    /// asked for means nothing to the server (`ahead`, `unknown_epoch`), all that it holds follows. A gap in an earlier
    /// numbering (`rewound`) leaves the place as it is until the first event of the present one. What is left of a
    /// stretch that was `conflated` follows the gap and moves the place itself.
    package mutating func gap(why: String, epoch text: String?, to: UInt64?) {
        guard !isInState, why != "conflated", let epoch, text == nil || text == epoch.description else { return }
        beforeGap = cursor
        if let to {
            cursor = Cursor(epoch: epoch, seq: to)
        } else if why == "ahead" || why == "unknown_epoch" {
            cursor = Cursor(epoch: epoch, seq: 0)
        } else {
            return
        }
        isAssumed = false
    }

    /// The present state follows. A gap before it meant that the state stands for what was missed, and a `$hello` that
    /// it is where the stream begins: neither is a place before the state is complete.
    package mutating func snapshot() {
        isInState = true
        if let place = beforeGap { cursor = place }
        if isAssumed { cursor = nil }
        beforeGap = nil
        isAssumed = false
    }

    /// The state is complete as of `seq`.
    package mutating func live(seq: UInt64) {
        isInState = false
        guard let epoch else { return }
        cursor = Cursor(epoch: epoch, seq: seq)
    }

    /// The server closes after the event at `last`.
    package mutating func bye(last text: String?) {
        guard !isInState, let text, let last = Cursor(text), last.epoch == epoch else { return }
        if let cursor, cursor.epoch == epoch, last.seq <= cursor.seq { return }
        cursor = last
    }

    /// The number of an event that begins with `{"seq":`.
    package static func stampedSeq(_ line: [UInt8]) -> UInt64? {
        let prefix = Array(#"{"seq":"#.utf8)
        guard line.starts(with: prefix) else { return nil }
        let digits = line[prefix.count...].prefix { $0 >= 0x30 && $0 <= 0x39 }
        return digits.isEmpty ? nil : DecimalText.parse(digits.span)
    }
}
