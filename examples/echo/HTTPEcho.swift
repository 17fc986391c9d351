// HTTP: `GET /` answers with the request's own words, `POST /` with the request's own body.

import Wire

/// The answer to the request whose body is being read.
struct Reply {
    var status = 200
    /// What is answered, nil for the request's own body.
    var text: [UInt8]?
    var contentType: [UInt8] = []
    var keepAlive = true
    /// False exactly for HEAD.
    var hasBody = true
    var allow: String?
}

extension Session {
    mutating func httpStep(_ rest: UnsafeMutableBufferPointer<UInt8>) -> Int? {
        do throws(HTTPFault) {
            switch phase {
            case .head: return try headStep(rest)
            case .chunks(let decoder): return try chunkStep(rest, decoder)
            case .body(let left): return bodyStep(rest, left)
            case .webSocket, .over: return nil
            }
        } catch {
            refuse(error)
            return rest.count
        }
    }

    private mutating func headStep(_ rest: UnsafeMutableBufferPointer<UInt8>) throws(HTTPFault) -> Int? {
        guard let length = try framer.scan(rest.span, limits: HTTPLimits()) else { return nil }
        framer = HTTPHeadFramer()
        let bytes = UnsafeBufferPointer(rebasing: rest[..<length])
        let head = try HTTPRequestHead.parse(bytes.span, limits: HTTPLimits())
        if head.wantsWebSocket, isPath(bytes, head, "/echo") {
            let key = try WebSocketHandshake.check(head, bytes.span)
            openWebSocket(key: bytes.span.extracting(key.range))
            return length
        }
        reply = makeReply(bytes, head)
        switch head.body {
        case .none:
            phase = .body(0)
        case .length(let count):
            guard count <= Session.messageBytesMax else { throw .bodyTooLarge }
            phase = .body(count)
        case .chunked:
            phase = .chunks(ChunkedDecoder(bodyBytesMax: Session.messageBytesMax))
        }
        if head.expectsContinue {
            var interim: [UInt8] = []
            HTTPResponse.appendContinue(to: &interim)
            outbox.append(interim)
        }
        return length
    }

    private mutating func bodyStep(_ rest: UnsafeMutableBufferPointer<UInt8>, _ left: Int) -> Int? {
        if left > 0, rest.isEmpty { return nil }
        let count = min(left, rest.count)
        message.append(UnsafeBufferPointer(rebasing: rest[..<count]))
        phase = .body(left - count)
        if left == count { answer() }
        return count
    }

    private mutating func chunkStep(
        _ rest: UnsafeMutableBufferPointer<UInt8>, _ before: ChunkedDecoder
    ) throws(HTTPFault) -> Int? {
        var decoder = before
        var consumed = 0
        let step = try decoder.next(rest.span, consumed: &consumed, limits: HTTPLimits())
        phase = .chunks(decoder)
        switch step {
        case .data(let range):
            message.append(UnsafeBufferPointer(rebasing: rest[range.range]))
        case .needsMore:
            if consumed == 0 { return nil }
        case .end:
            answer()
        }
        return consumed
    }

    private func makeReply(_ bytes: UnsafeBufferPointer<UInt8>, _ head: HTTPRequestHead) -> Reply {
        var reply = Reply()
        reply.keepAlive = head.keepAlive
        reply.hasBody = head.method != .head
        reply.contentType = Array("text/plain; charset=utf-8".utf8)
        if isPath(bytes, head, "/echo") {
            reply.status = 426
            reply.text = Array("this is a WebSocket: connect with ws://\n".utf8)
            return reply
        }
        guard isPath(bytes, head, "/") else {
            reply.status = 404
            reply.text = Array("there are / and /echo\n".utf8)
            return reply
        }
        switch head.method {
        case .get, .head:
            reply.text = Array(bytes[head.methodName.range]) + [0x20] + Array(bytes[head.target.range]) + [0x0A]
        case .post, .put:
            if let type = head.contentType {
                reply.contentType = Array(bytes[type.range])
            } else {
                reply.contentType = Array("application/octet-stream".utf8)
            }
        default:
            reply.status = 405
            reply.allow = "GET, HEAD, POST, PUT"
            reply.text = Array("there are GET, HEAD, POST and PUT\n".utf8)
        }
        return reply
    }

    /// The request is complete: its answer goes out, and the next head or the end is awaited.
    private mutating func answer() {
        var fields = [HTTPResponse.Field("Content-Type", reply.contentType)]
        if let allow = reply.allow { fields.append(HTTPResponse.Field("Allow", allow)) }
        var head: [UInt8] = []
        HTTPResponse.appendHead(
            status: reply.status, contentType: nil, contentLength: reply.text?.count ?? message.count,
            keepAlive: reply.keepAlive, fields: fields, to: &head)
        outbox.append(head)
        if let text = reply.text {
            if reply.hasBody { outbox.append(text) }
        } else {
            outbox.append(message.bytes)
        }
        message.removeAll()
        phase = reply.keepAlive ? .head : .over
        reply = Reply()
    }

    /// Says why the request cannot be understood, and nothing more.
    private mutating func refuse(_ fault: HTTPFault) {
        var response: [UInt8] = []
        HTTPResponse.append(
            status: fault.status, contentType: "text/plain; charset=utf-8", body: Array("\(fault.message)\n".utf8),
            keepAlive: false, to: &response)
        outbox.append(response)
        message.removeAll()
        phase = .over
    }

    private func isPath(
        _ bytes: UnsafeBufferPointer<UInt8>, _ head: HTTPRequestHead, _ path: StaticString
    ) -> Bool {
        path.withUTF8Buffer { bytes[head.path.range].elementsEqual($0) }
    }
}
