// Random schemas and instances, judged twice.

import Testing
import Wire

@testable import TypeDefinition

/// Small numbers of a seed: the same everywhere.
private struct Dice {
    var state: UInt64

    mutating func roll(_ sides: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(sides))
    }

    mutating func pick<Element>(_ choices: [Element]) -> Element { choices[roll(choices.count)] }
}

@Suite("Random schemas")
struct RandomSchemaTests {
    private static let names = ["a", "b", "c/d", "e~", "\u{E9}", "k"]
    private static let types = SchemaType.allCases.map(\.rawValue)
    private static let scalars = [
        "null", "true", "false", "0", "-1", "127", "128", "-129", "255", "65536", "1.0", "1.5", "2e2", "25e-1",
        "4294967295", "4294967296", "\"x\"", "\"y\"", "\"\\u0078\"", "\"2024-02-29T12:00:00Z\"", "\"\"",
    ]

    private static func schema(_ dice: inout Dice, depth: Int, isMapping: Bool = false) -> String {
        var parts: [String] = []
        let form = isMapping ? 5 : dice.roll(depth > 3 ? 4 : 9)
        switch form {
        case 0: break
        case 1: parts = [#""type":"\#(dice.pick(types))""#]
        case 2: parts = [#""enum":["x","z"]"#]
        case 3: parts = [#""ref":"d\#(dice.roll(2))""#]
        case 4: parts = [#""elements":"# + schema(&dice, depth: depth + 1)]
        case 5, 6:
            var names = Self.names.dropLast()
            func members(_ dice: inout Dice) -> String {
                let count = min(dice.roll(4), names.count)
                let taken = names.prefix(count)
                names = names.dropFirst(count)
                return taken.map { "\"\($0)\":" + schema(&dice, depth: depth + 1) }.joined(separator: ",")
            }
            let which = dice.roll(3)
            if which != 1 { parts.append(#""properties":{"# + members(&dice) + "}") }
            if which != 0 { parts.append(#""optionalProperties":{"# + members(&dice) + "}") }
            if dice.roll(4) == 0 { parts.append(#""additionalProperties":true"#) }
        case 7: parts = [#""values":"# + schema(&dice, depth: depth + 1)]
        default:
            let mapping = ["x", "y"].map { "\"\($0)\":" + schema(&dice, depth: depth + 1, isMapping: true) }
            parts = [#""discriminator":"k","mapping":{"# + mapping.joined(separator: ",") + "}"]
        }
        if !isMapping, dice.roll(6) == 0 { parts.append(#""nullable":true"#) }
        return "{" + parts.joined(separator: ",") + "}"
    }

    private static func instance(_ dice: inout Dice, depth: Int) -> String {
        switch dice.roll(depth > 4 ? 2 : 6) {
        case 0, 1: return dice.pick(scalars)
        case 2:
            return "[" + (0..<dice.roll(4)).map { _ in instance(&dice, depth: depth + 1) }.joined(separator: ",") + "]"
        default:
            let order = names.map { ($0, dice.roll(100)) }.sorted { $0.1 < $1.1 }.map(\.0).prefix(dice.roll(7))
            return "{"
                + order.map { name in
                    let value =
                        name == "k" && dice.roll(4) > 0
                        ? dice.pick(["\"x\"", "\"y\""]) : instance(&dice, depth: depth + 1)
                    return "\"\(name)\":" + value
                }.joined(separator: ",") + "}"
        }
    }

    @Test("3,000 random schemas find the errors in random instances that a naive reader of the RFC finds")
    func againstNaive() throws {
        var (fitting, failing) = (0, 0)
        for seed in 0..<3_000 {
            var dice = Dice(state: UInt64(seed) &* 0x9E37_79B9_7F4A_7C15)
            let first = Self.schema(&dice, depth: 2)
            let definitions = [first.hasPrefix(#"{"ref""#) ? "{}" : first, Self.schema(&dice, depth: 4)]
                .map { $0.hasPrefix(#"{"ref""#) ? #"{"type":"string"}"# : $0 }
            let body = Self.schema(&dice, depth: 0)
            let text =
                #"{"definitions":{"d0":\#(definitions[0]),"d1":\#(definitions[1])}"# + (body == "{}" ? "" : ",")
                + body.dropFirst()
            let tree = try tree(text)
            let (compiled, faults) = Schema.compile(tree)
            #expect(faults == [], "\(text)")
            let schema = try #require(compiled)
            for _ in 0..<12 {
                let instance = Self.instance(&dice, depth: 0)
                let expected = NaiveValidator.errors(tree, try TypeDefinitionTests.tree(instance))
                let found = schema.errors(in: Array(instance.utf8).span)
                if expected.count > Schema.errorsMax {
                    #expect(found.count == Schema.errorsMax && Set(found).isSubset(of: expected))
                } else {
                    #expect(
                        found.count == expected.count && Set(found) == Set(expected),
                        "seed \(seed): \(text) \(instance)")
                }
                if expected.isEmpty { fitting += 1 } else { failing += 1 }
            }
        }
        // Neither is rare.
        #expect(fitting > 3_000 && failing > 3_000)
    }
}
