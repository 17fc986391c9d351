/// Reads a subscription from a query and its headers, or from a `$subscribe` line: the same names in both.

import Wire

/// Why a subscription was refused.
struct SubscriptionFault: Error, Equatable {
    var code: StaticString
    var message: String

    static func == (left: SubscriptionFault, right: SubscriptionFault) -> Bool {
        left.code.description == right.code.description
    }

    static var badPattern: SubscriptionFault {
        SubscriptionFault(
            code: "bad_channel",
            message: """
                a channel pattern is segments of A-Z a-z 0-9 . _ ~ - joined by /; * is one segment, ** at the end \
                the rest
                """)
    }
    static var tooManyPatterns: SubscriptionFault {
        SubscriptionFault(code: "too_many_names", message: "a subscription names at most 128 channels and 128 types")
    }
    static var badCursor: SubscriptionFault {
        SubscriptionFault(
            code: "bad_cursor",
            message: "from is now, start, snapshot or a cursor: 16 hex digits, a hyphen and a number")
    }
    static var noState: SubscriptionFault {
        SubscriptionFault(code: "no_state", message: "no channel here keeps state: from=snapshot has nothing to send")
    }
    static var badLag: SubscriptionFault {
        SubscriptionFault(code: "bad_on_lag", message: "on_lag is close, gap, conflate or resnapshot")
    }
    static var badLagNumber: SubscriptionFault {
        SubscriptionFault(
            code: "bad_lag_limit",
            message: "lag_events, lag_bytes and lag_ms are whole numbers, from 1 to what this reader would have anyway")
    }
    static func lagTooLarge(_ name: String, most: Int) -> SubscriptionFault {
        SubscriptionFault(
            code: "bad_lag_limit",
            message:
                "\(name) is at most \(most) here: a reader may only ask for less than its channels and listener give")
    }
    static var badGap: SubscriptionFault {
        SubscriptionFault(code: "bad_on_gap", message: "on_gap is fail or report")
    }
    static var badControl: SubscriptionFault {
        SubscriptionFault(code: "bad_control", message: "control is on or off")
    }
    static var unknownName: SubscriptionFault {
        SubscriptionFault(
            code: "unknown_parameter",
            message: """
                a subscription has channel, from, last_event_id, types, on_lag, lag_events, lag_bytes, lag_ms, on_gap \
                and control
                """)
    }
    static var badSubscribe: SubscriptionFault {
        SubscriptionFault(
            code: "bad_subscribe", message: "$subscribe is an object of strings, numbers and lists of strings")
    }
}

extension Subscription {
    /// Patterns and types in one subscription: what a page needs many times over.
    static let namesMax = 128

    /// Takes one name and its value; repeated `channel`s add up.
    mutating func set(_ name: [UInt8], _ value: [UInt8]) throws(SubscriptionFault) {
        let text = String(decoding: value, as: UTF8.self)
        let name = String(decoding: name, as: UTF8.self)
        switch name {
        case "channel":
            guard let pattern = ChannelPattern(value.span) else { throw .badPattern }
            patterns.append(pattern)
            guard patterns.count <= Self.namesMax else { throw .tooManyPatterns }
        case "types":
            for type in value.split(separator: UInt8(ascii: ",")) { types.append(Array(type)) }
            guard types.count <= Self.namesMax else { throw .tooManyPatterns }
        case "from", "last_event_id":
            try setStart(text)
        case "on_lag":
            guard let policy = Configuration.LagPolicy(rawValue: text) else { throw .badLag }
            onLag = policy
        case "lag_events", "lag_bytes", "lag_ms": try lag.set(name, text)
        case "on_gap":
            guard text == "fail" || text == "report" else { throw .badGap }
            failsOnGap = text == "fail"
        case "control":
            guard text == "on" || text == "off" else { throw .badControl }
            control = text == "on"
        default: throw .unknownName
        }
    }

    /// A `Last-Event-ID` header wins over the query. A browser sends whatever it last saw: what is no cursor of ours
    /// is an unknown epoch, because an error would end its EventSource for good.
    mutating func setLastEventID(_ value: [UInt8]) {
        start = Cursor(value.span).map { .after($0) } ?? .unknown
    }

    private mutating func setStart(_ text: String) throws(SubscriptionFault) {
        switch text {
        case "now": start = .now
        case "start": start = .start
        case "snapshot": start = .snapshot
        default:
            guard let cursor = Cursor(text) else { throw .badCursor }
            start = .after(cursor)
        }
    }

    /// A subscription from the members of `$subscribe`: strings, lists of strings for `channel` and `types`, and
    /// numbers where one is meant.
    init(_ object: JSONTree) throws(SubscriptionFault) {
        self.init()
        guard let members = object.members, object.repeatedMember == nil else { throw .badSubscribe }
        for member in members {
            let values: [JSONTree]
            if let elements = member.value.elements {
                guard member.name == "channel" || member.name == "types" else { throw .badSubscribe }
                values = elements
            } else {
                values = [member.value]
            }
            for value in values {
                guard let text = value.string ?? number(value, member.name) else { throw .badSubscribe }
                if member.name == "types", member.value.elements != nil {
                    types.append(Array(text.utf8))
                    guard types.count <= Self.namesMax else { throw .tooManyPatterns }
                } else {
                    try set(Array(member.name.utf8), Array(text.utf8))
                }
            }
        }
    }

    /// A number as it was written, for the names that take one.
    private func number(_ value: JSONTree, _ name: String) -> String? {
        guard case .number(let text) = value.value, LagWish.names.contains(name) else { return nil }
        return text
    }

    /// Whether a line or message is `{"$subscribe":…}`, and what it says; nil if it is anything else.
    static func inLine(_ line: Span<UInt8>) throws(SubscriptionFault) -> Subscription? {
        let name = "$subscribe"
        guard let tree = try? JSONTree.parse(line), let member = tree.members?.first, member.name == name,
            tree.members?.count == 1
        else { return nil }
        return try Subscription(member.value)
    }
}
