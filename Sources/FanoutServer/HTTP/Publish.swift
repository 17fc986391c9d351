/// `POST /v1/events`: one event or a batch.

import Planted
import Wire

extension Engine {
    /// Publishes a request's body and answers with the ack.
    func publish(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let keepAlive = request.head.keepAlive
        do throws(PublishFault) {
            guard let contentType = request.head.contentType else { throw .mediaType }
            let isBatch = MediaType.isType(request.headBytes, contentType, "application/x-ndjson")
            guard isBatch || MediaType.isType(request.headBytes, contentType, "application/json"),
                request.head.contentEncoding == nil
            else { throw .mediaType }
            let options = try publishOptions(request)
            let rules = try eventRules(of: options.destination)
            defer { hub.discardStaged() }
            if isBatch {
                try stageLines(request.body, rules: rules)
            } else {
                try stage(request.body, rules: rules)
            }
            turnInputBytes += request.body.count
            let receipt = try publishStaged(to: options.destination)
            var body: [UInt8] = []
            ResponseJSON.appendAck(ack(receipt, options.level, isBatch: isBatch), to: &body)
            body.append(UInt8(ascii: "\n"))
            respond(slot, status: options.level == .none ? 202 : 200, body: body, keepAlive: keepAlive, fields: fields)
        } catch {
            metrics.refusedEvents &+= 1
            var body: [UInt8] = []
            error.append(to: &body)
            respond(slot, status: error.status, body: body, keepAlive: keepAlive, fields: fields)
        }
    }

    private func publishOptions(_ request: borrowing Request) throws(PublishFault) -> PublishOptions {
        var name: ChannelName?
        var level = AckLevel.accepted
        guard request.head.idempotencyKey == nil else { throw .unsupported("Idempotency-Key") }
        let pairs: [(name: [UInt8], value: [UInt8])]
        do throws(HTTPFault) {
            pairs = try QueryString.decodedPairs(request.headBytes, request.head.query)
        } catch {
            throw PublishFault(error)
        }
        for pair in pairs {
            switch String(decoding: pair.name, as: UTF8.self) {
            case "channel":
                guard name == nil else { throw .oneChannel }
                guard let channel = ChannelName(pair.value.span) else { throw .badChannel }
                name = channel
            case "ack":
                level = try PublishFault.level(String(decoding: pair.value, as: UTF8.self))
            case "expect_last", "producer", "pepoch", "pseq":
                throw .unsupported(String(decoding: pair.name, as: UTF8.self))
            default:
                throw .unknownParameter(String(decoding: pair.name, as: UTF8.self))
            }
        }
        return PublishOptions(destination: .name(name ?? .standard), level: level)
    }

    /// Stages every line, or none: the first fault names its line.
    private func stageLines(_ body: Span<UInt8>, rules: EventRules) throws(PublishFault) {
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
            do throws(EventFault) {
                try hub.stage(line, rules: rules)
            } catch {
                if isPlanted("refusedBatchHalfPublished"), hub.stagedCount > 0 { return }
                throw PublishFault(error, line: lineNumber)
            }
        }
        guard hub.stagedCount > 0 else { throw .emptyBatch }
    }

    /// The ack for a receipt.
    func ack(_ receipt: Hub.Receipt, _ level: AckLevel, isBatch: Bool) -> Ack {
        Ack(
            last: Cursor(epoch: hub.epoch, seq: receipt.last),
            batch: isBatch ? (Cursor(epoch: hub.epoch, seq: receipt.first), receipt.count) : nil, level: level,
            subscribers: receipt.subscribers, behind: receipt.behind)
    }
}
