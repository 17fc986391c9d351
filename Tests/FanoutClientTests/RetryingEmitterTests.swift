/// Emitters that send again, against servers that lose connections, refuse for now, or know no keys.

import FanoutClient
import Foundation
import Glibc
import Synchronization
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A line as a server of keys sees it.
private struct Line {
    let n: Int
    let key: String?

    init?(_ text: String) {
        let any = try? JSONSerialization.jsonObject(with: Data(text.utf8))
        guard var tree = any as? [String: Any] else { return nil }
        var key: String?
        if let envelope = tree["$publish"] as? [String: Any], let event = envelope["event"] as? [String: Any] {
            key = envelope["id"] as? String
            tree = event
        }
        guard let n = tree["n"] as? Int else { return nil }
        self.n = n
        self.key = key
    }
}

/// What a server of keys has taken, over all its connections.
private final class Book: Sendable {
    struct State {
        var events: [Int] = []
        var keys: [String: Int] = [:]
        /// Every line that came, also those that were not taken.
        var lines: [String] = []
    }
    private let state = Mutex(State())

    var events: [Int] { state.withLock { $0.events } }
    var lines: [String] { state.withLock { $0.lines } }

    func note(_ line: String) { state.withLock { $0.lines.append(line) } }

    /// Publishes a line unless its key is known, and gives the answer.
    func publish(_ text: String) -> String {
        note(text)
        guard let line = Line(text) else { return #"{"error":{"code":"invalid_json","message":"No."}}"# }
        return state.withLock { state in
            if let key = line.key, let n = state.keys[key] { return #"{"n":\#(n),"dup":true}"# }
            state.events.append(line.n)
            if let key = line.key { state.keys[key] = line.n }
            return #"{"n":\#(line.n),"dup":false}"#
        }
    }
}

private func refusal(_ code: String) -> String { #"{"error":{"code":"\#(code)","message":"Not now."}}"# }

/// The number in an answer, negative for a fault.
private func number(_ answer: EventEmitter.Answer) -> Int {
    guard answer.fault == nil else { return -1 }
    let tree = (try? JSONSerialization.jsonObject(with: Data(answer.line))) as? [String: Any]
    return tree?["n"] as? Int ?? -2
}

@Suite("Retrying emitter", .timeLimit(.minutes(1)))
struct RetryingEmitterTests {
    /// Publishes `{"n":1}` to `{"n":count}` pipelined; the tags in the order of their answers, and what was thrown.
    private func publish(
        _ count: Int, to emitter: inout RetryingEmitter, milliseconds: Int = 20_000
    ) -> (tags: [Int], numbers: [Int], error: ClientError?) {
        let deadline = EventEmitter.deadline(after: milliseconds)
        var (tags, numbers): ([Int], [Int]) = ([], [])
        var sent = 0
        do throws(ClientError) {
            while tags.count < count {
                while sent < count, emitter.hasRoom {
                    sent += 1
                    try emitter.submit(bytes("{\"n\":\(sent)}"), tag: sent)
                }
                while let verdict = try emitter.nextAnswer() {
                    tags.append(verdict.tag)
                    numbers.append(number(verdict.answer))
                }
                if tags.count < count { try emitter.exchange(until: deadline) }
            }
            return (tags, numbers, nil)
        } catch {
            return (tags, numbers, error)
        }
    }

    @Test("an event whose answer was lost is sent again as it was, and the second answer is its answer")
    func lostAnswer() throws {
        let book = Book()
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                _ = connection.receiveLine().map(book.publish)
            },
            { connection in
                _ = connection.receiveLine()
                if let line = connection.receiveLine() { connection.send(book.publish(line) + "\n") }
            },
        ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let answer = try emitter.emit(bytes(#"{"n":7}"#), until: EventEmitter.deadline(after: 10_000))
        #expect(answer.map { String(decoding: $0.line, as: UTF8.self) } == #"{"n":7,"dup":true}"#)
        #expect(book.events == [7])
        #expect(book.lines.count == 2 && Set(book.lines).count == 1)
        #expect(try Line(#require(book.lines.first))?.key?.wholeMatch(of: #/[0-9a-f]{32}/#) != nil)
    }

    @Test("each event and each emitter has a key of its own")
    func keys() throws {
        let book = Book()
        for _ in 0..<2 {
            let server = try TinyServer([
                { connection in
                    _ = connection.receiveLine()
                    while let line = connection.receiveLine() { connection.send(book.publish(line) + "\n") }
                }
            ])
            var emitter = try RetryingEmitter(server.endpoint, .init())
            #expect(publish(50, to: &emitter).error == nil)
        }
        #expect(Set(book.lines.compactMap { Line($0)?.key }).count == 100)
    }

    @Test("a stream whose connection breaks at any moment arrives whole, once, in order, and is answered in order")
    func brokenStream() throws {
        let book = Book()
        let cut: @Sendable (TinyServer.Connection) -> Void = { connection in
            _ = connection.receiveLine()
            // Some are taken and answered, some taken and not answered, some not even read.
            for _ in 0..<Int.random(in: 0...90) {
                guard let line = connection.receiveLine() else { return }
                connection.send(book.publish(line) + "\n")
            }
            for _ in 0..<Int.random(in: 0...40) { _ = connection.receiveLine().map(book.publish) }
        }
        let last: @Sendable (TinyServer.Connection) -> Void = { connection in
            _ = connection.receiveLine()
            while let line = connection.receiveLine() { connection.send(book.publish(line) + "\n") }
        }
        let server = try TinyServer(Array(repeating: cut, count: 12) + [last])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let (tags, numbers, error) = publish(3_000, to: &emitter)
        #expect(error == nil)
        #expect(tags == Array(1...3_000))
        #expect(numbers == tags)
        #expect(book.events == Array(1...3_000))
        let isIdle = emitter.isIdle
        #expect(isIdle)
    }

    @Test("over HTTP the key is a field, and a 503 is followed by another attempt when the server wants it")
    func retryAfter() throws {
        let heads = Mutex<[String]>([])
        let server = try TinyServer(
            http: true,
            [
                { connection in
                    if let request = connection.receiveRequest() { heads.withLock { $0.append(request.head) } }
                    let body = refusal("storage_full")
                    connection.send(
                        "HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                    if let request = connection.receiveRequest() { heads.withLock { $0.append(request.head) } }
                    connection.answer("200 OK", #"{"n":1}"#)
                }
            ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let clock = ContinuousClock()
        let began = clock.now
        let answer = try emitter.emit(bytes(#"{"n":1}"#), until: EventEmitter.deadline(after: 20_000))
        #expect(answer?.fault == nil)
        #expect(began.duration(to: clock.now) >= .seconds(1))
        let fields = heads.withLock { $0 }.map { head in
            head.split(separator: "\r\n").first { $0.hasPrefix("Idempotency-Key: ") }
        }
        #expect(fields.count == 2 && fields[0] == fields[1] && fields[0]?.count == 17 + 32)
    }

    @Test(
        "what is refused for good is not sent again",
        arguments: ["invalid_json", "level_unavailable", "channel_ended", "id_conflict", "channel_fixed"])
    func refusedForGood(code: String) throws {
        let book = Book()
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                while let line = connection.receiveLine() {
                    book.note(line)
                    connection.send(refusal(code) + "\n")
                }
            }
        ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let answer = try emitter.emit(bytes("{}"), until: EventEmitter.deadline(after: 10_000))
        #expect(answer?.fault?.kind == .refused(code: code, status: nil))
        #expect(book.lines.count == 1)
    }

    @Test(
        "what is refused for now is sent again, once all that was on its way is answered, and before anything else",
        arguments: ["overload", "storage_full", "storage_readonly", "shutting_down", "too_many_channels"])
    func refusedForNow(code: String) throws {
        let book = Book()
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                var refused: Set<Int> = []
                while let text = connection.receiveLine(), let line = Line(text) {
                    // Each seventh is refused the first time.
                    if line.n % 7 == 0, refused.insert(line.n).inserted {
                        connection.send(refusal(code) + "\n")
                    } else {
                        connection.send(book.publish(text) + "\n")
                    }
                }
            }
        ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let (tags, numbers, error) = publish(1_000, to: &emitter)
        #expect(error == nil)
        #expect(numbers == tags)
        #expect(tags.sorted() == Array(1...1_000))
        #expect(book.events.sorted() == Array(1...1_000))
        // Those that were on their way overtake it, no others.
        for (place, n) in book.events.enumerated() { #expect(abs(place + 1 - n) <= EventEmitter.outstandingMax) }
        #expect(book.events.filter { $0 % 7 == 0 } == Array(stride(from: 7, through: 1_000, by: 7)))
    }

    @Test("a server that knows no keys gets the same events without them, in order")
    func noKeys() throws {
        let book = Book()
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                while let text = connection.receiveLine() {
                    connection.send((Line(text)?.key == nil ? book.publish(text) : refusal("unsupported")) + "\n")
                }
            }
        ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let (tags, numbers, error) = publish(1_000, to: &emitter)
        #expect(error == nil)
        #expect(tags == Array(1...1_000) && numbers == tags)
        #expect(book.events == tags)
        #expect(book.lines.last == #"{"n":1000}"#)
    }

    @Test("without keys an event whose answer was lost is not sent again, and said to be uncertain")
    func uncertainWithoutKeys() throws {
        let book = Book()
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                _ = connection.receiveLine()
                connection.send(refusal("unsupported") + "\n")
                _ = connection.receiveLine().map(book.publish)
            },
            { connection in while let line = connection.receiveLine() { book.note(line) } },
        ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let (_, _, error) = publish(1, to: &emitter)
        #expect(error?.kind == .lost)
        #expect(error?.message.hasSuffix("closed the connection: whether the event was taken is unknown") == true)
        #expect(emitter.uncertainKey == nil, "no key can help")
        #expect(book.lines.count == 1)
    }

    @Test("a key of the caller's is sent to every server, and no event without it")
    func callersKey() throws {
        let book = Book()
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                while let line = connection.receiveLine() {
                    book.note(line)
                    connection.send(refusal("unsupported") + "\n")
                }
            }
        ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let answer = try emitter.emit(bytes(#"{"n":1}"#), key: "mine", until: EventEmitter.deadline(after: 10_000))
        #expect(answer?.fault?.kind == .refused(code: "unsupported", status: nil))
        #expect(book.lines == [#"{"$publish":{"event":{"n":1},"id":"mine"}}"#])
    }

    @Test("an idle connection that the server closes is made again with the next event, and no earlier")
    func idle() throws {
        let book = Book()
        let one: @Sendable (TinyServer.Connection) -> Void = { connection in
            _ = connection.receiveLine()
            if let line = connection.receiveLine() { connection.send(book.publish(line) + "\n") }
        }
        let server = try TinyServer(Array(repeating: one, count: 3))
        var emitter = try RetryingEmitter(server.endpoint, .init())
        var descriptors: [Int32] = [0, 0]
        pipe(&descriptors)
        defer { for descriptor in descriptors { close(descriptor) } }
        for n in 1...3 {
            let answer = try emitter.emit(bytes("{\"n\":\(n)}"), until: EventEmitter.deadline(after: 10_000))
            #expect(answer.map(number) == n)
            // The end of the connection is noticed while something else is waited for, which goes on.
            write(descriptors[1], "x", 1)
            let isReadable = try (1...3).contains { _ in
                try emitter.exchange(alsoReadable: descriptors[0], until: EventEmitter.deadline(after: 10_000))
            }
            #expect(isReadable)
            var byte: UInt8 = 0
            read(descriptors[0], &byte, 1)
        }
        #expect(book.events == [1, 2, 3])
    }

    @Test("at the deadline the reason is said, what became of the events, and the key to try again with")
    func deadline() throws {
        // A listener that nobody accepts from takes connections and bytes, and answers nothing.
        let silent = try TinyServer([])
        var emitter = try RetryingEmitter(silent.endpoint, .init())
        let first = publish(3, to: &emitter, milliseconds: 50)
        #expect(first.error?.kind == .timedOut)
        #expect(first.error?.message.hasSuffix("did not answer: whether these 3 events were taken is unknown") == true)
        #expect(emitter.unanswered == 1...3)
        #expect(emitter.uncertainKey?.count == 32)

        let full = try TinyServer(
            http: true,
            [
                { connection in
                    while connection.receiveRequest() != nil {
                        let body = refusal("storage_full")
                        connection.send(
                            "HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                    }
                }
            ])
        var second = try RetryingEmitter(full.endpoint, .init())
        let clock = ContinuousClock()
        let began = clock.now
        let refused = publish(1, to: &second, milliseconds: 5_000)
        #expect(refused.error?.kind == .refused(code: "storage_full", status: 503))
        #expect(refused.error?.message == "storage_full: Not now.: the event was not taken")
        #expect(began.duration(to: clock.now) < .seconds(5), "nobody waits for what comes too late")
    }

    @Test("a server that is gone for good is tried until the deadline, and no longer")
    func gone() throws {
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                _ = connection.receiveLine()
            }
        ])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let clock = ContinuousClock()
        let began = clock.now
        let (_, _, error) = publish(1, to: &emitter, milliseconds: 700)
        #expect(began.duration(to: clock.now) >= .milliseconds(650))
        #expect(error?.kind == .unreachable)
        #expect(error?.message.contains("cannot connect to ") == true)
        #expect(error?.message.hasSuffix(": whether the event was taken is unknown") == true)
    }

    @Test("what may have been published so long ago that its key is forgotten is not sent again")
    func forgottenKey() throws {
        let book = Book()
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                _ = connection.receiveLine().map(book.publish)
            },
            { connection in while let line = connection.receiveLine() { book.note(line) } },
        ])
        // The shortest wait before an attempt is longer.
        var emitter = try RetryingEmitter(server.endpoint, .init(), repeatMilliseconds: 20)
        let (_, _, error) = publish(1, to: &emitter)
        #expect(error?.kind == .lost)
        #expect(error?.message.contains("has been away for longer than servers remember an event's key") == true)
        #expect(error?.message.hasSuffix(": whether the event was taken is unknown") == true)
        #expect(book.lines.count == 1)
    }

    @Test("with level none nothing has a key, and nothing is sent again")
    func noAnswers() throws {
        let book = Book()
        let server = try TinyServer([
            { connection in _ = connection.receiveLine().map(book.note) },
            { connection in while let line = connection.receiveLine() { book.note(line) } },
        ])
        var options = EventEmitter.Options()
        options.level = EventEmitter.Level.none
        var emitter = try RetryingEmitter(server.endpoint, options)
        let deadline = EventEmitter.deadline(after: 5_000)
        #expect(try emitter.emit(bytes("{}"), until: deadline) == nil)
        var fault: ClientError?
        do throws(ClientError) {
            for _ in 0..<50 {
                try emitter.submit(bytes("{}"))
                try emitter.exchange(until: deadline)
                usleep(2_000)
            }
        } catch { fault = error }
        #expect(fault?.kind == .lost)
        for _ in 0..<1_000 where book.lines.isEmpty { usleep(5_000) }
        #expect(book.lines == ["{}"])
    }

    @Test("events that were sent and not answered are held, so their bytes are bounded too")
    func bounds() throws {
        let server = try TinyServer([{ connection in while connection.receiveLine() != nil {} }])
        var emitter = try RetryingEmitter(server.endpoint, .init())
        let large = bytes("{\"a\":\"" + String(repeating: "x", count: 100_000) + "\"}")
        var count = 0
        for _ in 0..<200 {
            if emitter.hasRoom {
                try emitter.submit(large)
                count += 1
            } else {
                _ = try? emitter.exchange(until: EventEmitter.deadline(after: 5))
            }
        }
        #expect(count == EventEmitter.pendingBytesMax / large.count + 1)
    }
}
