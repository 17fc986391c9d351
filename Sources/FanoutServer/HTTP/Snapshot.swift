/// `GET /v1/snapshot`: the present state of channels, sent from what their readers are sent from.

import Reactor
import Wire

extension PublishFault {
    fileprivate static var noState: PublishFault {
        PublishFault(404, "no_state", "no channel here keeps state: give it rules, or PUT one")
    }
    fileprivate static var tooManySnapshots: PublishFault {
        PublishFault(503, "overload", "too many requests for a state wait already: come back later")
    }
}

extension Engine {
    /// Requests for states that may wait at the same time.
    static let snapshotAnswersMax = 256

    /// Answers a request for `/v1/snapshot`.
    func answerSnapshot(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let head = request.head
        switch head.method {
        case .get, .head:
            do throws(PublishFault) {
                try awaitSnapshot(slot, request, fields)
            } catch {
                respond(slot, error, withBody: head.method != .head, keepAlive: head.keepAlive, fields)
            }
        case .put: putSnapshot(slot, request, fields)
        default: refuseMethod(slot, head, allow: "GET, HEAD, PUT, OPTIONS", fields)
        }
    }

    /// Makes a request wait for the state as it is now or later: at the end of this turn, if it is not large.
    private func awaitSnapshot(
        _ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]
    ) throws(PublishFault) {
        let head = request.head
        let wanted = try snapshotWanted(request)
        guard hub.mayKeepState(wanted.patterns) else { throw .noState }
        guard ending == nil else { throw PublishFault(HTTPFault.shuttingDown) }
        let waiting = hub.images.images.reduce(0) { $0 + $1.answers.count }
        guard waiting < Self.snapshotAnswersMax else {
            memory.refusals &+= 1
            throw .tooManySnapshots
        }
        var asLines = false
        if let accept = head.accept {
            asLines = MediaType.isAccepted(request.headBytes, accept, "application/x-ndjson")
        }
        let answer = StateImage.Answer(
            socket: delivery.connections.socket(slot), asLines: asLines, withBody: head.method != .head,
            keepAlive: head.keepAlive, fields: fields)
        // Whoever has just published finds it in there.
        let index = image(wanted.patterns, wanted.types, asLines ? .lines : .array, .rows) {
            $0.stage == .waiting || hub.isExact($0)
        }
        if hub.images[index].stage == .complete { return respond(answer, hub.images[index]) }
        hub.images[index].answers.append(answer)
        delivery.connections[slot].waitingAnswers += 1
        pauseInput(slot)
    }

    private func snapshotWanted(_ request: borrowing Request) throws(PublishFault) -> Subscription {
        var wanted = Subscription()
        let pairs: [(name: [UInt8], value: [UInt8])]
        do throws(HTTPFault) {
            pairs = try QueryString.decodedPairs(request.headBytes, request.head.query)
        } catch {
            throw PublishFault(error)
        }
        for pair in pairs {
            guard pair.name.span.equals("channel") || pair.name.span.equals("types") else {
                throw PublishFault(400, "unknown_parameter", "a request for a state has channel and types")
            }
            do throws(SubscriptionFault) {
                try wanted.set(pair.name, pair.value)
            } catch {
                throw PublishFault(400, error.code.description, error.message)
            }
        }
        return wanted
    }

    /// The image that a request has waited for is complete.
    func answer(_ answer: StateImage.Answer, _ image: StateImage) {
        finish(answer) { respond(answer, image) }
    }

    /// The server stops: nobody waits any more.
    func endSnapshots() {
        for index in hub.images.images.indices {
            let answers = hub.images[index].answers
            hub.images[index].answers = []
            for answer in answers {
                finish(answer) {
                    respond(
                        answer.socket.slot, PublishFault(HTTPFault.shuttingDown), withBody: answer.withBody,
                        keepAlive: answer.keepAlive, answer.fields)
                }
            }
        }
    }

    /// Answers if the client is still there.
    private func finish(_ answer: StateImage.Answer, _ respond: () -> Void) {
        let slot = answer.socket.slot
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.socket == answer.socket, connection.pointee.isAwaiting else { return }
        connection.pointee.waitingAnswers -= 1
        respond()
        goOn(slot)
    }

    // MARK: The answer

    private static let snapshotFieldNames = "Fanout-Cursor"

    /// Queues an answer: what stands around the rows, and the image's own segments.
    ///
    /// `{"seq":7,"cursor":"<e>-7","events":[…]}`, or a line for each row with the cursor in a field.
    private func respond(_ answer: StateImage.Answer, _ image: StateImage) {
        let slot = answer.socket.slot
        let cursor = Cursor(epoch: hub.epoch, seq: image.place).description
        var before: [UInt8] = []
        var after: [UInt8] = []
        if !answer.asLines {
            before.append(text: "{\"seq\":")
            before.append(decimal: image.place)
            before.append(text: ",\"cursor\":\"")
            before.append(contentsOf: cursor.utf8)
            before.append(text: "\",\"events\":[")
            after.append(text: "]}\n")
        }
        var fields = answer.fields + [HTTPResponse.Field("Fanout-Cursor", cursor)]
        if !answer.fields.isEmpty {
            fields.append(HTTPResponse.Field("Access-Control-Expose-Headers", Self.snapshotFieldNames))
        }
        // What came behind the request and could not be kept was thrown away.
        let isLast = delivery.connections[slot].flags.contains(.skipsLine)
        let keepAlive = answer.keepAlive && !isLast && ending == nil
        scratch.removeAll(keepingCapacity: true)
        HTTPResponse.appendHead(
            status: 200, contentType: answer.asLines ? "application/x-ndjson" : "application/json",
            contentLength: before.count + image.byteCount + after.count, keepAlive: keepAlive, fields: fields,
            dateSeconds: dateSeconds, to: &scratch)
        if answer.withBody {
            scratch.append(contentsOf: before)
            sayScratch(slot)
            for segment in image.segments {
                let used = delivery.log.segments[segment].used
                delivery.queueRun(OutboundRun(segment: segment, start: 0, count: used), for: slot)
            }
            scratch.removeAll(keepingCapacity: true)
            scratch.append(contentsOf: after)
        }
        finishResponse(slot, status: 200, keepAlive: keepAlive)
    }
}
