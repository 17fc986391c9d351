// Objects and arrays as they are walked: names, kinds and places, in their order.

import Testing
import Wire

@Suite("Walking objects and arrays")
struct JSONMembersTests {
    private func members(_ text: String, at offset: Int = 0) -> [String] {
        let bytes = Array(text.utf8)
        var walk = JSONMembers(objectAt: offset)
        var found: [String] = []
        while let member = walk.next(bytes.span) {
            func part(_ place: ByteRange) -> String { String(decoding: bytes[place.range], as: UTF8.self) }
            let value = member.value
            var line = "\(part(member.name))\(member.nameIsEscaped ? "!" : "") \(value.kind) \(part(value.place))"
            if value.kind == .string { line += " \(part(value.text))\(value.isEscaped ? "!" : "")" }
            found.append(line)
        }
        return found
    }

    private func elements(_ text: String) -> [String] {
        let bytes = Array(text.utf8)
        var walk = JSONElements()
        var found: [String] = []
        while let value = walk.next(bytes.span) {
            found.append("\(value.kind) \(String(decoding: bytes[value.place.range], as: UTF8.self))")
        }
        return found
    }

    @Test("the members of an object come in their order with their kinds and places")
    func objects() {
        let expected = [
            #"a number 1"#, #"b string "x" x"#, #"c object {"d":[1,"}"]}"#, #"e array [{},[]]"#, "f true true",
            "g false false", "h null null", #"i number -1.5e+3"#,
            #" string "" "#, #"k\n! string "\"\\" \"\\!"#,
        ]
        let compact =
            #"{"a":1,"b":"x","c":{"d":[1,"}"]},"e":[{},[]],"f":true,"g":false,"h":null,"i":-1.5e+3,"":"","k\n":"\"\\"}"#
        #expect(members(compact) == expected)
        let spaced =
            " { \"a\" : 1 ,\n\"b\" : \"x\"\t,\"c\" : {\"d\":[1,\"}\"]} , \"e\":[{},[]],\"f\": true , "
            + "\"g\":false\n,\"h\" :null, \"i\": -1.5e+3\r\n, \"\" : \"\" , \"k\\n\" : \"\\\"\\\\\" } "
        #expect(members(spaced) == expected)
        #expect(members("{}").isEmpty)
        #expect(members(" { } ").isEmpty)
    }

    @Test("a walk can begin at a value inside, and goes no further than its object")
    func inside() {
        let text = #"{"$publish":{"event":{"a":1},"channel":"x"},"b":2}"#
        #expect(members(text, at: 12) == [#"event object {"a":1}"#, #"channel string "x" x"#])
        #expect(members(text, at: 21) == ["a number 1"])
    }

    @Test("the elements of an array come in their order")
    func arrays() {
        #expect(
            elements(#"[1,"]",[2,[3]],{"a":[4]},true,false,null]"#) == [
                "number 1", #"string "]""#, "array [2,[3]]", #"object {"a":[4]}"#, "true true", "false false",
                "null null",
            ])
        #expect(elements(" [ 1 , 2 ] ") == ["number 1", "number 2"])
        #expect(elements("[]").isEmpty)
        #expect(elements(" [ ] ").isEmpty)
        #expect(elements(#"{"a":1}"#).isEmpty)
    }

    @Test("other values have no members, and text that no scanner accepted never traps or hangs")
    func others() {
        for text in [
            "", " ", "[]", "[1]", "1", "\"a\"", "null", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1",
            "{\"a\":\"", "{\"a\":\"\\", "{1:2}", "{,}", "}", "{\"a\" 1}", "{\"a\":}", "{\"a\":[", "{]", "\\",
        ] {
            #expect(members(text).count <= 1, "\(text)")
            #expect(elements(text).count <= 1, "\(text)")
        }
        #expect(members("{}", at: 5).isEmpty)
        var random = JSONTestRandom(seed: 5)
        let alphabet = Array(#"{}[]",:1\ "#.utf8)
        for _ in 0..<20_000 {
            let text = (0..<12).map { _ in alphabet.randomElement(using: &random)! }
            #expect(members(String(decoding: text, as: UTF8.self)).count <= 12)
            #expect(elements(String(decoding: text, as: UTF8.self)).count <= 12)
        }
    }
}
