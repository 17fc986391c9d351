/// JSON Pointers (RFC 6901), followed through text that the scanner accepted.

/// The way to one value inside of another. Where an object has a member twice the last one counts, as it does for
/// readers that parse the object.
package struct JSONPointer: Sendable, Equatable {
    /// One step: into the member of this name, or the element of this number.
    private struct Step: Sendable, Equatable {
        /// The unescaped name.
        var name: [UInt8]
        /// What it is in an array: nil where it cannot be the number of an element.
        var index: Int?
    }

    private let steps: [Step]

    /// Nil for what is no pointer: it is empty, or begins with `/` and has no `~` that is not `~0` or `~1`.
    package init?(_ text: String) {
        var steps: [Step] = []
        if !text.isEmpty {
            let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            guard parts[0].isEmpty else { return nil }
            for part in parts.dropFirst() {
                guard let name = Self.unescape(part) else { return nil }
                steps.append(Step(name: name, index: Self.index(name)))
            }
        }
        self.steps = steps
    }

    /// Whether it is the empty one: it leads to the whole value.
    package var isWhole: Bool { steps.isEmpty }

    /// The value that it leads to; nil where there is none.
    /// - Parameters:
    ///   - text: JSON that the scanner accepted. In other text something is found or nothing, and nothing traps.
    ///   - start: where the value begins that the pointer starts from, white space before it allowed.
    /// - Complexity: linear in the text for each step. Does not allocate.
    package func find(_ text: Span<UInt8>, at start: Int = 0) -> JSONValuePlace? {
        guard var value = JSONSkip.value(text, JSONSkip.space(text, start)) else { return nil }
        var place = 0
        while place < steps.count {
            guard let next = Self.follow(steps[place], text, value) else { return nil }
            value = next
            place += 1
        }
        return value
    }

    private static func follow(_ step: Step, _ text: Span<UInt8>, _ value: JSONValuePlace) -> JSONValuePlace? {
        switch value.kind {
        case .object:
            var found: JSONValuePlace?
            var members = JSONMembers(objectAt: Int(value.place.start))
            while let member = members.next(text) {
                let name = text.extracting(member.name.range)
                if JSONText.matches(name, escaped: member.nameIsEscaped, step.name.span) { found = member.value }
            }
            return found
        case .array:
            guard var left = step.index else { return nil }
            var elements = JSONElements(arrayAt: Int(value.place.start))
            while let element = elements.next(text) {
                if left == 0 { return element }
                left -= 1
            }
            return nil
        case .string, .number, .true, .false, .null: return nil
        }
    }

    /// The name that a part between slashes stands for.
    private static func unescape(_ part: Substring.UTF8View) -> [UInt8]? {
        var name: [UInt8] = []
        var isEscape = false
        for byte in part {
            if isEscape {
                switch byte {
                case UInt8(ascii: "0"): name.append(UInt8(ascii: "~"))
                case UInt8(ascii: "1"): name.append(UInt8(ascii: "/"))
                default: return nil
                }
                isEscape = false
            } else if byte == UInt8(ascii: "~") {
                isEscape = true
            } else {
                name.append(byte)
            }
        }
        return isEscape ? nil : name
    }

    /// Decimal, without leading zeros. `-`, the element behind the last, is never there.
    private static func index(_ name: [UInt8]) -> Int? {
        guard let number = DecimalText.parse(name.span) else { return nil }
        return Int(exactly: number)
    }
}
