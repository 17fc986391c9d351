/// One stream of a server with a database, held against the ledger as it comes.

import Wire

/// Where a reader is: what it says when it comes back.
enum StoredPlace: Equatable, CustomStringConvertible {
    case now
    case start
    case cursor(epoch: String, seq: UInt64)

    var description: String {
        switch self {
        case .now: "now"
        case .start: "start"
        case .cursor(let epoch, let seq): "\(epoch)-\(seq)"
        }
    }
}

/// Checks everything that one connection's stream says.
struct StoredStream {
    private let world: StoredWorld
    private let life: Int
    private let wanted: Wanted
    private let isSSE: Bool
    /// Where the reader asked to begin.
    private let asked: StoredPlace
    /// Where it stands: what it says when it comes back.
    private(set) var place: StoredPlace
    private(set) var hasBegun = false
    private(set) var byeCode: UInt64?
    private(set) var eventCount = 0
    /// Everything up to here that is for it has come, or is in a `$gap`.
    private(set) var seq: UInt64 = 0
    /// The `$gap` that must come before anything else.
    private var owed: (epoch: String, from: UInt64, to: UInt64)?
    private var epoch = ""

    init(_ world: StoredWorld, life: Int, _ wanted: Wanted, isSSE: Bool, from asked: StoredPlace) {
        self.world = world
        self.life = life
        self.wanted = wanted
        self.isSSE = isSSE
        self.asked = asked
        place = asked
    }

    private var ledger: StoredLedger { world.ledger }

    /// What is for this reader and has not come, up to an event.
    func missing(upTo: UInt64) -> [UInt64] { ledger.wanted(wanted, in: life, after: seq, upTo: upTo) }

    mutating func heard(_ told: Told) throws {
        switch told {
        case .event(let seq, let channel, _, let payload, let id):
            guard let event = ledger.event(seq) else { throw Malformed("\(seq) was never given to the database") }
            guard Channels.names[event.item.channel] == channel, event.made.compact == payload else {
                throw Malformed("\(seq) on \(channel) is \(payload.excerpt), not \(event.line.excerpt)")
            }
            try heard(event, id)
        case .unstamped(let payload, let id):
            guard let event = ledger.event(bare: payload, in: life) else {
                throw Malformed("an event that nobody published: \(payload.excerpt)")
            }
            try heard(event, id)
        case .record(let json, let id, _): try heard(json, id)
        case .comment, .ping, .pong, .close: break
        }
    }

    // MARK: Events

    private mutating func heard(_ event: StoredLedger.Event, _ id: String?) throws {
        guard hasBegun, byeCode == nil else { throw Malformed("\(event.seq) outside of the stream") }
        guard owed == nil else { throw Malformed("\(event.seq) comes before the $gap for \(owed!)") }
        guard event.exists(in: life) else { throw Malformed("\(event.seq) was lost with life \(event.lostWith ?? 0)") }
        guard wanted.wants(channel: event.item.channel, kind: event.made.kind) else {
            throw Malformed("\(event.seq) was not asked for")
        }
        guard event.seq > seq else { throw Malformed("\(event.seq) after \(seq)") }
        let missing = missing(upTo: event.seq - 1)
        guard missing.isEmpty else {
            throw Malformed("\(event.seq) follows \(seq) without a $gap for \(missing.count): \(missing.prefix(3))")
        }
        if isSSE, id != "\(epoch)-\(event.seq)" { throw Malformed("\(event.seq) has the id \(id ?? "none")") }
        try world.saw(event, in: life)
        eventCount += 1
        seq = event.seq
        place = .cursor(epoch: epoch, seq: seq)
    }

    // MARK: Records

    private mutating func heard(_ json: TinyJSON, _ id: String?) throws {
        guard byeCode == nil else { throw Malformed("a record after $bye: \(json)") }
        switch json.names.first.flatMap({ json[$0]?.text }) {
        case "$hello": try heardHello(json, id)
        case "$gap": try heardGap(json, id)
        case "$bye": try heardBye(json, id)
        case "$ping": break
        default: throw Malformed("a record \(json)")
        }
    }

    private mutating func heardHello(_ json: TinyJSON, _ id: String?) throws {
        guard !hasBegun, let epoch = json["epoch"]?.text, let head = json["seq"]?.integer else {
            throw Malformed("a $hello: \(json)")
        }
        guard epoch == world.epoch(of: life) else { throw Malformed("$hello says \(epoch) in life \(life)") }
        hasBegun = true
        self.epoch = epoch
        switch asked {
        case .now: seq = head
        case .start: seq = 0
        case .cursor(let old, let last):
            switch world.meaning(of: old, last, in: life) {
            case .after(let last):
                seq = last
                guard last <= head else { throw Malformed("$hello at \(head) to a reader that has \(last)") }
            case .rewound(let from, let to):
                seq = from - 1
                owed = (old, from, to)
            case .unknown: throw Malformed("\(old) is no numbering of ours")
            }
        }
        if asked == .now { place = .cursor(epoch: epoch, seq: head) }
        guard isSSE else { return }
        guard let place = id.flatMap(Place.init) else { throw Malformed("a $hello with id \(id ?? "none")") }
        // A reader that is cut here goes on with this.
        if asked == .now || place.epoch == epoch && place.seq == head && owed == nil && missing(upTo: head).isEmpty {
            self.place = .cursor(epoch: place.epoch, seq: place.seq)
        } else if case .cursor(let old, let last) = asked {
            let isSame = place.epoch == old && place.seq == last
            guard isSame || owed == nil && place.epoch == epoch && place.seq == last else {
                throw Malformed("$hello has the id \(place), \(asked) was asked for")
            }
            self.place = .cursor(epoch: place.epoch, seq: place.seq)
        }
    }

    private mutating func heardGap(_ json: TinyJSON, _ id: String?) throws {
        guard hasBegun, let why = json["why"]?.text, let said = json["epoch"]?.text, let from = json["from"]?.integer,
            let to = json["to"]?.integer, from <= to
        else { throw Malformed("a $gap: \(json)") }
        let dropped = json["dropped"]?.integer
        world.sightings.gaps[why, default: 0] += 1
        if let owed {
            guard why == "rewound", (said, from, to) == owed else { throw Malformed("\(json), but \(owed) was lost") }
            self.owed = nil
            // What it goes on with is behind `from` - 1; what it says when it comes back is all it was told.
            place = .cursor(epoch: epoch, seq: to)
        } else {
            guard said == epoch else { throw Malformed("\(json) in \(epoch)") }
            let between = ledger.wanted(wanted, in: life, after: seq, upTo: from - 1)
            guard between.isEmpty else { throw Malformed("\(json) leaves out \(between[0]) behind \(seq)") }
            let covered = ledger.wanted(wanted, in: life, after: max(seq, from - 1), upTo: to)
            switch why {
            case "pruned":
                // What others on its channels still have may go with it.
                guard from > seq, to <= ledger.newestPruned(for: wanted, in: life) else {
                    throw Malformed("\(json) behind \(seq) of nothing that is gone: \(ledger.pruned)")
                }
            case "lagged":
                guard world.mayLag else { throw Malformed("\(json) to a reader that nothing held up") }
                guard let dropped, dropped > 0 else { throw Malformed("\(json) does not say how many") }
            default: throw Malformed("a $gap that nothing explains: \(json), behind \(seq)")
            }
            if let dropped, dropped != UInt64(covered.count) {
                throw Malformed("\(json), but \(covered.count) are missing behind \(seq)")
            }
            seq = to
            place = .cursor(epoch: epoch, seq: to)
        }
        if isSSE, id != "\(epoch)-\(to)" { throw Malformed("\(json) has the id \(id ?? "none")") }
    }

    private mutating func heardBye(_ json: TinyJSON, _ id: String?) throws {
        guard let code = json["code"]?.integer else { throw Malformed("a $bye: \(json)") }
        byeCode = code
        world.sightings.byes[code, default: 0] += 1
        let isExpected: Bool =
            switch code {
            case 1001: world.isStopping(life)
            case 1012: world.hasBroken(life)
            case 4008: world.mayLag
            case 1011: world.mayFailToRead
            case 1013: world.plan.isTight
            case 4408: true
            default: false
            }
        guard isExpected else { throw Malformed("\(json) although nothing asked for it") }
        guard let text = json["last"]?.text else { return }
        guard let last = Place(text) else { throw Malformed("\(json)") }
        guard hasBegun else { return }
        if owed != nil {
            // It was not told yet what was lost: it goes on where it was.
            guard asked == .cursor(epoch: last.epoch, seq: last.seq) else {
                throw Malformed("\(json), \(asked) was asked")
            }
            return
        }
        guard last.epoch == epoch else { throw Malformed("\(json) in \(epoch)") }
        let isBehind = last.seq < seq
        let missing = isBehind ? [] : missing(upTo: last.seq)
        guard !isBehind || eventCount == 0, missing.isEmpty else {
            throw Malformed("\(json), but \(seq) is where it stands, and \(missing.count) are missing")
        }
        if isSSE, id != text { throw Malformed("\(json) has the id \(id ?? "none")") }
        place = .cursor(epoch: epoch, seq: last.seq)
    }
}
