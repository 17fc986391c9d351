/// What the configuration says of a channel, in the form the hub works with.

import EventStore
import Wire

/// One pattern's rules. Compiled once at start.
struct CompiledRules {
    var event: EventRules
    var control = true
    var onLag: Configuration.LagPolicy?
    var limits: Configuration.LagLimits?
    var start = Subscription.Start.now
    /// What the database keeps; nil is everything.
    var retention: RetentionLimits?
    /// Nobody gets an event before the disk has it.
    var isHeldBack = false
    /// Whether an event of a terminal kind ends the channel: not the default one, which is always there.
    var mayEnd = true
    /// What else an event must satisfy, and what it changes; nil is nothing.
    var checks: EventChecks?
    /// Which schema that is, for `$hello`.
    var schema: ContentDigest?
}

extension Configuration.Retention {
    var isValid: Bool {
        (count.map { (1...Self.countMost).contains($0) } ?? true)
            && (ageSeconds.map { (1...Self.ageSecondsMost).contains($0) } ?? true)
            && (bytes.map { (1...Self.bytesMost).contains($0) } ?? true)
    }
}

extension RetentionLimits {
    /// The same in the database's units. The limits are valid.
    init(_ limits: Configuration.Retention) {
        self.init(
            events: limits.count.map(Int64.init), ageMs: limits.ageSeconds.map { Int64($0) * 1000 },
            bytes: limits.bytes.map(Int64.init))
    }
}

/// All rules, the most specific pattern first.
struct RuleBook {
    private var entries: [(pattern: ChannelPattern, rules: CompiledRules)] = []
    private let standard = CompiledRules(event: EventRules())

    /// Compiles a configuration's rules. Patterns and members were checked when it was read: what is not valid here
    /// is a programmer's error of an embedding program and is reported as a `StartError`.
    init(_ configuration: Configuration) throws(StartError) {
        for (text, rules) in configuration.channelRules {
            guard let pattern = ChannelPattern(text) else {
                throw StartError("'\(text)' is not a channel pattern", exitCode: .configuration)
            }
            var stamp: StampMembers = []
            for member in rules.stamp {
                switch member {
                case "seq": stamp.insert(.seq)
                case "channel": stamp.insert(.channel)
                case "time": stamp.insert(.time)
                default:
                    throw StartError(
                        "'\(member)' cannot be stamped: use seq, channel or time", exitCode: .configuration)
                }
            }
            var compiled = CompiledRules(event: EventRules())
            compiled.event.stamp = stamp
            compiled.event.discriminator = Array(rules.discriminator.utf8)
            compiled.control = rules.control
            compiled.onLag = rules.onLag
            compiled.limits = rules.limits
            compiled.isHeldBack = rules.visible == .synced
            compiled.start =
                switch rules.from {
                case .now: .now
                case .start: .start
                case .snapshot: .snapshot
                }
            if let complaint = rules.stateComplaint {
                throw StartError("the rules of '\(text)': \(complaint)", exitCode: .configuration)
            }
            compiled.checks = try EventChecks(rules, of: pattern)
            compiled.schema = compiled.checks?.schema?.digest
            if let retention = rules.retention {
                guard retention.isValid else {
                    throw StartError("what is kept of '\(text)' is out of range", exitCode: .configuration)
                }
                compiled.retention = RetentionLimits(retention)
            }
            if compiled.start != .now { allStartNow = false }
            entries.append((pattern, compiled))
        }
        entries.sort { $0.pattern.isMoreSpecific(than: $1.pattern) }
    }

    /// Whether no channel's readers begin elsewhere than at the present if they do not say.
    private(set) var allStartNow = true

    /// Whether readers of these channels get control records if they do not say. Where nothing is configured no rules
    /// are copied to say so: every reader that comes asks.
    func hasControl(for patterns: [ChannelPattern]) -> Bool {
        entries.isEmpty ? standard.control : common(to: patterns).control
    }

    /// Whether some channel's events are held back until the disk has them.
    var holdsBack: Bool { entries.contains { $0.rules.isHeldBack } }

    /// Whether some channel that these patterns match would keep state.
    func mayKeepState(_ patterns: [ChannelPattern]) -> Bool {
        patterns.contains { pattern in
            if let name = pattern.name { return self[name].checks?.state != nil }
            return entries.contains { $0.rules.checks?.state != nil && Self.mayMeet($0.pattern, pattern) }
        }
    }

    /// The lag limits that are said of channels.
    var limits: [Configuration.LagLimits] { entries.compactMap(\.rules.limits) }

    /// The patterns that have a schema, the most specific first.
    var schemas: [(pattern: ChannelPattern, schema: ChannelSchema)] {
        entries.compactMap { entry in entry.rules.checks?.schema.map { (entry.pattern, $0) } }
    }

    /// The pattern whose rules a channel has; nil for the standard ones. O(patterns).
    func pattern(of channel: ChannelName) -> ChannelPattern? {
        entries.first { $0.pattern.matches(channel) }?.pattern
    }

    /// The rules of a channel. O(patterns).
    subscript(_ channel: ChannelName) -> CompiledRules {
        var rules = entries.first { $0.pattern.matches(channel) }?.rules ?? standard
        if channel == .standard { rules.mayEnd = false }
        return rules
    }

    /// What holds for everything a subscription may read; where its channels differ, the standard. It decides the
    /// discriminator of its `$` records and what it did not ask for itself.
    func common(to patterns: [ChannelPattern]) -> CompiledRules {
        guard !entries.isEmpty else { return standard }
        guard let first = patterns.first else { return rules(covering: .everything) }
        var common = rules(covering: first)
        for pattern in patterns.dropFirst() {
            let other = rules(covering: pattern)
            if other.event.discriminator != common.event.discriminator {
                common.event.discriminator = standard.event.discriminator
            }
            if other.schema != common.schema { common.schema = nil }
            if other.control != common.control { common.control = standard.control }
            if other.onLag != common.onLag { common.onLag = standard.onLag }
            if other.limits != common.limits { common.limits = standard.limits }
            if other.start != common.start { common.start = standard.start }
        }
        return common
    }

    /// A wildcard has the rules of the most specific entry that holds for all it matches, but for the discriminator
    /// where a more specific entry gives some of its channels a different one.
    private func rules(covering pattern: ChannelPattern) -> CompiledRules {
        if let name = pattern.name { return self[name] }
        guard var rules = entries.first(where: { Self.covers($0.pattern, pattern) })?.rules else { return standard }
        for entry in entries where entry.pattern.isMoreSpecific(than: pattern) && Self.mayMeet(entry.pattern, pattern) {
            if entry.rules.event.discriminator != rules.event.discriminator {
                rules.event.discriminator = standard.event.discriminator
            }
            if entry.rules.schema != rules.schema { rules.schema = nil }
        }
        return rules
    }

    /// Whether every channel that `narrow` matches is matched by `wide` too.
    private static func covers(_ wide: ChannelPattern, _ narrow: ChannelPattern) -> Bool {
        let outer = wide.bytes.split(separator: UInt8(ascii: "/"))
        let inner = narrow.bytes.split(separator: UInt8(ascii: "/"))
        for (place, segment) in outer.enumerated() {
            guard place < inner.count else { return false }
            if segment.elementsEqual("**".utf8) { return true }
            if inner[place].elementsEqual("**".utf8) { return false }
            if !segment.elementsEqual("*".utf8), segment != inner[place] { return false }
        }
        return outer.count == inner.count
    }

    /// Whether some channel could match both patterns.
    private static func mayMeet(_ one: ChannelPattern, _ other: ChannelPattern) -> Bool {
        let left = one.bytes.split(separator: UInt8(ascii: "/"))
        let right = other.bytes.split(separator: UInt8(ascii: "/"))
        for (mine, others) in zip(left, right) {
            if mine.elementsEqual("**".utf8) || others.elementsEqual("**".utf8) { return true }
            if mine.elementsEqual("*".utf8) || others.elementsEqual("*".utf8) { continue }
            if mine != others { return false }
        }
        return left.count == right.count
    }
}
