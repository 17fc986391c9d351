/// What a publisher may demand beside that an event is published: once, in its own order, behind what it has seen.

import EventStore
import Planted
import Wire

/// The conditions of one publication: of an event, or of a whole batch.
struct Preconditions: Equatable {
    /// A key that must be new.
    var key: [UInt8]?
    /// What must be the channel's newest event.
    var expectLast: ExpectedLast?
    /// The producer's name, and its incarnation's and the first event's number; all three, or none.
    var producer: [UInt8]?
    var producerEpoch: UInt64?
    var producerNumber: UInt64?

    /// The newest event that a publisher has seen of a channel; `nothing` on one without any.
    enum ExpectedLast: Equatable {
        case nothing
        case event(Cursor)
    }

    /// The longest key and the longest producer's name.
    static let nameBytesMax = 255
    /// The greatest number that a producer may give: programs that know floating point only count so far.
    static let numberMax: UInt64 = 1 << 53 - 1

    /// Takes a name and its value from a query, or the text of an envelope's member. False where the name is none of
    /// ours. A condition that is there twice, or is none, throws.
    mutating func take(_ name: Span<UInt8>, _ value: Span<UInt8>) throws(PublishFault) -> Bool {
        if name.equals("expect_last") {
            guard expectLast == nil, let expected = ExpectedLast(value) else { throw .badCursor }
            expectLast = expected
        } else if name.equals("producer") {
            guard producer == nil, Self.isName(value) else { throw .badProducer }
            producer = [UInt8](bytes: value)
        } else if name.equals("pepoch") {
            guard producerEpoch == nil else { throw .badProducer }
            producerEpoch = try Self.number(value, from: 0)
        } else if name.equals("pseq") {
            guard producerNumber == nil else { throw .badProducer }
            producerNumber = try Self.number(value, from: 1)
        } else {
            return false
        }
        return true
    }

    /// Takes a key: any text of 1 to 255 bytes; in a header only visible ASCII.
    mutating func take(key text: Span<UInt8>, isHeader: Bool = false) throws(PublishFault) {
        guard key == nil, Self.isName(text) else { throw .badKey }
        for index in text.indices where isHeader && !(0x21...0x7E ~= text[index]) { throw .badKey }
        key = [UInt8](bytes: text)
    }

    /// Where the publication stands in its producer's order; nil where none was named.
    /// - Throws: `bad_producer` where a part is missing.
    func place() throws(PublishFault) -> ProducerPlace? {
        if producer == nil, producerEpoch == nil, producerNumber == nil { return nil }
        guard let producer, let producerEpoch, let producerNumber else { throw .badProducer }
        return ProducerPlace(producer: producer, epoch: producerEpoch, number: producerNumber)
    }

    private static func number(_ text: Span<UInt8>, from least: UInt64) throws(PublishFault) -> UInt64 {
        guard let number = DecimalText.parse(text), least...numberMax ~= number else { throw .badProducer }
        return number
    }

    /// Text of 1 to 255 bytes. U+FFFD is what lone surrogates read as: with it two names could pass for one.
    private static func isName(_ text: Span<UInt8>) -> Bool {
        guard 1...nameBytesMax ~= text.count else { return false }
        var index = 0
        while index + 2 < text.count {
            if text[index] == 0xEF, text[index + 1] == 0xBF, text[index + 2] == 0xBD { return false }
            index += 1
        }
        return true
    }
}

extension Preconditions.ExpectedLast {
    /// `0` or a cursor; nil for anything else. The place before the first event is `0`, too.
    init?(_ text: Span<UInt8>) {
        if text.equals("0") {
            self = .nothing
        } else if let cursor = Cursor(text) {
            self = .event(cursor)
        } else {
            return nil
        }
    }
}

/// What a publication leaves behind beside its events: with a database it belongs into their transaction.
struct Remembered {
    var key: KeyRecord?
    var producer: ProducerRecord?

    /// The same for the database, which enters the numbers itself.
    var rows: StoreRows {
        StoreRows(
            key: key.map { StoreKey(name: $0.name, payload: $0.payload) },
            producer: producer.map {
                StoreProducer(name: $0.name, payload: $0.payload, epoch: $0.epoch, lastNumber: $0.lastNumber)
            })
    }

    /// Enters the numbers of the publication.
    mutating func enter(_ receipt: Hub.Receipt) {
        key?.firstSeq = receipt.first
        key?.lastSeq = receipt.last
        producer?.firstSeq = receipt.first
        producer?.lastSeq = receipt.last
    }
}

extension Engine {
    /// Publishes what is staged if its conditions hold, and remembers what tells its repetition. A repetition of
    /// something that was published gets its receipt and is not published.
    ///
    /// The order: key, producer, that the channel has not ended, `expect_last`, and last what `publishStaged` asks.
    /// What is refused leaves nothing behind.
    func publishStaged(
        to destination: Destination, level: AckLevel?, if conditions: Preconditions
    ) throws(PublishFault) -> Hub.Receipt {
        defer { hub.rows = StoreRows() }
        let name: ChannelName
        let channel: UInt32?
        switch destination {
        case .channel(let index): (name, channel) = (hub.channels[index].name, index)
        case .name(let text): (name, channel) = (text, hub.channels.index(of: text))
        }
        var marks = Remembered()
        let place = try conditions.place()
        if isPlanted("endedBeforeDuplicate"), let channel, hub.channels[channel].hasEnded { throw .channelEnded }
        if conditions.key != nil || place != nil {
            let payload = hub.stagedDigest()
            if let receipt = try check(key: conditions.key, on: name, payload, &marks) { return receipt }
            if let place, let receipt = try check(place, on: name, payload, &marks) { return receipt }
        }
        if isPlanted("refusedKeyRemembered"), let key = marks.key { keys.remember(key) }
        if let channel, hub.channels[channel].hasEnded { throw .channelEnded }
        if let expected = conditions.expectLast, !isPlanted("expectLastIgnored") { try check(expected, on: channel) }
        if let producer = marks.producer, !producers.hasRoom(for: producer.name) { throw .tooManyProducers }
        if hub.records { hub.rows = marks.rows }
        return try publishStaged(to: destination, level: level, remembering: marks)
    }

    /// Remembers a publication, whose numbers are entered.
    func remember(_ marks: Remembered) {
        if let key = marks.key { keys.remember(key) }
        if let producer = marks.producer { producers.remember(producer) }
    }

    /// The receipt of the publication that a key was used for; nil where the key is new.
    private func check(
        key: [UInt8]?, on channel: ChannelName, _ payload: ContentDigest, _ marks: inout Remembered
    ) throws(PublishFault) -> Hub.Receipt? {
        guard let key else { return nil }
        let name = IdempotencyKeys.name(channel: channel, key: key)
        if let used = keys.find(name, now: loop.now) {
            guard used.payload == payload else { throw conflict(.idConflict) }
            if !isPlanted("duplicatePublishedAgain") { return repetition(used.firstSeq, used.lastSeq) }
        }
        marks.key = KeyRecord(
            name: name, payload: payload, firstSeq: 0, lastSeq: 0, publishedAt: Int64(clamping: loop.now))
        return nil
    }

    /// The receipt of the publication that a producer repeats; nil where it is the producer's next.
    private func check(
        _ place: ProducerPlace, on channel: ChannelName, _ payload: ContentDigest, _ marks: inout Remembered
    ) throws(PublishFault) -> Hub.Receipt? {
        let name = ProducerTable.name(channel: channel, producer: place.producer)
        switch producers.outcome(of: place, name, count: hub.stagedCount, payload: payload) {
        case .next: break
        case .duplicate(let newest?): return repetition(newest.firstSeq, newest.lastSeq)
        case .duplicate(nil):
            // Whoever waits for the newest to be stored has waited for this one.
            let last = producers.find(name)?.lastSeq ?? 0
            var receipt = repetition(last, last)
            receipt.count = hub.stagedCount
            receipt.isPlaceKnown = false
            return receipt
        case .conflict: throw conflict(.idConflict)
        case .gap(let expected):
            guard isPlanted("producerGapIgnored") else { throw conflict(.producerGap(expected: expected)) }
        case .fenced(let epoch): throw conflict(.producerFenced(by: epoch))
        }
        // The first number is 2^53 - 1 at most, and a batch is small.
        marks.producer = ProducerRecord(
            name: name, payload: payload, epoch: place.epoch,
            lastNumber: place.number + UInt64(hub.stagedCount - 1), firstSeq: 0, lastSeq: 0)
        return nil
    }

    private func check(_ expected: Preconditions.ExpectedLast, on channel: UInt32?) throws(PublishFault) {
        let last = channel.map { hub.newestAccepted(on: $0) } ?? 0
        let isMet =
            switch expected {
            case .nothing: last == 0
            case .event(let cursor): cursor.epoch == hub.epoch && cursor.seq == last
            }
        if !isMet { throw conflict(.lastDiffers(last == 0 ? nil : Cursor(epoch: hub.epoch, seq: last))) }
    }

    /// The receipt of something that was published before: nobody was handed anything this time. Its numbers may be
    /// from a file: nothing is sure of them.
    private func repetition(_ first: UInt64, _ last: UInt64) -> Hub.Receipt {
        metrics.duplicates &+= 1
        var receipt = Hub.Receipt()
        receipt.first = first
        receipt.last = last
        receipt.count = Int(clamping: last &- first &+ 1)
        receipt.isDuplicate = true
        return receipt
    }

    private func conflict(_ fault: PublishFault) -> PublishFault {
        metrics.conflicts &+= 1
        return fault
    }
}
