/// Somebody who pages through the history of a server with a database.

import Reactor

/// Asks for pages, forwards or backwards, and holds each against the ledger.
final class StoredHistorian: StoredClient {
    /// What was asked for last.
    private struct Question {
        var wanted: Wanted
        var after: UInt64?
        var before: UInt64?
        var limit: Int
        /// The newest event that anybody may see, and the newest that was removed, when it was asked.
        var head: UInt64
        var pruned: UInt64
    }

    private var question: Question?
    private var responses = ResponseReader()
    /// What to go on with: the last page's `next` or `first`, in the present life.
    private var next: Question?
    private var left = 30

    init(_ world: StoredWorld, number: Int) {
        super.init(world, "historian \(number)")
    }

    override func address() -> SocketAddress? { left > 0 ? World.http : nil }

    override func connected() {
        responses = ResponseReader()
        question = nil
        next = nil
    }

    override func perform() {
        guard question == nil, unsent.isEmpty, left > 0, random.chance(0.3) else { return }
        left -= 1
        // What was begun is gone on with, or not.
        var asked = random.chance(0.7) ? next ?? drawn() : drawn()
        next = nil
        asked.head = world.life.head
        asked.pruned = world.ledger.newestPruned(for: asked.wanted, in: life)
        var query = asked.wanted.patterns.map { "channel=" + $0 } + ["limit=\(asked.limit)"]
        if !asked.wanted.kinds.isEmpty { query.append("types=" + asked.wanted.kinds.joined(separator: ",")) }
        if let after = asked.after { query.append("after=\(world.epoch(of: life))-\(after)") }
        if let before = asked.before { query.append("before=\(world.epoch(of: life))-\(before)") }
        unsent = Array(
            "GET /v1/history?\(query.joined(separator: "&")) HTTP/1.1\r\nHost: 127.0.0.1:7575\r\n"
                + "Accept: application/x-ndjson\r\n\r\n")
        question = asked
    }

    private func drawn() -> Question {
        var wanted = Wanted()
        if random.chance(0.5) { wanted.patterns = [random.pick(Channels.patterns)] }
        if random.chance(0.2) { wanted.kinds = [random.pick(EventMaker.kinds)] }
        var question = Question(wanted: wanted, limit: random.magnitude(1...255), head: 0, pruned: 0)
        let events = world.ledger.events
        let place = events.isEmpty ? 0 : random.pick(events).seq
        switch random.below(4) {
        case 0: break
        case 1: question.after = 0
        case 2: question.after = min(place, world.life.head)
        default: question.before = min(place, world.life.head)
        }
        return question
    }

    override func take(_ bytes: [UInt8]) throws {
        responses.append(bytes)
        while let response = try responses.next() {
            guard let asked = question else { throw Malformed("an answer too many: \(response.status)") }
            question = nil
            if response.status == 200 {
                try answered(asked, response)
            } else {
                let isShort = response.status == 503 && (world.isStopping(life) || world.hasBroken(life))
                guard isShort || response.status == 408 || response.status == 500 && world.mayFailToRead else {
                    throw Malformed("\(response.status): \(response.body.excerpt)")
                }
            }
        }
    }

    private func answered(_ asked: Question, _ response: Response) throws {
        var reader = StreamReader(.jsonl)
        reader.append(response.body)
        var seqs: [UInt64] = []
        while let told = try reader.next() {
            let event: StoredLedger.Event?
            let payload: [UInt8]
            switch told {
            case .event(let seq, _, _, let bytes, _):
                event = world.ledger.event(seq)
                payload = bytes
            case .unstamped(let bytes, _):
                event = world.ledger.event(bare: bytes, in: life)
                payload = bytes
            default: throw Malformed("\(told) in a page")
            }
            guard let event, event.made.compact == payload, event.exists(in: life) else {
                throw Malformed("a page has \(payload.excerpt)")
            }
            try world.saw(event, in: life)
            seqs.append(event.seq)
        }
        world.sightings.pages += 1
        guard reader.isAtBoundary, seqs.count <= asked.limit else { throw Malformed("\(seqs.count) events in a page") }
        func place(_ name: String) -> UInt64? { response[name].flatMap(Place.init)?.seq }
        let first = place("fanout-first")
        let next = place("fanout-next")
        try check(asked, seqs, first: first, next: next)
        goOn(asked, first: first, next: next)
    }

    /// A page is all that there is in its range: what it lacks was removed, or lies behind its end.
    private func check(_ asked: Question, _ seqs: [UInt64], first: UInt64?, next: UInt64?) throws {
        let isForwards = asked.after != nil
        let low: UInt64
        let high: UInt64
        if isForwards {
            low = asked.after ?? 0
            high = next ?? max(asked.head, low)
        } else {
            low = max(first ?? 1, 1) - 1
            high = asked.before.map { max($0, 1) - 1 } ?? asked.head
        }
        let there = world.ledger.wanted(asked.wanted, in: life, after: low, upTo: high)
        let gone = max(asked.pruned, world.ledger.newestPruned(for: asked.wanted, in: life))
        var place = 0
        for seq in there {
            if place < seqs.count, seqs[place] == seq {
                place += 1
            } else if seq > gone {
                throw Malformed("\(asked): \(seq) is not in \(seqs), first \(first ?? 0), next \(next ?? 0)")
            }
        }
        // What came while the page was made may be in it.
        let isNew = isForwards ? next == nil : asked.before == nil
        guard place == seqs.count || isNew && seqs[place...].allSatisfy({ $0 > high }) else {
            throw Malformed("\(asked): \(seqs) has more than \(there)")
        }
    }

    private func goOn(_ asked: Question, first: UInt64?, next: UInt64?) {
        var question = asked
        if asked.after != nil {
            question.after = next
            self.next = next == nil ? nil : question
        } else {
            question.before = first
            self.next = first == nil ? nil : question
        }
        if self.next != nil { world.sightings.pagesDeep += 1 }
    }

    override func disconnected(isReset: Bool) throws { question = nil }

    override func settle() {
        super.settle()
        left = 0
    }

    override var isWaiting: Bool { question != nil }

    func checkComplete() throws { if question != nil { throw Malformed("was never answered") } }
}
