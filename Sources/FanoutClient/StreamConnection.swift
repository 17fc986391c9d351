/// One connection of a subscription, from the request to its last line.

import Wire

/// Connects, subscribes and cuts what arrives into events and control records.
struct StreamConnection: ~Copyable {
    /// What a connection has to say.
    enum Step {
        case event([UInt8])
        case control(ControlMessage, line: [UInt8])
        /// The channel has ended, or nobody reads what is printed: there is nothing to come back for.
        case over
    }

    /// Silence of this many heartbeats means that the connection is dead although nothing says so.
    private static let silentHeartbeatsMax = 3
    private static let readBytes = 65_536
    private static let errorBytesMax = 65_536

    private let endpoint: Endpoint
    private let options: EventSubscription.Options
    private var stream = ByteStream()
    private var lines = LineBuffer()
    /// Nil on sockets that do not speak HTTP.
    private var body: HTTPBodyReader?
    private var isEnded = false
    /// How many `$hello` there are still to come before what arrives is this subscription: a raw socket first greets
    /// the subscription that it gives to everyone, and again when it has read ours.
    private var hellosToCome = 0
    private var discriminator: String?
    private var heartbeatSeconds: Int?
    /// When the first record has to have arrived.
    private var answerDeadline: UInt64 = 0

    init(_ endpoint: Endpoint, _ options: EventSubscription.Options) {
        self.endpoint = endpoint
        self.options = options
    }

    /// True exactly when there is something to read from.
    var isOpen: Bool { stream.isOpen || isEnded }

    /// Connects and subscribes.
    mutating func open(from place: String?) throws(ClientError) {
        close()
        answerDeadline = Clock.deadline(after: options.connectMilliseconds)
        try stream.connect(to: endpoint, deadline: answerDeadline)
        switch endpoint {
        case .unix:
            hellosToCome = 2
            try stream.write(subscribeLine(from: place), deadline: answerDeadline)
        case .http(let address):
            hellosToCome = 1
            try stream.write(request(address, from: place), deadline: answerDeadline)
            try readHead()
        }
    }

    /// Waits for the next record of the subscription.
    mutating func next() throws(ClientError) -> Step {
        while !isEnded {
            if let step = try nextHeld() { return step }
            let deadline = hellosToCome > 0 ? answerDeadline : silenceDeadline()
            switch try read(until: deadline) {
            case .bytes: continue
            case .watchedClosed: isEnded = true
            case .end: throw ClientError(.lost, "\(endpoint) closed the connection")
            case .timedOut where hellosToCome > 0:
                throw ClientError(.timedOut, "\(endpoint) does not answer like a fanout server")
            case .timedOut:
                throw ClientError(.lost, "\(endpoint) has been silent for \(Self.silentHeartbeatsMax) heartbeats")
            }
        }
        return .over
    }

    /// The next record that has arrived already.
    mutating func nextHeld() throws(ClientError) -> Step? {
        while let line = try lines.next() {
            if let step = try take(line) { return step }
        }
        return nil
    }

    /// Closes the connection and forgets what it has said.
    mutating func close() {
        stream.close()
        lines.removeAll()
        body = nil
        isEnded = false
        discriminator = nil
        heartbeatSeconds = nil
    }

    /// What a line means; nil for what is not ours: blank lines, and what a raw socket sends before it knows our
    /// wishes.
    private mutating func take(_ line: [UInt8]) throws(ClientError) -> Step? {
        if LineFramer.isBlank(line.span) { return nil }
        if let (message, name) = ControlMessage.parse(line, discriminator: discriminator) {
            if case .hello(_, _, _, let heartbeat) = message {
                discriminator = name
                heartbeatSeconds = heartbeat
                if hellosToCome > 0 { hellosToCome -= 1 }
            }
            if case .bye(let code, let why, _, let retry) = message, hellosToCome > 0 {
                // Its place is that of the subscription that everyone gets: the head, behind what we asked for.
                return .control(.bye(code: code, why: why, last: nil, retryMilliseconds: retry), line: line)
            }
            return hellosToCome > 0 ? nil : .control(message, line: line)
        }
        if hellosToCome > 0 {
            // A subscription that the server does not accept.
            if line.starts(with: #"{"error":"#.utf8), let (code, message) = ServerError.parse(line) {
                throw ClientError(.refused(code: code, status: nil), "\(code): \(message)")
            }
            // Where control records are off unless they are asked for, events may come before the first greeting.
            guard discriminator != nil || JSONValue(line) != nil else {
                throw ClientError(.protocolFault, "\(endpoint) does not speak like a fanout server's events socket")
            }
            return nil
        }
        return .event(line)
    }

    private func silenceDeadline() -> UInt64? {
        // A unix socket has no keep-alive and needs none: its ends always learn of each other's death.
        guard case .http = endpoint, let heartbeatSeconds, (1...86_400).contains(heartbeatSeconds) else { return nil }
        return Clock.deadline(after: heartbeatSeconds * 1_000 * Self.silentHeartbeatsMax)
    }
}

// MARK: - Asking

extension StreamConnection {
    private func subscribeLine(from place: String?) -> [UInt8] {
        var line = Array(#"{"$subscribe":{"control":"on""#.utf8)
        for (name, values) in [("channel", options.channels), ("types", options.types)] where !values.isEmpty {
            line += ",\"\(name)\":[".utf8
            for (index, value) in values.enumerated() {
                if index > 0 { line.append(UInt8(ascii: ",")) }
                JSONText.appendQuoted(value, to: &line)
            }
            line.append(UInt8(ascii: "]"))
        }
        for (name, value) in wishes(from: place) {
            line += ",\"\(name)\":".utf8
            JSONText.appendQuoted(value, to: &line)
        }
        line += "}}\n".utf8
        return line
    }

    /// What is asked for beside channels and types, where anything is.
    private func wishes(from place: String?) -> [(name: String, value: String)] {
        [
            ("from", place), ("on_lag", options.onLag?.rawValue), ("on_gap", options.failsOnGap ? "fail" : nil),
        ].compactMap { name, value in value.map { (name, $0) } }
    }

    private func request(_ address: HTTPAddress, from place: String?) -> [UInt8] {
        // Control records are asked for by name: a configured channel may keep them from those who say nothing.
        var pairs = [(name: "control", value: "on")]
        var replaced = ["control"]
        pairs += options.channels.map { ("channel", $0) }
        if !options.types.isEmpty { pairs.append(("types", options.types.joined(separator: ","))) }
        let wishes = wishes(from: place)
        pairs += wishes
        replaced += wishes.map(\.name)
        if place != nil { replaced.append("last_event_id") }
        let target = address.target(adding: pairs, replaced: replaced)
        return Array(
            ("GET \(target) HTTP/1.1\r\nHost: \(address.authority)\r\nAccept: application/x-ndjson\r\n"
                + "User-Agent: fanout\r\n\r\n").utf8)
    }
}

// MARK: - Reading

extension StreamConnection {
    /// Reads once; what belongs to the body goes to the lines.
    private mutating func read(until deadline: UInt64?) throws(ClientError) -> ByteStream.ReadOutcome {
        if let body, body.isDone { return .end }
        let (outcome, bytes) = try readBytes(until: deadline)
        if body == nil {
            lines.append(bytes)
        } else {
            try takeBody(bytes[...])
        }
        return outcome
    }

    private mutating func readBytes(until deadline: UInt64?) throws(ClientError) -> (ByteStream.ReadOutcome, [UInt8]) {
        var outcome = ByteStream.ReadOutcome.end
        var fault: ClientError?
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.readBytes) { buffer, count in
            do throws(ClientError) {
                outcome = try stream.read(
                    into: UnsafeMutableRawBufferPointer(buffer), deadline: deadline, watched: options.watchedDescriptor)
                if case .bytes(let number) = outcome { count = number }
            } catch {
                fault = error
            }
        }
        if let fault { throw fault }
        return (outcome, bytes)
    }

    private mutating func takeBody(_ bytes: ArraySlice<UInt8>) throws(ClientError) {
        guard var body else { return }
        var payload: [UInt8] = []
        _ = try body.take(bytes) { payload += $0 }
        self.body = body
        lines.append(payload)
    }

    /// Reads the response's head: a stream follows, or the reason why none does.
    private mutating func readHead() throws(ClientError) {
        var bytes: [UInt8] = []
        while true {
            if let (head, count) = try HTTPClientResponse.parse(bytes[...]) {
                bytes.removeFirst(count)
                if head.status >= 200 { return try begin(head, rest: bytes) }
                continue
            }
            let (outcome, more) = try readBytes(until: answerDeadline)
            bytes += more
            switch outcome {
            case .bytes: continue
            case .end: throw ClientError(.lost, "\(endpoint) closed the connection without an answer")
            case .timedOut: throw ClientError(.timedOut, "\(endpoint) did not answer")
            case .watchedClosed:
                isEnded = true
                return
            }
        }
    }

    private mutating func begin(_ head: HTTPClientResponse, rest: [UInt8]) throws(ClientError) {
        var body = HTTPBodyReader(head.framing)
        switch head.status {
        case 200:
            guard head.mediaType == "application/x-ndjson" else {
                throw HTTPClientResponse.fault("it sends '\(head.mediaType)' where events were asked for")
            }
            self.body = body
            try takeBody(rest[...])
        case 204:
            isEnded = true
        default:
            var text: [UInt8] = []
            var pending = rest
            while true {
                _ = try body.take(pending[...]) { text += $0.prefix(Self.errorBytesMax - text.count) }
                if body.isDone || text.count >= Self.errorBytesMax { break }
                let (outcome, more) = try readBytes(until: answerDeadline)
                guard case .bytes = outcome else { break }
                pending = more
            }
            throw ServerError.refusal(status: head.status, body: text, by: endpoint.description)
        }
    }
}
