/// Whether a stream was what its reader had a right to, once everything that happened is known.

/// Holds one stream against the truth: no hole without a `$gap` that covers it exactly, nothing that was not asked for.
struct StreamVerdict {
    let truth: Truth
    /// The subscriptions of the stream, in order; the second one, if any, replaced the first while it ran.
    let wanted: [Wanted]
    /// The lag policy of a reader that names none.
    let onLag: String
    /// Whether falling behind is possible at all in this world.
    let mayLag: Bool
    /// Whether the reader must have everything up to the head.
    let isComplete: Bool
    /// For a stream without `$hello`: the head when it was asked for and when the answer came.
    let begin: (low: UInt64, high: UInt64)

    func check(_ entries: [StreamRecord.Entry]) throws {
        if wanted.allSatisfy({ $0.hasControl }) {
            try checkTold(entries)
        } else {
            try checkSilent(entries)
        }
    }

    // MARK: With control records

    private struct Debt {
        var after: UInt64
        var upTo: UInt64
        var counts: [UInt32]
    }

    private func checkTold(_ entries: [StreamRecord.Entry]) throws {
        var subscription = -1
        var counts: [UInt32] = []
        /// Everything up to here that matched was delivered or is in a gap, or is owed.
        var position: UInt64 = 0
        /// What was missed before a second `$hello`: the next gap must cover it.
        var debts: [Debt] = []
        var delivered: UInt64 = 0
        var isFresh = false
        func missing(_ after: UInt64, _ upTo: UInt64) -> UInt32 {
            upTo > after ? counts[Int(upTo)] - counts[Int(after)] : 0
        }
        for (place, entry) in entries.enumerated() {
            switch entry {
            case .hello(let seq):
                subscription += 1
                guard subscription < wanted.count, seq <= truth.head else { throw Malformed("a $hello too many") }
                if subscription > 0, missing(position, seq) > 0 {
                    debts.append(Debt(after: position, upTo: seq, counts: counts))
                }
                counts = truth.counts(wanted[subscription])
                position = seq
                if subscription == 0 { delivered = seq }
                try checkStart(wanted[subscription], counts, head: seq, entries[(place + 1)...].first)
                isFresh = true
                continue
            case .event(let seq):
                guard seq <= truth.head, missing(seq - 1, seq) == 1 else { throw Malformed("\(seq) was not asked for") }
                guard debts.isEmpty, missing(position, seq - 1) == 0 else {
                    throw Malformed(
                        "\(seq) follows \(position) without a $gap for \(missing(position, seq - 1)) events")
                }
                position = seq
                delivered = seq
            case .unstamped: throw Malformed("an event without a number")
            case .gap(let from, let to, let dropped, let why):
                if isFresh, why != "lagged" { break }
                guard why == "lagged", mayLag, effectiveLag(subscription) == "gap", let from, let to, let dropped else {
                    throw Malformed("a $gap that nothing explains: \(why)")
                }
                guard to <= truth.head, from > delivered, to >= position else {
                    throw Malformed("a $gap from \(from) to \(to), but \(delivered) was delivered")
                }
                var owed = UInt64(missing(max(position, from - 1), to))
                guard from <= position + 1 || missing(position, from - 1) == 0 else {
                    throw Malformed("a $gap from \(from) leaves out what follows \(position)")
                }
                for debt in debts {
                    let first = max(debt.after, from - 1)
                    guard debt.counts[Int(first)] == debt.counts[Int(debt.after)] else {
                        throw Malformed("a $gap from \(from) leaves out what follows \(debt.after)")
                    }
                    owed += UInt64(debt.counts[Int(debt.upTo)] - debt.counts[Int(debt.after)])
                }
                guard owed == dropped, owed > 0 else {
                    throw Malformed("a $gap from \(from) to \(to) says \(dropped) events, but \(owed) are missing")
                }
                debts = []
                position = to
                delivered = to
            case .bye(let code, let last):
                if subscription < 0 { break }
                if code == 4410 {
                    guard isFresh, wanted[subscription].failsOnGap else {
                        throw Malformed("$bye 4410 to a reader that is not owed it")
                    }
                    if case .after(let seq) = wanted[subscription].start, last != seq {
                        throw Malformed("$bye 4410 after \(last ?? 0), but \(seq) was asked for")
                    }
                    break
                }
                guard let last else { throw Malformed("a $bye without its last event") }
                guard last >= delivered, last <= position else {
                    throw Malformed("$bye \(code) after \(last), but \(delivered) was the last event")
                }
                if let debt = debts.first, debt.counts[Int(last)] != debt.counts[Int(debt.after)] {
                    throw Malformed("$bye \(code) after \(last), but something before that is missing")
                }
                if code == 1000, !wanted[subscription].isMortal {
                    throw Malformed("$bye 1000 to a reader of more than a channel that ended")
                }
                if code == 4008 {
                    guard mayLag, effectiveLag(subscription) == "close" else {
                        throw Malformed("$bye 4008 to a reader that kept up or chose otherwise")
                    }
                }
            }
            isFresh = false
        }
        guard isComplete, subscription >= 0 else { return }
        guard debts.isEmpty, missing(position, truth.head) == 0 else {
            throw Malformed(
                "\(missing(position, truth.head)) events after \(position) never came, the head is \(truth.head)")
        }
    }

    /// The `$gap` at the start, if the reader wanted more than what is to come.
    private func checkStart(
        _ wanted: Wanted, _ counts: [UInt32], head: UInt64, _ next: StreamRecord.Entry?
    ) throws {
        var gap: (from: UInt64?, to: UInt64?, dropped: UInt64?, why: String)?
        if case .gap(let from, let to, let dropped, let why) = next, why != "lagged" { gap = (from, to, dropped, why) }
        if wanted.failsOnGap {
            guard gap == nil else { throw Malformed("a $gap although on_gap=fail") }
            if case .bye(4410, _) = next { return }
            var isWhole = false
            if case .after(let seq) = wanted.start { isWhole = counts[Int(head)] == counts[Int(min(seq, head))] }
            if wanted.start == .start { isWhole = counts[Int(head)] == 0 }
            guard isWhole || next == nil else { throw Malformed("no $bye 4410 for a reader that wants no $gap") }
            return
        }
        switch wanted.start {
        case .now:
            guard gap == nil else { throw Malformed("a $gap at the start of a stream from now on") }
        case .ahead, .unknownEpoch:
            guard let gap else {
                if next == nil { return }
                throw Malformed("no $gap for a place that means nothing")
            }
            guard gap.why == (wanted.start == .ahead ? "ahead" : "unknown_epoch"), gap.from == nil, gap.dropped == nil
            else { throw Malformed("a $gap \(gap)") }
        case .start, .after:
            var after: UInt64 = 0
            if case .after(let seq) = wanted.start { after = seq }
            let missed = counts[Int(head)] - counts[Int(min(after, head))]
            guard let gap else {
                if missed == 0 || next == nil { return }
                throw Malformed("\(missed) events after \(after) are missing, and no $gap says so")
            }
            guard gap.why == "pruned", gap.from == after + 1, gap.to == head, gap.dropped ?? UInt64(missed) == missed
            else { throw Malformed("a $gap \(gap) where \(missed) events after \(after) are missing") }
        }
    }

    /// Whoever wants no `$gap` is closed instead.
    private func policy(_ wanted: Wanted) -> String { wanted.failsOnGap ? "close" : wanted.onLag ?? onLag }

    private func effectiveLag(_ subscription: Int) -> String {
        // What was missed under the first subscription may be told under the second.
        policy(wanted[max(0, subscription)])
    }

    // MARK: Without

    /// Without control records the change from the first subscription to the second cannot be seen: there must be some
    /// moment that explains the stream.
    private func checkSilent(_ entries: [StreamRecord.Entry]) throws {
        var low = begin.low
        var high = begin.high
        var seen: [UInt64] = []
        for entry in entries {
            switch entry {
            case .hello(let seq):
                guard wanted[0].hasControl, seen.isEmpty else { throw Malformed("a $hello in a silent stream") }
                low = seq
                high = seq
            case .event(let seq):
                guard seq <= truth.head else { throw Malformed("event \(seq) does not exist") }
                seen.append(seq)
            case .unstamped: throw Malformed("an event without a number")
            case .bye(code: 1013, _): break
            case .gap, .bye:
                guard wanted[0].hasControl else { throw Malformed("a $ record in a silent stream") }
            }
        }
        let first = truth.counts(wanted[0])
        let second = truth.counts(wanted[wanted.count - 1])
        func isIn(_ counts: [UInt32], _ seq: UInt64) -> Bool { counts[Int(seq)] > counts[Int(seq) - 1] }
        for seq in seen where seq <= low || !(isIn(first, seq) || isIn(second, seq)) {
            throw Malformed("\(seq) was not asked for")
        }
        if mayLag, wanted.contains(where: { policy($0) == "gap" }) { return }
        let end = isComplete ? truth.head : seen.last ?? 0
        // Which of these could be: not begun, the first subscription, the second one.
        var isBefore = true
        var isFirst = true
        var isSecond = wanted.count > 1 && low < high
        var place = 0
        var seq = low + 1
        while seq <= end {
            let isSeen = place < seen.count && seen[place] == seq
            if isSeen { place += 1 }
            let couldBegin = isBefore || isFirst
            isSecond = (isSecond || (wanted.count > 1 && couldBegin)) && isSeen == isIn(second, seq)
            isFirst = couldBegin && isSeen == isIn(first, seq)
            isBefore = isBefore && !isSeen && seq <= high
            guard isBefore || isFirst || isSecond else {
                throw Malformed("no subscription explains the stream at \(seq)")
            }
            seq += 1
        }
    }
}
