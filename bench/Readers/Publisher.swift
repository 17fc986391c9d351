// The publisher: one connection, through an ingest socket or by POST, in closed loop or paced.

import CLinux
import ClientSockets
import Glibc

/// Sends the run's events. Over HTTP every answer is checked: status, and the seq that it names.
final class Publisher {
    static let token = UInt64.max
    /// Paced publishing sends at most so many at once when it is late, and over HTTP leaves so many unanswered.
    static let batchMax = 256

    private let options: Options
    private let descriptor: Int32
    private var output: [UInt8] = []
    private var written = 0
    private var answers: [UInt8] = []
    /// How many events each unanswered request holds, oldest first.
    private var unanswered: [Int] = []
    private var headSeq: UInt64?

    /// Connects; readers must already have said which epoch and head they were told.
    init(_ options: Options, _ checker: Checker) throws(Refusal) {
        self.options = options
        let endpoint: Destination
        switch options.publisher {
        case .unix(let path): endpoint = .unix(path)
        default: endpoint = options.http!
        }
        switch openConnection(to: endpoint, source: nil) {
        case .connected(let connection), .inProgress(let connection): descriptor = connection
        case .tryLater: throw .unavailable("the publisher cannot connect: the backlog is full")
        case .failed(let code): throw .unavailable("the publisher cannot connect: \(errorText(code))")
        }
        headSeq = checker.readers[0].lastSeq
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLET.rawValue
        event.data.u64 = Self.token
        epoll_ctl(checker.epoll, EPOLL_CTL_ADD, descriptor, &event)
    }

    /// Whether the next batch may be made.
    var isClear: Bool { written == output.count && unanswered.count < Self.batchMax }

    /// Whether every request has its answer.
    var isAnswered: Bool { unanswered.isEmpty }

    /// Publishes the events of `range`, in order.
    func publish(_ range: Range<Int>, _ checker: Checker) throws(Refusal) {
        if written == output.count {
            output.removeAll(keepingCapacity: true)
            written = 0
        }
        if case .unix(let path) = options.publisher {
            appendLines(range, checker.book, named: !path.hasSuffix("/ingest.socket") || options.channels == ["events"])
        } else if options.channels.count == 1 {
            appendRequest(range, checker.book)
        } else {
            for number in range { appendRequest(number..<(number + 1), checker.book) }
        }
        try flush(checker)
    }

    /// `named`: the socket itself says the channel; otherwise each line is an envelope.
    private func appendLines(_ range: Range<Int>, _ book: EventBook, named: Bool) {
        for number in range {
            if !named { output += Array("{\"$publish\":{\"event\":".utf8) }
            book.publish(number, into: &output)
            let channel = options.channels[number % options.channels.count]
            if !named { output += Array(",\"channel\":\"\(channel)\"}}".utf8) }
            output.append(10)
        }
    }

    private func appendRequest(_ range: Range<Int>, _ book: EventBook) {
        let channel = options.channels[range.lowerBound % options.channels.count]
        let isBatch = range.count > 1
        let length = range.count * (options.eventBytes + (isBatch ? 1 : 0))
        let type = isBatch ? "application/x-ndjson" : "application/json"
        output += Array("POST /v1/events?channel=\(channel) HTTP/1.1\r\nHost: \(options.http!.hostField)\r\n".utf8)
        output += Array("Content-Type: \(type)\r\nContent-Length: \(length)\r\n\r\n".utf8)
        for number in range {
            book.publish(number, into: &output)
            if isBatch { output.append(10) }
        }
        unanswered.append(range.count)
    }

    /// The socket is readable or writable.
    func ready(_ checker: Checker, _ events: UInt32) throws(Refusal) {
        let code = pendingError(descriptor)
        if code != 0 { throw .unavailable("the publisher's connection failed: \(errorText(code))") }
        if events & EPOLLIN.rawValue != 0 { try readAnswers(checker) }
        try flush(checker)
    }

    private func flush(_ checker: Checker) throws(Refusal) {
        while written < output.count {
            let count = output.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + written, $0.count - written, 0)
            }
            if count < 0 {
                if errno == EAGAIN || errno == ENOTCONN { return }
                throw .unavailable("the publisher cannot write: \(errorText(errno))")
            }
            written += count
        }
    }

    private func readAnswers(_ checker: Checker) throws(Refusal) {
        while true {
            let count = recv(descriptor, checker.buffer, Checker.bufferBytes, 0)
            if count < 0 { break }
            if count == 0 {
                if checker.stage == .running { throw .unavailable("the server closed the publisher's connection") }
                leave()
                return
            }
            answers += UnsafeBufferPointer(start: checker.buffer, count: count)
        }
        var used = 0
        answers.withUnsafeBufferPointer { bytes in
            while let length = takeAnswer(bytes.baseAddress! + used, bytes.count - used, checker) { used += length }
        }
        answers.removeFirst(used)
    }

    private func takeAnswer(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ checker: Checker) -> Int? {
        if options.publisher != .http {
            checker.fault(publisher: "an answer that was not asked for: \(excerpt(bytes, count))")
            return count == 0 ? nil : count
        }
        guard count > 0, let headBytes = ResponseHead.length(bytes, count) else { return nil }
        guard let head = ResponseHead(bytes, headBytes), let length = head["content-length"].flatMap({ Int($0) }) else {
            checker.fault(publisher: "a malformed answer: \(excerpt(bytes, count))")
            return count
        }
        guard count - headBytes >= length else { return nil }
        let body = bytes + headBytes
        let events = unanswered.isEmpty ? 0 : unanswered.removeFirst()
        headSeq = headSeq.map { $0 + UInt64(events) }
        guard head.status == 200, events > 0 else {
            checker.fault(publisher: "refused: \(excerpt(bytes, headBytes + length))")
            return headBytes + length
        }
        checkAck(body, length, events, checker)
        return headBytes + length
    }

    /// The ack names the last event's cursor, and a batch's size.
    private func checkAck(_ body: UnsafePointer<UInt8>, _ count: Int, _ events: Int, _ checker: Checker) {
        var size = count
        while size > 0, body[size - 1] == 10 { size -= 1 }
        var text = StrictJSON(body, size)
        guard StrictJSON.isObject(body, size), text.take("{\"cursor\":\""), let cursor = text.cursor(),
            text.take("\""), cursor.epoch == checker.epoch, cursor.seq == headSeq,
            events == 1 || find(Array("\"count\":\(events)".utf8), in: body, size) != nil
        else {
            checker.fault(publisher: "not the ack of \(events) events up to \(headSeq ?? 0): \(excerpt(body, count))")
            return
        }
    }

    /// Closes the connection.
    func leave() {
        close(descriptor)
    }
}

extension Checker {
    /// Publishes what is due: the next burst when all readers have the last, or as many as the clock says.
    func publishNext(_ now: UInt64) throws(Refusal) {
        guard let publisher, published < eventsTotal, publisher.isClear else { return }
        if options.ratePerSecond > 0 {
            let elapsed = Double(now &- min(now, runningSince)) / 1e9
            let due = Int(elapsed * Double(options.ratePerSecond)) + 1
            try publish(min(due - published, Publisher.batchMax), publisher)
        } else if outstanding == 0, publisher.isAnswered {
            try publish(options.burst, publisher)
        }
    }

    private func publish(_ wanted: Int, _ publisher: Publisher) throws(Refusal) {
        let end = min(published + wanted, eventsTotal)
        guard end > published else { return }
        let range = published..<end
        for number in range { outstanding += liveUnfiltered + liveByStream[number % streams] }
        published = end
        try publisher.publish(range, self)
    }
}
