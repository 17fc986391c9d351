/// What the configuration file says of channels.

import Wire

extension ConfigurationReader {
    mutating func read(channels tree: JSONTree) {
        guard let members = tree.members else {
            return fault(
                tree.offset,
                "'channels' must be an object that has a channel pattern for each key, not \(tree.kindName)")
        }
        var seen: Set<String> = []
        for member in members {
            if !seen.insert(member.name).inserted {
                fault(member.offset, "the pattern '\(member.name)' stands here twice")
            } else if !ValueSyntax.isChannelPattern(member.name) {
                fault(member.offset, "'\(member.name)' is not a pattern: \(ValueSyntax.patternAdvice)")
            }
            configuration.channelRules.append((member.name, rules(member.value, of: member.name)))
        }
    }

    private mutating func rules(_ tree: JSONTree, of pattern: String) -> Configuration.ChannelRules {
        var rules = Configuration.ChannelRules()
        var schema: JSONTree?
        for (key, value) in members(of: tree, "channel '\(pattern)'", known: Self.channelKeys, later: []) {
            switch key {
            case "stamp": rules.stamp = stamp(value)
            case "discriminator": if let name = text(value, key) { rules.discriminator = name }
            case "control":
                if let isOn = choice(value, key, [("on", true), ("off", false)]) { rules.control = isOn }
            case "on_lag": rules.onLag = lagPolicy(value, key)
            case "limits": rules.limits = limits(value, from: configuration.limits)
            case "retention": rules.retention = retention(value)
            case "visible":
                let choices = Configuration.Visibility.allCases.map { ($0.rawValue, $0) }
                if let visibility = choice(value, key, choices) { rules.visible = visibility }
            case "from":
                let places = Configuration.StartPlace.allCases.map { ($0.rawValue, $0) }
                if let place = choice(value, key, places) { rules.from = place }
            case "state": rules.state = state(value)
            case "terminal": rules.terminal = terminal(value)
            case "schema": schema = value
            case "schema_mode":
                let modes = Configuration.SchemaMode.allCases.map { ($0.rawValue, $0) }
                if let mode = choice(value, key, modes) { rules.schemaMode = mode }
            default: preconditionFailure("'\(key)' is in the table and is not read")
            }
        }
        // Last, because it must go with the others.
        if let schema { rules.schema = self.schema(schema, for: rules) }
        return rules
    }

    private mutating func stamp(_ tree: JSONTree) -> [String] {
        let names = ["seq", "channel", "time"]
        var seen: Set<String> = []
        return list(tree, "stamp") { name in
            guard names.contains(name) else { return "must be one of \(names.joined(separator: ", "))" }
            return seen.insert(name).inserted ? nil : "stands here twice"
        }
    }

    mutating func limits(_ tree: JSONTree, from base: Configuration.LagLimits) -> Configuration.LagLimits {
        var limits = base
        for (key, value) in members(of: tree, "'limits'", known: Self.limitKeys, later: []) {
            guard let number = integer(value, key, 1...Configuration.LagLimits.most) else { continue }
            switch key {
            case "events": limits.events = number
            case "bytes": limits.bytes = number
            default: limits.ageMilliseconds = number
            }
        }
        return limits
    }

    private mutating func retention(_ tree: JSONTree) -> Configuration.Retention {
        var retention = Configuration.Retention()
        for (key, value) in members(of: tree, "'retention'", known: Self.retentionKeys, later: []) {
            switch key {
            case "count": retention.count = integer(value, key, 1...Configuration.Retention.countMost)
            case "age_s": retention.ageSeconds = integer(value, key, 1...Configuration.Retention.ageSecondsMost)
            default:
                retention.bytes = byteCount(value, key, ValueSyntax.isRetentionSize, ValueSyntax.retentionAdvice)
            }
        }
        return retention
    }

    mutating func lagPolicy(_ tree: JSONTree, _ key: String) -> Configuration.LagPolicy? {
        choice(tree, key, Configuration.LagPolicy.allCases.map { ($0.rawValue, $0) })
    }
}
