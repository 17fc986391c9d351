/// `{"$publish":{…}}` and `{"$ack":true}`: lines of an ingest socket that are more than an event.

import Wire

/// A line whose only member is `$publish`, taken apart without copying the event.
struct Envelope {
    /// Where the event stands in the line.
    private(set) var event = ByteRange(start: 0, count: 0)
    private(set) var channel: String?
    private(set) var ack: String?
    private(set) var conditions: Preconditions?
    /// What is wrong with it, if anything is.
    private(set) var fault: PublishFault?

    /// For lines that `mayBe` one. nil if the line is none; then it is an event, or bad in a way that the event's check
    /// will tell.
    init?(_ line: Span<UInt8>) {
        guard (try? JSONScanner.validate(line, depthMax: JSONScanner.depthLimit)) != nil,
            let content = Envelope.onlyMember("$publish", line)
        else { return nil }
        guard content.kind == .object else {
            fault = .badEnvelope
            return
        }
        var members = JSONMembers(objectAt: Int(content.place.start))
        var hasEvent = false
        while let member = members.next(line) {
            let name = JSONText.string(line.extracting(member.name.range))
            switch name {
            case "event" where !hasEvent:
                hasEvent = true
                event = member.value.place
            case "channel" where member.value.kind == .string && channel == nil: channel = text(line, member.value)
            case "ack" where member.value.kind == .string && ack == nil: ack = text(line, member.value)
            case "id", "expect_last", "producer", "pepoch", "pseq":
                do throws(PublishFault) {
                    var conditions = self.conditions ?? Preconditions()
                    try Self.take(line, name, member.value, into: &conditions)
                    self.conditions = conditions
                } catch {
                    fault = error
                    return
                }
            default:
                fault = .badEnvelope
                return
            }
        }
        if !hasEvent { fault = .badEnvelope }
    }

    private static func take(
        _ line: Span<UInt8>, _ name: String, _ value: JSONValuePlace, into conditions: inout Preconditions
    ) throws(PublishFault) {
        let text = try conditionText(line, name, value)
        if name == "id" { return try conditions.take(key: text.span) }
        let nameBytes = Array(name.utf8)
        _ = try conditions.take(nameBytes.span, text.span)
    }

    /// A condition as a query would have it. `pepoch` and `pseq` are JSON numbers, the others strings; `expect_last`
    /// may be the number 0.
    private static func conditionText(
        _ line: Span<UInt8>, _ name: String, _ value: JSONValuePlace
    ) throws(PublishFault) -> [UInt8] {
        switch (value.kind, name) {
        case (.string, "id"), (.string, "producer"), (.string, "expect_last"):
            JSONText.unescape(line.extracting(value.text.range))
        case (.number, "pepoch"), (.number, "pseq"), (.number, "expect_last"):
            Array(bytes: line.extracting(value.place.range))
        default: throw .badEnvelope
        }
    }

    /// Whether a line is `{"$ack":true}`.
    static func asksForAcks(_ line: Span<UInt8>) -> Bool {
        mayBe(line) && (try? JSONScanner.validate(line, depthMax: 2)) != nil
            && onlyMember("$ack", line)?.kind == .true
    }

    /// A cheap look before a real one: events begin with `{"$` only by mistake.
    static func mayBe(_ line: Span<UInt8>) -> Bool {
        let brace = skipSpace(line, 0)
        guard brace < line.count, line[brace] == UInt8(ascii: "{") else { return false }
        let quote = skipSpace(line, brace + 1)
        // An escaped first letter, `\u0024`, is spelt with a backslash.
        return quote + 1 < line.count && line[quote] == UInt8(ascii: "\"")
            && (line[quote + 1] == UInt8(ascii: "$") || line[quote + 1] == UInt8(ascii: "\\"))
    }

    private static func skipSpace(_ line: Span<UInt8>, _ start: Int) -> Int {
        var index = start
        while index < line.count, line[index] <= 0x20 { index += 1 }
        return index
    }

    private static func onlyMember(_ name: StaticString, _ line: Span<UInt8>) -> JSONValuePlace? {
        var start = 0
        while start < line.count, line[start] != UInt8(ascii: "{") { start += 1 }
        var members = JSONMembers(objectAt: start)
        guard let member = members.next(line),
            JSONText.matches(line.extracting(member.name.range), escaped: member.nameIsEscaped, name),
            members.next(line) == nil
        else { return nil }
        return member.value
    }

    private func text(_ line: Span<UInt8>, _ value: JSONValuePlace) -> String {
        JSONText.string(line.extracting(value.text.range))
    }
}
