// Reads a request's head by cutting it into lines and words, from RFC 9112 and the strict choices that
// HTTPRequestParser names, sharing nothing with it. Says only whether a head is good, not what is wrong with it.

import Wire

struct NaiveRequest: Equatable {
    var method: [UInt8]
    var target: [UInt8]
    var path: [UInt8]
    var query: [UInt8]
    var minorVersion: Int
    var keepAlive: Bool
    var body: HTTPRequestHead.Body
    var expectsContinue: Bool
    var wantsWebSocket: Bool
    var host: [UInt8]?
    /// The first value of each field that the parser keeps, by name in lower case.
    var values: [String: [UInt8]]

    private static let once: Set = [
        "host", "content-length", "origin", "content-type", "content-encoding", "last-event-id", "idempotency-key",
        "sec-fetch-site", "sec-fetch-mode", "sec-websocket-key", "sec-websocket-version",
    ]
    private static let kept = once.subtracting(["host", "content-length"]).union([
        "accept", "sec-websocket-protocol", "user-agent",
    ])

    /// How long the head at the front of `bytes` is; nil where none ends there, or none that keeps to the limits.
    static func headCount(_ bytes: [UInt8], _ limits: HTTPLimits) -> Int? {
        var start = bytes.starts(with: [13, 10]) ? 2 : 0
        var lines = 0
        while let end = bytes[start...].firstIndex(where: { ($0 < 0x20 && $0 != 9) || $0 == 0x7F }) {
            guard bytes[end] == 13, end + 1 < bytes.count, bytes[end + 1] == 10 else { return nil }
            if lines == 0, end == start || end - start > limits.requestLineBytesMax { return nil }
            if end == start { return end + 2 <= limits.headBytesMax ? end + 2 : nil }
            if lines > limits.fieldsMax { return nil }
            lines += 1
            start = end + 2
        }
        return nil
    }

    /// What the parser found, in this form.
    init(_ request: HTTPRequestHead, _ bytes: [UInt8]) {
        func text(_ range: ByteRange) -> [UInt8] { Array(bytes[range.range]) }
        method = text(request.methodName)
        target = text(request.target)
        path = text(request.path)
        query = text(request.query)
        minorVersion = Int(request.minorVersion)
        keepAlive = request.keepAlive
        body = request.body
        expectsContinue = request.expectsContinue
        wantsWebSocket = request.wantsWebSocket
        host = request.host.map(text)
        let ranges = [
            "origin": request.origin, "content-type": request.contentType, "accept": request.accept,
            "content-encoding": request.contentEncoding, "last-event-id": request.lastEventID,
            "idempotency-key": request.idempotencyKey, "sec-fetch-site": request.secFetchSite,
            "sec-fetch-mode": request.secFetchMode, "sec-websocket-key": request.secWebSocketKey,
            "sec-websocket-version": request.secWebSocketVersion, "user-agent": request.userAgent,
            "sec-websocket-protocol": request.secWebSocketProtocol,
        ]
        values = ranges.compactMapValues { $0.map(text) }
        let known: [HTTPMethod: String] = [
            .get: "GET", .head: "HEAD", .post: "POST", .put: "PUT", .delete: "DELETE", .options: "OPTIONS",
        ]
        let name = known[request.method] ?? NaiveText.string(method)
        expect(NaiveText.string(method) == name, "the method is not \(name)")
        expect(known[request.method] != nil || !known.values.contains(name), "\(name) is known")
    }

    /// The head that `bytes` are as a whole; nil where it is refused.
    static func read(_ bytes: [UInt8], _ limits: HTTPLimits) -> NaiveRequest? {
        guard headCount(bytes, limits) == bytes.count else { return nil }
        let start = bytes.starts(with: [13, 10]) ? 2 : 0
        var lines = NaiveText.split(Array(bytes[start...].dropLast(4)), "\n").map { line in
            Array(line.last == 13 ? line.dropLast() : line[...])
        }
        let words = NaiveText.split(lines.removeFirst(), " ")
        guard words.count == 3, NaiveText.isToken(words[0]), !words[1].isEmpty,
            words[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F }), let minor = minorVersion(words[2]),
            let target = Target(words[1], method: NaiveText.string(words[0]))
        else { return nil }
        var fields: [String: [[UInt8]]] = [:]
        for line in lines {
            let name = Array(line.prefix { $0 != UInt8(ascii: ":") })
            guard name.count < line.count, NaiveText.isToken(name) else { return nil }
            let value = NaiveText.trimmed(Array(line[(name.count + 1)...]))
            fields[NaiveText.lowercase(name), default: []].append(value)
        }
        guard once.allSatisfy({ fields[$0, default: []].count <= 1 }) else { return nil }
        func list(_ name: String) -> [String] { fields[name, default: []].flatMap(NaiveText.elements) }

        var host = fields["host"]?.first
        if let host { guard host.isEmpty || NaiveHost(host) != nil else { return nil } }
        if host == nil, minor == 1 { return nil }
        if let authority = target.authority {
            guard NaiveHost(authority) != nil else { return nil }
            if let host, NaiveText.lowercase(host) != NaiveText.lowercase(authority) { return nil }
            host = authority
        }
        let expectations = fields["expect", default: []]
        guard expectations.allSatisfy({ NaiveText.lowercase($0) == "100-continue" }),
            let body = body(fields, minor)
        else { return nil }
        let connection = list("connection")
        return NaiveRequest(
            method: words[0], target: words[1], path: target.path, query: target.query, minorVersion: minor,
            keepAlive: !connection.contains("close") && (minor == 1 || connection.contains("keep-alive")), body: body,
            expectsContinue: !expectations.isEmpty && minor == 1 && body != .none,
            wantsWebSocket: list("upgrade").contains("websocket") && connection.contains("upgrade")
                && NaiveText.string(words[0]) == "GET" && minor == 1,
            host: host, values: fields.filter { kept.contains($0.key) }.compactMapValues(\.first))
    }

    private init(
        method: [UInt8], target: [UInt8], path: [UInt8], query: [UInt8], minorVersion: Int, keepAlive: Bool,
        body: HTTPRequestHead.Body, expectsContinue: Bool, wantsWebSocket: Bool, host: [UInt8]?,
        values: [String: [UInt8]]
    ) {
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.minorVersion = minorVersion
        self.keepAlive = keepAlive
        self.body = body
        self.expectsContinue = expectsContinue
        self.wantsWebSocket = wantsWebSocket
        self.host = host
        self.values = values
    }

    private static func minorVersion(_ text: [UInt8]) -> Int? {
        ["HTTP/1.0": 0, "HTTP/1.1": 1][NaiveText.string(text)]
    }

    private static func body(_ fields: [String: [[UInt8]]], _ minor: Int) -> HTTPRequestHead.Body? {
        let codings = fields["transfer-encoding", default: []]
        let length = fields["content-length"]?.first
        if !codings.isEmpty {
            return minor == 1 && length == nil && codings == [Array("chunked".utf8)] ? .chunked : nil
        }
        guard let length else { return HTTPRequestHead.Body.none }
        return NaiveText.number(length).map { .length($0) }
    }

    /// A request target in its three forms.
    private struct Target {
        var path: [UInt8]
        var query: [UInt8] = []
        var authority: [UInt8]?

        init?(_ text: [UInt8], method: String) {
            if method == "CONNECT" || text.contains(UInt8(ascii: "#")) { return nil }
            var rest = text
            if text == [UInt8(ascii: "*")] {
                guard method == "OPTIONS" else { return nil }
            } else if text[0] != UInt8(ascii: "/") {
                guard NaiveText.lowercase(Array(text.prefix(7))) == "http://", text.count > 7 else { return nil }
                rest.removeFirst(7)
                authority = Array(rest.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") })
                rest.removeFirst(authority?.count ?? 0)
            }
            path = Array(rest.prefix { $0 != UInt8(ascii: "?") })
            query = Array(rest.dropFirst(path.count + 1))
            if path.isEmpty { path = [UInt8(ascii: "/")] }
        }
    }
}
