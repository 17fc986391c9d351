/// The request cycle of an HTTP connection: head, body, answer, next.

import Wire

/// A whole request: its head as parsed, and the bytes its ranges refer to.
struct Request: ~Escapable {
    let head: HTTPRequestHead
    let headBytes: Span<UInt8>
    let body: Span<UInt8>

    @_lifetime(copy headBytes, copy body)
    init(head: HTTPRequestHead, headBytes: Span<UInt8>, body: Span<UInt8>) {
        self.head = head
        self.headBytes = headBytes
        self.body = body
    }

    /// The text of a field, nil where it is absent.
    func text(_ range: ByteRange?) -> [UInt8]? {
        guard let range else { return nil }
        return [UInt8](bytes: headBytes.extracting(range.range))
    }
}

extension HTTPFault {
    /// 503: no place is left for anybody.
    static var overload: HTTPFault {
        HTTPFault(status: 503, code: "overload", message: "no place is left: come back later")
    }

    /// 503: the server is stopping; what the request asked for was not done.
    static var shuttingDown: HTTPFault {
        HTTPFault(status: 503, code: "shutting_down", message: "the server is stopping: send the request again")
    }
}

extension Engine {
    /// Bytes of a body. A batch of 1,000 events fits.
    static let bodyBytesMax = Staging.bytesMax
    static let httpLimits = HTTPLimits()

    /// Answers the requests that are whole. Returns how many bytes were used; the rest is the start of the next
    /// request.
    func consumeRequests(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let connection = delivery.connections.records + Int(slot)
        if connection.pointee.flags.contains(.endsWhenSent) { return bytes.count }
        do throws(HTTPFault) {
            return try consumeRequest(slot, bytes)
        } catch {
            metrics.refusedRequests &+= 1
            respond(slot, keepAlive: false, fault: error)
            return bytes.count
        }
    }

    private func consumeRequest(
        _ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>
    ) throws(HTTPFault) -> Int {
        let input = delivery.connections[slot].input
        let stage = input == Connection.none ? .head : inputs[input].stage
        if stage == .body {
            guard bytes.count >= inputs[input].headBytes + inputs[input].bodyBytes else { return 0 }
        }
        if stage == .chunks { return try consumeChunks(slot, bytes) }
        var framer = input == Connection.none ? HTTPHeadFramer() : inputs[input].framer
        let wasIdle = framer.isIdle
        guard
            let headBytes = try stage == .body
                ? inputs[input].headBytes : framer.scan(bytes.span, limits: Self.httpLimits)
        else {
            inputs[inputBuffer(of: slot)].framer = framer
            // The deadline is absolute: bytes that trickle in do not move it.
            if wasIdle { setDeadline(slot, in: Limits.headMilliseconds) }
            return 0
        }
        let head = try HTTPRequestHead.parse(bytes.span.extracting(first: headBytes), limits: Self.httpLimits)
        switch head.body {
        case .none:
            return answer(slot, head, bytes, headBytes: headBytes, bodyBytes: 0)
        case .length(let count):
            guard count <= Self.bodyBytesMax else { throw .bodyTooLarge }
            if bytes.count - headBytes >= count {
                return answer(slot, head, bytes, headBytes: headBytes, bodyBytes: count)
            }
            awaitBody(slot, head, stage: .body, headBytes: headBytes)
            inputs[delivery.connections[slot].input].bodyBytes = count
            return 0
        case .chunked:
            awaitBody(slot, head, stage: .chunks, headBytes: headBytes)
            let buffer = inputBuffer(of: slot)
            inputs[buffer].chunks = ChunkedDecoder(bodyBytesMax: Self.bodyBytesMax)
            if inputs[buffer].count > 0 { return try consumeChunks(slot, bytes) }
            // Decoding uses the bytes up while the head must stay: both move to the connection's own buffer.
            guard mayKeep(slot, inputs[buffer].growth(adding: bytes.count)) else { return bytes.count }
            inputs.append(bytes, to: buffer)
            consumeKept(slot)
            return bytes.count
        }
    }

    private func awaitBody(_ slot: UInt32, _ head: HTTPRequestHead, stage: InputBuffer.RequestStage, headBytes: Int) {
        let buffer = inputBuffer(of: slot)
        inputs[buffer].stage = stage
        inputs[buffer].headBytes = headBytes
        setDeadline(slot, in: Limits.bodyMilliseconds)
        guard head.expectsContinue else { return }
        scratch.removeAll(keepingCapacity: true)
        HTTPResponse.appendContinue(to: &scratch)
        sayScratch(slot)
    }

    /// Decodes what has come of a chunked body; `bytes` are the connection's own, which begin with the head.
    private func consumeChunks(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) throws(HTTPFault) -> Int {
        let input = delivery.connections[slot].input
        let headBytes = inputs[input].headBytes
        var consumed = headBytes
        while true {
            switch try inputs[input].chunks.next(bytes.span, consumed: &consumed, limits: Self.httpLimits) {
            case .data(let range):
                let piece = bytes.span.extracting(range.range)
                guard mayKeep(slot, inputs.bodyGrowth(adding: piece.count, to: input)) else { return bytes.count }
                inputs.appendBody(piece, to: input)
            case .needsMore:
                inputs[input].remove(consumed - headBytes, after: headBytes)
                return 0
            case .end:
                let body = inputs.takeBody(input)
                let headSpan = bytes.span.extracting(first: headBytes)
                let head = try HTTPRequestHead.parse(headSpan, limits: Self.httpLimits)
                finishRequest(slot)
                handle(slot, Request(head: head, headBytes: headSpan, body: body.span))
                return consumed
            }
        }
    }

    private func answer(
        _ slot: UInt32, _ head: HTTPRequestHead, _ bytes: UnsafeMutableBufferPointer<UInt8>, headBytes: Int,
        bodyBytes: Int
    ) -> Int {
        finishRequest(slot)
        let span = bytes.span
        handle(
            slot,
            Request(
                head: head, headBytes: span.extracting(first: headBytes),
                body: span.extracting(headBytes..<(headBytes + bodyBytes))))
        return headBytes + bodyBytes
    }

    /// The request is whole: its state makes place for the next one's before it is answered.
    private func finishRequest(_ slot: UInt32) {
        metrics.requests &+= 1
        let input = delivery.connections[slot].input
        if input != Connection.none { inputs.nextRequest(input) }
    }

    /// A deadline passed: an idle connection is closed, an unfinished request is told. Whoever still takes its answers
    /// is not idle.
    func requestTimedOut(_ slot: UInt32) {
        let connection = delivery.connections.records + Int(slot)
        let isWaited = connection.pointee.input == Connection.none || connection.pointee.flags.contains(.inputPaused)
        if isWaited, !connection.pointee.ring.isEmpty {
            let stalled = UInt64(UInt32(truncatingIfNeeded: loop.now) &- connection.pointee.waitingSince)
            if stalled >= Limits.idleMilliseconds { return close(slot, .reset, .timedOut) }
            return setDeadline(slot, in: Limits.idleMilliseconds - stalled)
        }
        if delivery.connections[slot].input == Connection.none {
            // It is idle from when its last answer was taken, not from when that was asked for.
            let quiet = UInt64(UInt32(truncatingIfNeeded: loop.now) &- connection.pointee.waitingSince)
            if connection.pointee.flags.contains(.answered), quiet < Limits.idleMilliseconds {
                return setDeadline(slot, in: Limits.idleMilliseconds - quiet)
            }
            close(slot, .graceful, .timedOut)
        } else {
            respond(
                slot, keepAlive: false,
                fault: HTTPFault(status: 408, code: "request_timeout", message: "the request did not arrive in time"))
        }
    }

    // MARK: Answers

    /// The `Date` of an answer (RFC 9110 section 6.6.1).
    var dateSeconds: Int64 { max(0, loop.wallClockMilliseconds / 1000) }

    /// Queues a whole answer. Without `keepAlive` the connection ends when it is sent.
    func respond(
        _ slot: UInt32, status: Int, contentType: StaticString = "application/json", body: [UInt8],
        withBody: Bool = true, keepAlive: Bool, cacheControl: StaticString = "no-store",
        fields: [HTTPResponse.Field] = []
    ) {
        let keepAlive = keepAlive && ending == nil
        var fields = fields
        if status == 503 || status == 429 { fields.append(HTTPResponse.Field("Retry-After", "1")) }
        scratch.removeAll(keepingCapacity: true)
        HTTPResponse.append(
            status: status, contentType: contentType, body: body, withBody: withBody, keepAlive: keepAlive,
            cacheControl: cacheControl, fields: fields, dateSeconds: dateSeconds, to: &scratch)
        finishResponse(slot, status: status, keepAlive: keepAlive)
    }

    /// Queues a 204, which has no body and says no length.
    func respondNoContent(_ slot: UInt32, keepAlive: Bool, fields: [HTTPResponse.Field]) {
        let keepAlive = keepAlive && ending == nil
        scratch.removeAll(keepingCapacity: true)
        HTTPResponse.appendHead(
            status: 204, contentType: nil, contentLength: nil, keepAlive: keepAlive, fields: fields,
            dateSeconds: dateSeconds, to: &scratch)
        finishResponse(slot, status: 204, keepAlive: keepAlive)
    }

    /// Queues what was written to `scratch` as an answer and decides what becomes of the connection.
    func finishResponse(_ slot: UInt32, status: Int, keepAlive: Bool, body: OutboundRun? = nil) {
        // Answers are part of a turn's share, or one client's requests could make any number of them.
        turnInputBytes += scratch.count
        sayScratch(slot)
        if let body { delivery.queueRun(body, for: slot) }
        metrics.responded(status)
        if keepAlive {
            delivery.connections[slot].flags.insert(.answered)
            setDeadline(slot, in: Limits.idleMilliseconds)
        } else {
            endWhenSent(slot)
        }
    }

    /// Queues an error answer: `{"error":{"code":…,"message":…}}`.
    func respond(
        _ slot: UInt32, keepAlive: Bool, fault: HTTPFault, withBody: Bool = true, fields: [HTTPResponse.Field] = []
    ) {
        var body: [UInt8] = []
        PublishFault(fault).append(to: &body)
        respond(slot, status: fault.status, body: body, withBody: withBody, keepAlive: keepAlive, fields: fields)
    }

    /// The same to a request; the answer to HEAD has no body, faults included, or the next answer would be lost behind
    /// it.
    func respond(_ slot: UInt32, to head: HTTPRequestHead, fault: HTTPFault, fields: [HTTPResponse.Field] = []) {
        respond(slot, keepAlive: head.keepAlive, fault: fault, withBody: head.method != .head, fields: fields)
    }
}
