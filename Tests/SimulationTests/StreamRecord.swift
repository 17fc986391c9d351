/// What one reader was told, checked as it comes: what can be known at once. The rest is StreamVerdict's.

/// The history of one stream.
struct StreamRecord {
    enum Entry: CustomStringConvertible {
        case event(UInt64)
        /// An event whose number is not known yet: its place among those that were offered.
        case unstamped(Int)
        case hello(UInt64)
        case gap(from: UInt64?, to: UInt64?, dropped: UInt64?, why: String)
        case bye(code: UInt64, last: UInt64?)

        var description: String {
            switch self {
            case .event(let seq): "\(seq)"
            case .unstamped(let index): "offered \(index)"
            case .hello(let seq): "$hello \(seq)"
            case .gap(let from, let to, let dropped, let why):
                "$gap \(from ?? 0)...\(to ?? 0) \(why) \(dropped.map(String.init) ?? "?")"
            case .bye(let code, let last): "$bye \(code) after \(last.map(String.init) ?? "?")"
            }
        }
    }

    let epoch: String
    let isSSE: Bool
    private(set) var entries: [Entry] = []
    /// The newest number that the stream has shown, hello and gap included.
    private(set) var place: UInt64 = 0
    private(set) var lastEvent: UInt64 = 0
    private(set) var byeCode: UInt64?
    private(set) var retry: UInt64?
    private(set) var helloCount = 0
    private(set) var eventCount = 0

    init(epoch: String, isSSE: Bool) {
        self.epoch = epoch
        self.isSSE = isSSE
    }

    mutating func noteEvent(_ seq: UInt64, id: String?) throws {
        guard byeCode == nil else { throw Malformed("event \(seq) after $bye") }
        guard seq > lastEvent else { throw Malformed("event \(seq) after \(lastEvent)") }
        if isSSE { guard id == "\(epoch)-\(seq)" else { throw Malformed("event \(seq) with id \(id ?? "none")") } }
        lastEvent = seq
        place = max(place, seq)
        eventCount += 1
        entries.append(.event(seq))
    }

    /// Notes an event that says no number, and whose number nobody has said so far.
    mutating func noteUnstamped(_ index: Int) throws {
        guard byeCode == nil else { throw Malformed("an event after $bye") }
        eventCount += 1
        entries.append(.unstamped(index))
    }

    /// The entries with every number known, as they are when all is over; throws where numbers do not rise.
    func resolved(_ truth: Truth) throws -> [Entry] {
        var last: UInt64 = 0
        return try entries.map { entry in
            var seq: UInt64
            switch entry {
            case .event(let number): seq = number
            case .unstamped(let index): seq = truth.offered[index].seq
            default: return entry
            }
            guard seq > last else { throw Malformed("event \(seq) after \(last)") }
            last = seq
            return .event(seq)
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
        if isSSE { guard id.flatMap(Place.init) != nil else { throw Malformed("a $hello with id \(id ?? "none")") } }
        helloCount += 1
        place = seq
        entries.append(.hello(seq))
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
        if isSSE {
            guard let place = id.flatMap(Place.init), to == nil || place == Place(epoch, to!) else {
                throw Malformed("a $gap to \(to ?? 0) with id \(id ?? "none")")
            }
        }
        place = max(place, to ?? 0)
        entries.append(.gap(from: from, to: to, dropped: dropped, why: why))
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
        entries.append(.bye(code: code, last: last))
    }
}
