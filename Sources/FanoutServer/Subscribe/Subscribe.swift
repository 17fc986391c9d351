/// `GET /v1/events`: the head of the answer decides the transport, then the stream begins.

import Wire

extension Engine {
    /// Turns a request into a stream, or answers why not.
    func subscribe(_ slot: UInt32, _ request: borrowing Request, _ fields: [HTTPResponse.Field]) {
        let head = request.head
        var subscription = Subscription()
        do throws(HTTPFault) {
            for pair in try QueryString.decodedPairs(request.headBytes, head.query) {
                do throws(SubscriptionFault) {
                    try subscription.set(pair.name, pair.value)
                } catch {
                    throw HTTPFault(status: 400, code: error.code, message: error.message)
                }
            }
            if let lastEventID = request.text(head.lastEventID), !lastEventID.isEmpty {
                subscription.setLastEventID(lastEventID)
            }
            if subscription.failsOnGap, missing(subscription.start ?? .now, subscription) != nil {
                throw HTTPFault(
                    status: 410, code: "cursor_gone",
                    message: "events after that place are gone, and on_gap=fail asked for an error")
            }
            let transport = try transport(request)
            // 204 is what makes a browser's EventSource stop coming back.
            if transport == .sse, hub.hasEnded(subscription.patterns) {
                return respondNoContent(slot, keepAlive: head.keepAlive, fields: fields)
            }
            scratch.removeAll(keepingCapacity: true)
            if transport == .webSocket {
                let key = try WebSocketHandshake.check(head, request.headBytes)
                HTTPResponse.appendWebSocketUpgrade(
                    key: request.headBytes.extracting(key.range), fields: fields, to: &scratch)
            } else {
                HTTPResponse.appendStreamHead(
                    contentType: transport == .sse ? "text/event-stream" : "application/x-ndjson", fields: fields,
                    dateSeconds: dateSeconds,
                    to: &scratch)
            }
            sayScratch(slot)
            metrics.responded(transport == .webSocket ? 101 : 200)
            delivery.connections.change(slot, to: transport)
            startStream(slot, subscription)
        } catch {
            respond(slot, keepAlive: head.keepAlive, fault: error, fields: fields)
        }
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
