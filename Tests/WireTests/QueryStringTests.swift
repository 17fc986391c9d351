// Queries and paths: pairs, escapes and what is refused.

import Testing

@testable import Wire

@Suite("Queries and paths")
struct QueryStringTests {
    private func pairs(_ query: String) throws -> [String] {
        let bytes = Array(query.utf8)
        return try QueryString.decodedPairs(bytes.span, ByteRange(0..<bytes.count)).map { pair in
            String(decoding: pair.name, as: UTF8.self) + "=" + String(decoding: pair.value, as: UTF8.self)
        }
    }

    private func path(_ path: String) throws -> String {
        let bytes = Array(path.utf8)
        return String(decoding: try RequestPath.decode(bytes.span), as: UTF8.self)
    }

    @Test("pairs come in order, names may repeat, empty ones are skipped")
    func order() throws {
        #expect(try pairs("a=1&b=2&a=3") == ["a=1", "b=2", "a=3"])
        #expect(try pairs("&&a=1&&b=2&") == ["a=1", "b=2"])
        #expect(try pairs("") == [])
        #expect(try pairs("&") == [])
    }

    @Test("the first = separates, and it may be missing")
    func separators() throws {
        #expect(try pairs("a=b=c") == ["a=b=c"])
        #expect(try pairs("a") == ["a="])
        #expect(try pairs("a=") == ["a="])
        #expect(try pairs("=a") == ["=a"])
        #expect(try pairs("=") == ["="])
        #expect(try pairs("a;b=1") == ["a;b=1"])
    }

    @Test("escapes are undone once, after the pairs are told apart, and + stays +")
    func escapes() throws {
        #expect(try pairs("a=%41%2f%26%3D") == ["a=A/&="])
        #expect(try pairs("a=%2541") == ["a=%41"])
        #expect(try pairs("a=1+2") == ["a=1+2"])
        #expect(try pairs("%61=%C3%A9") == ["a=é"])
    }

    @Test(
        "an invalid escape is 400 wherever it is",
        arguments: ["a=%", "a=%4", "a=%4g", "a=%g4", "%=a", "a=%%41", "a=1%"])
    func invalidEscapes(_ query: String) {
        let fault = #expect(throws: HTTPFault.self) { _ = try pairs(query) }
        #expect(fault?.status == 400)
    }

    @Test("what does not decode to UTF-8 is 400", arguments: ["a=%ff", "a=%C0%80", "a=%ED%A0%80", "a=%C3", "%80=a"])
    func invalidUTF8(_ query: String) {
        let fault = #expect(throws: HTTPFault.self) { _ = try pairs(query) }
        #expect(fault?.status == 400)
    }

    @Test("a query inside a head is walked at its place")
    func ranges() {
        let bytes = Array("GET /?a=1&b HTTP/1.1".utf8)
        var query = QueryString(ByteRange(6..<11))
        let first = query.next(bytes.span)
        let second = query.next(bytes.span)
        let third = query.next(bytes.span)
        #expect(
            first.map { bytes[$0.name.range] } == bytes[6..<7] && first.map { bytes[$0.value.range] } == bytes[8..<9])
        #expect(second?.name == ByteRange(10..<11) && second?.value.isEmpty == true)
        #expect(third == nil)
    }

    @Test("a path is decoded once")
    func paths() throws {
        #expect(try path("/v1/events") == "/v1/events")
        #expect(try path("/a%20b/%C3%A9") == "/a b/é")
        #expect(try path("/%2541") == "/%41")
        #expect(try path("/a+b") == "/a+b")
        #expect(try path("/../.") == "/../.")
        #expect(try path("/%2e%2e") == "/..")
        #expect(try path("*") == "*")
    }

    @Test(
        "encoded slashes, control characters and invalid escapes in a path are 400",
        arguments: ["/a%2Fb", "/a%2fb", "/%00", "/%0a", "/%7F", "/%", "/%2", "/%zz", "/%ff", "/%C3"])
    func refusedPaths(_ text: String) {
        let fault = #expect(throws: HTTPFault.self) { _ = try path(text) }
        #expect(fault?.status == 400)
    }

    @Test("a plain text is one that decoding leaves as it is")
    func plain() throws {
        for byte in UInt8.min...UInt8.max {
            let text: [UInt8] = [UInt8(ascii: "a"), byte, UInt8(ascii: "1"), UInt8(ascii: "2")]
            let isVisible = byte > 0x20 && byte < 0x7F
            let isPlain = PercentCoding.isPlain(text.span)
            #expect(isPlain == (isVisible && byte != UInt8(ascii: "%")), "byte \(byte)")
            guard isPlain else { continue }
            let decoded = try PercentCoding.decode(text.span)
            #expect(decoded == text)
        }
        let empty: [UInt8] = []
        let isEmptyPlain = PercentCoding.isPlain(empty.span)
        #expect(isEmptyPlain)
    }
}
