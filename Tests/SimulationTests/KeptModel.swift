/// What a client knows that keeps what its channels keep, and whether its stream was one that it can rely on.

/// An event of a channel that keeps state, as its publisher meant it.
struct KeptEvent {
    enum Change: Equatable {
        case plain
        case put(String)
        case gone(String)
        /// The only row of its channel.
        case all
    }

    var channel: String
    var kind: String
    var change: Change
    var payload: [UInt8]
}

/// Rows by channel and key: the number of the event that each one is.
struct KeptRows: Equatable {
    private(set) var rows: [String: UInt64] = [:]

    mutating func apply(_ event: KeptEvent, _ seq: UInt64) {
        switch event.change {
        case .plain: break
        case .put(let key): rows[event.channel + " " + key] = seq
        case .gone(let key): rows[event.channel + " " + key] = nil
        case .all:
            rows = rows.filter { !$0.key.hasPrefix(event.channel + " ") }
            rows[event.channel + " "] = seq
        }
    }

    /// What of it somebody knows who reads only some channels.
    func of(_ isWanted: (String) -> Bool) -> KeptRows {
        KeptRows(rows: rows.filter { isWanted(String($0.key.prefix { $0 != " " })) })
    }
}

/// All events there are, and what was true after each of them. Written from what is published, not from the server.
struct KeptTruth {
    private(set) var events: [KeptEvent] = []
    /// After so many events.
    private(set) var states: [KeptRows] = [KeptRows()]

    var head: UInt64 { UInt64(events.count) }

    mutating func add(_ event: KeptEvent) {
        events.append(event)
        var rows = states[states.count - 1]
        rows.apply(event, head)
        states.append(rows)
    }
}

/// One reader's view: its rows, its place, and what it was told.
///
/// The stream is held against the truth as it comes: every event that it wanted was sent, or lies in a `$gap` that says
/// how many did; rows rise between `$snapshot` and `$live`; and what is known at `$live`, and behind a conflation, is
/// exactly what was true there.
struct KeptModel {
    let patterns: [String]
    let kinds: [String]
    let hasControl: Bool
    private(set) var rows = KeptRows()
    /// Whether `rows` are what is true at `position`: not before a snapshot, and not after a loss without one.
    private(set) var isExact = false
    /// Everything up to here was delivered, or is said to be missing.
    private(set) var position: UInt64
    /// Between `$snapshot` and `$live`: the place, the rows announced, those that came, and the last one's number.
    private var snapshot: (seq: UInt64, count: UInt64, came: UInt64, last: UInt64)?
    /// A `$gap` that rows of follow: its end, what it says is missing, and what lies in its range.
    private var gap: Gap?

    private struct Gap {
        var from: UInt64
        var to: UInt64
        var why: String
        var dropped: UInt64?
        /// Events of it that were sent behind it, and how many it has altogether; nil where nobody knows.
        var came: UInt64 = 0
        var all: UInt64?

        /// Those that are neither said to be missing nor there.
        var owed: UInt64? { all.flatMap { all in dropped.map { all - min(all, $0 + came) } } }
    }
    /// It fell behind within a state: that is to come again.
    private var awaitsState = false
    private(set) var snapshots = 0
    private(set) var conflations = 0
    private(set) var gaps = 0
    /// Where it goes on if it is cut now, over SSE: the last id.
    private(set) var lastID: String?

    init(patterns: [String], kinds: [String], hasControl: Bool, position: UInt64) {
        self.patterns = patterns
        self.kinds = kinds
        self.hasControl = hasControl
        self.position = position
    }

    /// It was cut, and comes back to the place of the last id that it saw.
    mutating func comeBack(to seq: UInt64) {
        if let snapshot, snapshot.came > 0 {
            // What is behind its last row comes again.
            isExact = true
        } else if let gap, gap.why != "conflated", seq >= gap.to {
            isExact = false
        }
        position = seq
        snapshot = nil
        awaitsState = false
        gap = nil
    }

    /// It comes without a place: what it knows is worth nothing.
    mutating func beginAnew(at seq: UInt64) {
        snapshot = nil
        awaitsState = false
        gap = nil
        rows = KeptRows()
        isExact = false
        position = seq
        lastID = nil
    }

    func reads(_ channel: String) -> Bool {
        patterns.isEmpty || patterns.contains { Channels.matches($0, channel) }
    }

    private func wants(_ event: KeptEvent) -> Bool {
        reads(event.channel) && (kinds.isEmpty || kinds.contains(event.kind))
    }

    private func wanted(_ truth: KeptTruth, after: UInt64, upTo: UInt64) -> UInt64 {
        guard upTo > after else { return 0 }
        return UInt64(truth.events[Int(after)..<Int(upTo)].count(where: wants))
    }

    // MARK: What comes

    mutating func take(_ told: Told, _ truth: KeptTruth) throws {
        switch told {
        case .event(let seq, let channel, _, let payload, let id):
            if let id { lastID = id }
            try takeEvent(seq, channel, payload, truth)
        case .record(let json, let id, _):
            if let id { lastID = id }
            try takeRecord(json, truth)
        case .unstamped(let payload, _): throw Malformed("no stamp on \(payload.excerpt)")
        case .comment, .ping, .pong, .close: break
        }
    }

    private mutating func takeEvent(
        _ seq: UInt64, _ channel: String, _ payload: [UInt8], _ truth: KeptTruth
    ) throws {
        guard seq > 0, seq <= truth.head else { throw Malformed("number \(seq), the head is \(truth.head)") }
        let event = truth.events[Int(seq) - 1]
        guard event.channel == channel, event.payload == payload, wants(event) else {
            throw Malformed("number \(seq) on \(channel) is not \(payload.excerpt)")
        }
        if snapshot != nil {
            guard let snapshot, seq > snapshot.last, seq <= snapshot.seq else {
                throw Malformed("row \(seq) in the snapshot of \(self.snapshot?.seq ?? 0)")
            }
            // Only now: who is cut before the first row goes on with what it had.
            if snapshot.came == 0 { rows = KeptRows() }
            self.snapshot?.last = seq
            self.snapshot?.came += 1
            if let gap, seq >= gap.from { self.gap?.came += 1 }
            rows.apply(event, seq)
            return
        }
        if let gap, gap.why == "conflated", seq <= gap.to {
            guard seq >= gap.from, seq > position else { throw Malformed("\(seq) after \(position), conflated") }
            self.gap?.came += 1
            position = seq
            rows.apply(event, seq)
            return
        }
        try endGap(truth)
        if hasControl {
            let missing = wanted(truth, after: position, upTo: seq - 1)
            guard seq > position, missing == 0 else {
                throw Malformed("\(seq) follows \(position) without a word about \(missing) events")
            }
        }
        position = max(position, seq)
        rows.apply(event, seq)
    }

    /// A `$gap` whose rows have all come: were there as many as it leaves?
    private mutating func endGap(_ truth: KeptTruth) throws {
        guard let gap else { return }
        self.gap = nil
        if let dropped = gap.dropped, let all = gap.all, dropped + gap.came != all {
            throw Malformed("a $gap \(gap)")
        }
        if gap.why == "conflated" {
            position = max(position, gap.to)
            try checkRows(truth, at: gap.to, "behind a conflation")
        } else {
            isExact = false
            position = max(position, gap.to)
        }
    }

    private func checkRows(_ truth: KeptTruth, at seq: UInt64, _ what: String) throws {
        guard isExact, kinds.isEmpty else { return }
        let right = truth.states[Int(seq)].of(reads)
        guard rows == right else {
            let wrong = Set(rows.rows.map { "\($0)" }).symmetricDifference(right.rows.map { "\($0)" })
            throw Malformed("\(what) at \(seq) this differs: \(wrong.sorted().prefix(6))")
        }
    }

    private mutating func takeRecord(_ json: TinyJSON, _ truth: KeptTruth) throws {
        let kind = json["type"]?.text
        guard hasControl || kind == nil else { throw Malformed("\(json) to a reader that wants none") }
        switch kind {
        case "$hello": break
        case "$snapshot":
            guard snapshot == nil || gap != nil, let seq = json["seq"]?.integer, let count = json["count"]?.integer,
                seq <= truth.head
            else { throw Malformed("\(json)") }
            snapshot = (seq, count, 0, 0)
            awaitsState = false
            snapshots += 1
        case "$live":
            guard let snapshot, json["seq"]?.integer == snapshot.seq, json["count"]?.integer == snapshot.count,
                snapshot.came == snapshot.count
            else { throw Malformed("\(json) after \(snapshot.map { "\($0)" } ?? "nothing")") }
            self.snapshot = nil
            if snapshot.count == 0 { rows = KeptRows() }
            if gap != nil { try endGap(truth) }
            position = snapshot.seq
            isExact = true
            try checkRows(truth, at: snapshot.seq, "$live")
        case "$gap": try takeGap(json, truth)
        case "$bye", "$ping": break
        default: throw Malformed("\(json)")
        }
    }

    private mutating func takeGap(_ json: TinyJSON, _ truth: KeptTruth) throws {
        guard let from = json["from"]?.integer, let to = json["to"]?.integer, let why = json["why"]?.text,
            to <= truth.head, from <= to
        else { throw Malformed("\(json)") }
        gaps += 1
        if why == "conflated" { conflations += 1 }
        // One that was cut within its rows: what comes now begins where these ended.
        let isRepeated = gap.map { from <= $0.to } ?? false || snapshot != nil
        if !isRepeated { try endGap(truth) }
        // What it said to be missing is not said again, but the rows that did not come are.
        var all: UInt64? = wanted(truth, after: from - 1, upTo: to)
        if let before = self.gap, isRepeated {
            all = snapshot == nil ? before.owed.map { $0 + wanted(truth, after: before.to, upTo: to) } : nil
        } else if isRepeated {
            all = nil
        }
        if snapshot != nil { awaitsState = true }
        snapshot = nil
        gap = nil
        guard isRepeated || wanted(truth, after: position, upTo: from - 1) == 0 else {
            throw Malformed("\(json) leaves out what follows \(position)")
        }
        gap = Gap(from: from, to: to, why: why, dropped: json["dropped"]?.integer, all: all)
    }

    // MARK: When nothing more comes

    /// Everything there is has come: is it all there, and is what it knows true?
    mutating func checkComplete(_ truth: KeptTruth) throws {
        try endGap(truth)
        guard snapshot == nil, !awaitsState else { throw Malformed("$live never came") }
        guard hasControl else { return }
        let missing = wanted(truth, after: position, upTo: truth.head)
        guard missing == 0 else { throw Malformed("\(missing) events after \(position) never came") }
        try checkRows(truth, at: truth.head, "at rest")
    }
}
