// Tables of JSON texts: what passes byte for byte, what is compacted, what is refused and where.

import Foundation
import Testing
import Wire

/// JSON values that must pass, byte for byte, wherever they stand.
private let validValues: [String] = [
    // Literals and numbers.
    "true", "false", "null", "0", "-0", "1", "-1", "9", "10", "123456789012345678901234567890", "-123", "0.0", "-0.0",
    "0.1", "1.5", "123.456", "0e0", "0e1", "0e+1", "0e-1", "0E1", "0E+1", "0E-1", "1e1", "1E1", "1e+1", "1e-1", "1E+10",
    "1.0e5", "1.25E-007", "-1.5e+30", "1e400", "-1e-400", "1e00000", "20e1", "0.000000000000000000000000000000001",
    "3.14159265358979323846264338327950288", "-237462374673276894279832749832423479823246327846",
    // Strings.
    #""""#, #"" ""#, #""a""#, #""abcdefg""#, #""abcdefgh""#, #""abcdefghi""#, #""abcdefghijklmnopqrstuvwxyz""#,
    #""\"""#, #""\\""#, #""\/""#, #""\b\f\n\r\t""#, #""\u0000""#, #""\u001f""#, #""\u0041""#, #""\u00e9""#,
    #""\u00E9""#,
    #""\uABCD\uabcd""#, #""\ud83d\ude00""#, #""\uD83D\uDE00""#, #""\uFFFF""#, #""\uFFFE""#, #""\uFDD0""#,
    #""\\u0041""#, #""\\\\""#, #""\\\"""#, #""a\\""#, #""\\a""#, #""\u0022""#, #""\u005C""#, #""/""#, #""'""#,
    #""a/*b*/c//d#e""#, #""{}[]:,""#, #""new\nline""#, #""1234567\"""#, #""12345678\"""#, #""123456789\"""#,
    #""tab\ttab\ttab\ttab\ttab""#, #""null""#, #""true""#, #""$hello""#,
    // Escapes of surrogates without partners are legal by the grammar.
    #""\ud800""#, #""\udc00""#, #""\udfff""#, #""\ud800a""#, #""\ud800\ud800""#, #""\udc00\ud800""#, #""\ud800\n""#,
    #""\uDADA""#, #""\uD888\u1234""#, #""\ud800\\udc00""#,
    // Characters of every length, at the bounds of every row of Unicode table 3-7.
    "\"\u{7F}\"", "\"\u{80}\"", "\"\u{FF}\"", "\"\u{7FF}\"", "\"\u{800}\"", "\"\u{FFF}\"", "\"\u{1000}\"",
    "\"\u{CFFF}\"",
    "\"\u{D000}\"", "\"\u{D7FF}\"", "\"\u{E000}\"", "\"\u{FFFD}\"", "\"\u{FFFE}\"", "\"\u{FFFF}\"", "\"\u{10000}\"",
    "\"\u{3FFFF}\"", "\"\u{40000}\"", "\"\u{FFFFF}\"", "\"\u{100000}\"", "\"\u{10FFFF}\"", "\"\u{FEFF}\"",
    "\"\u{2028}\"", "\"\u{2029}\"", "\"\u{85}\"", "\"é\"", "\"жук\"", "\"日本語\"", "\"😀\"", "\"a😀b\"", "\"😀😀😀😀\"",
    "\"aé\"", "\"abé\"", "\"abcé\"", "\"abcdé\"", "\"abcdeé\"", "\"abcdefé\"", "\"abcdefgé\"", "\"abcdefghé\"",
    "\"e\u{301}\"", "\"\u{1F468}\u{200D}\u{1F469}\"", "\"שלום\"", "\"مرحبا\"", "\"🏳️‍🌈\"",
    // Containers.
    "[]", "{}", "[[]]", "[{}]", #"{"":0}"#, #"{"a":{}}"#, #"{"a":[]}"#, "[1]", "[1,2]", "[1,2,3]", "[[],[]]", "[{},{}]",
    "[null,true,false]", #"["a","b"]"#, #"[[1],[2,[3,[4]]]]"#, #"{"a":1}"#, #"{"a":1,"b":2}"#, #"{"a":1,"a":2}"#,
    #"{"a":1,"a":1}"#, #"{"a":{"b":{"c":[1,{"d":null}]}}}"#, #"{"\u0061":1}"#, #"{"\"":1}"#, #"{"é":"é"}"#,
    #"{"a\/b":[{"c":[]},{"d":{}}],"e":"f"}"#, #"[-1,-1.5,1e5,"x",[],{},true,null]"#, "[0,0.0,-0]",
    #"{"seq":1,"channel":2,"type":3}"#, #"{"$publish":{}}"#, #"[""]"#, #"["\\"]"#, #"["\\","\""]"#,
    #"{"x":[{"id":"x"}]}"#,
]

/// Faults in the middle: the value, what is wrong, and the offset of the byte that is wrong.
private let faultyValues: [(String, EventFault.Code, Int)] = [
    // Not a value at all.
    ("}", .invalidJSON, 0), ("]", .invalidJSON, 0), (",", .invalidJSON, 0), (":", .invalidJSON, 0),
    ("a", .invalidJSON, 0),
    ("'a'", .invalidJSON, 0), ("`a`", .invalidJSON, 0), ("%80", .invalidJSON, 0), ("%ef%bb%bf1", .invalidJSON, 0),
    ("%001", .invalidJSON, 0), ("%0b1", .invalidJSON, 0), ("%0c1", .invalidJSON, 0), ("%c2%a01", .invalidJSON, 0),
    ("%e2%80%a81", .invalidJSON, 0), ("%7f", .invalidJSON, 0), ("/**/1", .invalidJSON, 0), ("//1\n1", .invalidJSON, 0),
    ("#1", .invalidJSON, 0), ("=", .invalidJSON, 0), ("(1)", .invalidJSON, 0), ("<1>", .invalidJSON, 0),
    ("*", .invalidJSON, 0),
    ("undefined", .invalidJSON, 0), ("None", .invalidJSON, 0), ("\\u0031", .invalidJSON, 0), ("@", .invalidJSON, 0),
    // Literals.
    ("True", .invalidJSON, 0), ("TRUE", .invalidJSON, 0), ("trUe", .invalidJSON, 2), ("trux", .invalidJSON, 3),
    ("truee", .invalidJSON, 4), ("true1", .invalidJSON, 4), ("falsy", .invalidJSON, 4), ("fals ", .invalidJSON, 4),
    ("nul ", .invalidJSON, 3), ("nulll", .invalidJSON, 4), ("nil", .invalidJSON, 1), ("NaN", .invalidJSON, 0),
    ("nan", .invalidJSON, 1), ("Infinity", .invalidJSON, 0), ("-Infinity", .invalidJSON, 1), ("-NaN", .invalidJSON, 1),
    ("true false", .invalidJSON, 5), ("null%00", .invalidJSON, 4), ("inf", .invalidJSON, 0), ("tRUE", .invalidJSON, 1),
    // Numbers.
    ("01", .invalidJSON, 1), ("00", .invalidJSON, 1), ("-01", .invalidJSON, 2), ("012", .invalidJSON, 1),
    ("+1", .invalidJSON, 0), ("--1", .invalidJSON, 1), ("-+1", .invalidJSON, 1), ("- 1", .invalidJSON, 1),
    (".5", .invalidJSON, 0),
    ("-.5", .invalidJSON, 1), ("1. ", .invalidJSON, 2), ("1.e5", .invalidJSON, 2), ("1.5.5", .invalidJSON, 3),
    ("1.-5", .invalidJSON, 2), ("1e ", .invalidJSON, 2), ("1e+ ", .invalidJSON, 3), ("1e- ", .invalidJSON, 3),
    ("1e1.5", .invalidJSON, 3), ("1ee5", .invalidJSON, 2), ("1e++5", .invalidJSON, 3), ("1e5e5", .invalidJSON, 3),
    ("1E+-1", .invalidJSON, 3), ("0x1F", .invalidJSON, 1), ("0b1", .invalidJSON, 1), ("0o7", .invalidJSON, 1),
    ("1_000", .invalidJSON, 1),
    ("1 000", .invalidJSON, 2), ("1f", .invalidJSON, 1), ("1n", .invalidJSON, 1), ("1a", .invalidJSON, 1),
    ("-a", .invalidJSON, 1), ("1%ef%bc%91", .invalidJSON, 1), ("%ef%bc%91", .invalidJSON, 0), ("1/2", .invalidJSON, 1),
    ("1:", .invalidJSON, 1), ("0.e1", .invalidJSON, 2), ("0e", .invalidJSON, 2), ("0e+", .invalidJSON, 3),
    ("-", .invalidJSON, 1),
    ("1.", .invalidJSON, 2), ("2.e3", .invalidJSON, 2), ("2.e+3", .invalidJSON, 2), ("2.e-3", .invalidJSON, 2),
    ("9.e+", .invalidJSON, 2),
    ("1.2a-3", .invalidJSON, 3), ("1.8011670033376514H-308", .invalidJSON, 18), ("-1x", .invalidJSON, 2),
    ("-2.", .invalidJSON, 3),
    ("0.3e", .invalidJSON, 4), ("0.3e+", .invalidJSON, 5), ("0 1", .invalidJSON, 2),
    // Strings: control characters.
    ("\"%00\"", .invalidJSON, 1), ("\"%01\"", .invalidJSON, 1), ("\"%08\"", .invalidJSON, 1),
    ("\"\t\"", .invalidJSON, 1),
    ("\"\n\"", .invalidJSON, 1), ("\"%0d\"", .invalidJSON, 1), ("\"%1f\"", .invalidJSON, 1),
    ("\"%1b[0m\"", .invalidJSON, 1),
    ("\"a\nb\"", .invalidJSON, 2), ("\"1234567%00\"", .invalidJSON, 8), ("\"12345678%1f\"", .invalidJSON, 9),
    ("\"123456789012345\n6789\"", .invalidJSON, 16), ("\"é%00\"", .invalidJSON, 3),
    // Strings: escapes.
    (#""\a""#, .invalidJSON, 2), (#""\v""#, .invalidJSON, 2), (#""\0""#, .invalidJSON, 2), (#""\e""#, .invalidJSON, 2),
    (#""\'""#, .invalidJSON, 2),
    (#""\ ""#, .invalidJSON, 2), (#""\U0041""#, .invalidJSON, 2), (#""\N""#, .invalidJSON, 2),
    (#""\x41""#, .invalidJSON, 2),
    ("\"\\\n\"", .invalidJSON, 2), (#""\é""#, .invalidJSON, 2), (#""\😀""#, .invalidJSON, 2),
    (#""\u""#, .invalidJSON, 3),
    (#""\u1""#, .invalidJSON, 4), (#""\u12""#, .invalidJSON, 5), (#""\u123""#, .invalidJSON, 6),
    (#""\uG000""#, .invalidJSON, 3),
    (#""\u0g00""#, .invalidJSON, 4), (#""\u00G0""#, .invalidJSON, 5), (#""\u000G""#, .invalidJSON, 6),
    (#""\u{41}""#, .invalidJSON, 3),
    (#""\u-041""#, .invalidJSON, 3), (#""\u+041""#, .invalidJSON, 3), (#""\u 041""#, .invalidJSON, 3),
    (#""\ud83d\u""#, .invalidJSON, 9),
    (#""\ud83d\ud""#, .invalidJSON, 10), (#""\u00/0""#, .invalidJSON, 5), (#""\u00:0""#, .invalidJSON, 5),
    (#""\u00@0""#, .invalidJSON, 5),
    (#""\u00`0""#, .invalidJSON, 5), ("\"\\%80\"", .invalidJSON, 2), (#""a\b\c""#, .invalidJSON, 5),
    (#""\\\q""#, .invalidJSON, 4),
    // Strings: ill-formed UTF-8, at the first byte of the ill-formed character.
    ("\"%80\"", .invalidUTF8, 1), ("\"%bf\"", .invalidUTF8, 1), ("\"a%80\"", .invalidUTF8, 2),
    ("\"%c0%80\"", .invalidUTF8, 1),
    ("\"%c0%af\"", .invalidUTF8, 1), ("\"%c1%bf\"", .invalidUTF8, 1), ("\"%c2\"", .invalidUTF8, 1),
    ("\"%c2a\"", .invalidUTF8, 1),
    ("\"%c2%c2%80\"", .invalidUTF8, 1), ("\"%df%7f\"", .invalidUTF8, 1), ("\"%e0%80%80\"", .invalidUTF8, 1),
    ("\"%e0%9f%bf\"", .invalidUTF8, 1), ("\"%e0%a0\"", .invalidUTF8, 1), ("\"%e0%a0%7f\"", .invalidUTF8, 1),
    ("\"%e1%80\"", .invalidUTF8, 1), ("\"%e1%80%c0\"", .invalidUTF8, 1), ("\"%ed%a0%80\"", .invalidUTF8, 1),
    ("\"%ed%bf%bf\"", .invalidUTF8, 1), ("\"%ed%a0%bd%ed%b8%80\"", .invalidUTF8, 1), ("\"%ef%bf\"", .invalidUTF8, 1),
    ("\"%f0%80%80%80\"", .invalidUTF8, 1), ("\"%f0%8f%bf%bf\"", .invalidUTF8, 1), ("\"%f0%90%80\"", .invalidUTF8, 1),
    ("\"%f1%80%80%7f\"", .invalidUTF8, 1), ("\"%f4%90%80%80\"", .invalidUTF8, 1), ("\"%f5%80%80%80\"", .invalidUTF8, 1),
    ("\"%f8%88%80%80%80\"", .invalidUTF8, 1), ("\"%fc%84%80%80%80%80\"", .invalidUTF8, 1), ("\"%fe\"", .invalidUTF8, 1),
    ("\"%ff\"", .invalidUTF8, 1), ("\"é%80\"", .invalidUTF8, 3), ("\"😀%ff\"", .invalidUTF8, 5),
    ("\"1234567%ff\"", .invalidUTF8, 8),
    ("\"12345678%ff\"", .invalidUTF8, 9), ("\"%e9\"", .invalidUTF8, 1), ("\"abc%e4%f6%fc\"", .invalidUTF8, 4),
    // Arrays.
    ("[,]", .invalidJSON, 1), ("[1,]", .invalidJSON, 3), ("[,1]", .invalidJSON, 1), ("[1,,2]", .invalidJSON, 3),
    ("[1 2]", .invalidJSON, 3),
    ("[1}", .invalidJSON, 2), ("[1:2]", .invalidJSON, 2), ("[1;2]", .invalidJSON, 2), ("[]]", .invalidJSON, 2),
    ("[1]]", .invalidJSON, 3),
    ("[][]", .invalidJSON, 2), ("[]1", .invalidJSON, 2), ("[]{}", .invalidJSON, 2), ("[\"a\" \"b\"]", .invalidJSON, 5),
    ("[1,\n,2]", .invalidJSON, 4),
    ("[[1]", .invalidJSON, 4), ("[-]", .invalidJSON, 2), ("[a]", .invalidJSON, 1), ("[1,a]", .invalidJSON, 3),
    ("[\"a\",]", .invalidJSON, 5),
    ("[%0c]", .invalidJSON, 1), ("[1%00]", .invalidJSON, 2), ("[1/**/]", .invalidJSON, 2), ("[{]}", .invalidJSON, 2),
    ("[tru]", .invalidJSON, 4),
    // Objects.
    ("{,}", .invalidJSON, 1), ("{a:1}", .invalidJSON, 1), ("{1:1}", .invalidJSON, 1), ("{'a':1}", .invalidJSON, 1),
    ("{null:1}", .invalidJSON, 1),
    ("{[]:1}", .invalidJSON, 1), ("{{}:1}", .invalidJSON, 1), (#"{"a"}"#, .invalidJSON, 4),
    (#"{"a" 1}"#, .invalidJSON, 5), (#"{"a":}"#, .invalidJSON, 5),
    (#"{"a":1,}"#, .invalidJSON, 7), (#"{"a":1,,"b":2}"#, .invalidJSON, 7), (#"{,"a":1}"#, .invalidJSON, 1),
    (#"{"a"::1}"#, .invalidJSON, 5),
    (#"{"a":1 "b":2}"#, .invalidJSON, 7), (#"{"a":1;"b":2}"#, .invalidJSON, 6), (#"{"a"=1}"#, .invalidJSON, 4),
    (#"{"a":1]"#, .invalidJSON, 6),
    (#"{"a","b"}"#, .invalidJSON, 4), (#"{"a":1:2}"#, .invalidJSON, 6), (#"{"a":b}"#, .invalidJSON, 5),
    ("{}}", .invalidJSON, 2), ("{}{}", .invalidJSON, 2),
    ("{} {}", .invalidJSON, 3), ("{}\n{}", .invalidJSON, 3), ("{}x", .invalidJSON, 2), ("{}%00", .invalidJSON, 2),
    ("{}#", .invalidJSON, 2),
    ("{}//", .invalidJSON, 2), (#"{"a":1}/"#, .invalidJSON, 7), (#"{"a":/**/1}"#, .invalidJSON, 5),
    (#"{"a":"b","#, .invalidJSON, 9),
    (#"{"a%80":1}"#, .invalidUTF8, 3), ("{\"\n\":1}", .invalidJSON, 2), (#"{"\x":1}"#, .invalidJSON, 3),
    (#"{"a":1,1}"#, .invalidJSON, 7),
    (#"{"a":{"b":1,}}"#, .invalidJSON, 12), (#"{"a":[1,]}"#, .invalidJSON, 8), (#"{:1}"#, .invalidJSON, 1),
    (#"{"a":1,"b"}"#, .invalidJSON, 10),
    (#"{"a":1,"b":}"#, .invalidJSON, 11), (#"{"a":1,"b":2,]"#, .invalidJSON, 13), ("{}%a0", .invalidJSON, 2),
    ("{}%ef%bb%bf", .invalidJSON, 2),
]

@Suite("The JSON scanner")
struct JSONScannerTests {
    @Test("every valid value passes, alone and inside, and no byte of it changes")
    func validValuesPass() throws {
        for value in validValues {
            #expect(faultOfText(Array(value.utf8)) == nil, "\(value)")
            #expect(faultOfText(Array(" \t\r\n\(value) \t\r\n".utf8)) == nil, "\(value)")
            for text in [
                #"{"a":\#(value)}"#, #"{"a":[\#(value)]}"#, #"{"a":[0,\#(value),{"b":\#(value)}],"c":\#(value)}"#,
            ] {
                #expect(String(decoding: try compactedEvent(text).text, as: UTF8.self) == text, "\(text)")
            }
        }
    }

    @Test("white space between tokens goes, white space in strings stays")
    func compaction() throws {
        let cases = [
            (" {} ", "{}"), ("\n{\n}\n", "{}"), ("{ }", "{}"),
            ("\t\r\n {\t\r\n \"a\"\t\r\n :\t\r\n 1\t\r\n }\t\r\n ", #"{"a":1}"#),
            (#"{"a" : [ 1 , 2 , [ ] , { } ] , " b " : " c\t " }"#, #"{"a":[1,2,[],{}]," b ":" c\t "}"#),
            (#"{ "a" : true , "b" : false , "c" : null }"#, #"{"a":true,"b":false,"c":null}"#),
            (#"{ "a" : -1.50e+007 , "b":1E5 }"#, #"{"a":-1.50e+007,"b":1E5}"#),
            ("{\r\n  \"a\": {\r\n    \"b\": [\r\n      1\r\n    ]\r\n  }\r\n}\r\n", #"{"a":{"b":[1]}}"#),
            (#"{"a":"\/\u0041 é"   }"#, #"{"a":"\/\u0041 é"}"#),
        ]
        for (text, compact) in cases {
            let event = try compactedEvent(text)
            #expect(String(decoding: event.text, as: UTF8.self) == compact)
            #expect(event.record.isEmptyObject == (compact == "{}"))
        }
    }

    @Test("a fault in the middle is told with the offset of the wrong byte")
    func faultsInTheMiddle() {
        for (text, code, offset) in faultyValues {
            let value = hexMarkedBytes(text)
            #expect(faultOfText(value) == EventFault(code, at: offset), "\(text)")
            // Inside of another value the same byte is wrong. The container is of the other sort, so that a closing
            // bracket too many does not close it.
            let opening = text.hasPrefix("{") || text.hasPrefix("}") ? "[" : #" {"a" :  "#
            let inside = Array(opening.utf8) + value
            #expect(faultOfText(inside + Array("}".utf8)) != nil, "\(text)")
            if offset < value.count {
                #expect(faultOfText(inside) == EventFault(code, at: offset + opening.utf8.count), "\(text)")
            }
        }
    }

    @Test("text that is cut short is told at its end, wherever it is cut")
    func cutShort() {
        let whole = Array(#" {"type":"aé😀\n\u00e9z","b":[1,-2.5e+3,true,false,null,{"c":{}}],"d":"123456789"}"#.utf8)
        #expect(faultOfText(whole) == nil)
        for count in 0..<whole.count {
            let fault = faultOfText(Array(whole[..<count]))
            // A cut inside of a character leaves an ill-formed one, told at its first byte.
            if fault?.code == .invalidUTF8 {
                #expect(whole[count] & 0xC0 == 0x80 && fault.map { count - $0.offset < 4 } == true, "\(count)")
            } else {
                #expect(fault == EventFault(.invalidJSON, at: count), "\(count)")
            }
        }
    }

    @Test("an event is an object; other values are valid JSON but no events")
    func onlyObjects() {
        for (text, offset) in [
            ("[]", 0), (" 1", 1), ("\"{}\"", 0), ("\n\nnull ", 2), ("[{}]", 0), ("true", 0), ("-0.5", 0),
        ] {
            #expect(faultOfEvent(text) == EventFault(.notAnObject, at: offset), "\(text)")
            #expect(faultOfText(Array(text.utf8)) == nil)
        }
        // What is not even JSON is called that.
        #expect(faultOfEvent("[}") == EventFault(.invalidJSON, at: 1))
        #expect(faultOfEvent("hello") == EventFault(.invalidJSON, at: 0))
        #expect(faultOfEvent("") == EventFault(.invalidJSON, at: 0))
        #expect(faultOfEvent("  \n") == EventFault(.invalidJSON, at: 3))
        #expect(faultOfEvent("\u{FEFF}{}") == EventFault(.invalidJSON, at: 0))
    }

    @Test("128 levels pass and 129 do not, of objects, arrays and both")
    func depth() throws {
        func nested(_ levels: Int, _ open: [String], _ close: [String]) -> String {
            (0..<levels).map { open[$0 % open.count] }.joined() + "0"
                + (0..<levels).reversed().map { close[$0 % close.count] }.joined()
        }
        for (open, close) in [
            (["["], ["]"]), ([#"{"a":"#], ["}"]), ([#"{"a":"#, "["], ["}", "]"]),
            (["[", #"{"":"#, "[0,"], ["]", "}", "]"]),
        ] {
            for depthMax in [1, 2, 3, 31, 32, 63, 64, 65, 127, 128] {
                #expect(faultOfText(Array(nested(depthMax, open, close).utf8), depthMax: depthMax) == nil)
                let over = Array(nested(depthMax + 1, open, close).utf8)
                let place = (0..<depthMax).map { open[$0 % open.count].utf8.count }.reduce(0, +)
                #expect(faultOfText(over, depthMax: depthMax) == EventFault(.tooDeep, at: place))
            }
        }
        let event = nested(128, [#"{"a":"#], ["}"])
        #expect(String(decoding: try compactedEvent(event).text, as: UTF8.self) == event)
        #expect(faultOfEvent(nested(129, [#"{"a":"#], ["}"])) == EventFault(.tooDeep, at: 128 * 5))
        // Containers side by side are no depth.
        #expect(faultOfText(Array(("[" + String(repeating: "[[]],", count: 500) + "{}]").utf8), depthMax: 3) == nil)
    }

    @Test("a million brackets end at the 129th, without a deep stack")
    func millionBrackets() {
        #expect(faultOfText([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)) == EventFault(.tooDeep, at: 128))
        let objects = Array(String(repeating: #"{"a":"#, count: 200_000).utf8)
        #expect(faultOfText(objects) == EventFault(.tooDeep, at: 128 * 5))
    }

    @Test("262,144 bytes as received pass and one more does not")
    func size() throws {
        let frame = #"{"a":""}"#
        let full = #"{"a":"\#(String(repeating: "x", count: 262_144 - frame.utf8.count))"}"#
        #expect(try compactedEvent(full).record.length == 262_144)
        #expect(faultOfEvent(full + " ") == EventFault(.tooLarge, at: 262_144))
        #expect(try compactedEvent("{}" + String(repeating: " ", count: 262_142)).record.length == 2)
        #expect(faultOfEvent("{}" + String(repeating: " ", count: 262_143))?.code == .tooLarge)
        #expect(faultOfEvent(#"{"a":1}"#, rules: EventRules(eventBytesMax: 7)) == nil)
        #expect(faultOfEvent(#"{"a":1}"#, rules: EventRules(eventBytesMax: 6)) == EventFault(.tooLarge, at: 6))
    }

    @Test("a string ends, and is refused, at every distance from the start and the end of the text")
    func alignment() throws {
        for length in 0..<40 {
            let plain = String(repeating: "x", count: length)
            let text = #"{"k":"\#(plain)"}"#
            #expect(String(decoding: try compactedEvent(text).text, as: UTF8.self) == text)
            for place in 0..<length {
                for (bad, code) in [
                    (UInt8(0x1F), EventFault.Code.invalidJSON), (0x00, .invalidJSON), (0x80, .invalidUTF8),
                    (0xFF, .invalidUTF8),
                ] {
                    var broken = Array(text.utf8)
                    broken[6 + place] = bad
                    #expect(faultOfText(broken) == EventFault(code, at: 6 + place))
                }
            }
        }
    }

    @Test("every byte outside of strings is refused unless the grammar has it there")
    func everyByteOutside() {
        for byte in UInt8.min...UInt8.max {
            for template in ["_{}", "{_}", #"{"a"_:1}"#, #"{"a":_1}"#, #"{"a":1_}"#, "{}_", "[1_]", "[_1]", "[_]"] {
                let parts = template.split(separator: "_", omittingEmptySubsequences: false).map { Array($0.utf8) }
                let text = parts[0] + [byte] + parts[1]
                #expect((faultOfText(text) == nil) == (NaiveJSON.compact(text) != nil), "\(byte) in \(template)")
            }
        }
    }

    @Test("every byte in a string is accepted or refused as the naive reader does")
    func everyByteInside() {
        for byte in UInt8.min...UInt8.max {
            for template in [
                "\"_\"", "\"\\_\"", "\"\\u00_0\"", "\"%c3_\"", "\"%e0_%80\"", "\"%ed_%80\"", "\"%f0_%80%80\"",
                "\"%f4_%80%80\"", "\"_%80\"",
            ] {
                let parts = template.split(separator: "_", omittingEmptySubsequences: false).map {
                    hexMarkedBytes(String($0))
                }
                let text = parts[0] + [byte] + parts[1]
                #expect((faultOfText(text) == nil) == (NaiveJSON.compact(text) != nil), "\(byte) in \(template)")
            }
        }
    }

    @Test("an accepted event means the same to another parser before and after compaction")
    func sameMeaning() throws {
        for value in validValues
        where !value.contains("\\ud") && !value.contains("\\uD") && !value.contains("\\u00E9\\ud") {
            let text = "{ \"a\" : [ \(value) , 1 ] }"
            guard let before = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? NSDictionary else {
                continue
            }
            let after = try JSONSerialization.jsonObject(with: Data(try compactedEvent(text).text)) as? NSDictionary
            #expect(before == after, "\(value)")
        }
    }
}
