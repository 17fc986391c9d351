/// The parts of the client on their own: addresses, back-off, responses, lines, places.

import FanoutClient
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("Client parts")
struct PartTests {
    @Test(
        "a URL names the server or its events",
        arguments: [
            ("http://127.0.0.1:7575", "http://127.0.0.1:7575/v1/events"),
            ("http://127.0.0.1:7575/", "http://127.0.0.1:7575/v1/events"),
            ("HTTP://host", "http://host/v1/events"),
            ("http://host:80/v1/events/", "http://host/v1/events"),
            ("http://[::1]:7575/base/", "http://[::1]:7575/base/v1/events"),
            ("http://host/base/v1/events?channel=a#x", "http://host/base/v1/events"),
        ])
    func urls(url: String, place: String) throws {
        #expect(try Endpoint(url: url).description == place)
    }

    @Test(
        "what is not such a URL is refused",
        arguments: [
            "", "127.0.0.1:7575", "https://host", "ftp://host", "http://", "http://:80", "http://host:x",
            "http://host:",
            "http://host:65536", "http://host:0", "http://u:p@host", "http://ho st", "http://[::1", "http://[::1]x",
            "http://host/\r\nX: y", "http://höst",
        ])
    func badURLs(url: String) {
        #expect(throws: ClientError.self) { try Endpoint(url: url) }
    }

    @Test("the query of the URL is kept, but not what is replaced")
    func target() throws {
        let address = try HTTPAddress(url: "http://h/?channel=a&from=now&from&x=%20")
        #expect(
            address.target(adding: [("from", "e-1"), ("types", "a&b=c d")], replaced: ["from"])
                == "/v1/events?channel=a&x=%20&from=e-1&types=a%26b%3Dc%20d")
        #expect(try HTTPAddress(url: "http://h").target(adding: [], replaced: []) == "/v1/events")
    }

    @Test("the waits lie between their bounds, grow, begin again after success, and follow the server")
    func backoff() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var backoff = Backoff()
            for attempt in 0..<40 {
                let wait = backoff.next(using: &generator)
                #expect((100...min(10_000, 200 << min(attempt, 10))).contains(wait))
            }
            backoff.reset()
            #expect(backoff.next(asked: 1_234, using: &generator) == 1_234)
            #expect(backoff.next(asked: -5, using: &generator) == 0)
            #expect(backoff.next(asked: .max, using: &generator) == 3_600_000)
            #expect(backoff.next(asked: 0, using: &generator) >= 100, "not at once for ever")
        }
        var low = Backoff(ceilingMilliseconds: 500)
        for _ in 0..<200 { #expect((100...500).contains(low.next(using: &generator))) }
    }

    @Test("waits of many clients spread")
    func jitter() {
        var generator = SystemRandomNumberGenerator()
        let waits = (0..<1_000).map { _ in
            var backoff = Backoff()
            for _ in 0..<9 { _ = backoff.next(using: &generator) }
            return backoff.next(using: &generator) / 1_000
        }
        #expect(Set(waits).count == 10 || Set(waits).count == 11)
    }

    private func head(_ text: String) throws -> HTTPClientResponse? {
        try HTTPClientResponse.parse(bytes(text)[...])?.head
    }

    @Test("response heads say how the body ends and whether the connection does")
    func heads() throws {
        let plain = try head(
            "HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\ncontent-length: 3\r\n\r\nabc")
        #expect(plain?.status == 200)
        #expect(plain?.framing == .length(3))
        #expect(plain?.closes == false)
        #expect(plain?.mediaType == "application/json")
        #expect(
            try head("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n")?.framing == .chunked)
        #expect(try head("HTTP/1.1 200 OK\r\n\r\n")?.framing == .untilClose)
        #expect(try head("HTTP/1.1 204 No Content\r\n\r\n")?.framing == .length(0))
        #expect(try head("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n")?.closes == true)
        #expect(try head("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")?.closes == true)
        #expect(try head("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")?.closes == false)
        #expect(try head("HTTP/1.1 503 Busy\r\nRetry-After: 12 \r\n\r\n")?.retryAfterSeconds == 12)
        for value in ["Wed, 21 Oct 2026 07:28:00 GMT", "", "-1", "1.5", "99999999999999999999"] {
            #expect(try head("HTTP/1.1 503 Busy\r\nRetry-After: \(value)\r\n\r\n")?.retryAfterSeconds == nil)
        }
        #expect(try head("HTTP/1.1 200 OK\r\nContent-Len") == nil)
        #expect(try head("") == nil)
    }

    @Test(
        "what is not a response is refused at once",
        arguments: [
            "SSH-2.0-x\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n folded: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 17_000),
        ])
    func badHeads(text: String) {
        #expect(throws: ClientError.self) { try HTTPClientResponse.parse(bytes(text)[...]) }
    }

    @Test("chunked bodies give the same payload however they are cut")
    func chunked() throws {
        let text = bytes("5\r\nhello\r\n1;ext=\"x\"\r\n \r\nB\r\nworld\r\nwide\r\n000\r\nTrailer: x\r\n\r\nnext")
        for cut in 0...text.count {
            var reader = HTTPBodyReader(.chunked)
            var payload: [UInt8] = []
            var taken = try reader.take(text[..<cut]) { payload += $0 }
            taken += try reader.take(text[taken...]) { payload += $0 }
            #expect(payload == bytes("hello world\r\nwide"))
            #expect(reader.isDone)
            #expect(text.count - taken == 4)
        }
    }

    @Test(
        "malformed chunks are refused",
        arguments: ["x\r\n", "\r\n", "5\n", "fffffffff\r\n", "1\r\nab\r\n", "-1\r\n", "0x1\r\n"])
    func badChunks(text: String) {
        #expect(throws: ClientError.self) {
            var reader = HTTPBodyReader(.chunked)
            _ = try reader.take(bytes(text)[...]) { _ in }
        }
    }

    @Test("lines come out the same however they arrive")
    func lines() throws {
        let text = bytes("one\n\ntwo\r\nthree\n")
        for piece in 1...text.count {
            var buffer = LineBuffer()
            var lines: [String] = []
            for start in stride(from: 0, to: text.count, by: piece) {
                buffer.append(text[start..<min(start + piece, text.count)])
                while let line = try buffer.next() { lines.append(String(decoding: line, as: UTF8.self)) }
            }
            #expect(lines == ["one", "", "two", "three"])
        }
    }

    @Test("a line without an end is refused when it is too long")
    func longLine() throws {
        var buffer = LineBuffer()
        buffer.append([UInt8](repeating: 0x61, count: LineBuffer.lineBytesMax))
        #expect(try buffer.next() == nil)
        buffer.append([0x61])
        #expect(throws: ClientError.self) { try buffer.next() }
    }

    @Test("the place follows hello, events, gaps and byes, and never goes back")
    func place() {
        let (first, second) = ("00000000000000aa", "00000000000000bb")
        var place = ResumePlace(asked: nil)
        #expect(place.from == nil)
        place.event(bytes(#"{"seq":1}"#))
        #expect(place.from == nil, "without an epoch a number means nothing")
        place.hello(epoch: first, seq: 5)
        #expect(place.from == "\(first)-5")
        place.event(bytes(#"{"seq":7,"channel":"a"}"#))
        #expect(place.from == "\(first)-7")
        place.event(bytes(#"{"seq":6}"#))
        place.event(bytes(#"{"a":1,"seq":9}"#))
        place.event(bytes(#"{"seq":99999999999999999999}"#))
        place.event(bytes(#"{"seq":"8"}"#))
        #expect(place.from == "\(first)-7")
        place.gap(why: "lagged", epoch: second, to: 20)
        #expect(place.from == "\(first)-7")
        place.gap(why: "lagged", epoch: first, to: 9)
        #expect(place.from == "\(first)-9")
        place.gap(why: "lagged", epoch: first, to: nil)
        place.bye(last: "\(first)-12")
        #expect(place.from == "\(first)-12")
        place.bye(last: "\(first)-11")
        place.bye(last: "junk")
        #expect(place.from == "\(first)-12")
        place.hello(epoch: second, seq: 100)
        #expect(place.from == "\(first)-12", "the new numbering has not brought anything yet")
        place.event(bytes(#"{"seq":3}"#))
        #expect(place.from == "\(second)-3")
    }

    @Test("within a state the place is the state itself, and behind it its number")
    func state() {
        let epoch = "00000000000000aa"
        var place = ResumePlace(asked: "snapshot")
        place.hello(epoch: epoch, seq: 9)
        #expect(place.from == "snapshot")
        place.snapshot()
        place.event(bytes(#"{"seq":3}"#))
        place.bye(last: "\(epoch)-3")
        #expect(place.from == "snapshot")
        #expect(place.cursor == nil, "a row's number is no place: others may have the same one")
        place.live(seq: 9)
        #expect(place.from == "\(epoch)-9")
        place.event(bytes(#"{"seq":12}"#))
        #expect(place.from == "\(epoch)-12")
    }

    @Test("a state in the place of what was missed is no place before it is complete")
    func stateAfterGap() {
        let epoch = "00000000000000aa"
        var place = ResumePlace(asked: nil)
        place.hello(epoch: epoch, seq: 5)
        place.event(bytes(#"{"seq":6}"#))
        place.gap(why: "lagged", epoch: epoch, to: 40)
        place.snapshot()
        #expect(place.from == "snapshot")
        #expect(place.cursor?.description == "\(epoch)-6", "kept in a file, it must lose nothing of the state")
        place.event(bytes(#"{"seq":2}"#))
        // It falls behind again: the state begins anew.
        place.gap(why: "lagged", epoch: epoch, to: 80)
        place.snapshot()
        #expect(place.cursor?.description == "\(epoch)-6")
        place.live(seq: 80)
        #expect(place.from == "\(epoch)-80")
    }

    @Test("what conflation has left follows its gap, and only that moves the place")
    func conflated() {
        let epoch = "00000000000000aa"
        var place = ResumePlace(asked: nil)
        place.hello(epoch: epoch, seq: 5)
        place.gap(why: "conflated", epoch: epoch, to: 40)
        #expect(place.from == "\(epoch)-5")
        place.event(bytes(#"{"seq":30}"#))
        place.event(bytes(#"{"seq":41}"#))
        #expect(place.from == "\(epoch)-41")
    }

    @Test("a channel may begin its readers with a state that they did not ask for")
    func channelsOwnState() {
        var place = ResumePlace(asked: nil)
        place.hello(epoch: "00000000000000aa", seq: 50)
        place.snapshot()
        #expect(place.from == "snapshot" && place.cursor == nil)
        place.live(seq: 50)
        #expect(place.from == "00000000000000aa-50")
    }

    @Test("an event's values are read by name, and what is not there is nil")
    func values() throws {
        let text = #"{"s":"a\nb","i":-7,"f":1.50,"t":true,"n":null,"a":[{"x":1},2],"s":"second"}"#
        let value = try #require(JSONValue(bytes(text)))
        #expect(value["s"]?.string == "a\nb" && value["s"]?.integer == nil)
        #expect(value["i"]?.integer == -7 && value["i"]?.number == "-7")
        #expect(value["f"]?.integer == nil && value["f"]?.number == "1.50")
        #expect(value["t"]?.bool == true && value["n"]?.isNull == true && value["t"]?.isNull == false)
        #expect(value["a"]?.elements?.count == 2 && value["a"]?.elements?.first?["x"]?.integer == 1)
        #expect(value["x"] == nil && value["i"]?["x"] == nil && value.elements == nil && value.string == nil)
        for text in ["", "{", "{}{}", "{\"a\":\u{1}}", String(repeating: "[", count: 40)] {
            #expect(JSONValue(bytes(text)) == nil)
        }
    }

    @Test("no bytes from outside trap the parsers")
    func noise() throws {
        var generator = SystemRandomNumberGenerator()
        let samples = [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n",
            #"{"type":"$hello","epoch":"00000000000000aa","seq":1,"heartbeat_s":15}"#,
            #"{"type":"$bye","code":4008,"why":"slow","last":"00000000000000aa-1","retry_ms":100}"#,
            #"{"type":"$gap","from":1,"to":2,"dropped":2}"#, #"{"type":"$snapshot","seq":1,"count":2}"#,
            #"{"seq":7,"channel":"a"}"#, "http://[::1]:80/x?y#z",
        ].map(bytes)
        for _ in 0..<3_000 {
            guard var text = samples.randomElement(using: &generator) else { continue }
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: 0..<text.count, using: &generator)
                switch Int.random(in: 0...2, using: &generator) {
                case 0: text[index] = UInt8.random(in: 0...255, using: &generator)
                case 1 where text.count > 1: text.remove(at: index)
                default: text.insert(text[Int.random(in: 0..<text.count, using: &generator)], at: index)
                }
            }
            _ = try? HTTPClientResponse.parse(text[...])
            var reader = HTTPBodyReader(.chunked)
            _ = try? reader.take(text[...]) { _ in }
            _ = ControlMessage.parse(text, discriminator: nil)
            _ = ResumePlace.stampedSeq(text)
            _ = try? EventText.singleLine(text)
            _ = try? HTTPAddress(url: String(decoding: text, as: UTF8.self))
        }
    }

    @Test("where the channel begins its readers with the past, the first event is the place, not the head")
    func channelsOwnStart() {
        var place = ResumePlace(asked: nil)
        place.hello(epoch: "00000000000000aa", seq: 50)
        place.event(bytes(#"{"seq":1}"#))
        #expect(place.from == "00000000000000aa-1")
        place.event(bytes(#"{"seq":2}"#))
        place.event(bytes(#"{"seq":1}"#))
        #expect(place.from == "00000000000000aa-2")
    }

    @Test("the beginning asked for is a place of its numbering, until its first event is there")
    func replay() {
        var place = ResumePlace(asked: "start")
        #expect(place.from == "start")
        place.hello(epoch: "00000000000000aa", seq: 50)
        #expect(place.from == "00000000000000aa-0")
        place.event(bytes(#"{"seq":1}"#))
        #expect(place.from == "00000000000000aa-1")
        var now = ResumePlace(asked: "now")
        now.hello(epoch: "00000000000000aa", seq: 50)
        #expect(now.from == "00000000000000aa-50")
        var later = ResumePlace(asked: "00000000000000aa-7")
        #expect(later.from == "00000000000000aa-7")
        later.hello(epoch: "00000000000000aa", seq: 50)
        #expect(later.from == "00000000000000aa-7")
    }

    @Test("where a place means nothing to the server, everything that it holds is still to come")
    func unknownPlaces() {
        for why in ["ahead", "unknown_epoch"] {
            var place = ResumePlace(asked: why == "ahead" ? "00000000000000bb-9" : "00000000000000aa-9")
            place.hello(epoch: "00000000000000bb", seq: 3)
            place.gap(why: why, epoch: "00000000000000bb", to: nil)
            #expect(place.from == "00000000000000bb-0")
            place.event(bytes(#"{"seq":2}"#))
            #expect(place.from == "00000000000000bb-2")
        }
    }

    @Test("a gap that ends nowhere, or in an earlier numbering, leaves the place as it is")
    func otherGaps() {
        var place = ResumePlace(asked: "00000000000000aa-9")
        place.hello(epoch: "00000000000000bb", seq: 30)
        place.gap(why: "rewound", epoch: "00000000000000aa", to: 9)
        #expect(place.from == "00000000000000aa-9")
        place.gap(why: "upstream", epoch: "00000000000000bb", to: nil)
        #expect(place.from == "00000000000000aa-9")
        place.event(bytes(#"{"seq":20}"#))
        #expect(place.from == "00000000000000bb-20")
    }

    @Test("the place of a bye counts in its own numbering, also where an earlier one had come further")
    func byes() {
        var place = ResumePlace(asked: "00000000000000aa-9")
        place.bye(last: "00000000000000aa-12")
        #expect(place.from == "00000000000000aa-9", "nothing has been numbered so yet")
        place.hello(epoch: "00000000000000bb", seq: 3)
        place.bye(last: "00000000000000bb-2")
        #expect(place.from == "00000000000000bb-2")
        place.bye(last: "00000000000000bb-1")
        #expect(place.from == "00000000000000bb-2")
    }

    @Test("a place in the URL is found, the last one of its name")
    func placeInURL() throws {
        let address = try HTTPAddress(url: "http://h/?from=now&from=start&x=1&fromage")
        #expect(address.queryValue("from") == "start")
        #expect(address.queryValue("fromage") == nil)
    }
}
