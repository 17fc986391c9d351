/// What a server says about the stream itself.

import Wire

/// A control record: a `$` name in the place of an event's kind.
public enum ControlMessage: Sendable, Equatable {
    /// First on every connection. `seq` is the newest event's number, `heartbeatSeconds` the longest silence to expect.
    case hello(epoch: String, seq: UInt64, server: String, heartbeatSeconds: Int?)
    /// Events that this subscriber will never get: `from` to `to`, inclusive, numbered by `epoch`; `dropped` is how
    /// many of them it had asked for, where that is known.
    case gap(why: String, epoch: String?, from: UInt64?, to: UInt64?, dropped: UInt64?)
    /// The channels' present state follows as `count` events, the oldest first: what was known before is out of date.
    case snapshot(seq: UInt64, count: UInt64?)
    /// The state is complete as of `seq`; what follows are changes of it.
    case live(seq: UInt64, count: UInt64?)
    /// Last, before the server closes. `retryMilliseconds` is nil where coming back is no use.
    case bye(code: Int, why: String, last: String?, retryMilliseconds: Int?)
    /// A sign of life.
    case ping
    /// One that this version does not know, by its name with the `$`.
    case other(name: String)

    /// The control record in a line, and the member that names it; nil where the line is an event. Control records, and
    /// no events, begin with the discriminator and a `$` name; `discriminator` is the `$hello`'s, nil before it.
    package static func parse(_ line: [UInt8], discriminator: String?) -> (
        message: ControlMessage, discriminator: String
    )? {
        guard beginsLikeOne(line), let tree = try? JSONTree.parse(line.span), let first = tree.members?.first,
            let name = first.value.string, name.hasPrefix("$"), discriminator == nil || discriminator == first.name
        else { return nil }
        return (message(name, tree), first.name)
    }

    /// Whether the first member's value begins with `$`, escapes aside: a look at a few bytes that spares events, of
    /// which there are many, the parser.
    private static func beginsLikeOne(_ line: [UInt8]) -> Bool {
        var members = JSONMembers()
        guard line.first == UInt8(ascii: "{"), let first = members.next(line.span.extracting(..<min(line.count, 512))),
            first.value.kind == .string, first.value.text.count > 0
        else { return false }
        return line[Int(first.value.text.start)] == UInt8(ascii: "$")
    }

    private static func message(_ name: String, _ tree: JSONTree) -> ControlMessage {
        switch name {
        case "$hello":
            guard let epoch = tree["epoch"]?.string, let seq = number(tree["seq"]) else { return .other(name: name) }
            return .hello(
                epoch: epoch, seq: seq, server: tree["server"]?.string ?? "",
                heartbeatSeconds: tree["heartbeat_s"]?.integer)
        case "$gap":
            return .gap(
                why: word(tree["why"]), epoch: tree["epoch"]?.string, from: number(tree["from"]),
                to: number(tree["to"]), dropped: number(tree["dropped"]))
        case "$snapshot":
            guard let seq = number(tree["seq"]) else { return .other(name: name) }
            return .snapshot(seq: seq, count: number(tree["count"]))
        case "$live":
            guard let seq = number(tree["seq"]) else { return .other(name: name) }
            return .live(seq: seq, count: number(tree["count"]))
        case "$bye":
            return .bye(
                code: tree["code"]?.integer ?? 0, why: word(tree["why"]), last: tree["last"]?.string,
                retryMilliseconds: tree["retry_ms"]?.integer)
        case "$ping":
            return .ping
        default:
            return .other(name: name)
        }
    }

    /// A word that programs print as it is.
    private static func word(_ tree: JSONTree?) -> String { OneLine.of(tree?.string ?? "") }

    private static func number(_ tree: JSONTree?) -> UInt64? {
        if case .number(let text)? = tree?.value { UInt64(text) } else { nil }
    }
}
