/// A producer of the simulation: over HTTP or an ingest socket, with or without acks.

import Reactor

/// One producer's connection. It knows which events it wrote in which order, and what each answer must be.
final class Publisher: Client {
    enum Way: Equatable {
        case http
        /// Lines; `fixed` sockets publish to `channel` only.
        case ingest(channel: Int, fixed: Bool, acks: Bool)
    }

    /// One request or line, and what it should come to.
    struct Item {
        var events: [Int]
        var isBatch = false
        /// The status, or the error code on an ingest socket; nil for events that are to be accepted.
        var refusal: (status: Int, code: String)?
        var saysNothing = false
        /// Whether its channel may have ended.
        var isMortal = false
        /// A request for something else, put between the publishes: its path.
        var path: String?
        /// What it asked for beside that it is published.
        var demands: Demands?
    }

    let way: Way
    private let mayReset: Bool
    var items: [Item] = []
    private var answered = 0
    /// Items whose acceptance was said.
    private var left: Int
    private var responses = ResponseReader()
    private var lines = Incoming()
    private var lastSeq: UInt64 = 0
    private var wasTurnedAway = false
    /// Its own numbers, by channel, and what it draws its demands from: other draws are what they would be without.
    var books: [Int: ProducerBook] = [:]
    var demandRandom: SeededRandom
    /// Whether it closes as soon as everything is written, as a program does that says something and exits. Only where
    /// nothing is to be answered, and on unix sockets: what was written is read there all the same.
    private let closesWhenWritten: Bool

    init(_ world: World, _ peer: SimulatedPeer, _ way: Way, number: Int, pace: Pace, items left: Int) {
        self.way = way
        self.left = left
        var random = world.random.fork()
        mayReset = random.chance(0.1)
        demandRandom = SeededRandom(seed: world.seed &* 0xbf58_476d_1ce4_e5b9 ^ UInt64(number))
        closesWhenWritten = if case .ingest(_, _, false) = way { number % 2 == 0 } else { false }
        super.init(world, peer, "publisher \(number) (\(way), \(pace))", pace: pace)
        if case .ingest(_, _, true) = way {
            unsent = Array(random.chance(0.9) ? "{\"$ack\":true}\n" : "{ \"$ack\" :true }\r\n")
        }
    }

    var hasAcks: Bool {
        switch way {
        case .http: true
        case .ingest(_, _, let acks): acks
        }
    }

    // MARK: Writing

    override func perform() {
        if mayReset, random.chance(0.01) { return leave(reset: random.chance(0.7)) }
        // Pipelining: a few requests may be under way before the first is answered.
        for _ in 0..<random.magnitude(1...7) where mayWriteMore {
            left -= 1
            if world.plan.hasDemands, demandRandom.chance(0.4), writeOnConditions() { continue }
            if way == .http { writeRequest() } else { writeLine() }
        }
        finishIfDone()
    }

    private var mayWriteMore: Bool {
        let depth = way == .http ? 8 : 30
        let hasRoom = !hasAcks || items.count - answered < depth
        return left > 0 && !hasFinished && !wasTurnedAway && unsent.count < 16_384 && hasRoom
    }

    private func finishIfDone() {
        guard left == 0, unsent.isEmpty, way != .http || answered == items.count else { return }
        guard closesWhenWritten, !hasFinished else { return finish() }
        isWhole = !world.isShuttingDown && !world.plan.isTight && !world.plan.cutsConnections
        leave(reset: false)
    }

    override func settle() {
        pace = .eager
        left = 0
    }

    func make(_ channel: Int) -> (index: Int, text: [UInt8]) {
        let event = world.maker.event(
            discriminator: Channels.discriminator(channel), channelBytes: Channels.names[channel].utf8.count)
        return (world.truth.offer(event, channel: channel), event.text)
    }

    /// A text that is no event, and the status and code that it gets.
    private func bad(_ channel: Int) -> Bad {
        let name = Channels.discriminator(channel)
        // What is not stamped is not reserved.
        let isBare = Channels.names[channel] == Channels.bareChannel
        return random.pick(isBare ? Self.badAnywhere(name) : Self.badAnywhere(name) + Self.badWhereStamped)
    }

    private typealias Bad = (text: String, status: Int, code: String)

    private static let badWhereStamped: [Bad] = [
        ("{\"seq\":1}", 422, "reserved_member"), ("{\"s\\u0065q\":1}", 422, "reserved_member"),
    ]

    private static func badAnywhere(_ name: String) -> [Bad] {
        [
            ("{\"a\":1", 400, "invalid_json"), ("[1]", 400, "not_an_object"), ("{\"a\":01}", 400, "invalid_json"),
            ("{\"\(name)\":\"$bye\"}", 422, "reserved_kind"), ("{\"\(name)\":7}", 422, "bad_discriminator"),
            ("{\"\(name)\":\"a\",\"\(name)\":\"b\"}", 422, "bad_discriminator"),
            (String(repeating: "{\"a\":", count: 129) + "1" + String(repeating: "}", count: 129), 400, "too_deep"),
        ]
    }

    private func writeRequest() {
        let channel = random.below(Channels.names.count)
        var query: [String] = []
        if channel > 0 || random.chance(0.3) { query.append("channel=" + Channels.names[channel]) }
        var item = Item(events: [])
        if random.chance(0.1) {
            query.append("ack=none")
            item.saysNothing = true
        }
        var body: [UInt8] = []
        item.isBatch = random.chance(0.3)
        let badAt = random.chance(0.08) ? random.below(4) : -1
        for place in 0..<(item.isBatch ? random.magnitude(1...world.plan.batchMax) : 1) {
            if place == badAt {
                let bad = bad(channel)
                body += Array(bad.text)
                item.refusal = (bad.status, bad.code)
            } else {
                let event = make(channel)
                item.events.append(event.index)
                body += event.text
            }
            if item.isBatch { body += Array(random.pick(["\n", "\n", "\r\n", "\n\n"])) }
        }
        if item.isBatch, random.chance(0.2) { while body.last == 0x0A || body.last == 0x0D { body.removeLast() } }
        item.isMortal = world.isMortal(channel)
        items.append(item)
        unsent += request(body, item, query)
        for _ in 0..<(random.chance(0.1) ? random.magnitude(1...7) : 0) {
            let path = random.pick([
                "/healthz", "/metrics", "/", "/fanout.js", "/v1/channels", "/v1/lag?top=3", "/nowhere",
            ])
            items.append(Item(events: [], path: path))
            unsent += Array("GET \(path) HTTP/1.1\r\nHost: localhost:7575\r\n\r\n")
        }
    }

    func request(_ body: [UInt8], _ item: Item, _ query: [String], fields: String = "") -> [UInt8] {
        var head = "POST /v1/events\(query.isEmpty ? "" : "?" + query.joined(separator: "&")) HTTP/1.1\r\n"
        head += "Host: localhost:7575\r\nContent-Type: application/\(item.isBatch ? "x-ndjson" : "json")\r\n" + fields
        if random.chance(0.05) { head += "Expect: 100-continue\r\n" }
        guard random.chance(0.3) else {
            return Array(head + "Content-Length: \(body.count)\r\n\r\n") + body
        }
        var bytes = Array(head + "Transfer-Encoding: chunked\r\n\r\n")
        var rest = body[...]
        while !rest.isEmpty {
            let chunk = rest.prefix(random.length(upTo: rest.count))
            rest = rest.dropFirst(chunk.count)
            bytes +=
                Array(String(chunk.count, radix: 16) + (random.chance(0.1) ? ";x=y" : "") + "\r\n") + chunk + [13, 10]
        }
        return bytes + Array(random.chance(0.1) ? "0\r\nTrailer-Field: x\r\n\r\n" : "0\r\n\r\n")
    }

    private func writeLine() {
        guard case .ingest(var channel, let fixed, _) = way else { return }
        if random.chance(0.05) { unsent += Array(random.pick(["\n", "\r\n", " \n"])) }
        if random.chance(0.08) {
            let bad = bad(channel)
            items.append(Item(events: [], refusal: (bad.status, bad.code)))
            unsent += Array(bad.text + "\n")
            return
        }
        if random.chance(0.25) {
            var extra = ""
            let other = random.below(Channels.names.count)
            var refusal: (Int, String)?
            if random.chance(0.6) {
                extra = ",\"channel\":\"\(Channels.names[other])\""
                if fixed, other != channel { refusal = (403, "channel_fixed") } else { channel = other }
            }
            let event = make(channel)
            var item = Item(events: refusal == nil ? [event.index] : [], refusal: refusal)
            item.isMortal = refusal == nil && world.isMortal(channel)
            items.append(item)
            unsent += Array("{\"$publish\":{\"event\":") + event.text + Array(extra + "}}\n")
        } else {
            let event = make(channel)
            items.append(Item(events: [event.index]))
            unsent += event.text
            // A last line without its line feed counts when the writer closes.
            if left > 0 || random.chance(0.5) { unsent.append(0x0A) }
        }
    }

    // MARK: Answers

    override func take(_ bytes: [UInt8]) throws {
        if way == .http {
            responses.append(bytes)
            while let response = try responses.next() { try answered(response) }
        } else {
            guard hasAcks else { throw Malformed("\(bytes.excerpt) although no acks were asked for") }
            lines.append(bytes)
            while let line = lines.takeLine() {
                let json = try TinyJSON(line)
                try answered(status: json["error"] == nil ? 200 : 0, json)
            }
        }
    }

    private func answered(_ response: Response) throws {
        guard !wasTurnedAway else { throw Malformed("an answer after the last one") }
        let isRefusedAlone = world.plan.memoryMax != nil && response.keepsAlive
        if response.status == 408 || ([503, 429].contains(response.status) && world.plan.isTight && !isRefusedAlone) {
            guard !response.keepsAlive else { throw Malformed("status \(response.status) keeps the connection") }
            wasTurnedAway = true
            unsent = []
            return
        }
        if !response.keepsAlive {
            guard world.isShuttingDown else { throw Malformed("the connection was not kept: \(response.status)") }
            wasTurnedAway = true
            unsent = []
        }
        if answered < items.count, let path = items[answered].path {
            let isShort = world.plan.memoryMax != nil && response.status == 503 && path == "/v1/channels"
            guard response.status == (path == "/nowhere" ? 404 : 200) || isShort, !response.body.isEmpty else {
                throw Malformed("\(response.status) for \(path): \(response.body.excerpt)")
            }
            answered += 1
            return
        }
        guard response["content-type"] == "application/json", response.body.last == 0x0A else {
            throw Malformed("an answer to a publish: \(response)")
        }
        try answered(status: response.status, TinyJSON(Array(response.body.dropLast())))
    }

    private func answered(status: Int, _ json: TinyJSON) throws {
        guard answered < items.count else { throw Malformed("an answer too many: \(json)") }
        let item = items[answered]
        answered += 1
        world.sightings.answers += 1
        item.demands?.keyed?.wasAnswered()
        // A batch, a channel or a line that does not fit into memory is published not at all.
        if world.plan.memoryMax != nil, status == 0 || status == 503,
            ["overload", "too_many_channels"].contains(json["error"]?["code"]?.text)
        {
            if item.demands == nil { for index in item.events { try world.truth.refuse(index) } }
            wasShortOfMemory = true
            return
        }
        if try takeRefusal(item, answered - 1, status: status, json) { return }
        if item.isMortal, json["error"]?["code"]?.text == "channel_ended" {
            guard status == 0 || status == 409 else { throw Malformed("\(status) for a channel that has ended") }
            return
        }
        if let refusal = item.refusal {
            guard status == 0 || status == refusal.status, json["error"]?["code"]?.text == refusal.code,
                json["error"]?["message"]?.text?.isEmpty == false
            else { throw Malformed("\(status) \(json) instead of \(refusal)") }
            return
        }
        if item.saysNothing {
            guard status == 202, json == .object([.init(name: "level", value: .string("none"))]) else {
                throw Malformed("\(status) \(json) for ack=none")
            }
            return
        }
        let names =
            ["cursor", "seq", "level", "dup", "subscribers", "behind"] + (item.isBatch ? ["first", "count"] : [])
        guard status == 200, json.names == names, let seq = json["seq"]?.integer, json["level"]?.text == "accepted",
            json["cursor"]?.text == "\(world.truth.epoch)-\(seq)",
            let isDuplicate = json["dup"].map({ $0 == .bool(true) }),
            let subscribers = json["subscribers"]?.integer, let behind = json["behind"]?.integer
        else { throw Malformed("\(status) \(json)") }
        guard behind <= subscribers, subscribers <= world.readersEver else { throw Malformed("\(json) counts wrongly") }
        guard seq <= world.head, isDuplicate || seq > lastSeq else { throw Malformed("ack \(seq) after \(lastSeq)") }
        if isDuplicate, subscribers + behind > 0 { throw Malformed("\(json) counts readers of a repetition") }
        if isDuplicate || item.demands != nil { try takeAck(item, seq: seq, isDuplicate: isDuplicate) }
        if item.isBatch {
            guard json["first"]?.text == "\(world.truth.epoch)-\(seq + 1 - UInt64(item.events.count))",
                json["count"]?.integer == UInt64(item.events.count)
            else { throw Malformed("\(json) for \(item.events.count) events") }
        }
        if !isDuplicate { lastSeq = seq }
        for (place, index) in item.events.reversed().enumerated() {
            try world.truth.learn(index, is: seq - UInt64(place))
        }
    }

    override func ended(_ end: End) throws {
        guard end == .clean else {
            if world.plan.isCalm, pace == .eager, !world.isShuttingDown, !world.plan.isTight, !wasTurnedAway {
                throw Malformed("was reset although it kept to the rules")
            }
            return
        }
        if mayBeBrokenOff(isSilent: answered == 0) { return }
        guard responses.isAtBoundary, lines.isEmpty else {
            throw Malformed("ended in the middle of an answer, after \(answered) of \(items.count)")
        }
        // An HTTP connection that says nothing for long is closed, at whatever moment that is.
        let mayBeIdle = way == .http && !(world.plan.isCalm && pace == .eager)
        // A line that does not fit into memory ends an ingest connection; without acks that is all that is said.
        let mayBeRefused = way != .http && world.plan.memoryMax != nil
        guard hasFinished || wasTurnedAway || world.isShuttingDown || mayBeIdle || mayBeRefused else {
            throw Malformed("was ended before it had finished")
        }
        // All that was said before the end was used and answered.
        isWhole = hasFinished && !wasTurnedAway && !world.isShuttingDown && !mayBeRefused
        if isWhole, hasAcks, answered < items.count {
            throw Malformed("\(items.count - answered) of \(items.count) answers never came, for \(items[answered])")
        }
    }

    private var isWhole = false
    /// Whether something of its own was refused for want of memory: then what follows it may still be published.
    private var wasShortOfMemory = false

    // MARK: Judging

    /// Called when the world has settled.
    func noteComplete() {
        guard !isGone, !wasTurnedAway else { return }
        world.fail("\(name): not done: \(items.count - answered) answers missing, \(unsent.count) bytes unsent")
    }

    override func judge(_ truth: Truth) throws {
        var last: UInt64 = 0
        var firstMissing: Int?
        for (place, item) in items.enumerated() where !item.events.isEmpty {
            let seqs = item.events.map { truth.offered[$0].seq }
            try judgeDemands(item, truth)
            // What a demand refused is missing rightly; what of it was published is in one piece.
            if item.demands?.expected != nil || isOutOfOrder(item), seqs.allSatisfy({ $0 == 0 }) { continue }
            if item.isMortal, seqs.allSatisfy({ $0 == 0 }) { continue }
            if item.refusal != nil {
                guard seqs.allSatisfy({ $0 == 0 }) else { throw Malformed("a refused batch was published in part") }
                continue
            }
            if seqs.contains(0) {
                guard seqs.allSatisfy({ $0 == 0 }) else { throw Malformed("a batch was published in part: \(seqs)") }
                firstMissing = firstMissing ?? place
                continue
            }
            guard firstMissing == nil || wasShortOfMemory || isOutOfOrder(item) else {
                throw Malformed("item \(place) was published, \(firstMissing ?? 0) was not")
            }
            guard seqs[0] > last || isOutOfOrder(item), seqs[seqs.count - 1] - seqs[0] == UInt64(seqs.count - 1) else {
                throw Malformed("item \(place) has numbers \(seqs) after \(last)")
            }
            if !isOutOfOrder(item) { last = seqs[seqs.count - 1] }
        }
        if isWhole, !wasShortOfMemory, let firstMissing {
            throw Malformed("item \(firstMissing) of \(items.count) was never published")
        }
    }
}
