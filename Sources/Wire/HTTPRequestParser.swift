// What a request head says.

import Planted

/// From a head's bytes to `HTTPRequestHead`: the field lines and what they mean together.
///
/// Where RFC 9112 leaves a choice this takes the strict one, because every leniency is a place where a proxy in front
/// may see another request than this server: `Content-Length` with `Transfer-Encoding` is 400, so is a repeated
/// `Content-Length`, equal or not; a transfer coding other than exactly `chunked` is 501.
extension HTTPRequestHead {
    /// Parses one whole head, as `HTTPHeadFramer` delimits it.
    ///
    /// Throws 400, 414, 417, 431, 501 or 505. Linear in the head, which must be shorter than 4 GiB. A head that has
    /// more bytes behind its final empty line, or none, is 400 too, so that any bytes may be given.
    package static func parse(
        _ head: Span<UInt8>, limits: HTTPLimits
    ) throws(HTTPFault) -> HTTPRequestHead {
        guard head.count <= limits.headBytesMax else { throw .headTooLarge("the request's head is too large") }
        var request = HTTPRequestHead()
        let start = beginsWithEmptyLine(head) ? 2 : 0
        let (fieldsStart, authority) = try HTTPRequestLine.parse(head, from: start, limits: limits, into: &request)

        var facts = FieldFacts()
        var lines = HTTPFieldLines(at: fieldsStart)
        var count = 0
        while let field = try lines.next(head) {
            count += 1
            guard count <= limits.fieldsMax else { throw .headTooLarge("the request has too many header fields") }
            try request.take(field, in: head, facts: &facts)
        }
        guard lines.offset == head.count else { throw .badRequest("bytes follow the end of the head") }
        request.fields = ASCII.range(fieldsStart, head.count)

        try request.decideHost(authority, in: head)
        try request.decideBody(facts)
        request.keepAlive = !facts.close && (request.minorVersion == 1 || facts.keepAlive)
        // HTTP/1.0 knows neither `Expect` nor `Upgrade`; both are ignored there (RFC 9110 sections 10.1.1 and 7.8).
        request.expectsContinue = facts.expectsContinue && request.minorVersion == 1 && request.body != .none
        request.wantsWebSocket =
            facts.upgradesToWebSocket && facts.connectionUpgrade && request.method == .get && request.minorVersion == 1
        return request
    }

    private static func beginsWithEmptyLine(_ head: Span<UInt8>) -> Bool {
        head.count >= 2 && head[0] == ASCII.carriageReturn && head[1] == ASCII.lineFeed
    }

    /// What is known only when all fields have been seen.
    private struct FieldFacts {
        var contentLength: Int?
        var transferEncodings = 0
        var isExactlyChunked = false
        var close = false
        var keepAlive = false
        var connectionUpgrade = false
        var upgradesToWebSocket = false
        var expectsContinue = false
    }

    private mutating func take(
        _ field: HTTPFieldLines.Field, in head: Span<UInt8>, facts: inout FieldFacts
    ) throws(HTTPFault) {
        let value = field.value
        switch HTTPFieldName.named(head, field.name) {
        case .host:
            guard host == nil else { throw .badHost("there is more than one Host field") }
            host = value
        case .contentLength:
            guard facts.contentLength == nil || isPlanted("secondContentLengthWins") else {
                throw .badLength("there is more than one Content-Length field")
            }
            facts.contentLength = try HTTPRequestHead.contentLength(head, value)
        case .transferEncoding:
            facts.transferEncodings += 1
            facts.isExactlyChunked = ASCII.matches(head, value, "chunked")
        case .connection:
            facts.close = facts.close || TokenList.contains(head, value, "close")
            facts.keepAlive = facts.keepAlive || TokenList.contains(head, value, "keep-alive")
            facts.connectionUpgrade = facts.connectionUpgrade || TokenList.contains(head, value, "upgrade")
        case .upgrade:
            facts.upgradesToWebSocket = facts.upgradesToWebSocket || TokenList.contains(head, value, "websocket")
        case .expect:
            guard ASCII.matchesAnyCase(head, value, "100-continue") else { throw .expectationFailed }
            facts.expectsContinue = true
        case .origin: try HTTPRequestHead.setOnce(&origin, value)
        case .contentType: try HTTPRequestHead.setOnce(&contentType, value)
        case .contentEncoding: try HTTPRequestHead.setOnce(&contentEncoding, value)
        case .lastEventID: try HTTPRequestHead.setOnce(&lastEventID, value)
        case .idempotencyKey: try HTTPRequestHead.setOnce(&idempotencyKey, value)
        case .secFetchSite: try HTTPRequestHead.setOnce(&secFetchSite, value)
        case .secFetchMode: try HTTPRequestHead.setOnce(&secFetchMode, value)
        case .secWebSocketKey: try HTTPRequestHead.setOnce(&secWebSocketKey, value)
        case .secWebSocketVersion: try HTTPRequestHead.setOnce(&secWebSocketVersion, value)
        case .accept: accept = accept ?? value
        case .secWebSocketProtocol: secWebSocketProtocol = secWebSocketProtocol ?? value
        case .userAgent: userAgent = userAgent ?? value
        case nil: break
        }
    }

    private static func setOnce(_ place: inout ByteRange?, _ value: ByteRange) throws(HTTPFault) {
        guard place == nil else { throw .badRequest("a header field that may occur once occurs twice") }
        place = value
    }

    /// Digits and nothing else: no sign, no list, no hexadecimal, no blank inside, nothing beyond `Int.max`.
    private static func contentLength(_ head: Span<UInt8>, _ value: ByteRange) throws(HTTPFault) -> Int {
        guard !value.isEmpty else { throw .badLength("Content-Length is empty") }
        var length = 0
        for index in Int(value.start)..<value.end {
            guard ASCII.isDigit(head[index]) else { throw .badLength("Content-Length is not a number") }
            let (tens, overflowed) = length.multipliedReportingOverflow(by: 10)
            let (sum, carried) = tens.addingReportingOverflow(Int(head[index] - UInt8(ascii: "0")))
            guard !overflowed, !carried else { throw .badLength("Content-Length is too large to be one") }
            length = sum
        }
        return length
    }

    private mutating func decideHost(_ authority: ByteRange?, in head: Span<UInt8>) throws(HTTPFault) {
        if let host {
            guard host.isEmpty || HostPort.parse(head, host) != nil else {
                throw .badHost("Host is not a host name or address with an optional port")
            }
        } else if minorVersion == 1 {
            throw .badHost("there is no Host field")
        }
        guard let authority else { return }
        guard HostPort.parse(head, authority) != nil else {
            throw .badTarget("the target's authority is not a host name or address with an optional port")
        }
        if let host, !ASCII.equalAnyCase(head, host, head, authority) {
            throw .badHost("Host and the target name different hosts")
        }
        host = authority
    }

    private mutating func decideBody(_ facts: FieldFacts) throws(HTTPFault) {
        if facts.transferEncodings > 0 {
            guard minorVersion == 1 else { throw .badLength("Transfer-Encoding does not exist in HTTP/1.0") }
            guard facts.contentLength == nil else {
                throw .badLength("there are both Content-Length and Transfer-Encoding")
            }
            guard facts.transferEncodings == 1, facts.isExactlyChunked else { throw .transferEncodingUnsupported }
            body = .chunked
        } else if let length = facts.contentLength {
            body = .length(length)
        }
    }
}
