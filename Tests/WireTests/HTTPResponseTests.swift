// Response heads byte for byte, dates and media types.

import Testing

@testable import Wire

@Suite("Responses")
struct HTTPResponseTests {
    private func text(_ build: (inout [UInt8]) -> Void) -> String {
        var output: [UInt8] = []
        build(&output)
        return String(decoding: output, as: UTF8.self)
    }

    @Test("a whole response, byte for byte")
    func whole() {
        let response = text {
            HTTPResponse.append(
                status: 200, contentType: "text/plain; charset=utf-8", body: Array("hello\n".utf8), keepAlive: true,
                fields: [HTTPResponse.Field("Vary", "Accept")], dateSeconds: 784_111_777, to: &$0)
        }
        let expected = [
            "HTTP/1.1 200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Type: text/plain; charset=utf-8",
            "Content-Length: 6", "Cache-Control: no-store", "X-Content-Type-Options: nosniff",
            "Connection: keep-alive", "Vary: Accept", "", "hello\n",
        ]
        #expect(response == expected.joined(separator: "\r\n"))
    }

    @Test("the answer to HEAD says the length and sends no body")
    func head() {
        let response = text {
            HTTPResponse.append(
                status: 404, contentType: "application/json", body: Array("{}".utf8), withBody: false, keepAlive: false,
                to: &$0)
        }
        #expect(response.hasPrefix("HTTP/1.1 404 Not Found\r\n") && response.hasSuffix("\r\n\r\n"))
        #expect(response.contains("Content-Length: 2\r\n") && response.contains("Connection: close\r\n"))
    }

    @Test("204 has neither type nor length")
    func noContent() {
        let response = text {
            HTTPResponse.appendHead(status: 204, contentType: nil, contentLength: nil, keepAlive: false, to: &$0)
        }
        #expect(!response.contains("\nContent-"))
    }

    @Test("a stream's head tells caches and proxies to leave it alone and has no length")
    func stream() {
        let response = text { HTTPResponse.appendStreamHead(contentType: "text/event-stream", to: &$0) }
        let expected = [
            "HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Cache-Control: no-store, no-transform",
            "X-Content-Type-Options: nosniff", "Connection: close", "X-Accel-Buffering: no", "", "",
        ]
        #expect(response == expected.joined(separator: "\r\n"))
    }

    @Test("no field value can end its line")
    func splitting() {
        let response = text {
            HTTPResponse.appendHead(
                status: 200, contentType: nil, contentLength: 0, keepAlive: true,
                fields: [HTTPResponse.Field("X", "a\r\nSet-Cookie: b=1\u{0}\u{7F}é\t")], to: &$0)
        }
        #expect(response.contains("\r\nX: a  Set-Cookie: b=1  é\t\r\n"))
    }

    @Test("426 names the upgrade and the version that would do")
    func upgradeRequired() {
        let response = text {
            HTTPResponse.append(
                status: 426, contentType: "text/plain", body: [], keepAlive: false, to: &$0)
        }
        #expect(response.hasPrefix("HTTP/1.1 426 Upgrade Required\r\n"))
        #expect(response.contains("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: close, upgrade\r\n"))
    }

    @Test("100 Continue is a head and nothing else")
    func interim() {
        #expect(text { HTTPResponse.appendContinue(to: &$0) } == "HTTP/1.1 100 Continue\r\n\r\n")
    }

    @Test("every status that a fault can have has a reason phrase")
    func reasons() {
        for vector in RequestVector.all where vector.status >= 400 {
            #expect(HTTPStatus.reason(vector.status).description != "Other")
        }
        #expect(HTTPStatus.reason(299).description == "Other")
    }

    @Test(
        "dates are what the format of RFC 9110 says",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"), (1_709_164_799, "Wed, 28 Feb 2024 23:59:59 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"), (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (1_767_312_245, "Fri, 02 Jan 2026 00:04:05 GMT"), (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (-1, "Thu, 01 Jan 1970 00:00:00 GMT"), (Int64.max, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] as [(Int64, String)])
    func dates(_ seconds: Int64, _ expected: String) {
        #expect(text { HTTPDate.append(seconds, to: &$0) } == expected)
    }

    @Test("a content type is compared without its parameters and an Accept list by its elements")
    func mediaTypes() {
        func isType(_ value: String, _ type: StaticString) -> Bool {
            let bytes = Array(value.utf8)
            return MediaType.isType(bytes.span, ByteRange(0..<bytes.count), type)
        }
        func isAccepted(_ list: String, _ type: StaticString) -> Bool {
            let bytes = Array(list.utf8)
            return MediaType.isAccepted(bytes.span, ByteRange(0..<bytes.count), type)
        }
        #expect(isType("Application/JSON ; charset=utf-8", "application/json"))
        #expect(!isType("application/jsonl", "application/json") && !isType("", "application/json"))
        #expect(!isType("text/plain;application/json", "application/json"))
        #expect(isAccepted("text/html, text/event-stream;q=0.5", "text/event-stream"))
        #expect(isAccepted("text/event-stream;q=0.001", "text/event-stream"))
        #expect(!isAccepted("text/event-stream;q=0", "text/event-stream"))
        #expect(!isAccepted("text/event-stream; Q=0.000", "text/event-stream"))
        #expect(!isAccepted("*/*, text/*", "text/event-stream"))
        #expect(!isAccepted("", "text/event-stream"))
    }
}
