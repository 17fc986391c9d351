// What the vectors leave out: bounds, spelling, numbers, times, and texts that were never checked.

import Testing
import Wire

@testable import TypeDefinition

@Suite("Schema")
struct SchemaTests {
    @Test("every fault of a schema is named, in the order of the places")
    func faultsOfASchema() throws {
        let text = #"{"properties":{"a":{"type":"int64"},"b":{"ref":"x"}},"enum":[],"nullable":1,"foo":2}"#
        #expect(
            try faults(text) == [
                "27: 'type' must be one of boolean, float32, float64, int8, uint8, int16, uint16, int32, uint32, "
                    + "string, timestamp",
                "47: 'ref': there is no definition 'x'",
                "53: 'enum' does not go with 'properties': a schema has one form",
                "74: 'nullable' must be true or false, not a number",
                "76: unknown keyword 'foo'",
            ])
    }

    @Test("a name that stands twice in a schema is a fault wherever it is")
    func repeatedNames() throws {
        #expect(try faults(#"{"type":"string","type":"int8"}"#) == ["17: 'type' stands here twice"])
        #expect(try faults(#"{"properties":{"a":{},"\u0061":{}}}"#) == ["22: 'a' stands here twice"])
        #expect(try faults(#"{"definitions":{"a":{},"a":{}}}"#) == ["23: 'a' stands here twice"])
        // Names are compared byte by byte: these two are different ones that look alike.
        #expect(try faults("{\"properties\":{\"\u{E9}\":{},\"e\u{301}\":{}}}") == [])
    }

    @Test("a reference that leads back to itself is a fault, one through an object is not")
    func circles() throws {
        let circle = #"{"definitions":{"a":{"ref":"b"},"b":{"ref":"a"},"c":{"ref":"a"}},"ref":"c"}"#
        #expect(
            try faults(circle) == [
                "20: this 'ref' leads back to itself: it says nothing",
                "36: this 'ref' leads back to itself: it says nothing",
            ])
        let tree = try schema(
            #"{"definitions":{"n":{"optionalProperties":{"c":{"ref":"n"}}}},"ref":"n"}"#)
        #expect(errors(tree, #"{"c":{"c":{"d":1}}}"#) == ["/c/c/d /definitions/n"])
    }

    @Test("an object of more properties than can be kept track of is a fault")
    func manyProperties() throws {
        func text(_ count: Int) -> String {
            #"{"properties":{"# + (0..<count).map { #""p\#($0)":{}"# }.joined(separator: ",") + "}}"
        }
        #expect(try faults(text(1025)) == ["0: an object may have 1024 properties at most"])
        let most = try schema(text(1024))
        let all = "{" + (0..<1024).map { #""p\#($0)":1"# }.joined(separator: ",") + "}"
        #expect(errors(most, all) == [])
        #expect(errors(most, all.replacing(#""p1023":1"#, with: #""p0":1"#)) == [" /properties/p1023"])
    }

    @Test("names and values compare as what they stand for, however they are escaped")
    func escapes() throws {
        let union = try schema(
            #"{"discriminator":"kind","mapping":{"é/~":{"properties":{"a\"b":{"enum":["x\ny"]}}}}}"#)
        #expect(errors(union, #"{"\u006bind":"\u00e9\/~","a\u0022b":"x\u000ay"}"#) == [])
        #expect(errors(union, #"{"kind":"é/~","a\"b":1}"#) == [#"/a"b /mapping/é~1~0/properties/a"b/enum"#])
        let times = try schema(#"{"type":"timestamp"}"#)
        #expect(errors(times, #""1990-12-31T23\u003a59:59Z""#) == [])
        #expect(errors(times, #""1990-12-31T23\u003b59:59Z""#) == [" /type"])
    }

    @Test("a member that stands twice is looked at twice, and is there once")
    func repeatedMembers() throws {
        let object = try schema(#"{"properties":{"a":{"type":"string"},"b":{}}}"#)
        #expect(errors(object, #"{"a":"x","a":1}"#) == ["/a /properties/a/type", " /properties/b"])
    }

    @Test("the kind may stand anywhere in its object, and unions stand in unions")
    func nestedUnions() throws {
        let text = #"""
            {"definitions":{"n":{"discriminator":"t","mapping":{
              "leaf":{"properties":{"v":{"type":"int8"}}},
              "pair":{"properties":{"l":{"ref":"n"},"r":{"ref":"n"}}}}}},"ref":"n"}
            """#
        let union = try schema(text)
        #expect(
            errors(union, #"{"l":{"v":1,"t":"leaf"},"r":{"t":"leaf","v":300},"t":"pair"}"#) == [
                "/r/v /definitions/n/mapping/leaf/properties/v/type"
            ])
        #expect(
            errors(union, #"{"t":"pair","l":{"t":"twig"},"r":[]}"#) == [
                "/l/t /definitions/n/mapping", "/r /definitions/n/discriminator",
            ])
    }

    @Test(
        "a number is whole by its value, not by its spelling",
        arguments: [
            ("1.0", true), ("1e2", true), ("-0", true), ("-0.0e5", true), ("12.5e1", true), ("1250e-1", true),
            ("255", true), ("256", false), ("2.55E+2", true), ("1e-1", false), ("0e999999999999999999999", true),
            ("1e999999999999999999999", false), ("1e-999999999999999999999", false), ("-1", false),
            ("100000000000000000000e-20", true), ("1.00000000000000000000000000001", false), ("0.0000000001e10", true),
            ("4294967296", false), ("99999999999999999999999999999999999999999", false),
        ])
    func wholeNumbers(number: String, fits: Bool) throws {
        #expect(errors(try schema(#"{"type":"uint8"}"#), number).isEmpty == fits)
        #expect(errors(try schema(#"{"type":"float64"}"#), number) == [])
    }

    @Test(
        "a timestamp is a day that there is and a time of RFC 3339",
        arguments: [
            ("2024-02-29T00:00:00Z", true), ("2023-02-29T00:00:00Z", false), ("1900-02-29T00:00:00Z", false),
            ("2000-02-29t00:00:00.000000000001z", true), ("2024-04-31T00:00:00Z", false),
            ("2024-01-01T24:00:00Z", false), ("2024-01-01T00:60:00Z", false), ("2024-01-01T00:00:61Z", false),
            ("2024-13-01T00:00:00Z", false), ("2024-00-01T00:00:00Z", false), ("2024-01-00T00:00:00Z", false),
            ("2024-01-01 00:00:00Z", false), ("2024-01-01T00:00:00", false), ("2024-01-01T00:00:00.Z", false),
            ("2024-01-01T00:00:00+24:00", false), ("2024-01-01T00:00:00+23:59", true),
            ("2024-01-01T00:00:00+0100", false), ("2024-01-01T00:00:00Zx", false), ("2024-01-01T00:00Z", false),
            ("1990-12-31T23:59:60.5Z", true), ("1991-01-01T00:59:60+01:00", true), ("1990-12-31T23:58:60Z", false),
            ("1990-12-30T23:59:60Z", false), ("1990-12-31T23:59:60+01:00", false), ("", false), ("é", false),
        ])
    func timestamps(text: String, fits: Bool) throws {
        #expect(errors(try schema(#"{"type":"timestamp"}"#), "\"\(text)\"").isEmpty == fits)
    }

    @Test("32 errors are told, and looking ends with the last of them")
    func manyErrors() throws {
        let list = try schema(#"{"elements":{"type":"string"}}"#)
        let found = errors(list, "[" + (0..<100).map(String.init).joined(separator: ",") + "]")
        #expect(found.count == 32)
        #expect(found.last == "/31 /elements/type")
    }

    @Test("a long way into an instance is told as far as 1,024 bytes go")
    func longPaths() throws {
        let object = try schema(#"{"values":{"values":{"type":"string"}}}"#)
        let long = String(repeating: "x", count: 1000)
        #expect(errors(object, #"{"\#(long)":{"a":1}}"#) == ["/\(long)/a /values/values/type"])
        #expect(errors(object, #"{"\#(long)":{"\#(long)":1}}"#) == ["/\(long) /values/values/type"])
    }

    @Test("a recursive schema goes as deep as events nest, and no deeper")
    func deep() throws {
        let list = try schema(#"{"definitions":{"l":{"elements":{"ref":"l"}}},"ref":"l"}"#)
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(errors(list, nested(130)) == [])
        // No event is like this: it must only do no harm.
        _ = errors(list, nested(100_000))
        let object = try schema(
            #"{"definitions":{"o":{"discriminator":"t","mapping":{"o":{"optionalProperties":{"c":{"ref":"o"}}}}}},"#
                + #""ref":"o"}"#)
        let deep = String(repeating: #"{"t":"o","c":"#, count: 127)
        #expect(errors(object, deep + #"{"t":"o"}"# + String(repeating: "}", count: 127)) == [])
        #expect(errors(object, deep + "1" + String(repeating: "}", count: 127)).count == 1)
    }

    @Test("kinds that stand last in objects inside of objects do not make the work grow with the depth")
    func deepUnions() throws {
        let union = try schema(
            #"{"definitions":{"o":{"discriminator":"t","mapping":{"o":{"optionalProperties":{"#
                + #""c":{"ref":"o"},"p":{}}}}}},"ref":"o"}"#)
        func seconds(_ depth: Int) -> Double {
            let payload = String(repeating: "[],", count: 40_000) + "1"
            let text = Array(
                (String(repeating: #"{"c":"#, count: depth) + #"{"p":[\#(payload)],"t":"o"}"#
                    + String(repeating: #","t":"o"}"#, count: depth)).utf8)
            var fastest = Double.infinity
            for _ in 0..<5 {
                let took = ContinuousClock().measure { #expect(union.errors(in: text.span) == []) }
                fastest = min(fastest, took / .seconds(1))
            }
            return fastest
        }
        // Once for the union on top, once for each depth if nothing were remembered.
        #expect(seconds(120) < seconds(1) * 20)
    }

    @Test("any part of a text, and any text with a byte changed, gets some answer")
    func garbage() throws {
        let union = try schema(
            #"{"discriminator":"t","mapping":{"a":{"properties":{"n":{"type":"int32"},"w":{"type":"timestamp"},"#
                + #""l":{"elements":{"enum":["x"]}},"v":{"values":{"nullable":true,"type":"boolean"}}}}}}"#)
        let text = Array(
            #"{"t":"a","n":-1.5e+3,"w":"1990-12-31T23:59:60Z","l":["x","\u0078"],"v":{"a":null,"b":true}}"#.utf8)
        #expect(union.errors(in: text.span).map(\.instance) == [])
        for end in 0..<text.count { _ = union.errors(in: text.span.extracting(..<end)) }
        for place in text.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = text
                changed[place] = byte
                _ = union.errors(in: changed.span)
            }
        }
    }
}
