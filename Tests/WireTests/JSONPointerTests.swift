// JSON Pointers: RFC 6901's own examples, and what its text leaves to the edges.
import Testing

@testable import Wire

@Suite("JSON pointers")
struct JSONPointerTests {
    private func find(_ pointer: String, in text: String) throws -> String? {
        let pointer = try #require(JSONPointer(pointer))
        let bytes = Array(text.utf8)
        return pointer.find(bytes.span).map { String(decoding: bytes[$0.place.range], as: UTF8.self) }
    }

    /// The document of RFC 6901 section 5.
    private let document = """
        {"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\\\j":5,"k\\"l":6," ":7,"m~n":8}
        """

    @Test("the examples of the specification lead where it says")
    func examples() throws {
        let expected = [
            ("", document), ("/foo", #"["bar","baz"]"#), ("/foo/0", #""bar""#), ("/", "0"), ("/a~1b", "1"),
            ("/c%d", "2"), ("/e^f", "3"), ("/g|h", "4"), (#"/i\j"#, "5"), ("/k\"l", "6"), ("/ ", "7"), ("/m~0n", "8"),
        ]
        for (pointer, value) in expected { #expect(try find(pointer, in: document) == value, "\(pointer)") }
    }

    @Test("what does not begin with a slash, or has a bare tilde, is no pointer")
    func malformed() {
        for text in ["a", "a/b", "/~", "/~2", "/a~", "/a~/b", " /a"] { #expect(JSONPointer(text) == nil, "\(text)") }
    }

    @Test("escapes are undone once: ~01 is ~1, not a slash")
    func escapes() throws {
        #expect(try find("/~01", in: #"{"~1":1,"/":2}"#) == "1")
        #expect(try find("/~10", in: #"{"/0":1}"#) == "1")
    }

    @Test("member names compare unescaped, and by code points")
    func names() throws {
        #expect(try find("/key", in: #"{"k\u0065y":1}"#) == "1")
        #expect(try find("/\u{1F600}", in: #"{"\ud83d\ude00":1}"#) == "1")
        #expect(try find("/e\u{301}", in: "{\"\u{E9}\":1}") == nil, "characters that look alike are not the same")
    }

    @Test("of a member that is there twice the last one counts")
    func repeated() throws {
        #expect(try find("/a", in: #"{"a":1,"b":2,"a":3}"#) == "3")
        #expect(try find("/a/b", in: #"{"a":{"b":1},"a":{"c":2}}"#) == nil)
    }

    @Test("elements are numbered from 0, without leading zeros; - and what lies beyond is not there")
    func elements() throws {
        let text = #"{"a":[10,[11,12],{"b":13}],"0":{"01":14}}"#
        #expect(try find("/a/0", in: text) == "10")
        #expect(try find("/a/1/1", in: text) == "12")
        #expect(try find("/a/2/b", in: text) == "13")
        #expect(try find("/0/01", in: text) == "14", "in an object a number is a name")
        for pointer in ["/a/3", "/a/-", "/a/00", "/a/01", "/a/+1", "/a/1e0", "/a/18446744073709551616", "/a/"] {
            #expect(try find(pointer, in: text) == nil, "\(pointer)")
        }
        #expect(try find("/a/18446744073709551615", in: text) == nil)
    }

    @Test("nothing lies inside of a string, a number or a word")
    func scalars() throws {
        for value in ["\"x\"", "1", "true", "null"] { #expect(try find("/a/0", in: "{\"a\":\(value)}") == nil) }
    }

    @Test("text that is no JSON never traps")
    func nonsense() throws {
        let pointer = try #require(JSONPointer("/a/0/b"))
        let text = Array(#"{"a":[{"b":{"c":"\u00e9"}}]}"#.utf8)
        for end in 0...text.count {
            let cut = Array(text[..<end])
            _ = pointer.find(cut.span)
            for start in 0...end { _ = pointer.find(cut.span, at: start) }
        }
    }
}
