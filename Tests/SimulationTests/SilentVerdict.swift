/// The verdict on a stream without control records: there must be some course of things that explains it.

/// Without control records the change from the first subscription to the second cannot be seen, nor where a stream
/// began, nor what was gone: there must be some moment for each that fits what came.
struct SilentVerdict {
    private let stream: StreamVerdict
    private var truth: Truth { stream.truth }
    private var wanted: [Wanted] { stream.wanted }

    init(_ stream: StreamVerdict) { self.stream = stream }

    /// An event, and the oldest one that the server held when it was read.
    private typealias Seen = (seq: UInt64, oldest: UInt64)

    func check(_ entries: [StreamRecord.Entry]) throws {
        var (low, high) = stream.begin
        var seen: [Seen] = []
        for (place, entry) in entries.enumerated() {
            switch entry {
            case .hello(let seq, _):
                guard wanted[0].hasControl, seen.isEmpty else { throw Malformed("a $hello in a silent stream") }
                low = seq
                high = seq
            case .event(let seq):
                guard seq > 0, seq <= truth.head else { throw Malformed("event \(seq) does not exist") }
                seen.append((seq, stream.oldestHeld(at: place)))
            case .unstamped: throw Malformed("an event without a number")
            case .bye(code: 1013, _): break
            case .gap, .bye:
                guard wanted[0].hasControl else { throw Malformed("a $ record in a silent stream") }
            }
        }
        let tables = wanted.map { truth.counts($0) }
        for (seq, _) in seen where !tables.contains(where: { $0[Int(seq)] > $0[Int(seq) - 1] }) {
            throw Malformed("\(seq) was not asked for")
        }
        if wanted.contains(where: { $0.resumes }) { return try checkResumed(seen, tables) }
        if let early = seen.first(where: { $0.seq <= low }) {
            throw Malformed("\(early.seq) came before the beginning")
        }
        try checkLive(seen.map(\.seq), tables, low: low, high: high)
    }

    // MARK: From now on

    private func checkLive(_ seen: [UInt64], _ tables: [[UInt32]], low: UInt64, high: UInt64) throws {
        for (one, next) in zip(seen, seen.dropFirst()) where next <= one { throw Malformed("\(next) after \(one)") }
        if mayHaveHoles { return }
        let first = tables[0]
        let second = tables[tables.count - 1]
        func isIn(_ counts: [UInt32], _ seq: UInt64) -> Bool { counts[Int(seq)] > counts[Int(seq) - 1] }
        let end = stream.isComplete ? truth.head : seen.last ?? 0
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

    /// Whether a laggard may have skipped something without a word.
    private var mayHaveHoles: Bool { stream.mayLag && wanted.contains { stream.policy($0) == "gap" } }

    // MARK: From a place

    /// Some of the first events are the first subscription's, the rest is the second one's.
    private func checkResumed(_ seen: [Seen], _ tables: [[UInt32]]) throws {
        if wanted.count == 1 {
            if let fault = fault(seen[...], wanted[0], tables[0], isLast: true) { throw Malformed(fault) }
            return
        }
        var last = ""
        for split in (0...seen.count).reversed() {
            guard fault(seen[..<split], wanted[0], tables[0], isLast: false) == nil else { continue }
            // Where nothing came of the second subscription, nobody knows whether it has begun.
            if split == seen.count { return }
            guard let fault = fault(seen[split...], wanted[1], tables[1], isLast: true) else { return }
            last = fault
        }
        throw Malformed("no moment explains the stream, \(last)")
    }

    /// What is wrong with events as those of one subscription.
    private func fault(_ seen: ArraySlice<Seen>, _ wanted: Wanted, _ counts: [UInt32], isLast: Bool) -> String? {
        var position: UInt64?
        switch wanted.start {
        case .now: position = nil
        case .after(let seq): position = seq
        case .start, .ahead, .unknownEpoch, .garbage: position = 0
        }
        func missing(_ after: UInt64, _ upTo: UInt64) -> UInt32 {
            upTo > after ? counts[Int(upTo)] - counts[Int(after)] : 0
        }
        for (seq, oldest) in seen {
            guard counts[Int(seq)] > counts[Int(seq) - 1] else { return "\(seq) was not asked for" }
            if let position {
                guard seq > position else { return "\(seq) after \(position)" }
                // What is missing was gone when this was read.
                let known = wanted.resumes ? max(position, min(seq - 1, oldest - 1)) : position
                if !mayHaveHoles, missing(known, seq - 1) > 0 { return "\(seq) follows \(position)" }
            }
            position = seq
        }
        guard isLast, stream.isComplete, !mayHaveHoles, let position else { return nil }
        let known = wanted.resumes ? max(position, stream.held.oldest - 1) : position
        return missing(known, truth.head) == 0 ? nil : "what follows \(position) never came"
    }
}
