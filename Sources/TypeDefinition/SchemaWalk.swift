/// Goes through a JSON value once and says where it does not fit.

import Wire

/// One look at one text. What is remembered of the way down lies in it, so that nothing is allocated before the first
/// error.
struct SchemaWalk {
    /// As deep as `JSONScanner` lets values nest, and one more: what is deeper does not fit anything.
    private static let depthMax = JSONScanner.depthLimit + 1
    /// Marks a step that is an array's element.
    private static let elementMark: UInt32 = 1 << 31

    private let nodes: [SchemaNode]
    /// The way to the value that is looked at: offset of a member's name, or number of an element.
    private var steps = InlineArray<131, UInt32>(repeating: 0)
    private var depth = 0
    /// What was gone over to find an object's kind.
    private var skips = SkipMemory()
    private(set) var errors: [SchemaError] = []

    init(_ nodes: [SchemaNode]) {
        self.nodes = nodes
    }

    private var isFull: Bool { errors.count >= Schema.errorsMax }

    /// Looks at the value at `start` and returns the offset after it. Once there are as many errors as are told, it
    /// returns the end of the text.
    /// - Parameter tag: the member that has named the kind of this object, which `node` does not declare.
    mutating func check(_ text: Span<UInt8>, node: Int, at start: Int, tag: [UInt8]?) -> Int {
        guard !isFull, start < text.count else { return text.count }
        let isNull = text[start] == UInt8(ascii: "n")
        var node = node
        while true {
            if isNull, nodes[node].isNullable { return Self.end(text, start) }
            guard case .reference(let target) = nodes[node].form else { break }
            node = target
        }
        switch nodes[node].form {
        case .any, .reference: return Self.end(text, start)
        case .type(let type): return checkType(text, node, type, at: start)
        case .enumeration(let values): return checkEnumeration(text, node, values, at: start)
        case .elements(let element):
            guard text[start] == UInt8(ascii: "[") else { return refuse(text, node, "/elements", at: start) }
            return checkElements(text, node, element, at: start)
        case .values(let value):
            guard text[start] == UInt8(ascii: "{") else { return refuse(text, node, "/values", at: start) }
            return checkValues(text, node, value, at: start)
        case .properties(let properties):
            guard text[start] == UInt8(ascii: "{") else {
                return refuse(
                    text, node, properties.hasRequiredKeyword ? "/properties" : "/optionalProperties", at: start)
            }
            return checkProperties(text, node, properties, at: start, tag: tag)
        case .union(let union):
            guard text[start] == UInt8(ascii: "{") else { return refuse(text, node, "/discriminator", at: start) }
            return checkUnion(text, node, union, at: start)
        }
    }

    // MARK: Scalars

    private mutating func checkType(_ text: Span<UInt8>, _ node: Int, _ type: SchemaType, at start: Int) -> Int {
        guard let value = JSONSkip.value(text, start) else { return text.count }
        let fits =
            switch type {
            case .boolean: value.kind == .true || value.kind == .false
            case .string: value.kind == .string
            case .float32, .float64: value.kind == .number
            case .timestamp: value.kind == .string && Self.isTimestamp(text, value)
            case .int8, .uint8, .int16, .uint16, .int32, .uint32:
                value.kind == .number && Self.isWhole(text.extracting(value.place.range), in: type.range)
            }
        if !fits { note(text, node, "/type") }
        return value.place.end
    }

    private static func isWhole(_ number: Span<UInt8>, in range: ClosedRange<Int64>?) -> Bool {
        guard let range, let value = WholeNumber.value(of: number) else { return false }
        return range.contains(value)
    }

    private static func isTimestamp(_ text: Span<UInt8>, _ value: JSONValuePlace) -> Bool {
        let content = text.extracting(value.text.range)
        return value.isEscaped ? Timestamp.isValid(JSONText.unescape(content).span) : Timestamp.isValid(content)
    }

    private mutating func checkEnumeration(
        _ text: Span<UInt8>, _ node: Int, _ values: [[UInt8]], at start: Int
    ) -> Int {
        guard let value = JSONSkip.value(text, start) else { return text.count }
        var fits = false
        if value.kind == .string {
            let content = text.extracting(value.text.range)
            fits = values.contains { JSONText.matches(content, escaped: value.isEscaped, $0.span) }
        }
        if !fits { note(text, node, "/enum") }
        return value.place.end
    }

    // MARK: Containers

    /// The first offset from `start` that is not white space: nearly always `start`, since events are compacted.
    @inline(__always)
    private static func space(_ text: Span<UInt8>, _ start: Int) -> Int {
        start < text.count && text[start] > 0x20 ? start : JSONSkip.space(text, start)
    }

    /// Where the value of the member whose name begins at `name` begins; nil where the text ends before.
    private static func value(_ text: Span<UInt8>, afterName name: JSONValuePlace) -> Int? {
        let colon = Self.space(text, name.place.end)
        guard colon < text.count else { return nil }
        return Self.space(text, colon + 1)
    }

    /// The first item of the container at `start`, or the next one after a value that ended at `start`; nil where none
    /// follows, with the offset after the container.
    private static func item(
        _ text: Span<UInt8>, _ start: Int, isFirst: Bool
    ) -> (start: Int?, end: Int) {
        var index = Self.space(text, start)
        guard index < text.count else { return (nil, text.count) }
        if isFirst || text[index] == UInt8(ascii: ",") {
            index = Self.space(text, index + 1)
            guard index < text.count else { return (nil, text.count) }
        }
        let isEnd = text[index] == UInt8(ascii: "}") || text[index] == UInt8(ascii: "]")
        return isEnd ? (nil, index + 1) : (index, index)
    }

    private mutating func checkElements(_ text: Span<UInt8>, _ node: Int, _ element: Int, at start: Int) -> Int {
        var place = Self.item(text, start, isFirst: true)
        var count: UInt32 = 0
        while let index = place.start {
            guard !isFull, enter(count | Self.elementMark) else { return Self.end(text, start) }
            let end = check(text, node: element, at: index, tag: nil)
            leave()
            count &+= 1
            place = Self.item(text, max(end, index + 1), isFirst: false)
        }
        return place.end
    }

    private mutating func checkValues(_ text: Span<UInt8>, _ node: Int, _ value: Int, at start: Int) -> Int {
        var place = Self.item(text, start, isFirst: true)
        while let index = place.start {
            guard !isFull, let name = JSONSkip.value(text, index), let begin = Self.value(text, afterName: name),
                enter(UInt32(truncatingIfNeeded: index))
            else { return Self.end(text, start) }
            let end = check(text, node: value, at: begin, tag: nil)
            leave()
            place = Self.item(text, max(end, begin + 1), isFirst: false)
        }
        return place.end
    }

    private mutating func checkProperties(
        _ text: Span<UInt8>, _ node: Int, _ properties: SchemaProperties, at start: Int, tag: [UInt8]?
    ) -> Int {
        // A bit for each member that must be there and was seen.
        var seen = InlineArray<16, UInt64>(repeating: 0)
        var seenCount = 0
        // Most texts have their members in the order of the schema.
        var likely = 0
        var place = Self.item(text, start, isFirst: true)
        while let index = place.start {
            guard !isFull, let name = JSONSkip.value(text, index), let begin = Self.value(text, afterName: name) else {
                return Self.end(text, start)
            }
            var end = begin
            let content = text.extracting(name.text.range)
            let isTag = tag.map { JSONText.matches(content, escaped: name.isEscaped, $0.span) } ?? false
            if !isTag, let found = Self.find(content, name.isEscaped, properties.members, from: likely) {
                likely = found + 1
                let member = properties.members[found]
                let bit: UInt64 = 1 << UInt64(found & 63)
                if member.isRequired, seen[found >> 6] & bit == 0 {
                    seen[found >> 6] |= bit
                    seenCount += 1
                }
                guard enter(UInt32(truncatingIfNeeded: index)) else { return Self.end(text, start) }
                end = check(text, node: member.node, at: begin, tag: nil)
                leave()
            } else {
                if !isTag, !properties.isOpen, enter(UInt32(truncatingIfNeeded: index)) {
                    note(text, node, "")
                    leave()
                }
                end = Self.end(text, begin)
            }
            place = Self.item(text, max(end, begin + 1), isFirst: false)
        }
        if seenCount < properties.requiredCount { noteMissing(text, properties, seen) }
        return place.end
    }

    private mutating func noteMissing(
        _ text: Span<UInt8>, _ properties: SchemaProperties, _ seen: InlineArray<16, UInt64>
    ) {
        for (index, member) in properties.members.enumerated()
        where member.isRequired && !isFull && seen[index >> 6] >> UInt64(index & 63) & 1 == 0 {
            // The member's own schema stands at the place that is not satisfied.
            note(text, member.node, "")
        }
    }

    /// Which of the members has this name, the one at `from` tried first.
    private static func find(
        _ name: Span<UInt8>, _ isEscaped: Bool, _ members: [SchemaProperties.Member], from: Int
    ) -> Int? {
        func isNamed(_ index: Int) -> Bool {
            let candidate = members[index].name
            return JSONText.matches(name, escaped: isEscaped, candidate.span)
        }
        if from < members.count, isNamed(from) { return from }
        return members.indices.first(where: isNamed)
    }

    private mutating func checkUnion(_ text: Span<UInt8>, _ node: Int, _ union: SchemaUnion, at start: Int) -> Int {
        var place = Self.item(text, start, isFirst: true)
        while let index = place.start {
            guard let name = JSONSkip.value(text, index), let begin = Self.value(text, afterName: name) else { break }
            let content = text.extracting(name.text.range)
            guard JSONText.matches(content, escaped: name.isEscaped, union.discriminator.span) else {
                place = Self.item(text, max(skips.end(text, begin), begin + 1), isFirst: false)
                continue
            }
            var suffix = "/discriminator"
            if let value = JSONSkip.value(text, begin), value.kind == .string {
                let kind = text.extracting(value.text.range)
                let isEscaped = value.isEscaped
                if let place = union.mapping.firstIndex(where: {
                    JSONText.matches(kind, escaped: isEscaped, $0.kind.span)
                }) {
                    return check(text, node: union.mapping[place].node, at: start, tag: union.discriminator)
                }
                suffix = "/mapping"
            }
            if enter(UInt32(truncatingIfNeeded: index)) {
                note(text, node, suffix)
                leave()
            }
            return Self.end(text, start)
        }
        return refuse(text, node, "/discriminator", at: start)
    }

    // MARK: Errors

    private mutating func enter(_ step: UInt32) -> Bool {
        guard depth < Self.depthMax else { return false }
        steps[depth] = step
        depth += 1
        return true
    }

    private mutating func leave() { depth -= 1 }

    private static func end(_ text: Span<UInt8>, _ start: Int) -> Int {
        JSONSkip.value(text, start)?.place.end ?? text.count
    }

    private mutating func refuse(_ text: Span<UInt8>, _ node: Int, _ keyword: String, at start: Int) -> Int {
        note(text, node, keyword)
        return Self.end(text, start)
    }

    private mutating func note(_ text: Span<UInt8>, _ node: Int, _ keyword: String) {
        guard !isFull else { return }
        errors.append(SchemaError(instance: path(text), schema: nodes[node].path + keyword))
    }

    /// The way to the present value as a JSON Pointer, as far as `pathBytesMax` goes.
    private func path(_ text: Span<UInt8>) -> String {
        var path: [UInt8] = []
        for index in 0..<depth {
            let before = path.count
            path.append(UInt8(ascii: "/"))
            if steps[index] & Self.elementMark != 0 {
                path.append(decimal: UInt64(steps[index] & ~Self.elementMark))
            } else if let name = JSONSkip.value(text, Int(steps[index])) {
                Self.append(step: JSONText.unescape(text.extracting(name.text.range)), to: &path)
            }
            guard path.count <= Schema.pathBytesMax else {
                path.removeSubrange(before...)
                break
            }
        }
        return String(decoding: path, as: UTF8.self)
    }

    /// Appends a name as a step of a JSON Pointer: `~` and `/` are written `~0` and `~1`.
    static func append(step name: [UInt8], to path: inout [UInt8]) {
        for byte in name {
            switch byte {
            case UInt8(ascii: "~"): path.append(text: "~0")
            case UInt8(ascii: "/"): path.append(text: "~1")
            default: path.append(byte)
            }
        }
    }
}
