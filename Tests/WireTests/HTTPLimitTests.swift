// The limits of a request's head, one byte to each side.

import Testing

@testable import Wire

@Suite("Limits of a head accept N and refuse N + 1")
struct HTTPLimitTests {
    private func status(_ text: String, prefix count: Int = .max) -> Int {
        let bytes = Array(text.utf8.prefix(count))
        let whole = HTTPStreamReader.read(bytes, pieces: Pieces.whole(bytes.count))
        let single = HTTPStreamReader.read(bytes, pieces: Pieces.single(bytes.count))
        #expect(whole == single)
        return whole.status
    }

    private func line(ofBytes count: Int) -> String {
        "GET /" + String(repeating: "a", count: count - 14) + " HTTP/1.1\r\n"
    }

    @Test("a request line of 8,192 bytes passes and one of 8,193 is 414")
    func requestLine() {
        #expect(status(line(ofBytes: 8192) + "Host: a\r\n\r\n") == 200)
        #expect(status(line(ofBytes: 8193) + "Host: a\r\n\r\n") == 414)
    }

    @Test("an endless request line is refused when it has grown too long, not when it ends")
    func endlessRequestLine() {
        #expect(status(String(repeating: "a", count: 8192)) == 0)
        #expect(status(String(repeating: "a", count: 8193)) == 414)
    }

    @Test("a head of 16,384 bytes passes and one that is not over by then is 431")
    func head() {
        func head(ofBytes count: Int) -> String {
            let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
            return start + String(repeating: "b", count: count - start.utf8.count - 4) + "\r\n\r\n"
        }
        #expect(status(head(ofBytes: 16_384)) == 200)
        #expect(status(head(ofBytes: 16_385)) == 431)
        #expect(status(head(ofBytes: 16_384), prefix: 16_383) == 0)
        #expect(status(head(ofBytes: 20_000), prefix: 16_383) == 0)
        #expect(status(head(ofBytes: 20_000), prefix: 16_384) == 431)
    }

    @Test("100 fields pass and 101 are 431")
    func fields() {
        func head(fields: Int) -> String {
            "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: 1\r\n", count: fields - 1) + "\r\n"
        }
        #expect(status(head(fields: 100)) == 200)
        #expect(status(head(fields: 101)) == 431)
    }

    @Test("the parser holds the limits by itself, without the framer")
    func parserAlone() {
        func parseStatus(_ text: String) -> Int {
            let bytes = Array(text.utf8)
            do throws(HTTPFault) {
                _ = try HTTPRequestHead.parse(bytes.span, limits: HTTPLimits())
                return 200
            } catch {
                return error.status
            }
        }
        #expect(parseStatus(line(ofBytes: 8193) + "Host: a\r\n\r\n") == 414)
        #expect(parseStatus("GET / HTTP/1.1\r\n" + String(repeating: "X: 1\r\n", count: 101) + "\r\n") == 431)
        #expect(parseStatus("GET / HTTP/1.1\r\nX: " + String(repeating: "a", count: 16_384) + "\r\n\r\n") == 431)
        #expect(parseStatus("GET / HTTP/1.1\r\nHost: a\r\n\r\nx") == 400)
        #expect(parseStatus("GET / HTTP/1.1\r\nHost: a\r\n") == 400)
        #expect(parseStatus("") == 400)
        #expect(parseStatus("\r\n") == 400)
        #expect(parseStatus("\r") == 400)
    }

    @Test("a framer that has seen nothing is idle, and says the same length when it is asked again")
    func framerState() throws {
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET".utf8)
        var framer = HTTPHeadFramer()
        let idleBefore = framer.isIdle
        let first = try framer.scan(bytes.span, limits: HTTPLimits())
        let second = try framer.scan(bytes.span, limits: HTTPLimits())
        #expect(idleBefore && !framer.isIdle)
        #expect(first == bytes.count - 3 && second == first)
    }
}
