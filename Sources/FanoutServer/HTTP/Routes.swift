/// Which path means what.

import Wire

extension Engine {
    /// Answers one whole request.
    func handle(_ slot: UInt32, _ request: borrowing Request) {
        let range = request.head.path.range
        if PercentCoding.isPlain(request.headBytes.extracting(range)) {
            admit(slot, request, request.headBytes.extracting(range))
        } else {
            handleEncoded(slot, request)
        }
    }

    private func handleEncoded(_ slot: UInt32, _ request: borrowing Request) {
        do throws(HTTPFault) {
            let path = try RequestPath.decode(request.headBytes.extracting(request.head.path.range))
            admit(slot, request, path.span)
        } catch {
            respond(slot, to: request.head, fault: error)
        }
    }

    /// `path` is the request's own, decoded.
    private func admit(_ slot: UInt32, _ request: borrowing Request, _ path: Span<UInt8>) {
        var fields: [HTTPResponse.Field] = []
        let channel = routedChannel(path)
        if delivery.connections[slot].flags.contains(.tcp) {
            switch admission.decide(request, path: path, isRoute: channel != nil, port: httpPort) {
            case .welcome: break
            case .welcomeFromOrigin(let origin):
                fields = [
                    HTTPResponse.Field("Access-Control-Allow-Origin", origin), HTTPResponse.Field("Vary", "Origin"),
                ]
            case .refused(let fault): return respond(slot, to: request.head, fault: fault)
            }
        }
        route(slot, request, path, channel, fields)
    }

    private func route(
        _ slot: UInt32, _ request: borrowing Request, _ path: Span<UInt8>, _ channel: ChannelName?,
        _ fields: [HTTPResponse.Field]
    ) {
        let head = request.head
        if head.method == .options { return answerOptions(slot, head, fields) }
        if isStatusPath(path) { return answerStatus(slot, request, path, fields) }
        // Whoever was there before, a publisher above all, is served as always.
        if delivery.connections[slot].flags.contains(.inReservedPlace) {
            if delivery.connections.total > connectionsMax - Limits.reservedConnections {
                metrics.shed &+= 1
                return shed(slot, request, .overload, fields)
            }
            if let want = peers.want(slot) {
                peers.noteRefusal(want)
                return shed(slot, request, .tooManyConnections(want), fields)
            }
        }
        if channel != nil || path.equals("/v1/events") {
            answerEvents(slot, request, on: channel, fields)
        } else if path.equals("/v1/channels") {
            answerChannels(slot, request, fields)
        } else if path.equals("/v1/history") {
            answerHistory(slot, request, fields)
        } else if path.equals("/v1/snapshot") {
            answerSnapshot(slot, request, fields)
        } else if path.equals("/v1/lag") {
            answerLag(slot, request, fields)
        } else if path.equals("/v1/schema") {
            answerSchema(slot, request, fields)
        } else if let file = constants.file(path) {
            answerFile(slot, head, file, fields)
        } else {
            respond(
                slot, to: head,
                fault: HTTPFault(
                    status: 404, code: "not_found",
                    message: "nothing is here: the stream is at /v1/events, the live page at /"), fields: fields)
        }
    }

    func isStatusPath(_ path: Span<UInt8>) -> Bool {
        path.equals("/healthz") || path.equals("/readyz") || path.equals("/metrics")
    }

    private func answerStatus(
        _ slot: UInt32, _ request: borrowing Request, _ path: Span<UInt8>, _ fields: [HTTPResponse.Field]
    ) {
        let head = request.head
        guard head.method == .get || head.method == .head else {
            return refuseMethod(slot, head, allow: "GET, HEAD", fields)
        }
        var status = 200
        var body = Array("ok\n".utf8)
        var contentType: StaticString = "text/plain; charset=utf-8"
        if path.equals("/readyz") {
            status = ending == nil ? 200 : 503
            body = Array((ending == nil ? "ready\n" : "stopping\n").utf8)
        } else if path.equals("/metrics") {
            contentType = "text/plain; version=0.0.4; charset=utf-8"
            body = metricsText()
        }
        respond(
            slot, status: status, contentType: contentType, body: body, withBody: head.method != .head,
            keepAlive: head.keepAlive, fields: fields)
    }

    /// One of the page's files. A page of a listed origin may load `/fanout.js` as a module: its browser has to be
    /// told.
    private func answerFile(
        _ slot: UInt32, _ head: HTTPRequestHead, _ file: Constants.File, _ fields: [HTTPResponse.Field]
    ) {
        guard head.method == .get || head.method == .head else {
            return refuseMethod(slot, head, allow: "GET, HEAD", fields)
        }
        let keepAlive = head.keepAlive && ending == nil
        scratch.removeAll(keepingCapacity: true)
        HTTPResponse.appendHead(
            status: 200, contentType: file.contentType, contentLength: Int(file.run.count), keepAlive: keepAlive,
            cacheControl: "no-cache",
            fields: [HTTPResponse.Field("Content-Security-Policy", Constants.contentPolicy)] + fields,
            dateSeconds: dateSeconds, to: &scratch)
        finishResponse(
            slot, status: 200, keepAlive: keepAlive, body: head.method == .get ? file.run : nil)
    }

    /// A preflight of a listed origin is told what it may do; anyone else what there is.
    private func answerOptions(_ slot: UInt32, _ head: HTTPRequestHead, _ fields: [HTTPResponse.Field]) {
        var fields = fields
        if fields.isEmpty {
            fields.append(HTTPResponse.Field("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS"))
        } else {
            fields.append(HTTPResponse.Field("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE"))
            fields.append(
                HTTPResponse.Field("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID, Idempotency-Key"))
            fields.append(HTTPResponse.Field("Access-Control-Max-Age", "600"))
        }
        respond(
            slot, status: 200, contentType: "text/plain; charset=utf-8", body: [], keepAlive: head.keepAlive,
            fields: fields)
    }

    /// 405, with what the path does take.
    func refuseMethod(
        _ slot: UInt32, _ head: HTTPRequestHead, allow: StaticString, _ fields: [HTTPResponse.Field]
    ) {
        respond(
            slot, to: head,
            fault: HTTPFault(status: 405, code: "method_not_allowed", message: "this path does not take that method"),
            fields: fields + [HTTPResponse.Field("Allow", allow.description)])
    }

    /// No place is left, for anybody or for this peer. A browser's EventSource gives up for good on anything but 200,
    /// so it gets a stream that ends at once and says when to come back.
    func shed(
        _ slot: UInt32, _ request: borrowing Request, _ fault: HTTPFault, _ fields: [HTTPResponse.Field]
    ) {
        if asksForEventStream(request) {
            scratch.removeAll(keepingCapacity: true)
            HTTPResponse.appendStreamHead(
                contentType: "text/event-stream", fields: fields, dateSeconds: dateSeconds, to: &scratch)
            sayScratch(slot)
            metrics.responded(200)
            delivery.connections[slot].phase = .subscriber
            delivery.connections.change(slot, to: .sse)
            if wantsNoControl(request) { delivery.connections[slot].flags.insert(.controlOff) }
            return bye(slot, .overload, why: fault.code)
        }
        respond(slot, keepAlive: false, fault: fault, withBody: request.head.method != .head, fields: fields)
    }
}
