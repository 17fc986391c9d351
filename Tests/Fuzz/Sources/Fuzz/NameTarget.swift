// Names, patterns, cursors and numbers, UTF-8, and the two kinds of lines that are more than an event. The input's
// lines are its texts; each is tried as everything.

import Wire

enum NameTarget {
    /// Texts of one input: patterns are compared with each other, so they count twice.
    private static let textsMax = 8

    static func judge(_ input: Input) {
        let texts = Array(input.split(separator: 10, omittingEmptySubsequences: false).prefix(textsMax)).map {
            Input(rebasing: $0)
        }
        var names: [ChannelName] = []
        var patterns: [ChannelPattern] = []
        for text in texts {
            let bytes = Array(text)
            let name = ChannelName(text.span)
            expectEqual(name != nil, NaiveChannel.isName(bytes), "whether it is a name")
            if let name {
                expectEqual(Array(name.description.utf8), bytes, "a name's text")
                names.append(name)
            }
            let pattern = ChannelPattern(text.span)
            expectEqual(pattern != nil, NaiveChannel.isPattern(bytes), "whether it is a pattern")
            expect(name == nil || pattern?.name == name, "a name is its own pattern")
            if let name { expectEqual(ChannelPattern(name), pattern, "a name's pattern") }
            if let pattern {
                expectEqual(pattern.isLiteral, name != nil, "a literal pattern")
                expectEqual(pattern.isEverything, bytes == Array("**".utf8), "the pattern of everything")
                patterns.append(pattern)
            }
            judgeNumbers(text, bytes)
            judgeUTF8(text)
            judgeEnvelope(text, bytes)
            judgeSubscription(text)
        }
        judgePlace(input)
        for (pattern, name) in patterns.flatMap({ pattern in names.map { (pattern, $0) } }) {
            expectEqual(
                pattern.matches(name), NaiveChannel.matches(pattern.bytes, name.bytes), "\(pattern) and \(name)")
        }
        for left in patterns {
            for right in patterns { judgeOrder(left, right, names) }
        }
    }

    private static func judgeOrder(_ left: ChannelPattern, _ right: ChannelPattern, _ names: [ChannelName]) {
        let isMore = left.isMoreSpecific(than: right)
        let isLess = right.isMoreSpecific(than: left)
        expect(!(isMore && isLess), "\(left) and \(right) are each more specific")
        if left == right { expect(!isMore, "\(left) is more specific than itself") }
        if left != right, names.contains(where: { left.matches($0) && right.matches($0) }) {
            expect(isMore || isLess, "neither of \(left) and \(right) wins")
        }
    }

    private static func judgeNumbers(_ text: Input, _ bytes: [UInt8]) {
        let string = NaiveText.string(bytes)
        let decimal = UInt64(string).flatMap { "\($0)" == string ? $0 : nil }
        expectEqual(DecimalText.parse(text.span), decimal, "a decimal number")
        let isHex = bytes.count == 16 && bytes.allSatisfy { "0123456789abcdef".utf8.contains($0) }
        let hex = isHex ? UInt64(string, radix: 16) : nil
        expectEqual(HexText.parse(text.span), hex, "a hexadecimal number")
        expectEqual(Epoch(text.span)?.description, hex.map { _ in string }, "an epoch")
        if let decimal {
            var written: [UInt8] = []
            written.append(decimal: decimal)
            expect(written == bytes && DecimalText.byteCount(decimal) == bytes.count, "a number is written differently")
        }
        let cursor = Cursor(text.span)
        let parts = string.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        let isCursor =
            parts.count == 2 && parts[0].utf8.count == 16
            && parts[0].utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
            && UInt64(parts[1]).map { "\($0)" == String(parts[1]) } ?? false
        expectEqual(cursor != nil, isCursor, "whether it is a cursor")
        if let cursor {
            expect(cursor.description == string && cursor.byteCount == bytes.count, "a cursor is written differently")
        }
    }

    private static func judgeUTF8(_ text: Input) {
        let string = NaiveText.string(text)
        let isValid = String(validating: text, as: UTF8.self) != nil
        expectEqual(UTF8Check.isValid(text.span), isValid, "whether it is UTF-8")
        expectEqual(UTF8Check.repair(text.span), Array(string.utf8), "a text is repaired differently")
        for delivery in [.whole] + Delivery.inPieces(text) {
            var validator = UTF8Validator()
            var start = 0
            var isGood = true
            for end in delivery.ends(text.count) where isGood {
                isGood = validator.feed(text.span.extracting(start..<end))
                start = end
            }
            expectEqual(isGood && validator.isComplete, isValid, "UTF-8 differs as \(delivery)")
        }
    }

    /// The place behind the last byte, as an editor shows it.
    private static func judgePlace(_ text: Input) {
        let lines = NaiveText.split(Array(text), "\n")
        let characters = (lines.last ?? []).count { $0 & 0xC0 != 0x80 }
        let place = TextPlace(of: .max, in: text.span)
        expect(place.line == lines.count && place.column == characters + 1, "the last place is \(place)")
    }

    /// A line with one member, walked as an ingest socket walks `$publish`.
    private static func judgeEnvelope(_ text: Input, _ bytes: [UInt8]) {
        let value = NaiveJSON.read(bytes, depthMax: JSONScanner.depthLimit)
        let isValid = (try? JSONScanner.validate(text.span, depthMax: JSONScanner.depthLimit)) != nil
        expectEqual(isValid, value != nil, "whether it is JSON")
        guard isValid, case .object(let outer) = value, outer.count == 1 else { return }
        var walk = JSONMembers(objectAt: text.firstIndex(of: UInt8(ascii: "{")) ?? 0)
        guard let member = walk.next(text.span), walk.next(text.span) == nil else { fail("the only member is missed") }
        let isPublish = NaiveJSON.unescaped(outer[0].name) == Array("$publish".utf8)
        let name = text.span.extracting(member.name.range)
        expectEqual(JSONText.matches(name, escaped: member.nameIsEscaped, "$publish"), isPublish, "$publish")
        guard isPublish, case .object(let options) = outer[0].value else { return }
        var inside = JSONMembers(objectAt: Int(member.value.place.start))
        for option in options {
            guard let found = inside.next(text.span) else { fail("an option is missed") }
            let place = Input(rebasing: text[found.value.place.range])
            expectEqual(NaiveJSON.read(Array(place), depthMax: 130), option.value, "an option's place")
            if NaiveJSON.unescaped(option.name) == Array("event".utf8) { LineTarget.judgeLine(place) }
        }
        expect(inside.next(text.span) == nil, "an option too many")
    }

    /// A tree read as a reader's `$subscribe` is, down to its patterns and its place to start from.
    private static func judgeSubscription(_ text: Input) {
        guard let tree = try? JSONTree.parse(text.span), tree.members?.count == 1, let content = tree["$subscribe"]
        else { return }
        guard let members = content.members, content.repeatedMember == nil else { return }
        for member in members {
            for value in member.value.elements ?? [member.value] {
                guard let string = value.string else { continue }
                let bytes = Array(string.utf8)
                if member.name == "channel" {
                    expectEqual(
                        ChannelPattern(string) != nil, NaiveChannel.isPattern(bytes), "a subscription's pattern")
                } else {
                    expect(Cursor(string).map { $0.description == string } ?? true, "a subscription's cursor")
                }
            }
            let place = TextPlace(of: member.offset, in: text.span)
            expect(place.line == 1 && place.column >= 1 && place.column <= member.offset + 1, "a member's place")
        }
    }
}

/// Names and patterns by their segments.
enum NaiveChannel {
    private static let characters = ByteSet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")

    private static func isSegment(_ segment: [UInt8]) -> Bool {
        !segment.isEmpty && segment.allSatisfy(characters.contains)
            && ![".", ".."].contains(NaiveText.string(segment))
    }

    static func isName(_ text: [UInt8]) -> Bool {
        text.count <= 255 && NaiveText.split(text, "/").allSatisfy(isSegment)
    }

    static func isPattern(_ text: [UInt8]) -> Bool {
        var segments = NaiveText.split(text, "/")
        if segments.last == Array("**".utf8) { segments.removeLast() }
        return text.count <= 255 && segments.allSatisfy { $0 == Array("*".utf8) || isSegment($0) }
    }

    static func matches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
        matches(NaiveText.split(pattern, "/")[...], NaiveText.split(name, "/")[...])
    }

    private static func matches(_ pattern: ArraySlice<[UInt8]>, _ name: ArraySlice<[UInt8]>) -> Bool {
        guard let first = pattern.first else { return name.isEmpty }
        guard let segment = name.first else { return false }
        switch NaiveText.string(first) {
        case "**": return true
        case "*": return matches(pattern.dropFirst(), name.dropFirst())
        default: return first == segment && matches(pattern.dropFirst(), name.dropFirst())
        }
    }
}
