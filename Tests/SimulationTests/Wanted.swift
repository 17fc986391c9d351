/// What a reader asks for, and what that means: written from DESIGN, not from the server.

import Reactor

/// A subscription as the reader meant it.
struct Wanted {
    enum Start: Equatable {
        case now
        case start
        case after(UInt64)
        case ahead
        case unknownEpoch
        /// A `Last-Event-ID` that is no cursor at all: over HTTP only.
        case garbage

        /// Draws one; of numbers, those at the window's edge and at the head more often than others.
        static func drawn(_ random: inout SeededRandom, head: UInt64, first: UInt64) -> Start {
            switch random.below(20) {
            case 0, 1: return .start
            case 2, 3: return .after(head == 0 ? 0 : UInt64(random.below(Int(head) + 1)))
            case 4: return .after(head - min(head, UInt64(random.magnitude(1...63)) - 1))
            case 5, 6: return .after(min(head, max(first + UInt64(random.below(5)), 3) - 3))
            case 7: return .ahead
            case 8: return .unknownEpoch
            default: return .now
            }
        }
    }

    var patterns: [String] = []
    var kinds: [String] = []
    /// nil leaves it to the server.
    var onLag: String?
    var hasControl = true
    var start = Start.now
    var failsOnGap = false

    /// Everything from now on: what a raw reader gets that says nothing.
    static let everything = Wanted()

    /// Draws a subscription, at a moment when `head` is the newest number and `first` the oldest that is held.
    static func drawn(_ random: inout SeededRandom, head: UInt64, first: UInt64 = 1) -> Wanted {
        var wanted = Wanted()
        if random.chance(0.6) {
            for _ in 0..<1 + random.below(random.chance(0.8) ? 1 : 4) {
                wanted.patterns.append(random.pick(Channels.patterns))
            }
        }
        if random.chance(0.25) {
            for kind in EventMaker.kinds + ["nothing"] where random.chance(0.4) { wanted.kinds.append(kind) }
        }
        if random.chance(0.6) { wanted.onLag = random.chance(0.5) ? "gap" : "close" }
        wanted.hasControl = random.chance(0.85)
        wanted.start = .drawn(&random, head: head, first: first)
        wanted.failsOnGap = wanted.start != .now && random.chance(0.2)
        return wanted
    }

    func wants(channel: Int, kind: String?) -> Bool {
        let isChannel = patterns.isEmpty || patterns.contains { Channels.matches($0, Channels.names[channel]) }
        guard isChannel, !kinds.isEmpty else { return isChannel }
        return kind.map(kinds.contains) ?? false
    }

    /// The member that names the kind of its `$` records.
    var discriminator: String {
        !patterns.isEmpty && patterns.allSatisfy { $0 == Channels.kindChannel } ? "kind" : "type"
    }

    /// Whether it may come to an end: every channel that it names may.
    var isMortal: Bool { !patterns.isEmpty && patterns.allSatisfy { $0 == Channels.mortalChannel } }

    /// Whether every event there is belongs to it.
    var isEverything: Bool { kinds.isEmpty && (patterns.isEmpty || patterns.contains("**")) }

    /// Whether it begins in the past, or would like to.
    var resumes: Bool { start != .now }

    /// The same whatever the kind: what is known of events that are gone.
    var ofAnyKind: Wanted {
        var wanted = self
        wanted.kinds = []
        return wanted
    }

    /// Where it begins, as the query and `$subscribe` say it.
    func place(epoch: String) -> String? {
        switch start {
        case .now, .garbage: nil
        case .start: "start"
        case .after(let seq): "\(epoch)-\(seq)"
        case .ahead: "\(epoch)-999999999"
        case .unknownEpoch: "00000000000000aa-3"
        }
    }

    /// The query of `GET /v1/events`, with its question mark.
    func query(epoch: String, _ random: inout SeededRandom, saysPlace: Bool = true) -> String {
        var parts = patterns.map { "channel=" + (random.chance(0.5) ? $0 : $0.replacing("/", with: "%2F")) }
        if !kinds.isEmpty { parts.append("types=" + kinds.joined(separator: ",")) }
        if let onLag { parts.append("on_lag=" + onLag) }
        if !hasControl { parts.append("control=off") } else if random.chance(0.1) { parts.append("control=on") }
        if saysPlace, let place = place(epoch: epoch) {
            parts.append((random.chance(0.5) ? "from=" : "last_event_id=") + place)
        }
        if failsOnGap { parts.append("on_gap=fail") }
        random.shuffle(&parts)
        return parts.isEmpty ? "" : "?" + parts.joined(separator: "&")
    }

    /// The `$subscribe` line, without its line feed.
    func line(epoch: String, _ random: inout SeededRandom) -> String {
        func quoted(_ names: [String]) -> String { "[" + names.map { "\"\($0)\"" }.joined(separator: ", ") + "]" }
        var parts: [String] = []
        if patterns.count == 1, random.chance(0.5) {
            parts.append("\"channel\":\"\(patterns[0])\"")
        } else if !patterns.isEmpty {
            parts.append("\"channel\": " + quoted(patterns))
        }
        if !kinds.isEmpty { parts.append("\"types\":" + quoted(kinds)) }
        if let onLag { parts.append("\"on_lag\":\"\(onLag)\"") }
        if !hasControl { parts.append("\"control\":\"off\"") }
        if let place = place(epoch: epoch) { parts.append("\"from\":\"\(place)\"") }
        if failsOnGap { parts.append("\"on_gap\":\"fail\"") }
        random.shuffle(&parts)
        return "{\"$subscribe\":{" + parts.joined(separator: ",") + "}}"
    }
}

/// The channels of every world.
enum Channels {
    static let names = ["events", "a", "a/b", "a/b/c", "dash", "clock", "sessions/42", "bare", "gone"]
    /// Its events name their kind in `kind`.
    static let kindChannel = "dash"
    /// Its events are stamped with the time.
    static let timeChannel = "clock"
    /// Its events are not stamped with anything.
    static let bareChannel = "bare"
    /// It is ended and declared anew while the world runs, in some worlds.
    static let mortalChannel = "gone"
    static let patterns = names + ["a/*", "a/**", "*", "*/*", "sessions/*", "a/b/*", "never", "never/**"]

    static func discriminator(_ channel: Int) -> String { names[channel] == kindChannel ? "kind" : "type" }

    /// Whether a pattern names a channel: `*` is one segment, `**` at the end the rest, which is not empty.
    static func matches(_ pattern: String, _ name: String) -> Bool {
        func matches(_ pattern: ArraySlice<Substring>, _ name: ArraySlice<Substring>) -> Bool {
            guard let first = pattern.first else { return name.isEmpty }
            guard let segment = name.first else { return false }
            if first == "**" { return true }
            return (first == "*" || first == segment) && matches(pattern.dropFirst(), name.dropFirst())
        }
        return matches(pattern.split(separator: "/")[...], name.split(separator: "/")[...])
    }
}
