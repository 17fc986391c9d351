/// `POST /v1/events`, or to a route: one event or a batch.

import Planted
import Wire

/// What the query of a publisher asks for, name by name.
private struct PublishWishes {
    var channel: ChannelName?
    /// Whether the path has named it.
    var isRouted = false
    var level: AckLevel?
    var conditions: Preconditions?

    mutating func take(_ name: Span<UInt8>, _ value: Span<UInt8>) throws(PublishFault) {
        if name.equals("channel") {
            guard channel == nil else { throw isRouted ? .routeChannel : .oneChannel }
            guard let named = ChannelName(value) else { throw .badChannel }
            channel = named
        } else if name.equals("ack") {
            level = try PublishFault.level(Self.text(value))
        } else {
            var conditions = self.conditions ?? Preconditions()
            guard try conditions.take(name, value) else { throw .unknownParameter(Self.text(name)) }
            self.conditions = conditions
        }
    }

    private static func text(_ bytes: Span<UInt8>) -> String { String(decoding: Array(bytes: bytes), as: UTF8.self) }
}

extension Engine {
    /// Publishes a request's body and answers with the ack.
    /// - Parameter channel: the one that the path names, where it does.
    func publish(
        _ slot: UInt32, _ request: borrowing Request, on channel: ChannelName?, _ fields: [HTTPResponse.Field]
    ) {
        let keepAlive = request.head.keepAlive
        do throws(PublishFault) {
            guard let contentType = request.head.contentType else { throw .mediaType }
            let isBatch = MediaType.isType(request.headBytes, contentType, "application/x-ndjson")
            guard isBatch || MediaType.isType(request.headBytes, contentType, "application/json"),
                request.head.contentEncoding == nil
            else { throw .mediaType }
            let options = try publishOptions(request, on: channel)
            let rules = eventRules(of: options.destination)
            defer { hub.discardStaged() }
            if isBatch {
                try stageLines(request.body, rules: rules)
            } else {
                try hub.stage(request.body, rules: rules)
            }
            turnInputBytes += request.body.count
            let receipt = try publishStaged(options)
            answerPublished(
                slot, receipt, try level(options.level), isBatch: isBatch, keepAlive: keepAlive, fields)
        } catch {
            metrics.refusedEvents &+= 1
            var body: [UInt8] = []
            error.append(to: &body)
            respond(slot, status: error.status, body: body, keepAlive: keepAlive, fields: fields)
        }
    }

    private func publishOptions(
        _ request: borrowing Request, on channel: ChannelName?
    ) throws(PublishFault) -> PublishOptions {
        var wishes = PublishWishes()
        wishes.channel = channel
        wishes.isRouted = channel != nil
        let bytes = request.headBytes
        if let key = request.head.idempotencyKey {
            wishes.conditions = Preconditions()
            try wishes.conditions?.take(key: bytes.extracting(key.range), isHeader: true)
        }
        if PercentCoding.isPlain(bytes.extracting(request.head.query.range)) {
            var query = QueryString(request.head.query)
            while let pair = query.next(bytes) {
                try wishes.take(bytes.extracting(pair.name.range), bytes.extracting(pair.value.range))
            }
        } else {
            let pairs: [(name: [UInt8], value: [UInt8])]
            do throws(HTTPFault) {
                pairs = try QueryString.decodedPairs(bytes, request.head.query)
            } catch {
                throw PublishFault(error)
            }
            for pair in pairs { try wishes.take(pair.name.span, pair.value.span) }
        }
        return PublishOptions(
            destination: .name(wishes.channel ?? .standard), level: wishes.level, conditions: wishes.conditions)
    }

    /// Stages every line, or none: the first fault names its line.
    private func stageLines(_ body: Span<UInt8>, rules: CompiledRules) throws(PublishFault) {
        var start = 0
        var lineNumber = 0
        while start < body.count {
            var searched = 0
            var line: Span<UInt8>
            lineNumber += 1
            switch LineFramer.next(body, from: start, searched: &searched, lineBytesMax: body.count) {
            case .line(let range, let next):
                line = body.extracting(range.range)
                start = next
            case .incomplete, .tooLong:
                line = body.extracting(start..<body.count)
                start = body.count
            }
            if LineFramer.isBlank(line) { continue }
            guard hub.stagedCount < Staging.eventsMax else { throw .batchTooLarge }
            do throws(PublishFault) {
                try hub.stage(line, rules: rules, line: lineNumber)
            } catch {
                if isPlanted("refusedBatchHalfPublished"), hub.stagedCount > 0 { return }
                throw error
            }
        }
        guard hub.stagedCount > 0 else { throw .emptyBatch }
    }

    /// The ack for a receipt.
    func ack(_ receipt: Hub.Receipt, _ level: AckLevel, isBatch: Bool) -> Ack {
        Ack(
            last: Cursor(epoch: hub.epoch, seq: receipt.last),
            batch: isBatch ? (Cursor(epoch: hub.epoch, seq: receipt.first), receipt.count) : nil, level: level,
            isDuplicate: receipt.isDuplicate, isPlaceKnown: receipt.isPlaceKnown, subscribers: receipt.subscribers,
            behind: receipt.behind)
    }
}
