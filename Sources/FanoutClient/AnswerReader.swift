/// The answers to published events, cut out of what arrives: lines on a socket, responses over HTTP.

/// Holds what has arrived; bounded by the longest answer and one read.
struct AnswerReader {
    /// The longest body of an answer. An ack has about a hundred bytes.
    private static let answerBytesMax = 65_536

    let isHTTP: Bool
    private var lines = LineBuffer()
    private var bytes: [UInt8] = []
    /// The response whose body is arriving, and what has arrived of it.
    private var current: (head: HTTPClientResponse, body: HTTPBodyReader, text: [UInt8])?

    /// True exactly when the connection has ended: a body that ends with it is complete.
    private var isEnded = false

    init(isHTTP: Bool) {
        self.isHTTP = isHTTP
    }

    /// Adds what has arrived.
    mutating func append(_ more: ArraySlice<UInt8>) {
        if isHTTP { bytes += more } else { lines.append(more) }
    }

    /// The connection has ended.
    mutating func end() {
        isEnded = true
    }

    /// The next whole answer.
    mutating func next(from endpoint: Endpoint) throws(ClientError) -> EventEmitter.Answer? {
        if isHTTP { return try nextResponse(from: endpoint) }
        while let line = try lines.next() {
            if line.isEmpty { continue }
            guard line.starts(with: #"{"error":"#.utf8), let (code, message) = ServerError.parse(line) else {
                return EventEmitter.Answer(line: line, fault: nil, retryAfterSeconds: nil)
            }
            return EventEmitter.Answer(
                line: line, fault: ClientError(.refused(code: code, status: nil), "\(code): \(message)"),
                retryAfterSeconds: nil)
        }
        return nil
    }

    private mutating func nextResponse(from endpoint: Endpoint) throws(ClientError) -> EventEmitter.Answer? {
        while true {
            if current == nil {
                guard let (head, count) = try HTTPClientResponse.parse(bytes[...]) else { return nil }
                bytes.removeFirst(count)
                if head.status < 200 { continue }
                current = (head, HTTPBodyReader(head.framing), [])
            }
            guard let (head, arriving, before) = current else { return nil }
            var body = arriving
            var text = before
            let taken = try body.take(bytes[...]) { text += $0 }
            bytes.removeFirst(taken)
            guard text.count <= Self.answerBytesMax else { throw HTTPClientResponse.fault("its answer is too long") }
            guard body.isDone || (isEnded && body.mayEndHere) else {
                current = (head, body, text)
                return nil
            }
            current = nil
            while let last = text.last, last == 0x0A || last == 0x0D { text.removeLast() }
            if (200..<300).contains(head.status) {
                return EventEmitter.Answer(line: text, fault: nil, retryAfterSeconds: nil)
            }
            return EventEmitter.Answer(
                line: text,
                fault: ServerError.refusal(status: head.status, body: text, by: endpoint.description),
                retryAfterSeconds: head.retryAfterSeconds)
        }
    }
}
