/// How far behind a subscriber may fall: what the server, its channels, its listener and it itself say of it.

import Wire

/// The listeners whose subscribers may have limits of their own.
enum ListenerName: UInt8, BitwiseCopyable, CaseIterable {
    case http, httpSocket, events, jsonl
    /// One on which nobody subscribes.
    case other

    /// Whether its connections are TCP's: only there does the kernel give up on a peer.
    var isTCP: Bool { self == .http || self == .jsonl }
}

extension Configuration.ListenerLimits {
    /// What a listener says; nil where it says nothing.
    subscript(listener: ListenerName) -> Configuration.LagLimits? {
        switch listener {
        case .http: http
        case .httpSocket: httpSocket
        case .events: events
        case .jsonl: jsonl
        case .other: nil
        }
    }

    /// What is said at all.
    var all: [Configuration.LagLimits] { ListenerName.allCases.compactMap { self[$0] } }
}

extension Configuration.LagLimits {
    /// The smaller of each number: both bind.
    func both(_ other: Self) -> Self {
        var limits = self
        limits.events = min(events, other.events)
        limits.bytes = min(bytes, other.bytes)
        limits.ageMilliseconds = min(ageMilliseconds, other.ageMilliseconds)
        return limits
    }

    /// Whether each number is one that a limit may be.
    var isValid: Bool { [events, bytes, ageMilliseconds].allSatisfy { 1...Self.most ~= $0 } }
}

/// The smaller limits that a subscriber asks for itself: `lag_events`, `lag_bytes` and `lag_ms`.
struct LagWish: Equatable {
    var events: Int?
    var bytes: Int?
    var ageMilliseconds: Int?

    /// The names that a query and `$subscribe` know, in the order of the members above.
    static let names = ["lag_events", "lag_bytes", "lag_ms"]

    /// Takes one name of `names` and its value. A number too large for an Int is the largest one: it is refused later,
    /// with the limit that it is larger than.
    mutating func set(_ name: String, _ text: String) throws(SubscriptionFault) {
        guard let first = text.utf8.first, first != UInt8(ascii: "0"),
            text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 })
        else { throw .badLagNumber }
        let number = Int(text) ?? .max
        switch name {
        case "lag_events": events = number
        case "lag_bytes": bytes = number
        case "lag_ms": ageMilliseconds = number
        default: preconditionFailure("'\(name)' is no limit's name")
        }
    }

    /// Refuses a wish that is larger than what holds without it.
    func check(against most: Configuration.LagLimits) throws(SubscriptionFault) {
        for wish in wishes(beside: most) where wish.wished > wish.limit {
            throw .lagTooLarge(wish.name, most: wish.limit)
        }
    }

    /// The limits that hold with this wish.
    func applied(to most: Configuration.LagLimits) -> Configuration.LagLimits {
        var limits = most
        if let events { limits.events = min(events, most.events) }
        if let bytes { limits.bytes = min(bytes, most.bytes) }
        if let ageMilliseconds { limits.ageMilliseconds = min(ageMilliseconds, most.ageMilliseconds) }
        return limits
    }

    /// What is wished for, beside what is allowed.
    private func wishes(beside most: Configuration.LagLimits) -> [(name: String, wished: Int, limit: Int)] {
        let limits = [most.events, most.bytes, most.ageMilliseconds]
        return [events, bytes, ageMilliseconds].enumerated().compactMap { place, wished in
            wished.map { (Self.names[place], $0, limits[place]) }
        }
    }
}

extension Hub {
    /// The most that a subscriber may fall behind: what the rules common to its channels and its listener say, the
    /// smaller of each number; what the server says where neither does.
    func limitsAllowed(_ common: CompiledRules, at listener: ListenerName) -> Configuration.LagLimits {
        switch (common.limits, defaults.listeners[listener]) {
        case (let channels?, let listener?): channels.both(listener)
        case (let only?, nil), (nil, let only?): only
        case (nil, nil): defaults.limits
        }
    }

    /// Refuses a subscription that asks for larger limits than it may have. To be asked before `attach`.
    func checkLimits(_ subscription: Subscription, at listener: ListenerName) throws(SubscriptionFault) {
        guard subscription.lag != LagWish() else { return }
        try subscription.lag.check(against: limitsAllowed(rules.common(to: subscription.patterns), at: listener))
    }

    /// The largest age limit that a subscriber of a listener can have.
    func ageMillisecondsMax(at listener: ListenerName) -> Int {
        let channels = rules.limits.map { limits in
            defaults.listeners[listener].map { limits.both($0) } ?? limits
        }
        let plain = defaults.listeners[listener] ?? defaults.limits
        return channels.reduce(plain.ageMilliseconds) { max($0, $1.ageMilliseconds) }
    }
}
