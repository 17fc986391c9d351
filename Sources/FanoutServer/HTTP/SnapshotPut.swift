/// `PUT /v1/snapshot`: a producer says what the state of its channel is.

import EventStore
import Wire

/// What the query of a `PUT` asks for.
private struct PutWishes {
    var channel: ChannelName
    /// What the state is as of.
    var place: UInt64
    /// How sure the database is to be of it when the producer is answered.
    var level: AckLevel
}

extension PublishFault {
    fileprivate static var isDerived: PublishFault {
        PublishFault(
            409, "state_is_derived", "the state of this channel follows from its events, by its rules: publish these")
    }
    fileprivate static var badPlace: PublishFault {
        PublishFault(400, "bad_cursor", "as_of is a cursor, said once: 16 hex digits, a hyphen and a number")
    }
    fileprivate static var aheadOfHead: PublishFault {
        PublishFault(409, "cursor_ahead", "as_of is a place that this channel's server has not come to")
    }
    fileprivate static var otherEpoch: PublishFault {
        PublishFault(409, "unknown_epoch", "as_of is of a numbering that is over: read the head anew")
    }
}

extension Engine {
    /// Replaces a channel's state and answers with its place.
    func putSnapshot(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let keepAlive = request.head.keepAlive
        do throws(PublishFault) {
            guard let contentType = request.head.contentType else { throw .mediaType }
            let isLines = MediaType.isType(request.headBytes, contentType, "application/x-ndjson")
            guard isLines || MediaType.isType(request.headBytes, contentType, "application/json"),
                request.head.contentEncoding == nil
            else { throw .mediaType }
            let wanted = try putWanted(request)
            turnInputBytes += request.body.count
            let rules = hub.eventRules(of: wanted.channel)
            // Also one whose rules name no kind that changes anything.
            guard rules.checks?.state == nil else { throw .isDerived }
            if hub.records { try checkStorage() }
            if let index = hub.channels.index(of: wanted.channel), hub.channels[index].hasEnded { throw .channelEnded }
            let rows = try stampedRows(request.body, isLines, wanted, rules)
            guard hub.hasRoom(forState: rows, of: wanted.channel, asOf: wanted.place) else {
                throw .stateFull(hub.states.bytesMax)
            }
            guard let channel = hub.channel(wanted.channel) else { throw .tooManyChannels }
            replaceState(of: channel, rows, wanted)
            answerPut(slot, wanted, rows.count, keepAlive: keepAlive, fields)
        } catch {
            metrics.refusedEvents &+= 1
            respond(slot, error, withBody: true, keepAlive: keepAlive, fields)
        }
    }

    /// What the query says.
    private func putWanted(_ request: borrowing Request) throws(PublishFault) -> PutWishes {
        let pairs: [(name: [UInt8], value: [UInt8])]
        do throws(HTTPFault) {
            pairs = try QueryString.decodedPairs(request.headBytes, request.head.query)
        } catch {
            throw PublishFault(error)
        }
        var channel: ChannelName?
        var place: UInt64?
        var asked: AckLevel?
        for pair in pairs {
            if pair.name.span.equals("channel") {
                guard channel == nil else { throw .oneChannel }
                guard let name = ChannelName(pair.value.span) else { throw .badChannel }
                channel = name
            } else if pair.name.span.equals("as_of") {
                guard place == nil, let cursor = Cursor(pair.value.span) else { throw .badPlace }
                switch meaning(of: cursor) {
                case .after(let seq): place = seq
                case .ahead: throw .aheadOfHead
                case .rewound, .unknownEpoch: throw .otherEpoch
                }
            } else if pair.name.span.equals("ack") {
                asked = try PublishFault.level(String(decoding: pair.value, as: UTF8.self))
            } else {
                throw PublishFault(400, "unknown_parameter", "a state has channel, as_of and ack")
            }
        }
        // What is held back is not shown, and nothing is as of it.
        return PutWishes(channel: channel ?? .standard, place: place ?? hub.head, level: try level(asked))
    }

    /// The rows as readers will see them, all checked, or the first fault.
    private func stampedRows(
        _ body: Span<UInt8>, _ isLines: Bool, _ wanted: PutWishes, _ rules: CompiledRules
    ) throws(PublishFault) -> [[UInt8]] {
        let stamp = Stamp(
            members: rules.event.stamp, epoch: hub.epoch, seq: wanted.place, timeMilliseconds: hub.nextTime())
        var rows: [[UInt8]] = []
        guard isLines else { return [try stampedRow(body, nil, stamp, wanted.channel, rules)] }
        var line = 0
        var start = 0
        while start < body.count {
            var end = start
            while end < body.count, body[end] != UInt8(ascii: "\n") { end += 1 }
            line += 1
            let text = body.extracting(start..<end)
            start = end + 1
            if LineFramer.isBlank(text) { continue }
            rows.append(try stampedRow(text, line, stamp, wanted.channel, rules))
        }
        return rows
    }

    private func stampedRow(
        _ text: Span<UInt8>, _ line: Int?, _ stamp: Stamp, _ channel: ChannelName, _ rules: CompiledRules
    ) throws(PublishFault) -> [UInt8] {
        try hub.stage(text, rules: rules, line: line)
        defer { hub.discardStaged() }
        guard let event = hub.staging.events.last else { preconditionFailure("an event was staged") }
        let bytes = hub.staging.bytes(of: event)
        let name = channel.bytes.span
        let count = EventEncoder.byteCount(.jsonl, stamp: stamp, channel: name, event: bytes.span)
        return [UInt8](unsafeUninitializedCapacity: count) { room, written in
            EventEncoder.encode(.jsonl, stamp: stamp, channel: name, event: bytes.span, into: room.baseAddress!)
            // Without the newline.
            written = count - 1
        }
    }

    /// Puts the rows in the place of what there was, and hands them to the database.
    private func replaceState(of channel: UInt32, _ rows: [[UInt8]], _ wanted: PutWishes) {
        hub.beginProducedState(of: channel, asOf: wanted.place)
        for row in rows { row.withUnsafeBufferPointer { hub.addProducedRow($0, to: channel) } }
        hub.extraWork &+= UInt64(rows.count)
        guard hub.records else { return }
        for row in rows { hub.outgoing.add(line: row.span, kind: nil) }
        let isSynced = wanted.level == .synced || hub.channels[channel].rules.isHeldBack
        hub.outgoing.setSnapshot(
            channel: hub.channels[channel].text, asOf: wanted.place, level: isSynced ? .synced : .committed)
    }

    /// `{"cursor":"<e>-7","seq":7,"count":3,"level":"synced"}`, as soon as the level is reached.
    private func answerPut(
        _ slot: UInt32, _ wanted: PutWishes, _ count: Int, keepAlive: Bool, _ fields: [HTTPResponse.Field]
    ) {
        var body: [UInt8] = []
        body.append(text: "{\"cursor\":\"")
        Cursor(epoch: hub.epoch, seq: wanted.place).append(to: &body)
        body.append(text: "\",\"seq\":")
        body.append(decimal: wanted.place)
        body.append(text: ",\"count\":")
        body.append(decimal: UInt64(count))
        body.append(text: ",\"level\":\"")
        body.append(contentsOf: wanted.level.rawValue.utf8)
        body.append(text: "\"}\n")
        switch wanted.level {
        case .committed, .synced: answerChanged(slot, status: 200, body: body, keepAlive: keepAlive, fields)
        case .none, .accepted, .replicated:
            let status = wanted.level == .none ? 202 : 200
            respond(slot, status: status, body: body, keepAlive: keepAlive, fields: fields)
        }
    }
}
