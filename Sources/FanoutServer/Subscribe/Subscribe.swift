/// `GET /v1/events`, or of a route: the head of the answer decides the transport, then the stream begins.

import Wire

extension Engine {
    /// Turns a request into a stream, or answers why not.
    /// - Parameter channel: the one that the path names, where it does.
    func subscribe(
        _ slot: UInt32, _ request: borrowing Request, on channel: ChannelName?, _ fields: [HTTPResponse.Field]
    ) {
        let head = request.head
        let subscription: Subscription
        do throws(PublishFault) {
            subscription = try self.subscription(slot, request, on: channel)
        } catch {
            var body: [UInt8] = []
            error.append(to: &body)
            return respond(slot, status: error.status, body: body, keepAlive: head.keepAlive, fields: fields)
        }
        do throws(HTTPFault) {
            let opening = opening(subscription)
            if subscription.failsOnGap, opening.missing != nil {
                throw HTTPFault(
                    status: 410, code: "cursor_gone",
                    message: "events after that place are gone, and on_gap=fail asked for an error")
            }
            let transport = try transport(request)
            guard hasMemory(for: subscription, at: delivery.connections[slot].listener) else {
                metrics.shed &+= 1
                return shed(slot, request, .overload, fields)
            }
            // 204 is what makes a browser's EventSource stop coming back. Who has missed something is told that first.
            if transport == .sse, opening.replayAfter == nil, opening.missing == nil, !opening.wantsState,
                hub.hasEnded(subscription.patterns)
            {
                return respondNoContent(slot, keepAlive: head.keepAlive, fields: fields)
            }
            scratch.removeAll(keepingCapacity: true)
            if transport == .webSocket {
                let key = try WebSocketHandshake.check(head, request.headBytes)
                HTTPResponse.appendWebSocketUpgrade(
                    key: request.headBytes.extracting(key.range), fields: fields, to: &scratch)
            } else if fields.isEmpty {
                openingTexts.appendHead(eventStream: transport == .sse, dateSeconds: dateSeconds, to: &scratch)
            } else {
                HTTPResponse.appendStreamHead(
                    contentType: transport == .sse ? "text/event-stream" : "application/x-ndjson", fields: fields,
                    dateSeconds: dateSeconds, to: &scratch)
            }
            metrics.responded(transport == .webSocket ? 101 : 200)
            delivery.connections.change(slot, to: transport)
            startStream(slot, subscription, opening, afterHead: true)
        } catch {
            respond(slot, keepAlive: head.keepAlive, fault: error, fields: fields)
        }
    }

    /// What the query and the `Last-Event-ID` header ask for.
    private func subscription(
        _ slot: UInt32, _ request: borrowing Request, on channel: ChannelName?
    ) throws(PublishFault) -> Subscription {
        var subscription = Subscription()
        let pairs: [(name: [UInt8], value: [UInt8])]
        do throws(HTTPFault) {
            pairs = try QueryString.decodedPairs(request.headBytes, request.head.query)
        } catch {
            throw PublishFault(error)
        }
        if let channel {
            guard !pairs.contains(where: { $0.name.span.equals("channel") }) else { throw .routeChannel }
            subscription.patterns = [ChannelPattern(channel)]
        }
        do throws(SubscriptionFault) {
            for pair in pairs { try subscription.set(pair.name, pair.value) }
            try hub.checkLimits(subscription, at: delivery.connections[slot].listener)
        } catch {
            throw PublishFault(400, error.code.description, error.message)
        }
        if let lastEventID = request.text(request.head.lastEventID), !lastEventID.isEmpty {
            subscription.setLastEventID(lastEventID)
        }
        guard subscription.start != .snapshot || hub.mayKeepState(subscription.patterns) else {
            throw PublishFault(400, SubscriptionFault.noState.code.description, SubscriptionFault.noState.message)
        }
        return subscription
    }

    private func transport(_ request: borrowing Request) throws(HTTPFault) -> Transport {
        let head = request.head
        let bytes = request.headBytes
        if head.wantsWebSocket { return .webSocket }
        guard let accept = head.accept, !accept.isEmpty else { return .jsonlHTTP }
        if MediaType.isAccepted(bytes, accept, "text/event-stream") { return .sse }
        for type: StaticString in [
            "application/x-ndjson", "application/json", "application/*", "text/*", "text/plain", "*/*",
        ]
        where MediaType.isAccepted(bytes, accept, type) { return .jsonlHTTP }
        throw HTTPFault(
            status: 406, code: "not_acceptable",
            message: "a stream is text/event-stream, application/x-ndjson or a WebSocket")
    }
}
