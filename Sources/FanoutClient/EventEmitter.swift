/// A publisher: sends events to a server and hands on its answers, one by one or pipelined.

import Wire

/// Publishes over `ingest.socket` or HTTP. Used by one thread at a time.
///
/// ```swift
/// var emitter = try EventEmitter(.unix(path: "/run/fanout/ingest.socket"), .init())
/// let answer = try emitter.emit(Array(#"{"type":"hello"}"#.utf8))
/// ```
public struct EventEmitter: ~Copyable {
    /// What an answer stands for.
    public enum Level: String, Sendable, CaseIterable {
        /// No answer is waited for.
        case none
        /// The event is in the server's memory.
        case accepted
        /// It survives the server's sudden end.
        case committed
        /// It survives a loss of power.
        case synced
    }

    /// Where events go, and how long to wait.
    public struct Options: Sendable {
        /// The channel; nil is the server's default, `events`.
        public var channel: String?
        /// The level asked for; nil leaves it to the server.
        public var level: Level?
        /// How long connecting may take. 10 s.
        public var connectMilliseconds = 10_000
        /// How long one answer may take. 10 s.
        public var answerMilliseconds = 10_000

        /// The default channel, the server's level.
        public init() {}
    }

    /// What the server says about one event.
    public struct Answer: Sendable {
        /// The answer as it came: an ack, or an error object.
        public let line: [UInt8]
        /// The error, nil where the event was taken.
        public let fault: ClientError?
        /// How long the server asks to wait with the next attempt (`Retry-After`), nil where it does not.
        public let retryAfterSeconds: Int?
    }

    /// The most events that may wait for their answers: past it `hasRoom` is false.
    public static let outstandingMax = 256
    /// The most bytes that may wait to be sent: past it `hasRoom` is false. 512 KiB: two of the largest events.
    public static let pendingBytesMax = 1 << 19

    private let endpoint: Endpoint
    private let options: Options
    private var stream = ByteStream()
    private var answers: AnswerReader
    private var output: [UInt8] = []
    private var sent = 0
    /// True exactly when the server has closed the connection; its last answers may still be here.
    private(set) var isEnded = false

    /// How many events have no answer yet.
    public private(set) var outstanding = 0
    /// How many bytes were queued on this connection, and how many of them the kernel has taken.
    private(set) var queuedBytes: UInt64 = 0
    private(set) var writtenBytes: UInt64 = 0

    /// Connects.
    /// - Throws: `unreachable` or `timedOut`.
    public init(_ endpoint: Endpoint, _ options: Options) throws(ClientError) {
        self.endpoint = endpoint
        self.options = options
        if case .http = endpoint { answers = AnswerReader(isHTTP: true) } else { answers = AnswerReader(isHTTP: false) }
        try connect(until: Clock.deadline(after: options.connectMilliseconds))
    }

    /// Connects anew and forgets what was not answered on the last connection.
    /// - Throws: `unreachable` or `timedOut`; then it has to be called again before anything else.
    mutating func reconnect(until deadline: UInt64) throws(ClientError) {
        stream.close()
        answers = AnswerReader(isHTTP: answers.isHTTP)
        output.removeAll(keepingCapacity: true)
        sent = 0
        outstanding = 0
        isEnded = false
        try connect(until: deadline)
    }

    private mutating func connect(until deadline: UInt64) throws(ClientError) {
        queuedBytes = 0
        writtenBytes = 0
        try stream.connect(to: endpoint, deadline: deadline)
        if case .unix = endpoint, options.level != Level.none { output += "{\"$ack\":true}\n".utf8 }
        queuedBytes = UInt64(output.count)
    }

    /// Publishes one event and waits for its answer; nil where none is waited for (`Level.none`).
    /// - Parameter key: the idempotency key: sending again with the same key does not publish twice.
    public mutating func emit(_ event: [UInt8], key: String? = nil) throws(ClientError) -> Answer? {
        try submit(event, key: key)
        let deadline = Clock.deadline(after: options.answerMilliseconds)
        if options.level == Level.none {
            try finish(until: deadline)
            return nil
        }
        while true {
            if let answer = try nextAnswer() { return answer }
            try exchange(until: deadline)
        }
    }

    /// How many bytes wait to be sent.
    public var pendingBytes: Int { output.count - sent }

    /// True exactly when all is sent and answered.
    public var isIdle: Bool { outstanding == 0 && sent == output.count }

    /// True exactly when `submit` may be called without the queues growing past their limits.
    public var hasRoom: Bool { outstanding < Self.outstandingMax && pendingBytes < Self.pendingBytesMax }

    /// Queues one event; `exchange` sends it.
    /// - Throws: `invalidInput` where the event is not one JSON object or the key cannot be sent.
    public mutating func submit(_ event: [UInt8], key: String? = nil) throws(ClientError) {
        let line = try EventText.singleLine(event)
        if let key { try EventText.check(key: key) }
        enqueue(line, key: key)
    }

    /// Queues what has been checked already.
    mutating func enqueue(_ line: [UInt8], key: String?) {
        // What has been sent goes only when most of the buffer is such, as moving the rest costs its length.
        if sent > output.count / 2 {
            output.removeFirst(sent)
            sent = 0
        }
        let before = output.count
        switch endpoint {
        case .unix: appendLine(line, key: key)
        case .http(let address): appendRequest(line, key: key, address)
        }
        queuedBytes += UInt64(output.count - before)
        if answersEvents { outstanding += 1 }
    }

    /// The next answer that has arrived, in the order of the events; nil when there is none yet.
    public mutating func nextAnswer() throws(ClientError) -> Answer? {
        guard let answer = try answers.next(from: endpoint) else { return nil }
        if outstanding > 0 { outstanding -= 1 }
        return answer
    }

    /// Sends and receives until something has moved or `other`, a descriptor, can be read. Returns at once when there
    /// is nothing to wait for.
    /// - Returns: whether `other` can be read.
    /// - Throws: `timedOut` at the deadline (milliseconds of CLOCK_MONOTONIC; nil waits without end), `lost` when the
    ///   connection ends although answers are due.
    @discardableResult
    public mutating func exchange(alsoReadable other: Int32? = nil, until deadline: UInt64?) throws(ClientError) -> Bool
    {
        do throws(ClientError) {
            return try move(alsoReadable: other, until: deadline)
        } catch {
            throw outstanding > 0
                ? ClientError(error.kind, "\(error.message): whether the event was taken is unknown") : error
        }
    }

    /// As `exchange`, with errors that do not say what becomes of the events.
    mutating func move(alsoReadable other: Int32?, until deadline: UInt64?) throws(ClientError) -> Bool {
        if isIdle, other == nil { return false }
        if isEnded { throw ClientError(.lost, "\(endpoint) closed the connection") }
        let ready = stream.wait(writing: sent < output.count, reading: true, other: other, deadline: deadline)
        if ready.isEmpty {
            throw ClientError(.timedOut, outstanding > 0 ? "\(endpoint) did not answer" : "\(endpoint) does not read")
        }
        if ready.contains(.readable) { try receive() }
        if ready.contains(.writable), !isEnded {
            do throws(ClientError) {
                let count = try stream.writeSome(output, from: sent)
                sent += count
                writtenBytes += UInt64(count)
            } catch {
                // The server may have said why before it closed: its answers come first, then the end of the
                // connection.
                guard answersEvents else { throw error }
                sent = output.count
            }
        }
        return ready.contains(.other)
    }

    /// Sends what is queued and says that nothing more will come. Answers can still be waited for.
    public mutating func finish(until deadline: UInt64) throws(ClientError) {
        while sent < output.count { try exchange(until: deadline) }
        if case .unix = endpoint { stream.finishWriting() }
        while case .http = endpoint, options.level == Level.none, outstanding > 0 {
            if try nextAnswer() == nil { try exchange(until: deadline) }
        }
    }

    /// The moment `milliseconds` from now, for `exchange` and `finish`.
    public static func deadline(after milliseconds: Int) -> UInt64 { Clock.deadline(after: milliseconds) }

    /// True exactly when every event gets an answer: HTTP always answers, sockets where it was asked for.
    var answersEvents: Bool {
        if case .http = endpoint { true } else { options.level != Level.none }
    }

    private mutating func receive() throws(ClientError) {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        var outcome = ByteStream.ReadOutcome.timedOut
        var fault: ClientError?
        buffer.withUnsafeMutableBytes { bytes in
            do throws(ClientError) { outcome = try stream.read(into: bytes, deadline: 0) } catch { fault = error }
        }
        if let fault { throw fault }
        switch outcome {
        case .bytes(let count):
            answers.append(buffer[..<count])
        case .end:
            isEnded = true
            answers.end()
        case .timedOut, .watchedClosed:
            break
        }
    }
}

// MARK: - Writing

extension EventEmitter {
    private mutating func appendLine(_ event: [UInt8], key: String?) {
        // Without `{"$ack":true}` nothing is answered, so nothing needs to be said of the level.
        let level = options.level == Level.none ? nil : options.level
        guard options.channel != nil || level != nil || key != nil else {
            output += event
            output.append(UInt8(ascii: "\n"))
            return
        }
        output += #"{"$publish":{"event":"#.utf8
        output += event
        for (name, value) in [("channel", options.channel), ("id", key), ("ack", level?.rawValue)] {
            guard let value else { continue }
            output += ",\"\(name)\":".utf8
            JSONText.appendQuoted(value, to: &output)
        }
        output += "}}\n".utf8
    }

    private mutating func appendRequest(_ event: [UInt8], key: String?, _ address: HTTPAddress) {
        var pairs: [(name: String, value: String)] = []
        if let channel = options.channel { pairs.append(("channel", channel)) }
        if let level = options.level { pairs.append(("ack", level.rawValue)) }
        let target = address.target(adding: pairs, replaced: pairs.map(\.name))
        var head = "POST \(target) HTTP/1.1\r\nHost: \(address.authority)\r\nContent-Type: application/json\r\n"
        head += "User-Agent: fanout\r\nContent-Length: \(event.count)\r\n"
        if let key { head += "Idempotency-Key: \(key)\r\n" }
        output += (head + "\r\n").utf8
        output += event
    }
}
