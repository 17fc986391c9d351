/// Emitters against scripted servers: what goes out, and what the answers mean.

import FanoutClient
import Glibc
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func ack(_ seq: Int) -> String { #"{"seq":\#(seq),"level":"accepted"}"# }

@Suite("Emitter", .timeLimit(.minutes(1)))
struct EmitterTests {
    /// The lines that a server receives from one run of `body`.
    private func received(
        _ options: EventEmitter.Options, answers: Bool = true,
        _ body: (inout EventEmitter) throws -> Void
    ) throws -> [String] {
        final class Lines: @unchecked Sendable { var lines: [String] = [] }
        let lines = Lines()
        // The answer to the last line comes after it has been noted, so what `body` has seen answered is here.
        let server = try TinyServer([
            { connection in
                while let line = connection.receiveLine() {
                    lines.lines.append(line)
                    if answers, line != #"{"$ack":true}"# { connection.send(ack(lines.lines.count) + "\n") }
                }
                if !answers { lines.lines.append("closed") }
            }
        ])
        var emitter = try EventEmitter(server.endpoint, options)
        try body(&emitter)
        if !answers {
            for _ in 0..<1_000 where lines.lines.last != "closed" { usleep(5_000) }
        }
        return lines.lines
    }

    @Test("an event goes out as it is, behind the wish for answers")
    func plain() throws {
        let lines = try received(.init()) { emitter in
            let answer = try emitter.emit(bytes("{\"a\":\n1}"))
            #expect(answer.map { String(decoding: $0.line, as: UTF8.self) } == ack(2))
            #expect(answer?.fault == nil)
        }
        #expect(lines == [#"{"$ack":true}"#, #"{"a": 1}"#])
    }

    @Test("channel, level and key make an envelope")
    func envelope() throws {
        var options = EventEmitter.Options()
        options.channel = "a/b"
        options.level = .committed
        let lines = try received(options) { _ = try $0.emit(bytes("{}"), key: "k\"1") }
        #expect(lines[1] == #"{"$publish":{"event":{},"channel":"a/b","id":"k\"1","ack":"committed"}}"#)
    }

    @Test("with level none nothing is asked and nothing waited for: the event is a plain line, or names its channel")
    func noAnswers() throws {
        var options = EventEmitter.Options()
        options.level = EventEmitter.Level.none
        let lines = try received(options, answers: false) { emitter in
            let answer = try emitter.emit(bytes("{}"))
            #expect(answer == nil)
        }
        #expect(lines == ["{}", "closed"])
        options.channel = "a"
        let named = try received(options, answers: false) { _ = try $0.emit(bytes("{}")) }
        #expect(named == [#"{"$publish":{"event":{},"channel":"a"}}"#, "closed"])
    }

    @Test(
        "what is not one JSON object never leaves",
        arguments: ["", "1", "{\"a\":1},\"channel\":\"x\"", "{}{}", "{\"a\":\u{1}}", "[{}]"])
    func badEvent(text: String) throws {
        do throws(ClientError) {
            _ = try EventText.singleLine(bytes(text))
            Issue.record("\(text) was taken for an event")
        } catch {
            #expect(error.kind == .invalidInput)
        }
    }

    @Test("an event has at most 262,144 bytes, and keys are short and printable")
    func limits() throws {
        let exact = bytes("{\"a\":\"" + String(repeating: "x", count: 262_144 - 8) + "\"}")
        #expect(exact.count == 262_144)
        #expect(try EventText.singleLine(exact) == exact)
        #expect(throws: ClientError.self) { try EventText.singleLine(exact + [0x20]) }
        for key in ["", "a b", "a\r\nX: y", "é", String(repeating: "k", count: 256)] {
            #expect(throws: ClientError.self) { try EventText.check(key: key) }
        }
        try EventText.check(key: String(repeating: "k", count: 255))
    }

    @Test("over HTTP the event is a request of its own, and the status is part of the answer")
    func http() throws {
        let server = try TinyServer(
            http: true,
            [
                { connection in
                    let request = connection.receiveRequest()
                    let line = request?.head.split(separator: "\r\n").first ?? ""
                    let hasKey = request?.head.contains("\r\nIdempotency-Key: k\r\n") == true
                    connection.answer(
                        "200 OK", "{\"line\":\"\(line)\",\"key\":\(hasKey),\"body\":\(request?.body ?? "")}\n")
                    _ = connection.receiveRequest()
                    connection.send("HTTP/1.1 100 Continue\r\n\r\n")
                    connection.answer(
                        "422 Unprocessable Content", #"{"error":{"code":"reserved_member","message":"No."}}"#)
                    _ = connection.receiveRequest()
                    connection.send("HTTP/1.1 503 Busy\r\n\r\nlater")
                }
            ])
        var options = EventEmitter.Options()
        options.channel = "a/b"
        options.level = .accepted
        var emitter = try EventEmitter(server.endpoint, options)
        let first = try emitter.emit(bytes(#"{"n":1}"#), key: "k")
        #expect(
            first.map { String(decoding: $0.line, as: UTF8.self) }
                == #"{"line":"POST /v1/events?channel=a/b&ack=accepted HTTP/1.1","key":true,"body":{"n":1}}"#)
        let second = try emitter.emit(bytes("{}"))
        #expect(second?.fault == ClientError(.refused(code: "reserved_member", status: 422), "reserved_member: No."))
        let third = try emitter.emit(bytes("{}"))
        #expect(third?.fault?.kind == .refused(code: "http_503", status: 503))
    }

    @Test("pipelined events are answered in order, and the queue has an end")
    func pipelining() throws {
        let count = 2_000
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                var number = 0
                while let line = connection.receiveLine() {
                    number += 1
                    connection.send(number % 7 == 0 ? #"{"error":{"code":"x","message":"y"}}"# + "\n" : line + "\n")
                }
            }
        ])
        var emitter = try EventEmitter(server.endpoint, .init())
        var sent = 0
        var got = 0
        while got < count {
            while sent < count, emitter.hasRoom {
                sent += 1
                try emitter.submit(bytes("{\"n\":\(sent)}"))
            }
            let outstanding = emitter.outstanding
            #expect(outstanding <= EventEmitter.outstandingMax)
            while let answer = try emitter.nextAnswer() {
                got += 1
                #expect((answer.fault != nil) == (got % 7 == 0))
                if answer.fault == nil { #expect(answer.line == bytes("{\"n\":\(got)}")) }
            }
            if got < count { try emitter.exchange(until: EventEmitter.deadline(after: 10_000)) }
        }
        let isIdle = emitter.isIdle
        #expect(isIdle)
    }

    @Test("no answer in time and a connection that closes first are told apart")
    func noAnswer() throws {
        let silent = try TinyServer([{ _ = $0.receive(until: "never") }])
        var options = EventEmitter.Options()
        options.answerMilliseconds = 50
        var emitter = try EventEmitter(silent.endpoint, options)
        do throws(ClientError) {
            _ = try emitter.emit(bytes("{}"))
            Issue.record("there was no answer")
        } catch { #expect(error.kind == .timedOut) }
        let closing = try TinyServer([
            {
                _ = $0.receiveLine(); _ = $0.receiveLine()
            }
        ])
        var second = try EventEmitter(closing.endpoint, .init())
        do throws(ClientError) {
            _ = try second.emit(bytes("{}"))
            Issue.record("there was no answer")
        } catch { #expect(error.kind == .lost) }
    }

    @Test("a server that does not read is not waited for")
    func noReader() throws {
        let server = try TinyServer([])
        var options = EventEmitter.Options()
        options.level = EventEmitter.Level.none
        options.answerMilliseconds = 50
        var emitter = try EventEmitter(server.endpoint, options)
        let large = bytes("{\"a\":\"" + String(repeating: "x", count: 250_000) + "\"}")
        do throws(ClientError) {
            for _ in 0..<20 { _ = try emitter.emit(large) }
            Issue.record("nobody has read five megabytes")
        } catch { #expect([.timedOut, .lost].contains(error.kind)) }
    }
}
