/// `GET /v1/history`: events that are held, oldest first, a page at a time.

import Wire

/// What a request for the past asks for.
struct HistoryQuery {
    /// Events in an answer, if nothing is said and at most.
    static let countStandard = 100
    static let countMax = 10_000

    /// Channels and kinds, in the words of a subscription.
    private(set) var wanted = Subscription()
    private(set) var after: Cursor?
    private(set) var before: Cursor?
    private var limit: Int?

    var count: Int { limit ?? Self.countStandard }

    init(_ request: borrowing Request) throws(PublishFault) {
        let pairs: [(name: [UInt8], value: [UInt8])]
        do throws(HTTPFault) {
            pairs = try QueryString.decodedPairs(request.headBytes, request.head.query)
        } catch {
            throw PublishFault(error)
        }
        for pair in pairs { try set(pair.name, pair.value) }
    }

    private mutating func set(_ name: [UInt8], _ value: [UInt8]) throws(PublishFault) {
        switch String(decoding: name, as: UTF8.self) {
        case "channel", "types":
            do throws(SubscriptionFault) {
                try wanted.set(name, value)
            } catch {
                throw PublishFault(400, error.code.description, error.message)
            }
        case "after":
            guard after == nil, let cursor = Cursor(value.span) else { throw .badHistoryCursor }
            after = cursor
        case "before":
            guard before == nil, let cursor = Cursor(value.span) else { throw .badHistoryCursor }
            before = cursor
        case "limit":
            guard limit == nil, let number = DecimalText.parse(value.span), 1...UInt64(Self.countMax) ~= number else {
                throw PublishFault(400, "bad_limit", "limit is a number from 1 to \(Self.countMax), said once")
            }
            limit = Int(number)
        default:
            throw PublishFault(
                400, "unknown_parameter", "a page of history has channel, types, after, before and limit")
        }
    }
}

extension PublishFault {
    static var noMemoryForHistory: PublishFault {
        PublishFault(503, "overload", "no memory is left for events of the past: come back later")
    }

    fileprivate static var badHistoryCursor: PublishFault {
        PublishFault(
            400, "bad_cursor",
            "after and before are cursors, each said once: 16 hex digits, a hyphen and a number")
    }
}

/// A request for the past, and how far it has come.
struct HistoryRequest {
    var search: HistorySearch
    /// What of the past after the place that was asked for is gone.
    var gap: Engine.Missing?
    /// The newest event when it was asked: what is newer is for a stream that begins there.
    var head: UInt64
    /// How it is to be answered.
    var asLines: Bool
    var withBody: Bool
    var keepAlive: Bool
    var fields: [HTTPResponse.Field]

    /// What to ask for as `before`: the first event, or how far back the search has come. nil: nothing is before.
    var first: UInt64? {
        search.newestFirst ? search.page.seqs.last ?? search.page.reached : search.page.seqs.first
    }
    /// What to ask for as `after`. nil: nothing follows, or the page was not asked for in that direction.
    var next: UInt64? { search.newestFirst ? nil : search.page.reached }
}

extension Engine {
    /// Answers a request for `/v1/history`: at once where memory holds what is asked for, else when the database was
    /// read. O(events looked at), `Shares.historyWork` at most, and what they are long.
    func answerHistory(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let head = request.head
        guard head.method == .get || head.method == .head else {
            return refuseMethod(slot, head, allow: "GET, HEAD, OPTIONS", fields)
        }
        var asLines = false
        if let accept = head.accept {
            asLines = MediaType.isAccepted(request.headBytes, accept, "application/x-ndjson")
        }
        do throws(PublishFault) {
            let past = past(for: try HistoryQuery(request))
            var asked = HistoryRequest(
                search: past.search, gap: past.gap, head: hub.head, asLines: asLines, withBody: head.method != .head,
                keepAlive: head.keepAlive, fields: fields)
            lookIntoMemory(&asked)
            if asked.search.next == nil {
                respond(slot, asked)
            } else {
                try readHistory(slot, asked)
            }
        } catch {
            respond(slot, error, withBody: head.method != .head, keepAlive: head.keepAlive, fields)
        }
    }

    /// Looks for events in memory, as far as the search is there.
    func lookIntoMemory(_ asked: inout HistoryRequest) {
        let before = asked.search.workDone
        hub.look(in: &asked.search)
        hub.extraWork &+= UInt64(asked.search.workDone - before)
    }

    /// Answers with what was found.
    func respond(_ slot: UInt32, _ asked: HistoryRequest) {
        guard hasMemory(for: MemoryFormula.historyBytesMax(asked.search.page)) else {
            memory.refusals &+= 1
            return respond(
                slot, .noMemoryForHistory, withBody: asked.withBody, keepAlive: asked.keepAlive, asked.fields)
        }
        respond(
            slot, status: 200, contentType: asked.asLines ? "application/x-ndjson" : "application/json",
            body: asked.asLines ? lines(asked) : historyJSON(asked), withBody: asked.withBody,
            keepAlive: asked.keepAlive, fields: asked.asLines ? asked.fields + historyFields(asked) : asked.fields)
    }

    /// Answers with a fault.
    func respond(
        _ slot: UInt32, _ fault: PublishFault, withBody: Bool, keepAlive: Bool, _ fields: [HTTPResponse.Field]
    ) {
        var body: [UInt8] = []
        fault.append(to: &body)
        respond(slot, status: fault.status, body: body, withBody: withBody, keepAlive: keepAlive, fields: fields)
    }

    /// Where what is asked for is to be looked for.
    private func past(for query: HistoryQuery) -> (search: HistorySearch, gap: Missing?) {
        var gap: Missing?
        // With a database everything that it has is asked for; what it does not have is not found.
        var first = hub.records ? 1 : hub.oldestHeld
        var last = hub.newest(for: query.wanted.patterns)
        if let after = query.after {
            // What a stream that goes on from there would be told.
            var wanted = query.wanted
            wanted.start = .after(after)
            gap = opening(wanted).missing
            switch gap?.why {
            case nil, .pruned: first = max(first, after.seq + 1, (gap?.to ?? 0) + 1)
            case .rewound: first = max(first, gap?.from ?? 0)
            default: first = max(first, hub.placeOfOldest(for: query.wanted.patterns) + 1)
            }
        }
        if let before = query.before {
            switch meaning(of: before) {
            case .after(let seq):
                last = min(last, seq == 0 ? 0 : seq - 1)
                if let from = gap?.from, let to = gap?.to, gap?.why == .pruned, to >= seq {
                    gap = from < seq ? Missing(why: .pruned, from: from, to: seq - 1) : nil
                }
            case .ahead: break
            // Everything of its numbering that was kept came before it.
            case .rewound(let from, _): last = min(last, from - 1)
            case .unknownEpoch:
                // Nothing that came before it is known.
                last = 0
                gap = Missing(why: .unknownEpoch)
            }
        }
        let search = HistorySearch(
            first <= last ? first...last : nil, of: query.wanted, newestFirst: query.after == nil,
            countMax: query.count, workMax: shares.historyWork)
        return (search, gap)
    }

    // MARK: The answer

    private func lines(_ asked: HistoryRequest) -> [UInt8] {
        let page = asked.search.page
        // They were found in their order.
        guard asked.search.newestFirst else { return page.bytes }
        var body: [UInt8] = []
        body.reserveCapacity(page.bytes.count)
        for place in page.rising(true) { body.append(contentsOf: page.line(place)) }
        return body
    }

    private static let historyFieldNames = "Fanout-First, Fanout-Next, Fanout-Head, Fanout-Gap"

    /// What does not stand in the lines. A page of a listed origin may read these fields only if it is told so.
    private func historyFields(_ asked: HistoryRequest) -> [HTTPResponse.Field] {
        var found: [HTTPResponse.Field] = []
        let places: [(name: StaticString, seq: UInt64?)] = [
            ("Fanout-Head", asked.head), ("Fanout-First", asked.first), ("Fanout-Next", asked.next),
        ]
        for (name, seq) in places {
            guard let seq else { continue }
            found.append(HTTPResponse.Field(name, Cursor(epoch: hub.epoch, seq: seq).description))
        }
        if let gap = asked.gap {
            var text: [UInt8] = []
            append(gap, to: &text)
            found.append(HTTPResponse.Field("Fanout-Gap", text))
        }
        if !asked.fields.isEmpty {
            found.append(HTTPResponse.Field("Access-Control-Expose-Headers", Self.historyFieldNames))
        }
        return found
    }

    /// `{"events":[…],"first":"<cursor>","next":"<cursor>","head":"<cursor>"}` (DESIGN sections 9 and 12).
    private func historyJSON(_ asked: HistoryRequest) -> [UInt8] {
        let page = asked.search.page
        let places = page.rising(asked.search.newestFirst)
        var body: [UInt8] = []
        body.reserveCapacity(MemoryFormula.historyBodyBytesMax(page))
        body.append(text: "{\"events\":[")
        for (number, place) in places.enumerated() {
            if number > 0 { body.append(text: ",") }
            body.append(contentsOf: page.line(place).dropLast())
        }
        if page.hasUnnumbered {
            body.append(text: "],\"cursors\":[")
            for (number, place) in places.enumerated() {
                if number > 0 { body.append(text: ",") }
                append(cursor: page.seqs[place], to: &body)
            }
        }
        body.append(text: "],\"first\":")
        append(cursor: asked.first, to: &body)
        body.append(text: ",\"next\":")
        append(cursor: asked.next, to: &body)
        body.append(text: ",\"head\":")
        append(cursor: asked.head, to: &body)
        if let gap = asked.gap {
            body.append(text: ",\"gap\":")
            append(gap, to: &body)
        }
        body.append(text: "}\n")
        return body
    }

    private func append(cursor seq: UInt64?, to body: inout [UInt8]) {
        guard let seq else { return body.append(text: "null") }
        body.append(text: "\"")
        Cursor(epoch: hub.epoch, seq: seq).append(to: &body)
        body.append(text: "\"")
    }

    /// `{"from":1,"to":5,"why":"pruned"}`; where the place is of no numbering that is known, `why` alone. Numbers of an
    /// earlier numbering have its `epoch` before them.
    private func append(_ gap: Missing, to body: inout [UInt8]) {
        body.append(text: "{")
        if let epoch = gap.epoch {
            body.append(text: "\"epoch\":\"")
            body.append(contentsOf: epoch.description.utf8)
            body.append(text: "\",")
        }
        if let from = gap.from, let to = gap.to {
            body.append(text: "\"from\":")
            body.append(decimal: from)
            body.append(text: ",\"to\":")
            body.append(decimal: to)
            body.append(text: ",")
        }
        body.append(text: "\"why\":\"")
        body.append(contentsOf: gap.why.rawValue.utf8)
        body.append(text: "\"}")
    }
}
