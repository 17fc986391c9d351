// A stream of lines, each of which may be an event: line framer, scanner, walkers, tree and text, against NaiveJSON.

import Wire

enum LineTarget {
    private struct Lines: Equatable {
        var lines: [Range<Int>] = []
        var isTooLong = false
    }

    private static let ruleSets = [
        EventRules(),
        EventRules(stamp: [.time], discriminator: Array("kind".utf8), eventBytesMax: 300, depthMax: 4),
        EventRules(stamp: [], discriminator: Array("é\"".utf8), depthMax: 130),
    ]

    static func judge(_ input: Input) {
        for lineBytesMax in [262_144, 30] {
            let expected = lines(Array(input), lineBytesMax)
            for delivery in [.whole] + Delivery.inPieces(input) {
                expectEqual(frame(input, delivery, lineBytesMax), expected, "lines are cut differently as \(delivery)")
            }
            guard lineBytesMax > 30 else { continue }
            for line in expected.lines { judgeLine(Input(rebasing: input[line])) }
        }
        judgeLine(input)
    }

    /// Where the lines are, by looking at one byte after another.
    private static func lines(_ bytes: [UInt8], _ lineBytesMax: Int) -> Lines {
        var result = Lines()
        var start = 0
        for index in bytes.indices {
            if bytes[index] == 10 {
                result.lines.append(start..<index)
                start = index + 1
            } else if index - start == lineBytesMax {
                result.isTooLong = true
                return result
            }
        }
        return result
    }

    private static func frame(_ input: Input, _ delivery: Delivery, _ lineBytesMax: Int) -> Lines {
        var result = Lines()
        var start = 0
        var searched = 0
        for end in delivery.ends(input.count) {
            let bytes = input.span.extracting(first: end)
            arrived: while true {
                switch LineFramer.next(bytes, from: start, searched: &searched, lineBytesMax: lineBytesMax) {
                case .line(let range, let next):
                    expect(next == range.end + 1 && searched == 0, "a line at \(range)")
                    result.lines.append(range.range)
                    start = next
                case .incomplete: break arrived
                case .tooLong:
                    result.isTooLong = true
                    return result
                }
            }
        }
        return result
    }

    static func judgeLine(_ line: Input) {
        let bytes = Array(line)
        expectEqual(
            LineFramer.isBlank(line.span), bytes.allSatisfy { [0x20, 9, 10, 13].contains($0) }, "a blank line")
        let value = NaiveJSON.read(bytes, depthMax: 130)
        let isValid = (try? JSONScanner.validate(line.span, depthMax: 130)) != nil
        expectEqual(isValid, value != nil, "whether it is JSON")
        for rules in ruleSets { judgeEvent(line, bytes, rules) }
        if let value {
            judgeTree(line, bytes, NaiveJSON.read(bytes, depthMax: JSONTree.depthMax))
            judgeWalk(line, value)
            let spaced = value.spaced
            expect((try? JSONScanner.validate(spaced.span, depthMax: 130)) != nil, "white space makes it invalid")
            if case .object = value { judgeSpace(value, spaced) }
        } else {
            expect((try? JSONTree.parse(line.span)) == nil, "a tree of what is not JSON")
            judgeAnything(line)
        }
    }

    /// Compacts into memory that ends where it says that it may.
    private static func compact(_ text: Input, _ rules: EventRules) -> Result<([UInt8], EventRecord), EventFault> {
        let output = UnsafeMutablePointer<UInt8>.allocate(capacity: text.count)
        defer { output.deallocate() }
        do throws(EventFault) {
            let record = try JSONScanner.compact(text.span, rules: rules, into: output)
            return .success((Array(Input(start: output, count: record.length)), record))
        } catch { return .failure(error) }
    }

    private static func judgeEvent(_ line: Input, _ bytes: [UInt8], _ rules: EventRules) {
        switch (compact(line, rules), NaiveEvent.read(bytes, rules)) {
        case (.success((let text, let record)), .success(let expected)):
            expectEqual(text, expected.text, "a compacted event")
            expectEqual(record.kind.map { Array(text[$0.range]) }, expected.kind, "an event's kind")
            expectEqual(record.kindIsEscaped, expected.kind?.contains(UInt8(ascii: "\\")) ?? false, "escaped")
            expectEqual(record.isEmptyObject, text.count == 2, "an empty event")
            text.withUnsafeBufferPointer { compacted in
                guard case .success((let again, let recordAgain)) = compact(compacted, rules) else {
                    fail("a compacted event is refused")
                }
                expect(again == text && recordAgain == record, "compacting twice is not compacting once")
            }
        case (.failure(let fault), .failure(let expected)):
            expect(fault.offset >= 0 && fault.offset <= line.count, "a fault at \(fault.offset)")
            let isText = [.invalidJSON, .invalidUTF8, .tooDeep].contains(fault.code)
            expectEqual(isText ? .invalidJSON : fault.code, expected.code, "a fault")
        case (.success, .failure(let fault)): fail("accepted, not \(fault.code)")
        case (.failure(let fault), .success): fail("refused: \(fault)")
        }
    }

    private static func judgeSpace(_ value: NaiveJSON, _ spaced: [UInt8]) {
        let rules = EventRules(stamp: [], discriminator: [], depthMax: 130)
        let tight = value.compact
        let results = [tight, spaced].map { text in
            text.withUnsafeBufferPointer { text -> [UInt8]? in
                if case .success((let compacted, _)) = compact(text, rules) { compacted } else { nil }
            }
        }
        expectEqual(results[0], results[1], "white space matters")
        if let compacted = results[0] { expectEqual(compacted, tight, "compacting changes a compact event") }
    }

    private static func judgeTree(_ line: Input, _ bytes: [UInt8], _ value: NaiveJSON?) {
        let tree = try? JSONTree.parse(line.span)
        expectEqual(tree != nil, value != nil, "whether it is a tree")
        guard let tree, let value else { return }
        NaiveTree.compare(tree, value, bytes)
        expectEqual(tree.repeatedMember != nil, NaiveTree.hasRepeatedMember(value), "a repeated member")
    }

    /// The walkers, on text as it came.
    private static func judgeWalk(_ line: Input, _ value: NaiveJSON) {
        var members = JSONMembers()
        if case .object(let expected) = value {
            for member in expected {
                guard let found = members.next(line.span) else { fail("a member is missed") }
                expectEqual(Array(line[found.name.range]), member.name, "a member's name")
                expectEqual(found.nameIsEscaped, member.name.contains(UInt8(ascii: "\\")), "an escaped name")
                judgeValue(line, found.value, member.value)
                judgeText(line.span.extracting(found.name.range), member.name)
            }
        }
        expect(members.next(line.span) == nil, "a member too many")
        var elements = JSONElements()
        if case .array(let expected) = value {
            for element in expected {
                guard let found = elements.next(line.span) else { fail("an element is missed") }
                judgeValue(line, found, element)
            }
        }
        expect(elements.next(line.span) == nil, "an element too many")
    }

    private static func judgeValue(_ line: Input, _ found: JSONValuePlace, _ value: NaiveJSON) {
        let text = Array(line[found.place.range])
        expectEqual(NaiveJSON.read(text, depthMax: 130)?.compact, value.compact, "a value's place")
        guard case .string(let content) = value else { return expect(found.kind != .string, "no string") }
        expect(found.kind == .string && found.isEscaped == content.contains(UInt8(ascii: "\\")), "a string")
        judgeText(line.span.extracting(found.text.range), content)
    }

    private static func judgeText(_ found: Span<UInt8>, _ escaped: [UInt8]) {
        let plain = NaiveJSON.unescaped(escaped)
        expectEqual(JSONText.unescape(found), plain, "a text is unescaped differently")
        expect(JSONText.matches(found, escaped: escaped.contains(UInt8(ascii: "\\")), plain.span), "matches itself")
        expect(JSONText.matches(found, escaped: true, plain.span), "matches itself")
        let longer = plain + [0x61]
        expect(!JSONText.matches(found, escaped: true, longer.span), "matches what is longer")
        var again: [UInt8] = []
        JSONText.appendEscaped(plain.span, to: &again)
        expectEqual(JSONText.unescape(again.span), plain, "escaping is not undone")
    }

    /// What walks accepted text must survive any text.
    private static func judgeAnything(_ line: Input) {
        var members = JSONMembers()
        while let member = members.next(line.span) { _ = JSONText.unescape(line.span.extracting(member.name.range)) }
        var elements = JSONElements()
        while let element = elements.next(line.span) { _ = line.span.extracting(element.place.range) }
        _ = JSONText.unescape(line.span)
        _ = JSONText.matches(line.span, escaped: true, "seq")
        expectEqual(UTF8Check.repair(line.span), Array(NaiveText.string(line).utf8), "repaired differently")
    }
}
