/// What one reader was told, checked as it comes: what can be known at once. The rest is StreamVerdict's.

/// The history of one stream.
struct StreamRecord {
    /// A `$gap`, as it was said.
    struct Gap: Equatable {
        var from: UInt64?
        var to: UInt64?
        var dropped: UInt64?
        var why: String
        /// On SSE, where a reader resumes that is cut behind it.
        var id: Place?
    }

    enum Entry: CustomStringConvertible {
        case event(UInt64)
        /// An event whose number is not known yet: its place among those that were offered.
        case unstamped(Int)
        /// With, on SSE, where a reader resumes that is cut behind it.
        case hello(UInt64, id: Place?)
        case gap(Gap)
        case bye(code: UInt64, last: UInt64?)

        var description: String {
            switch self {
            case .event(let seq): "\(seq)"
            case .unstamped(let index): "offered \(index)"
            case .hello(let seq, let id): "$hello \(seq)" + (id.map { " id \($0.seq)" } ?? "")
            case .gap(let gap):
                "$gap \(gap.from ?? 0)...\(gap.to ?? 0) \(gap.why) \(gap.dropped.map(String.init) ?? "?")"
            case .bye(let code, let last): "$bye \(code) after \(last.map(String.init) ?? "?")"
            }
        }
    }

    let epoch: String
    let isSSE: Bool
    private(set) var entries: [Entry] = []
    /// For each entry, the oldest event that the server held when it was read.
    private(set) var oldest: [UInt64] = []
    /// The oldest event that the server holds.
    var oldestHeld: UInt64 = 1
    /// Whether SSE's `$hello` may be without an id: its reader keeps a place that is none of ours.
    var mayLackPlace = false
    /// How often the numbers may begin anew without a word: when a silent subscription with a place replaces another.
    var restartsUnseen = 0
    /// The newest number that the stream has shown, hello and gap included.
    private(set) var place: UInt64 = 0
    private(set) var lastEvent: UInt64 = 0
    /// The last `id` of an SSE stream.
    private(set) var lastID: String?
    private(set) var byeCode: UInt64?
    private(set) var retry: UInt64?
    private(set) var helloCount = 0
    private(set) var eventCount = 0

    init(epoch: String, isSSE: Bool) {
        self.epoch = epoch
        self.isSSE = isSSE
    }

    private mutating func note(_ entry: Entry) {
        entries.append(entry)
        oldest.append(oldestHeld)
    }

    mutating func noteEvent(_ seq: UInt64, id: String?) throws {
        guard byeCode == nil else { throw Malformed("event \(seq) after $bye") }
        if seq <= lastEvent {
            guard restartsUnseen > 0 else { throw Malformed("event \(seq) after \(lastEvent)") }
            restartsUnseen -= 1
        }
        if isSSE {
            guard id == "\(epoch)-\(seq)" else { throw Malformed("event \(seq) with id \(id ?? "none")") }
            lastID = id
        }
        lastEvent = seq
        place = max(place, seq)
        eventCount += 1
        note(.event(seq))
    }

    /// Notes an event that says no number, and whose number nobody has said so far.
    mutating func noteUnstamped(_ index: Int) throws {
        guard byeCode == nil else { throw Malformed("an event after $bye") }
        eventCount += 1
        note(.unstamped(index))
    }

    /// The entries with every number known, as they are when all is over. Whether the numbers rise is the verdict's.
    func resolved(_ truth: Truth) -> [Entry] {
        entries.map { entry in
            guard case .unstamped(let index) = entry else { return entry }
            return .event(truth.offered[index].seq)
        }
    }

    /// Notes a `$` record; `discriminator` is the name its kind must have.
    mutating func noteRecord(
        _ json: TinyJSON, id: String?, retry: UInt64?, discriminators: [String], mayBeFirst: (UInt64) -> Bool
    ) throws {
        guard byeCode == nil else { throw Malformed("a record after $bye: \(json)") }
        guard let discriminator = json.names.first, discriminators.contains(discriminator) else {
            throw Malformed("a record whose kind is in \(json.names.first ?? "nothing")")
        }
        let kind = json[discriminator]?.text
        if helloCount == 0, kind != "$hello" {
            guard kind == "$bye", let code = json["code"]?.integer, mayBeFirst(code) else {
                throw Malformed("\(kind ?? "?") before $hello")
            }
        }
        if isSSE, let id { lastID = id }
        switch kind {
        case "$hello": try noteHello(json, id)
        case "$gap": try noteGap(json, id)
        case "$bye": try noteBye(json, id, retry)
        case "$ping":
            guard !isSSE, json.names.count == 1 else { throw Malformed("a $ping: \(json)") }
        default: throw Malformed("a record of kind \(kind ?? "?")")
        }
    }

    private mutating func noteHello(_ json: TinyJSON, _ id: String?) throws {
        guard Array(json.names.dropFirst()) == ["epoch", "seq", "server", "heartbeat_s"],
            json["epoch"]?.text == epoch, let seq = json["seq"]?.integer
        else { throw Malformed("a $hello: \(json)") }
        guard seq >= place else { throw Malformed("a $hello at \(seq) behind \(place)") }
        let place = id.flatMap(Place.init)
        if isSSE, place == nil, id != nil || !mayLackPlace { throw Malformed("a $hello with id \(id ?? "none")") }
        helloCount += 1
        self.place = seq
        // A new subscription may begin before what the one before it was sent.
        lastEvent = 0
        note(.hello(seq, id: place))
    }

    private mutating func noteGap(_ json: TinyJSON, _ id: String?) throws {
        let from = json["from"]?.integer
        let to = json["to"]?.integer
        let dropped = json["dropped"]?.integer
        let whole = ["epoch", "from", "to", "dropped", "why"]
        guard Array(json.names.dropFirst()) == whole.filter({ json[$0] != nil }), json["epoch"]?.text == epoch,
            let why = json["why"]?.text, (from == nil) == (to == nil)
        else { throw Malformed("a $gap: \(json)") }
        if let from, let to { guard from <= to, from > 0 else { throw Malformed("a $gap from \(from) to \(to)") } }
        let place = id.flatMap(Place.init)
        if isSSE {
            guard let place, place.epoch == epoch, to == nil || place.seq == to else {
                throw Malformed("a $gap to \(to ?? 0) with id \(id ?? "none")")
            }
        }
        self.place = max(self.place, to ?? 0)
        note(.gap(Gap(from: from, to: to, dropped: dropped, why: why, id: place)))
    }

    private mutating func noteBye(_ json: TinyJSON, _ id: String?, _ retry: UInt64?) throws {
        let whole = ["code", "why", "last", "retry_ms"]
        guard Array(json.names.dropFirst()) == whole.filter({ json[$0] != nil }), let code = json["code"]?.integer,
            json["why"]?.text?.isEmpty == false
        else { throw Malformed("a $bye: \(json)") }
        var last: UInt64?
        if let text = json["last"]?.text {
            // Who came back to a numbering that is none of ours, and wants no $gap, is told that place again.
            guard let place = Place(text), place.epoch == epoch || code == 4410 else {
                throw Malformed("a $bye after \(text)")
            }
            if isSSE { guard id == text else { throw Malformed("a $bye after \(text) with id \(id ?? "none")") } }
            last = place.seq
        }
        self.retry = json["retry_ms"]?.integer
        if isSSE { guard retry == self.retry else { throw Malformed("retry: \(retry ?? 0) but \(json)") } }
        let comesBack = ![1000, 1002, 1003, 1007, 1008, 1009, 4403].contains(code)
        guard (self.retry != nil) == comesBack else { throw Malformed("retry_ms in \(json)") }
        byeCode = code
        note(.bye(code: code, last: last))
    }

    // MARK: Coming back

    /// Where a client goes on that comes back, as DESIGN section 12 has clients do it: with SSE's last id, or with the
    /// newest number that it was told. nil where it cannot know it. `start` is what it asked for.
    func comeback(_ start: Wanted.Start) -> Wanted.Start? {
        if isSSE {
            guard let lastID else { return start }
            guard let place = Place(lastID) else { return .garbage }
            if place.epoch != epoch { return .unknownEpoch }
            return place.seq >= 999_999_999 ? .ahead : .after(place.seq)
        }
        var next = start
        for entry in entries {
            switch entry {
            case .event(let seq): next = .after(seq)
            case .unstamped: return nil
            case .hello(let seq, _): next = start == .now ? .after(seq) : start
            case .gap(let gap): if let to = gap.to { next = .after(to) }
            case .bye(_, let last): if let last, byeCode != 4410 { next = .after(last) }
            }
        }
        return next
    }
}
