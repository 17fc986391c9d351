/// Whether a stream was what its reader had a right to, once everything that happened is known.

/// Holds one stream against the truth: no hole without a `$gap` that covers it exactly, nothing that was not asked for.
/// Streams without control records are SilentVerdict's.
struct StreamVerdict {
    let truth: Truth
    /// The subscriptions of the stream, in order; the second one, if any, replaced the first while it ran.
    let wanted: [Wanted]
    /// The lag policy of a reader that names none.
    let onLag: String
    /// Whether falling behind is possible at all in this world.
    let mayLag: Bool
    /// Whether a reader may be cut because memory is short.
    var mayLackMemory = false
    /// Whether the reader must have everything up to the head.
    let isComplete: Bool
    /// For a stream without `$hello`: the head when it was asked for and when the answer came.
    let begin: (low: UInt64, high: UInt64)
    /// What the server held at which head; and, for each entry, the oldest event held when it was read.
    var held = HeldHistory()
    var oldest: [UInt64] = []

    func check(_ entries: [StreamRecord.Entry]) throws {
        guard wanted.allSatisfy({ $0.hasControl }) else { return try SilentVerdict(self).check(entries) }
        try checkTold(entries)
    }

    /// The oldest event held when an entry was read: what was gone by the time it was written is below it.
    func oldestHeld(at place: Int) -> UInt64 { place < oldest.count ? oldest[place] : held.oldest }

    /// Whoever wants no `$gap` is closed instead.
    func policy(_ wanted: Wanted) -> String { wanted.failsOnGap ? "close" : wanted.onLag ?? onLag }

    // MARK: With control records

    /// One subscription of the stream, and how far it has come.
    private struct Course {
        let wanted: Wanted
        /// How many events up to each number are for it; and how many are on its channels.
        let counts: [UInt32]
        let onChannels: [UInt32]
        /// The newest event when it began.
        let head: UInt64
        /// Everything up to here that matched was delivered or is in a gap, or is owed.
        var position: UInt64
        /// The last event that was delivered or is in a gap.
        var delivered: UInt64
        /// What may be missing without further words: up to which event nothing may have been held at the start.
        var unsaid: UInt64 = 0
        /// Nothing came since its `$hello`.
        var isFresh = true
        /// The `$gap` behind its `$hello` says what was gone when it began.
        var beginsWithGap = false
        /// Something was certainly gone then.
        var lacksSomething = false

        func missing(_ after: UInt64, _ upTo: UInt64) -> UInt32 { Self.count(counts, after, upTo) }
        func isAnythingGone(_ after: UInt64, before first: UInt64) -> Bool {
            first > 0 && Self.count(onChannels, after, first - 1) > 0
        }
        /// The newest event on its channels below `first`: the last one that is gone, if `first` is the oldest held.
        func lastGone(before first: UInt64) -> UInt64 {
            var seq = min(Int(first), onChannels.count) - 1
            while seq > 0, onChannels[seq] == onChannels[seq - 1] { seq -= 1 }
            return UInt64(seq)
        }
        private static func count(_ counts: [UInt32], _ after: UInt64, _ upTo: UInt64) -> UInt32 {
            upTo > after ? counts[min(Int(upTo), counts.count - 1)] - counts[min(Int(after), counts.count - 1)] : 0
        }
    }

    private struct Debt {
        var after: UInt64
        var upTo: UInt64
        var counts: [UInt32]
    }

    private func checkTold(_ entries: [StreamRecord.Entry]) throws {
        var subscription = -1
        var course = Course(
            wanted: wanted[0], counts: [0], onChannels: [0], head: 0, position: 0, delivered: 0, isFresh: false)
        /// What was missed before a second `$hello`: the next gap must cover it.
        var debts: [Debt] = []
        for (place, entry) in entries.enumerated() {
            switch entry {
            case .hello(let seq, let id):
                subscription += 1
                guard subscription < wanted.count, seq <= truth.head else { throw Malformed("a $hello too many") }
                // What a reader of the past has not got when it asks for something else, it does not want any more.
                if subscription > 0, !course.wanted.resumes, course.missing(course.position, seq) > 0 {
                    debts.append(Debt(after: course.position, upTo: seq, counts: course.counts))
                }
                let next = entries[(place + 1)...].first
                course = try began(
                    wanted[subscription], head: seq, id, subscription == 0 ? nil : course, next: next)
                continue
            case .event(let seq):
                try checkEvent(seq, &course)
                guard debts.isEmpty else { throw Malformed("\(seq) comes before the $gap that is owed") }
            case .unstamped: throw Malformed("an event without a number")
            case .gap(let gap):
                switch gap.why {
                case "lagged": try checkLag(gap, &course, &debts)
                case "pruned" where course.wanted.resumes:
                    if !(course.isFresh && course.beginsWithGap) {
                        try checkPruned(gap, &course, oldestHeld(at: place))
                    }
                default: guard course.isFresh else { throw Malformed("a $gap that nothing explains: \(gap)") }
                }
            case .bye(let code, let last):
                if subscription >= 0 { try checkBye(code, last, course, debts, oldestHeld(at: place)) }
            }
            course.isFresh = false
        }
        guard isComplete, subscription >= 0 else { return }
        guard debts.isEmpty, course.missing(max(course.position, course.unsaid), truth.head) == 0 else {
            let missing = course.missing(course.position, truth.head)
            throw Malformed("\(missing) events after \(course.position) never came, the head is \(truth.head)")
        }
    }

    private func checkEvent(_ seq: UInt64, _ course: inout Course) throws {
        guard seq <= truth.head, course.missing(seq - 1, seq) == 1 else { throw Malformed("\(seq) was not asked for") }
        // From a place that means nothing the stream begins with the oldest event held, which is not said.
        if course.unsaid > 0 { course.position = max(course.position, min(course.unsaid, seq - 1)) }
        course.unsaid = 0
        guard seq > course.position else { throw Malformed("\(seq) after \(course.position)") }
        let missing = course.missing(course.position, seq - 1)
        guard missing == 0 else {
            throw Malformed("\(seq) follows \(course.position) without a $gap for \(missing) events")
        }
        course.position = seq
        course.delivered = seq
    }

    private func checkLag(_ gap: StreamRecord.Gap, _ course: inout Course, _ debts: inout [Debt]) throws {
        // Of a reader that memory was taken from while it replayed nobody counts what it has not been sent.
        let isCounted = gap.dropped != nil || !(course.wanted.resumes && mayLackMemory)
        guard mayLag, policy(course.wanted) == "gap", let from = gap.from, let to = gap.to,
            let dropped = gap.dropped ?? (isCounted ? nil : 0)
        else { throw Malformed("a $gap that nothing explains: \(gap)") }
        if course.unsaid > 0 { course.position = max(course.position, min(course.unsaid, from - 1)) }
        course.unsaid = 0
        guard to <= truth.head, from > course.delivered, to >= course.position else {
            throw Malformed("a $gap from \(from) to \(to), but \(course.delivered) was delivered")
        }
        var owed = UInt64(course.missing(max(course.position, from - 1), to))
        guard from <= course.position + 1 || course.missing(course.position, from - 1) == 0 else {
            throw Malformed("a $gap from \(from) leaves out what follows \(course.position)")
        }
        for debt in debts {
            let first = max(debt.after, from - 1)
            guard debt.counts[Int(first)] == debt.counts[Int(debt.after)] else {
                throw Malformed("a $gap from \(from) leaves out what follows \(debt.after)")
            }
            owed += UInt64(debt.counts[Int(debt.upTo)] - debt.counts[Int(debt.after)])
        }
        guard !isCounted || owed == dropped && owed > 0 else {
            throw Malformed("a $gap from \(from) to \(to) says \(dropped) events, but \(owed) are missing")
        }
        debts = []
        course.position = to
        course.delivered = to
    }

    /// While a reader was sent what was published before, what comes next was lost: its place in between.
    private func checkPruned(_ gap: StreamRecord.Gap, _ course: inout Course, _ oldestHeld: UInt64) throws {
        guard let from = gap.from, let to = gap.to, from > course.delivered, to < oldestHeld else {
            throw Malformed("a $gap \(gap) behind \(course.delivered), when \(oldestHeld) was held")
        }
        if course.unsaid > 0 { course.position = max(course.position, min(course.unsaid, from - 1)) }
        course.unsaid = 0
        guard course.missing(course.position, from - 1) == 0 else {
            throw Malformed("a $gap from \(from) leaves out what follows \(course.position)")
        }
        guard !course.wanted.failsOnGap, course.lastGone(before: to + 1) == to, to >= from else {
            throw Malformed("a $gap \(gap) of nothing that was for this reader")
        }
        guard gap.dropped == (course.wanted.isEverything ? to - from + 1 : nil) else {
            throw Malformed("a $gap \(gap) of so many events")
        }
        course.position = max(course.position, to)
        course.delivered = to
    }

    private func checkBye(
        _ code: UInt64, _ last: UInt64?, _ course: Course, _ debts: [Debt], _ oldestHeld: UInt64
    ) throws {
        if code == 4410 {
            guard course.wanted.failsOnGap, let last else {
                throw Malformed("$bye 4410 to a reader that is not owed it")
            }
            switch course.wanted.start {
            case .now: throw Malformed("$bye 4410 to a reader of what is to come")
            case .ahead, .unknownEpoch, .garbage:
                if course.isFresh { return }
                throw Malformed("$bye 4410 too late")
            case .start, .after: break
            }
            guard last >= course.delivered, course.missing(course.position, last) == 0,
                !course.lacksSomething || last == course.position
            else { throw Malformed("$bye 4410 after \(last), but \(course.position) is where it stands") }
            guard course.isAnythingGone(last, before: oldestHeld) else {
                throw Malformed("$bye 4410 after \(last), but everything after that is held: \(oldestHeld)")
            }
            return
        }
        guard let last else { throw Malformed("a $bye without its last event") }
        // Who replays may have come further than to the last event that was for it.
        let place = max(course.position, course.unsaid)
        let isThere = course.wanted.resumes ? last <= truth.head && course.missing(place, last) == 0 : last <= place
        guard last >= course.delivered, isThere else {
            throw Malformed("$bye \(code) after \(last), but \(course.delivered) was the last event")
        }
        if let debt = debts.first, debt.counts[Int(last)] != debt.counts[Int(debt.after)] {
            throw Malformed("$bye \(code) after \(last), but something before that is missing")
        }
        if code == 1000 {
            guard course.wanted.isMortal else {
                throw Malformed("$bye 1000 to a reader of more than a channel that ended")
            }
            guard course.missing(place, course.head) == 0 else {
                throw Malformed("$bye 1000 before the rest: \(course.missing(place, course.head)) after \(place)")
            }
        }
        if code == 4008 {
            guard mayLag, policy(course.wanted) == "close" else {
                throw Malformed("$bye 4008 to a reader that kept up or chose otherwise")
            }
        }
    }

    // MARK: Where it begins

    /// The `$hello` of a subscription, and the `$gap` behind it, if the reader wanted more than is held.
    private func began(
        _ wanted: Wanted, head: UInt64, _ id: Place?, _ before: Course?, next: StreamRecord.Entry?
    ) throws -> Course {
        var gap: StreamRecord.Gap?
        if case .gap(let said) = next, said.why != "lagged" { gap = said }
        // A stream that was cut says no more.
        let isCut = next == nil
        let oldest = held.oldest(atHead: head)
        var course = Course(
            wanted: wanted, counts: truth.counts(wanted), onChannels: truth.counts(wanted.ofAnyKind), head: head,
            position: head, delivered: head)
        switch wanted.start {
        case .now:
            guard gap == nil, id == nil || id?.seq == head else { throw Malformed("\(gap as Any), id \(id as Any)") }
            // What waits of the subscription before this one is told under this one.
            if let before { course.delivered = before.delivered }
            return course
        case .start, .after:
            var after: UInt64 = 0
            if case .after(let seq) = wanted.start { after = seq }
            course.position = after
            course.delivered = after
            if let id {
                let isWhole = course.missing(after, head) == 0 && gap == nil
                guard id.epoch == truth.epoch, id.seq == after || id.seq == head && isWhole else {
                    throw Malformed("a $hello with id \(id) where \(after) was asked for")
                }
            }
            let mustSay = course.isAnythingGone(after, before: oldest.lowerBound)
            course.lacksSomething = mustSay
            guard let gap else {
                if case .bye(4410, _) = next { return course }
                if mustSay, !isCut { throw Malformed("events after \(after) are gone, and no $gap says so: \(oldest)") }
                return course
            }
            let isExact =
                !wanted.failsOnGap && gap.why == "pruned" && gap.from == after + 1
                && oldest.contains { course.lastGone(before: $0) == gap.to }
                && gap.dropped == (wanted.isEverything ? gap.to.map { $0 - after } : nil)
            guard isExact, let to = gap.to else {
                // It may be of what went after `$hello`, before the first event that is for this reader.
                if !mustSay, id == nil || id?.seq == after { return course }
                throw Malformed("a $gap \(gap) where the events after \(after) and before \(oldest) are gone")
            }
            course.beginsWithGap = true
            course.position = to
            course.delivered = to
        case .ahead, .unknownEpoch, .garbage:
            course.position = oldest.lowerBound - 1
            course.delivered = 0
            course.unsaid = oldest.upperBound - 1
            if wanted.failsOnGap {
                if case .bye(4410, _) = next { return course }
                guard isCut else { throw Malformed("no $bye 4410 for a reader that wants no $gap") }
                return course
            }
            guard let gap else {
                if isCut { return course }
                throw Malformed("no $gap for a place that means nothing")
            }
            guard gap.why == (wanted.start == .ahead ? "ahead" : "unknown_epoch"), gap.from == nil, gap.dropped == nil
            else { throw Malformed("a $gap \(gap)") }
            // Where nothing that is held is for it, all that is held is behind it.
            let isAtHead = gap.id?.seq == head && !course.isAnythingGone(oldest.upperBound - 1, before: head + 1)
            if let id = gap.id, !isAtHead, !(oldest.lowerBound - 1...oldest.upperBound - 1).contains(id.seq) {
                throw Malformed("a $gap with id \(id), but \(oldest) was the oldest event held")
            }
            // Who is cut between $hello and $gap must not come back as if it had everything.
            if let id, id.epoch == truth.epoch, id.seq >= oldest.upperBound, id.seq <= head {
                throw Malformed("a $hello with id \(id) before a $gap of what came before")
            }
        }
        return course
    }
}
