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
    fileprivate static var badHistoryCursor: PublishFault {
        PublishFault(
            400, "bad_cursor",
            "after and before are cursors, each said once: 16 hex digits, a hyphen and a number")
    }
}

extension Engine {
    /// A page, where those before and behind it are, and what of the past before it is gone.
    private struct HistoryAnswer {
        var page = HistoryPage()
        /// What to ask for as `before`: the first event, or how far back the search has come. nil: nothing is before.
        var first: UInt64?
        /// What to ask for as `after`. nil: nothing follows, or the page was not asked for in that direction.
        var next: UInt64?
        var gap: Missing?
    }

    /// Answers a request for `/v1/history`. O(events looked at), `Shares.historyWork` at most, and what they are long.
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
            let answer = pastAsked(for: try HistoryQuery(request))
            guard hasMemory(for: MemoryFormula.historyBytesMax(answer.page)) else {
                memory.refusals &+= 1
                throw PublishFault(503, "overload", "no memory is left for events of the past: come back later")
            }
            respond(
                slot, status: 200, contentType: asLines ? "application/x-ndjson" : "application/json",
                body: asLines ? lines(answer.page) : historyJSON(answer), withBody: head.method != .head,
                keepAlive: head.keepAlive, fields: asLines ? fields + historyFields(answer, fields) : fields)
        } catch {
            var body: [UInt8] = []
            error.append(to: &body)
            respond(
                slot, status: error.status, body: body, withBody: head.method != .head, keepAlive: head.keepAlive,
                fields: fields)
        }
    }

    private func pastAsked(for query: HistoryQuery) -> HistoryAnswer {
        var answer = HistoryAnswer()
        var first = hub.oldestHeld
        var last = hub.newest(for: query.wanted.patterns)
        if let after = query.after {
            // What a stream that goes on from there would be told.
            var wanted = query.wanted
            wanted.start = .after(after)
            answer.gap = opening(wanted).missing
            if answer.gap == nil || answer.gap?.why == .pruned { first = max(first, after.seq + 1) }
        }
        if let before = query.before {
            if before.epoch == hub.epoch {
                last = min(last, before.seq == 0 ? 0 : before.seq - 1)
                if let from = answer.gap?.from, let to = answer.gap?.to, to >= before.seq {
                    answer.gap = from < before.seq ? Missing(why: .pruned, from: from, to: before.seq - 1) : nil
                }
            } else {
                // Nothing that came before it is known.
                last = 0
                answer.gap = Missing(why: .unknownEpoch)
            }
        }
        guard first <= last else { return answer }
        answer.page = hub.historyPage(
            first...last, of: query.wanted, newestFirst: query.after == nil, countMax: query.count,
            workMax: shares.historyWork)
        answer.first = answer.page.seqs.first ?? (query.after == nil ? answer.page.reached : nil)
        answer.next = query.after == nil ? nil : answer.page.reached
        hub.extraWork &+= UInt64(answer.page.work)
        return answer
    }

    // MARK: The answer

    private func lines(_ page: HistoryPage) -> [UInt8] {
        var body: [UInt8] = []
        body.reserveCapacity(page.byteCount)
        for seq in page.seqs { body.append(contentsOf: hub.heldLine(seq)) }
        return body
    }

    private static let historyFieldNames = "Fanout-First, Fanout-Next, Fanout-Head, Fanout-Gap"

    /// What does not stand in the lines. A page of a listed origin may read these fields only if it is told so.
    private func historyFields(_ answer: HistoryAnswer, _ fields: [HTTPResponse.Field]) -> [HTTPResponse.Field] {
        var found = [HTTPResponse.Field("Fanout-Head", hub.headCursor.description)]
        let places: [(name: StaticString, seq: UInt64?)] = [
            ("Fanout-First", answer.first), ("Fanout-Next", answer.next),
        ]
        for (name, seq) in places {
            guard let seq else { continue }
            found.append(HTTPResponse.Field(name, Cursor(epoch: hub.epoch, seq: seq).description))
        }
        if let gap = answer.gap {
            var text: [UInt8] = []
            append(gap, to: &text)
            found.append(HTTPResponse.Field("Fanout-Gap", text))
        }
        if !fields.isEmpty {
            found.append(HTTPResponse.Field("Access-Control-Expose-Headers", Self.historyFieldNames))
        }
        return found
    }

    /// `{"events":[…],"first":"<cursor>","next":"<cursor>","head":"<cursor>"}` (DESIGN sections 9 and 12).
    private func historyJSON(_ answer: HistoryAnswer) -> [UInt8] {
        let page = answer.page
        var body: [UInt8] = []
        body.reserveCapacity(MemoryFormula.historyBodyBytesMax(page))
        body.append(text: "{\"events\":[")
        for (place, seq) in page.seqs.enumerated() {
            if place > 0 { body.append(text: ",") }
            body.append(contentsOf: hub.heldLine(seq).dropLast())
        }
        if page.hasUnnumbered {
            body.append(text: "],\"cursors\":[")
            for (place, seq) in page.seqs.enumerated() {
                if place > 0 { body.append(text: ",") }
                append(cursor: seq, to: &body)
            }
        }
        body.append(text: "],\"first\":")
        append(cursor: answer.first, to: &body)
        body.append(text: ",\"next\":")
        append(cursor: answer.next, to: &body)
        body.append(text: ",\"head\":")
        append(cursor: hub.head, to: &body)
        if let gap = answer.gap {
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

    /// `{"from":1,"to":5,"why":"pruned"}`; where the place is of no numbering that is known, `why` alone.
    private func append(_ gap: Missing, to body: inout [UInt8]) {
        body.append(text: "{")
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
