// JSON texts as trees, with the place of every value and of every fault.

import Testing
import Wire

@Suite("JSON trees for configurations")
struct JSONTreeTests {
    private func tree(_ text: String) throws -> JSONTree { try JSONTree.parse(Array(text.utf8).span) }

    private func fault(_ text: String) -> EventFault? {
        do throws(EventFault) {
            _ = try JSONTree.parse(Array(text.utf8).span)
            return nil
        } catch { return error }
    }

    @Test("a tree has every value with its kind and place")
    func values() throws {
        let text = #" {"a" : [1, -2, "x\u0079", true, false, null, {}], "b\n":{"c":1.5}, "n": 99999999999999999999} "#
        let root = try tree(text)
        #expect(root.offset == 1)
        let list = try #require(root["a"]?.elements)
        #expect(list.map(\.offset) == [9, 12, 16, 27, 33, 40, 46])
        #expect(list[0].integer == 1)
        #expect(list[1].integer == -2)
        #expect(list[2].string == "xy")
        #expect(list[3].bool == true)
        #expect(list[4].bool == false)
        #expect(list[5].isNull)
        #expect(list[6].members?.isEmpty == true)
        #expect(
            list.map { "\($0.kindName)" } == [
                "a number", "a number", "a string", "true or false", "true or false", "null", "an object",
            ])
        #expect(root["b\n"]?["c"]?.integer == nil)
        if case .number(let written)? = root["b\n"]?["c"]?.value {
            #expect(written == "1.5")
        } else {
            Issue.record("no number")
        }
        #expect(root["n"]?.integer == nil)
        #expect(root["missing"] == nil)
        #expect(root.members?.map(\.name) == ["a", "b\n", "n"])
        #expect(root.members?.map(\.offset) == [2, 51, 68])
        #expect(
            list[0]["a"] == nil && list[0].elements == nil && list[0].string == nil && !list[0].isNull
                && list[0].bool == nil)
    }

    @Test("any value can be the root, and faults have their place")
    func roots() throws {
        #expect(try tree("\"x\"").string == "x")
        #expect(try tree(" 7 ").integer == 7)
        #expect(try tree("[]").elements?.isEmpty == true)
        #expect(fault(#"{"a":}"#) == EventFault(.invalidJSON, at: 5))
        #expect(fault("") == EventFault(.invalidJSON, at: 0))
        #expect(fault(String(repeating: "[", count: 33)) == EventFault(.tooDeep, at: 32))
        #expect(try tree(String(repeating: "[", count: 32) + String(repeating: "]", count: 32)).elements?.count == 1)
    }

    @Test("a repeated name is found at any depth, byte for byte")
    func repeated() throws {
        #expect(try tree(#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#).repeatedMember == nil)
        #expect(try tree(#"{"a":1,"b":2,"\u0061":3}"#).repeatedMember?.offset == 13)
        #expect(try tree(#"{"a":[0,{"x":{"k":1,"k":2}}]}"#).repeatedMember?.offset == 20)
        // Equal to a reader of text, but different bytes: two names.
        #expect(try tree("{\"é\":1,\"e\u{301}\":2}").repeatedMember == nil)
        #expect(try tree("{\"é\":1,\"e\u{301}\":2}")["e\u{301}"]?.integer == 2)
    }

    @Test("an offset has a line and a column, counted in characters from 1")
    func places() {
        let text = Array("{\n  \"é😀\": x\r\n}".utf8)
        let cases = [
            (0, "1:1"), (1, "1:2"), (2, "2:1"), (4, "2:3"), (5, "2:4"), (7, "2:5"), (11, "2:6"), (14, "2:9"),
            (17, "3:1"), (18, "3:2"), (99, "3:2"), (-1, "1:1"),
        ]
        for (offset, place) in cases { #expect(TextPlace(of: offset, in: text.span).description == place, "\(offset)") }
        let nothing: [UInt8] = []
        #expect(TextPlace(of: 0, in: nothing.span).description == "1:1")
    }
}
