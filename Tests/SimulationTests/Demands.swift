/// Publishing on conditions: what a producer of the simulation demands beside that its events are published.

import Reactor

@testable import FanoutServer

/// A publication with a key, known to the whole world: whoever sends it, and however often, it is published once.
final class KeyedPublication {
    let key: String
    let channel: Int
    let events: [Int]
    let texts: [[UInt8]]
    let isBatch: Bool
    let madeAt: UInt64
    /// Who sent it last, and how many answers it waits for.
    private weak var sender: Publisher?
    private var waiting = 0
    /// What its senders were told: that it is published, and under which number.
    private(set) var isPublished = false
    private(set) var lastSeq: UInt64?
    /// Whether something of it may come to the server without anybody being told.
    private(set) var isUncertain = false
    /// Whether somebody else has sent it again: then its place among its first sender's events says nothing.
    private(set) var isRetried = false

    init(key: String, channel: Int, events: [Int], texts: [[UInt8]], isBatch: Bool, madeAt: UInt64) {
        self.key = key
        self.channel = channel
        self.events = events
        self.texts = texts
        self.isBatch = isBatch
        self.madeAt = madeAt
    }

    /// Whether nobody waits for an answer about it any more.
    var isFree: Bool { waiting == 0 || sender == nil || sender?.isGone == true }

    func sent(by publisher: Publisher, isFirst: Bool) {
        if sender !== publisher {
            if waiting > 0 { isUncertain = true }
            waiting = 0
            sender = publisher
        }
        if !isFirst { isRetried = true }
        waiting += 1
    }

    func wasAnswered() { waiting -= 1 }

    /// Notes that an answer said that it is published; `seq` is nil where it said no more.
    func learn(_ seq: UInt64?, isDuplicate: Bool?) throws {
        if let seq, let lastSeq, seq != lastSeq { throw Malformed("key \(key) is number \(lastSeq) and \(seq)") }
        if let isDuplicate, isPublished || !isUncertain, isDuplicate != isPublished {
            throw Malformed("key \(key) was answered dup \(isDuplicate), and published before \(isPublished)")
        }
        isPublished = true
        if let seq { lastSeq = seq }
    }
}

/// What one request or line demands, and what its answer must therefore be.
struct Demands {
    var keyed: KeyedPublication?
    /// What must be the channel's newest event: one that cannot be, or the number of one that may.
    enum Expected { case impossible, number(UInt64) }
    var expected: Expected?
    /// What an error said to be the channel's newest event.
    var saidLast: UInt64?
    /// The publication's number in its producer's own order.
    var number: UInt64?
    var channel: Int
}

/// How far a producer's own numbers have come on a channel, as its answers say.
struct ProducerBook {
    var sent: UInt64 = 0
    var published: UInt64 = 0
    /// Its newest publication's first number of its own, and the server's number of its last event.
    var newest: (first: UInt64, lastSeq: UInt64)?
}

extension Publisher {
    /// What goes out in one request or line.
    struct Demanding {
        var channel: Int
        var texts: [[UInt8]]
        var isBatch = false
        var key: String?
        var expectLast: String?
        var number: UInt64?
    }

    /// Writes something on conditions. False if nothing came to mind.
    func writeOnConditions() -> Bool {
        let isMany = world.keyed.count + 1 >= world.engine.keys.countMost
        switch demandRandom.below(10) {
        case 0...3:
            guard !isMany else { return false }
            writeKeyed()
        case 4, 5:
            guard let keyed = pickKeyed(where: { $0.isFree }) else { return false }
            send(keyed, isFirst: false)
        case 6:
            guard let keyed = pickKeyed(where: { $0.isPublished && $0.isFree }) else { return false }
            let other = world.maker.event(
                discriminator: Channels.discriminator(keyed.channel),
                channelBytes: Channels.names[keyed.channel].utf8.count)
            items.append(Item(events: [], refusal: (409, "id_conflict")))
            write(Demanding(channel: keyed.channel, texts: [other.text], key: keyed.key))
        case 7, 8: writeExpecting()
        default: writeNumbered()
        }
        return true
    }

    private func drawChannel() -> Int {
        if case .ingest(let channel, true, _) = way { return channel }
        return demandRandom.below(Channels.names.count)
    }

    /// One of the newest publications with a key that this publisher can send again, while the key is remembered.
    private func pickKeyed(where isWanted: (KeyedPublication) -> Bool) -> KeyedPublication? {
        let candidates = world.keyed.suffix(64).filter { keyed in
            let isHere = if case .ingest(let channel, true, _) = way { keyed.channel == channel } else { true }
            return isHere && (way == .http || keyed.texts.count == 1) && isWanted(keyed)
                && kernel.now - keyed.madeAt < 300_000
        }
        return candidates.isEmpty ? nil : demandRandom.pick(candidates)
    }

    private func writeKeyed() {
        let channel = drawChannel()
        let isBatch = way == .http && demandRandom.chance(0.3)
        let made = (0..<(isBatch ? demandRandom.magnitude(1...world.plan.batchMax) : 1)).map { _ in make(channel) }
        let keyed = KeyedPublication(
            key: "k\(world.keyed.count)", channel: channel, events: made.map(\.index), texts: made.map(\.text),
            isBatch: isBatch, madeAt: kernel.now)
        world.keyed.append(keyed)
        // A key of something that is refused must be free afterwards.
        send(keyed, isFirst: true, isImpossible: hasAcks && demandRandom.chance(0.3))
        if demandRandom.chance(0.4) { send(keyed, isFirst: false) }
    }

    private func send(_ keyed: KeyedPublication, isFirst: Bool, isImpossible: Bool = false) {
        keyed.sent(by: self, isFirst: isFirst)
        var item = Item(events: keyed.events)
        item.isBatch = way == .http && keyed.isBatch
        item.isMortal = world.isMortal(keyed.channel)
        item.demands = Demands(keyed: keyed, expected: isImpossible ? .impossible : nil, channel: keyed.channel)
        items.append(item)
        write(
            Demanding(
                channel: keyed.channel, texts: keyed.texts, isBatch: item.isBatch, key: keyed.key,
                expectLast: isImpossible ? impossible() : nil))
    }

    private func impossible() -> String {
        demandRandom.chance(0.5) ? "000000000000000f-1" : "\(world.truth.epoch)-\(1 << 40)"
    }

    private func writeExpecting() {
        let channel = drawChannel()
        let made = make(channel)
        var item = Item(events: [made.index])
        item.isMortal = world.isMortal(channel)
        let newest = world.truth.newest(of: channel)
        let isImpossible = demandRandom.chance(0.3)
        item.demands = Demands(expected: isImpossible ? .impossible : .number(newest), channel: channel)
        items.append(item)
        let text = newest == 0 ? "0" : "\(world.truth.epoch)-\(newest)"
        write(Demanding(channel: channel, texts: [made.text], expectLast: isImpossible ? impossible() : text))
    }

    /// The next of its own numbers, the same once more, or one too many.
    private func writeNumbered() {
        let channel = drawChannel()
        guard !world.isMortal(channel) else { return writeExpecting() }
        let isGap = demandRandom.chance(0.2)
        let made = make(channel)
        let number = books[channel, default: ProducerBook()].sent + (isGap ? 2 : 1)
        if !isGap { books[channel, default: ProducerBook()].sent = number }
        for _ in 0..<(!isGap && demandRandom.chance(0.3) ? 2 : 1) {
            var item = Item(events: [made.index])
            item.demands = Demands(number: number, channel: channel)
            items.append(item)
            write(Demanding(channel: channel, texts: [made.text], number: number))
        }
    }

    private func write(_ demanding: Demanding) {
        var members: [(name: String, value: String, isNumber: Bool)] = [
            ("channel", Channels.names[demanding.channel], false)
        ]
        if let text = demanding.expectLast { members.append(("expect_last", text, false)) }
        if let number = demanding.number {
            members += [("producer", name.split(separator: " ")[1].description, false), ("pepoch", "7", true)]
            members.append(("pseq", "\(number)", true))
        }
        guard way == .http else {
            if let key = demanding.key { members.append(("id", key, false)) }
            let rest = members.map { ",\"\($0.name)\":" + ($0.isNumber ? $0.value : "\"\($0.value)\"") }.joined()
            unsent += Array("{\"$publish\":{\"event\":") + demanding.texts[0] + Array(rest + "}}\n")
            return
        }
        var item = Item(events: [])
        item.isBatch = demanding.isBatch
        unsent += request(
            Array(demanding.texts.joined(separator: [0x0A])), item, members.map { "\($0.name)=\($0.value)" },
            fields: demanding.key.map { "Idempotency-Key: \($0)\r\n" } ?? "")
    }

    // MARK: Answers

    /// Takes an error that a demand allows. False where it is none of these, or no error.
    func takeRefusal(_ item: Item, _ place: Int, status: Int, _ json: TinyJSON) throws -> Bool {
        guard let demands = item.demands, let code = json["error"]?["code"]?.text else { return false }
        let wasPublished = demands.keyed?.isPublished == true
        if item.isMortal, code == "channel_ended" {
            if wasPublished { throw Malformed("a repetition was refused: \(json)") }
            return true
        }
        if let expected = demands.expected, code == "expect_last" {
            guard status == 0 || status == 412, let text = json["error"]?["last"]?.text, !wasPublished else {
                throw Malformed("\(status) \(json) for expect_last")
            }
            let prefix = world.truth.epoch + "-"
            let seq = text == "0" ? 0 : text.hasPrefix(prefix) ? UInt64(text.dropFirst(prefix.count)) : nil
            guard let seq, seq <= world.head else { throw Malformed("\(json) names nothing") }
            if case .number(let number) = expected, seq <= number { throw Malformed("\(json) instead of \(number)") }
            items[place].demands?.saidLast = seq
            if demands.keyed == nil { for index in item.events { try world.truth.refuse(index) } }
            return true
        }
        if let number = demands.number, code == "producer_gap" {
            let published = books[demands.channel, default: ProducerBook()].published
            guard status == 0 || status == 409, number > published + 1,
                json["error"]?["expected"]?.integer == published + 1
            else { throw Malformed("\(status) \(json) for number \(number) after \(published)") }
            return true
        }
        return false
    }

    /// Checks what an ack says against the demands.
    func takeAck(_ item: Item, seq: UInt64, isDuplicate: Bool) throws {
        guard let demands = item.demands else { throw Malformed("number \(seq) is a repetition") }
        if case .impossible = demands.expected, !isDuplicate {
            throw Malformed("number \(seq) although the channel's newest event cannot be the expected one")
        }
        try demands.keyed?.learn(seq, isDuplicate: isDuplicate)
        guard let number = demands.number else {
            if isDuplicate, demands.keyed == nil { throw Malformed("number \(seq) is a repetition") }
            return
        }
        var book = books[demands.channel, default: ProducerBook()]
        if isDuplicate {
            guard let newest = book.newest, newest == (number, seq) else {
                throw Malformed("number \(number) of \(name) is a repetition of \(seq)")
            }
            return
        }
        guard number == book.published + 1 else {
            throw Malformed("number \(number) of \(name) was published after \(book.published)")
        }
        book.published = number
        book.newest = (number, seq)
        books[demands.channel] = book
    }

    // MARK: Judging

    /// Whether an item's place among the publisher's others says nothing: somebody else may have published it, or it is
    /// there twice.
    func isOutOfOrder(_ item: Item) -> Bool { item.demands?.keyed?.isRetried == true || item.demands?.number != nil }

    /// What was expected and what was said to be a channel's newest event, against what really happened.
    func judgeDemands(_ item: Item, _ truth: Truth) throws {
        guard let demands = item.demands else { return }
        if let said = demands.saidLast, said > 0 {
            guard truth.offered[truth.atSeq[Int(said) - 1]].channel == demands.channel else {
                throw Malformed("number \(said) was said to be the newest of \(Channels.names[demands.channel])")
            }
        }
        guard case .number(let expected) = demands.expected, demands.keyed == nil,
            let first = item.events.first.map({ truth.offered[$0].seq }), first > 0
        else { return }
        let before = truth.newest(of: demands.channel, before: first)
        if before != expected { throw Malformed("number \(first) came after \(before), and expected \(expected)") }
    }
}
