/// A publisher to a server with a database: it holds each answer against what became of its event.

import Reactor

/// One publisher, over all its connections: what was not answered and has a key is sent again.
final class StoredPublisher: StoredClient {
    private let isHTTP: Bool
    private var left: Int
    /// What was sent on this connection and not answered, in order.
    private var waiting: [Sent] = []
    /// What is to be sent again.
    private var again: [StoredItem] = []
    private var responses = ResponseReader()
    private var lines = Incoming()
    private var lastSeq: UInt64 = 0
    private let usesKeys: Bool
    /// Its name, if it numbers its events itself: then all go to one channel, and one at a time.
    private let producer: String?
    private let producerChannel: Int
    /// What it has made under that name, in order, with the number of each one's first event.
    private var made: [(item: StoredItem, number: UInt64)] = []
    private var restsUntil: UInt64 = 0
    private let leaveRate: Double
    private let depth: Int

    /// A request or a line under way.
    private struct Sent {
        let item: StoredItem
        let level: StoredLevel
        /// Whether it certainly is a repetition, or cannot be one; nil where nobody knows.
        let isRepetition: Bool?
    }

    init(_ world: StoredWorld, number: Int) {
        var random = world.random.fork()
        isHTTP = random.chance(0.6)
        left = random.magnitude(2...127)
        producer = random.chance(0.25) ? "p\(number)" : nil
        producerChannel = random.below(Channels.names.count)
        usesKeys = producer == nil && random.chance(0.6)
        leaveRate = random.chance(0.7) ? 0 : 0.02
        depth = producer == nil ? random.magnitude(1...15) : 1
        super.init(world, "publisher \(number) (\(isHTTP ? "HTTP" : "lines"))")
    }

    // MARK: Writing

    override func address() -> SocketAddress? {
        guard kernel.now >= restsUntil, left > 0 || !again.isEmpty else { return nil }
        guard isHTTP else { return World.unix("ingest.socket") }
        return random.chance(0.5) ? World.http : World.unix("http.socket")
    }

    override func connected() {
        responses = ResponseReader()
        lines = Incoming()
        lastSeq = 0
        waiting = []
        if !isHTTP { unsent = Array("{\"$ack\":true}\n") }
    }

    override func perform() {
        if !isSettled, random.chance(leaveRate) { return attempt { try leave() } }
        for _ in 0..<random.magnitude(1...7) {
            guard waiting.count < depth, unsent.count < 16_384, kernel.now >= restsUntil else { break }
            if !again.isEmpty {
                send(again.removeFirst(), isRepetition: nil)
            } else if left > 0 {
                left -= 1
                send(make(), isRepetition: false)
            }
        }
        if left == 0, again.isEmpty, waiting.isEmpty, unsent.isEmpty { attempt { try leave() } }
    }

    private func make() -> StoredItem {
        let channel = producer == nil ? random.below(Channels.names.count) : producerChannel
        let isBatch = isHTTP && random.chance(0.3)
        let count = isBatch ? random.magnitude(1...world.plan.batchMax) : 1
        let events = (0..<count).map { _ in
            world.maker.event(
                discriminator: Channels.discriminator(channel), channelBytes: Channels.names[channel].utf8.count)
        }
        let item = StoredItem(channel: channel, events: events, isBatch: isBatch)
        if usesKeys, random.chance(0.8) { item.key = "key-\(world.ledger.items.count)" }
        if random.chance(0.6) {
            item.level = random.pick(isHTTP ? StoredLevel.allCases : [.accepted, .committed, .synced])
        }
        world.ledger.offer(item)
        if producer != nil {
            let number = made.last.map { $0.number + UInt64($0.item.events.count) } ?? 1
            made.append((item, number))
        }
        return item
    }

    private func send(_ item: StoredItem, isRepetition: Bool?) {
        item.tries += 1
        // Who repeats something may want to be surer of it.
        if isRepetition != false, item.level != StoredLevel.none, random.chance(0.5) {
            item.level = random.pick([.accepted, .committed, .synced, .synced])
        }
        waiting.append(Sent(item: item, level: item.level ?? .synced, isRepetition: isRepetition))
        if isHTTP { write(request: item) } else { write(line: item) }
    }

    private func write(request item: StoredItem) {
        var query = ["channel=" + Channels.names[item.channel]]
        if let level = item.level { query.append("ack=\(level.rawValue)") }
        for (name, value) in place(of: item) { query.append("\(name)=\(value)") }
        var body: [UInt8] = []
        for event in item.events { body += event.text + (item.isBatch ? [0x0A] : []) }
        var head = "POST /v1/events?\(query.joined(separator: "&")) HTTP/1.1\r\nHost: localhost:7575\r\n"
        head += "Content-Type: application/\(item.isBatch ? "x-ndjson" : "json")\r\n"
        if let key = item.key { head += "Idempotency-Key: \(key)\r\n" }
        unsent += Array(head + "Content-Length: \(body.count)\r\n\r\n") + body
    }

    private func write(line item: StoredItem) {
        var extra = ",\"channel\":\"\(Channels.names[item.channel])\""
        if let level = item.level { extra += ",\"ack\":\"\(level.rawValue)\"" }
        if let key = item.key { extra += ",\"id\":\"\(key)\"" }
        for (name, value) in place(of: item) { extra += ",\"\(name)\":\(name == "producer" ? "\"\(value)\"" : value)" }
        unsent += Array("{\"$publish\":{\"event\":") + item.events[0].text + Array(extra + "}}\n")
    }

    /// Where the producer says that an item stands.
    private func place(of item: StoredItem) -> [(name: String, value: String)] {
        guard let producer, let place = made.last(where: { $0.item === item }) else { return [] }
        return [("producer", producer), ("pepoch", "1"), ("pseq", "\(place.number)")]
    }

    // MARK: Answers

    override func take(_ bytes: [UInt8]) throws {
        if isHTTP {
            responses.append(bytes)
            while let response = try responses.next() {
                try answered(response.status, TinyJSON(Array(response.body.dropLast())))
            }
        } else {
            lines.append(bytes)
            while let line = lines.takeLine() { try answered(nil, TinyJSON(line)) }
        }
    }

    private func answered(_ status: Int?, _ json: TinyJSON) throws {
        guard !waiting.isEmpty else { throw Malformed("an answer too many: \(status ?? 0) \(json)") }
        // The last request did not come in time: nobody knows which one that was.
        if status == 408 { return }
        let sent = waiting.removeFirst()
        let item = sent.item
        world.sightings.answers += 1
        if let code = json["error"]?["code"]?.text { return try refused(sent, status, code, json) }
        if sent.level == .none {
            guard status == 202, json["level"]?.text == "none" else { throw Malformed("\(status ?? 0) \(json)") }
            return
        }
        guard status ?? 200 == 200, let seq = json["seq"]?.integer, let said = json["level"]?.text,
            let level = StoredLevel(rawValue: said), case .bool(let isDuplicate) = json["dup"],
            let cursor = json["cursor"]?.text.flatMap(Place.init), cursor.seq == seq
        else { throw Malformed("\(status ?? 0) \(json)") }
        guard level == sent.level else { throw Malformed("\(json) where \(sent.level) was asked for") }
        guard let numbers = item.numbers(in: life), numbers.last == seq else {
            throw Malformed("\(json), but its numbers are \(item.numbers)")
        }
        try checkDuplicate(isDuplicate, sent, numbers, json)
        if item.isBatch {
            guard json["first"]?.text.flatMap(Place.init)?.seq == numbers.first,
                json["count"]?.integer == UInt64(item.events.count)
            else { throw Malformed("\(json) for \(numbers)") }
        }
        try world.checkAck(seq, level, in: life, numbers.lostWith)
        world.sightings.acks[level, default: 0] += 1
        if numbers.lostWith == nil { item.acked = max(item.acked ?? level, level) }
        // Somebody does not remember that it was answered.
        if item.key != nil, random.chance(0.15) { again.append(item) }
    }

    private func checkDuplicate(
        _ isDuplicate: Bool, _ sent: Sent, _ numbers: StoredItem.Numbers, _ json: TinyJSON
    ) throws {
        if isDuplicate {
            world.sightings.duplicates += 1
            guard sent.isRepetition != false, sent.item.key != nil || producer != nil else {
                throw Malformed("\(json) was sent once")
            }
            return
        }
        guard seqRises(numbers.last) else { throw Malformed("\(json) after \(lastSeq)") }
        guard numbers.life == life else { throw Malformed("\(json) is no answer of this life: \(numbers)") }
    }

    private func seqRises(_ seq: UInt64) -> Bool {
        defer { lastSeq = max(seq, lastSeq) }
        return seq > lastSeq
    }

    private func refused(_ sent: Sent, _ status: Int?, _ code: String, _ json: TinyJSON) throws {
        world.sightings.refusals[code, default: 0] += 1
        if code == "producer_gap", producer != nil { return try goBack(sent, json) }
        guard status ?? 503 == 503, world.mayRefuse(code, life) || world.plan.isTight && code == "overload" else {
            throw Malformed("\(status ?? 0) \(json)")
        }
        sent.item.tries -= 1
        again.insert(sent.item, at: 0)
        restsUntil = kernel.now + UInt64(random.magnitude(1...2000))
    }

    /// What was published before is lost: it begins anew with that, and not with anything else.
    private func goBack(_ sent: Sent, _ json: TinyJSON) throws {
        sent.item.tries -= 1
        world.sightings.producersBack += 1
        guard let expected = json["error"]?["expected"]?.integer,
            let place = made.firstIndex(where: { $0.number == expected }),
            made[place...].allSatisfy({ $0.item.numbers(in: life) == nil }),
            made[..<place].allSatisfy({ $0.item.numbers(in: life) != nil })
        else { throw Malformed("\(json), \(made.map { ($0.number, $0.item.numbers) })") }
        again = made[place...].map(\.item)
    }

    override func disconnected(isReset: Bool) throws {
        // What was answered 202 has no other answer; what has a key is sent again; what became of the rest is unknown.
        again.insert(contentsOf: waiting.map(\.item).filter { $0.key != nil || producer != nil }, at: 0)
        waiting = []
        restsUntil = kernel.now + UInt64(random.chance(0.5) ? 0 : random.magnitude(1...500))
    }

    override func settle() {
        super.settle()
        left = 0
        restsUntil = 0
    }

    override var isWaiting: Bool { peer != nil || !again.isEmpty }

    func checkComplete() throws {
        guard peer == nil, again.isEmpty else {
            throw Malformed("\(waiting.count) answers never came, of \(again.count)")
        }
    }
}
