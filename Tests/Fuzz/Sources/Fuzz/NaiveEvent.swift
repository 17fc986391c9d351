// What an event must satisfy beside being JSON, decided on NaiveJSON's tree.

import Wire

enum NaiveEvent {
    struct Accepted {
        var text: [UInt8]
        /// The discriminator's value, still escaped.
        var kind: [UInt8]?
    }

    /// The first broken rule's code; `invalidJSON` for everything that is wrong with the text itself.
    static func read(_ bytes: [UInt8], _ rules: EventRules) -> Result<Accepted, EventFault> {
        func refused(_ code: EventFault.Code) -> Result<Accepted, EventFault> { .failure(EventFault(code, at: 0)) }
        guard bytes.count <= rules.eventBytesMax else { return refused(.tooLarge) }
        guard let value = NaiveJSON.read(bytes, depthMax: rules.depthMax) else { return refused(.invalidJSON) }
        guard case .object(let members) = value else { return refused(.notAnObject) }
        var stamped: [[UInt8]] = []
        if rules.stamp.contains(.seq) { stamped.append(Array("seq".utf8)) }
        if rules.stamp.contains(.channel) { stamped.append(Array("channel".utf8)) }
        if rules.stamp.contains(.time) { stamped.append(Array("time".utf8)) }
        var kind: [UInt8]?
        for member in members {
            let name = NaiveJSON.unescaped(member.name)
            let isKind = name == rules.discriminator
            if isKind, kind != nil { return refused(.badDiscriminator) }
            if stamped.contains(name) { return refused(.reservedMember) }
            guard isKind else { continue }
            guard case .string(let text) = member.value else { return refused(.badDiscriminator) }
            if NaiveJSON.unescaped(text).first == UInt8(ascii: "$") { return refused(.reservedKind) }
            kind = text
        }
        return .success(Accepted(text: value.compact, kind: kind))
    }
}

/// Wire's tree beside the naive one.
enum NaiveTree {
    static func compare(_ tree: JSONTree, _ value: NaiveJSON, _ bytes: [UInt8]) {
        expect(bytes.indices.contains(tree.offset), "a value's offset")
        let first = bytes[tree.offset]
        switch (tree.value, value) {
        case (.null, .plain(let text)): expectEqual(text, Array("null".utf8), "null")
        case (.bool(let bool), .plain(let text)): expectEqual(text, Array("\(bool)".utf8), "a truth")
        case (.number(let number), .plain(let text)):
            expectEqual(Array(number.utf8), text, "a number")
            expectEqual(tree.integer, Int(NaiveText.string(text)), "a whole number")
        case (.string(let string), .string(let text)):
            expectEqual(Array(string.utf8), NaiveJSON.unescaped(text), "a string")
            expectEqual(first, UInt8(ascii: "\""), "a string's first byte")
        case (.array(let elements), .array(let items)):
            expect(first == UInt8(ascii: "[") && elements.count == items.count, "an array")
            for (element, item) in zip(elements, items) { compare(element, item, bytes) }
        case (.object(let members), .object(let items)):
            expect(first == UInt8(ascii: "{") && members.count == items.count, "an object")
            for (member, item) in zip(members, items) {
                expectEqual(Array(member.name.utf8), NaiveJSON.unescaped(item.name), "a name")
                expectEqual(bytes[member.offset], UInt8(ascii: "\""), "a name's first byte")
                compare(member.value, item.value, bytes)
            }
        default: fail("another kind of value")
        }
    }

    static func hasRepeatedMember(_ value: NaiveJSON) -> Bool {
        switch value {
        case .plain, .string: false
        case .array(let items): items.contains(where: hasRepeatedMember)
        case .object(let members):
            Set(members.map { NaiveJSON.unescaped($0.name) }).count < members.count
                || members.contains { hasRepeatedMember($0.value) }
        }
    }
}
