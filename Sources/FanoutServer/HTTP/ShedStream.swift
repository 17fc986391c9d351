/// Who is turned away with a stream that ends at once, and what it says.

import Wire

extension Engine {
    /// Whether a request is one that a browser's EventSource makes, or a client like it: for anything else a status
    /// says more than a stream would.
    func asksForEventStream(_ request: borrowing Request) -> Bool {
        let head = request.head
        guard head.method == .get, !head.wantsWebSocket, let accept = head.accept,
            MediaType.isAccepted(request.headBytes, accept, "text/event-stream"),
            let path = try? RequestPath.decode(request.headBytes.extracting(head.path.range))
        else { return false }
        return path.span.equals("/v1/events") || routedChannel(path.span) != nil
    }

    /// Whether the subscription that a request asks for is one without `$` records, at its own word or its channels'.
    /// What else it asks for, and what is wrong with it, is not looked at.
    func wantsNoControl(_ request: borrowing Request) -> Bool {
        guard let pairs = try? QueryString.decodedPairs(request.headBytes, request.head.query) else { return false }
        var subscription = Subscription()
        if let path = try? RequestPath.decode(request.headBytes.extracting(request.head.path.range)),
            let channel = routedChannel(path.span)
        {
            subscription.patterns = [ChannelPattern(channel)]
        }
        for pair in pairs { try? subscription.set(pair.name, pair.value) }
        return !(subscription.control ?? hub.rules.common(to: subscription.patterns).control)
    }
}
