// Request heads: framer, parser, query, percent-coding and the checks of Host and Origin, against NaiveRequest.

import Wire

enum RequestHeadTarget {
    private static let standard = HTTPLimits()
    /// Limits that short inputs reach.
    private static let small: HTTPLimits = {
        var limits = HTTPLimits()
        limits.requestLineBytesMax = 40
        limits.headBytesMax = 120
        limits.fieldsMax = 3
        return limits
    }()

    private enum Framing: Equatable {
        case head(Int)
        case incomplete
        case fault(HTTPFault)
    }

    static func judge(_ input: Input) {
        for limits in [standard, small] {
            let whole = frame(input, .whole, limits)
            for delivery in Delivery.inPieces(input) {
                expectEqual(frame(input, delivery, limits), whole, "a head is framed differently as \(delivery)")
            }
            expectEqual(isFramed(whole), NaiveRequest.headCount(Array(input), limits), "framed differently")
            if case .head(let count) = whole { judgeHead(Input(rebasing: input[..<count]), limits) }
            if case .fault(let fault) = whole { expect([400, 414, 431].contains(fault.status), "status \(fault)") }
        }
        // The parser alone must take any bytes, whether they were framed or not.
        judgeHead(input, standard)
    }

    private static func isFramed(_ framing: Framing) -> Int? {
        if case .head(let count) = framing { count } else { nil }
    }

    private static func frame(_ input: Input, _ delivery: Delivery, _ limits: HTTPLimits) -> Framing {
        var framer = HTTPHeadFramer()
        do throws(HTTPFault) {
            for end in delivery.ends(input.count) {
                if let count = try framer.scan(input.span.extracting(first: end), limits: limits) {
                    expect(count <= end, "a head ends behind what was given")
                    return .head(count)
                }
            }
            return .incomplete
        } catch { return .fault(error) }
    }

    private static func judgeHead(_ head: Input, _ limits: HTTPLimits) {
        let bytes = Array(head)
        let expected = NaiveRequest.read(bytes, limits)
        do throws(HTTPFault) {
            let request = try HTTPRequestHead.parse(head.span, limits: limits)
            expectEqual(NaiveRequest(request, bytes), expected, "a head is read differently")
            judgeTarget(request, head)
            if let host = request.host { judgeHost(Array(bytes[host.range])) }
            if let origin = request.origin { judgeOrigin(Array(bytes[origin.range])) }
            if request.wantsWebSocket { judgeHandshake(request, head) }
            if let accept = request.accept { judgeMediaTypes(accept, head) }
        } catch {
            expectEqual(nil, expected, "a good head is refused (\(error))")
            expect([400, 414, 417, 431, 501, 505].contains(error.status), "status \(error)")
        }
    }

    private static func judgeTarget(_ request: HTTPRequestHead, _ head: Input) {
        let path = Array(head[request.path.range])
        let decodedPath = try? RequestPath.decode(path.span)
        expectEqual(decodedPath, NaiveText.path(path), "a path is decoded differently")
        let query = Array(head[request.query.range])
        let expected = NaiveText.pairs(query)
        var walk = QueryString(request.query)
        for pair in expected {
            guard let found = walk.next(head.span) else { fail("a pair of the query is missed") }
            expectEqual(Array(head[found.name.range]), pair.name, "a query's name")
            expectEqual(Array(head[found.value.range]), pair.value, "a query's value")
            let decoded = try? PercentCoding.decode(head.span.extracting(found.value.range))
            expectEqual(decoded, NaiveText.percentDecoded(pair.value), "a query's value is decoded differently")
        }
        expect(walk.next(head.span) == nil, "the query has a pair too many")
        let decoded = try? QueryString.decodedPairs(head.span, request.query)
        let all = expected.flatMap { [NaiveText.percentDecoded($0.name), NaiveText.percentDecoded($0.value)] }
        expectEqual(decoded?.flatMap { [$0.name, $0.value] }, all.contains(nil) ? nil : all.compactMap { $0 }, "pairs")
    }

    private static func judgeHost(_ host: [UInt8]) {
        let naive = NaiveHost(host)
        expectEqual(HostCheck.isLoopbackLiteral(host.span), naive?.isLoopback ?? false, "loopback")
        expectEqual(HostCheck.isListed(host.span, host.span), naive != nil, "a host is listed as itself")
        let listedPort = naive?.port.flatMap { UInt16($0) } ?? 7575
        expectEqual(
            HostCheck.isLoopbackLiteral(host.span, port: listedPort), naive?.isLoopback ?? false, "its own port")
        let origin = Array("http://".utf8) + host
        expectEqual(HostCheck.originIsSame(origin.span, host: host.span), naive != nil, "its own page")
        expect(!HostCheck.originIsSame(origin.span, host: host.span, scheme: "https"), "another scheme")
        judgeOrigin(origin)
    }

    private static func judgeOrigin(_ origin: [UInt8]) {
        let naive = NaiveHost.origin(origin)
        let parsed = WebOrigin.parse(origin.span)
        expectEqual(parsed != nil, naive != nil, "an origin is read differently")
        expectEqual(HostCheck.originIsListed(origin.span, origin.span), naive != nil, "an origin is its own")
        guard let naive, let parsed else { return }
        expectEqual(Array(origin[parsed.host.range]), naive.host.name, "an origin's host")
        let usual = ["http": 80, "ws": 80, "https": 443, "wss": 443][NaiveText.lowercase(naive.scheme)]
        expectEqual(parsed.port.map { Int($0) }, naive.host.port ?? usual, "an origin's port")
    }

    private static func judgeMediaTypes(_ accept: ByteRange, _ head: Input) {
        let list = Array(head[accept.range])
        let type: StaticString = "text/event-stream"
        let isAccepted = MediaType.isAccepted(head.span, accept, type)
        expectEqual(isAccepted, NaiveText.isAccepted(list, type.description), "whether a type is accepted")
        let isType = MediaType.isType(head.span, accept, type)
        expectEqual(isType, NaiveText.mediaType(list).type == type.description, "a media type")
    }

    private static func judgeHandshake(_ request: HTTPRequestHead, _ head: Input) {
        let version = request.secWebSocketVersion.map { NaiveText.string(head[$0.range]) }
        let key = request.secWebSocketKey.map { NaiveText.string(head[$0.range]) } ?? ""
        let isKey = key.utf8.count == 24 && key.hasSuffix("==") && NaiveText.isBase64(key.dropLast(2))
        let isGood = isKey && (request.body == .none || request.body == .length(0))
        do throws(HTTPFault) {
            let place = try WebSocketHandshake.check(request, head.span)
            expect(version == "13" && isGood, "a bad handshake is accepted")
            expectEqual(NaiveText.string(head[place.range]), key, "a key's place")
            let accept = NaiveText.string(WebSocketHandshake.accept(key: head.span.extracting(place.range)))
            expect(accept.utf8.count == 28 && NaiveText.isBase64(accept.dropLast(1)), "an accept: \(accept)")
            if key == "dGhlIHNhbXBsZSBub25jZQ==" { expectEqual(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "an accept") }
        } catch {
            expectEqual(error.status, version == "13" ? 400 : 426, "status \(error)")
            expect(version != "13" || !isGood, "a good handshake is refused (\(error))")
        }
    }
}
