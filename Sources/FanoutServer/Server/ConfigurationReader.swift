/// From the configuration file's JSON to a `Configuration`, collecting every fault on the way.

import Wire

/// Walks the tree once. Each object is read against a table of its keys, so that an unknown key can be told from one
/// that a later version will know.
struct ConfigurationReader {
    private(set) var configuration = Configuration()
    /// What is wrong, by byte offset in the text.
    private(set) var faults: [(offset: Int, message: String)] = []

    mutating func fault(_ offset: Int, _ message: String) {
        faults.append((offset, message))
    }

    /// Reads the whole file.
    mutating func read(_ tree: JSONTree) {
        let known = [
            "listen", "jsonl", "runtime_dir", "io", "heartbeat_s", "max_connections", "max_memory", "max_per_address",
            "max_per_user", "history", "on_lag", "limits", "allow_hosts", "allow_origins", "log_level", "channels",
            "listeners", "data", "data_optional", "new_log",
        ]
        var channels: JSONTree?
        var listeners: JSONTree?
        for (key, value) in members(of: tree, "a configuration", known: known, later: ["routes", "ingest"]) {
            switch key {
            case "listen": if let text = address(value, key) { configuration.listen = text }
            case "jsonl": if let text = address(value, key) { configuration.jsonl = text }
            case "runtime_dir": if let text = text(value, key) { configuration.runtimeDirectory = text }
            case "io":
                if let choice = choice(value, key, Configuration.IOChoice.allCases.map { ($0.rawValue, $0) }) {
                    configuration.io = choice
                }
            case "heartbeat_s":
                if let number = integer(value, key, 1...3_600) { configuration.heartbeatSeconds = number }
            case "max_connections":
                if let number = integer(value, key, 9...10_000_000) { configuration.connectionsMax = number }
            case "max_per_address":
                if let number = integer(value, key, 1...10_000_000) { configuration.connectionsPerAddressMax = number }
            case "max_per_user":
                if let number = integer(value, key, 1...10_000_000) { configuration.connectionsPerUserMax = number }
            case "max_memory":
                if let bytes = byteCount(value, key, ValueSyntax.memoryRange.contains, ValueSyntax.memoryAdvice) {
                    configuration.memoryMax = bytes
                }
            case "history":
                if let bytes = byteCount(value, key, ValueSyntax.isHistorySize, ValueSyntax.historyAdvice) {
                    configuration.historyBytes = bytes
                }
            case "data": if let text = text(value, key) { configuration.dataDirectory = text }
            case "data_optional": if let isTrue = boolean(value, key) { configuration.dataIsOptional = isTrue }
            case "new_log": if let isTrue = boolean(value, key) { configuration.beginsNewLog = isTrue }
            case "on_lag": if let policy = lagPolicy(value, key) { configuration.onLag = policy }
            case "limits": configuration.limits = limits(value, from: configuration.limits)
            case "allow_hosts": configuration.allowedHosts = list(value, key) { $0.isEmpty ? "must not be empty" : nil }
            case "allow_origins":
                configuration.allowedOrigins = list(value, key) { text in
                    ValueSyntax.isOrigin(text) ? nil : "must be an origin such as https://app.example, without a path"
                }
            case "log_level":
                if let level = choice(value, key, Configuration.LogLevel.allCases.map { ("\($0)", $0) }) {
                    configuration.logLevel = level
                }
            case "channels": channels = value
            case "listeners": listeners = value
            default: preconditionFailure("'\(key)' is in the table and is not read")
            }
        }
        // Last, because their limits begin with the server's.
        if let channels { read(channels: channels) }
        if let listeners { read(listeners: listeners) }
    }

    private mutating func read(listeners tree: JSONTree) {
        let places: [String: WritableKeyPath<Configuration.ListenerLimits, Configuration.LagLimits?>] = [
            "http": \.http, "http_socket": \.httpSocket, "events": \.events, "jsonl": \.jsonl,
        ]
        let known = ["http", "http_socket", "events", "jsonl"]
        for (name, listener) in members(of: tree, "'listeners'", known: known, later: []) {
            for (_, value) in members(of: listener, "listener '\(name)'", known: ["limits"], later: []) {
                configuration.listenerLimits[keyPath: places[name]!] = limits(value, from: configuration.limits)
            }
        }
    }

    private mutating func read(channels tree: JSONTree) {
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
        let known = ["stamp", "discriminator", "control", "on_lag", "limits", "from", "visible", "retention"]
        let later = ["state", "terminal", "schema", "schema_mode"]
        for (key, value) in members(of: tree, "channel '\(pattern)'", known: known, later: later) {
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
                if let place = choice(value, key, places, later: ["snapshot"]) { rules.from = place }
            default: preconditionFailure("'\(key)' is in the table and is not read")
            }
        }
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

    private mutating func limits(_ tree: JSONTree, from base: Configuration.LagLimits) -> Configuration.LagLimits {
        var limits = base
        for (key, value) in members(of: tree, "'limits'", known: ["events", "bytes", "age_ms"], later: []) {
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
        for (key, value) in members(of: tree, "'retention'", known: ["count", "age_s", "bytes"], later: []) {
            switch key {
            case "count": retention.count = integer(value, key, 1...Configuration.Retention.countMost)
            case "age_s": retention.ageSeconds = integer(value, key, 1...Configuration.Retention.ageSecondsMost)
            default:
                retention.bytes = byteCount(value, key, ValueSyntax.isRetentionSize, ValueSyntax.retentionAdvice)
            }
        }
        return retention
    }

    private mutating func lagPolicy(_ tree: JSONTree, _ key: String) -> Configuration.LagPolicy? {
        choice(
            tree, key, Configuration.LagPolicy.allCases.map { ($0.rawValue, $0) }, later: ["conflate", "resnapshot"])
    }
}

// MARK: - Values

extension ConfigurationReader {
    /// The members of an object that are known, each once; a fault for every other one.
    private mutating func members(
        of tree: JSONTree, _ subject: String, known: [String], later: [String]
    ) -> [(key: String, value: JSONTree)] {
        guard let members = tree.members else {
            fault(tree.offset, "\(subject) must be an object, not \(tree.kindName)")
            return []
        }
        var result: [(key: String, value: JSONTree)] = []
        for member in members {
            let name = member.name
            if result.contains(where: { $0.key == name }) {
                fault(member.offset, "the key '\(name)' stands here twice")
            } else if known.contains(name) {
                result.append((name, member.value))
            } else if later.contains(name) {
                fault(member.offset, "the key '\(name)' is not supported by this version: remove it")
            } else {
                let near = NearestName.find(name, among: known).map { ", did you mean '\($0)'?" }
                fault(
                    member.offset,
                    "unknown key '\(name)'" + (near ?? ": \(subject) has " + known.joined(separator: ", ")))
            }
        }
        return result
    }

    private mutating func text(_ tree: JSONTree, _ key: String) -> String? {
        if let text = tree.string, !text.isEmpty, !text.utf8.contains(0) { return text }
        fault(
            tree.offset,
            "'\(key)' must be a string that is not empty\(tree.string == nil ? ", not \(tree.kindName)" : "")")
        return nil
    }

    private mutating func address(_ tree: JSONTree, _ key: String) -> String? {
        guard let text = text(tree, key) else { return nil }
        if ValueSyntax.isAddress(text) { return text }
        fault(tree.offset, "'\(key)' must be ADDRESS:PORT, such as 127.0.0.1:7575 or [::1]:7575, not '\(text)'")
        return nil
    }

    private mutating func boolean(_ tree: JSONTree, _ key: String) -> Bool? {
        if let isTrue = tree.bool { return isTrue }
        fault(tree.offset, "'\(key)' must be true or false")
        return nil
    }

    private mutating func integer(_ tree: JSONTree, _ key: String, _ range: ClosedRange<Int>) -> Int? {
        if let number = tree.integer, range.contains(number) { return number }
        fault(tree.offset, "'\(key)' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        return nil
    }

    /// A number of bytes, if it is a right one: a number, or a string with a unit.
    private mutating func byteCount(
        _ tree: JSONTree, _ key: String, _ isRight: (Int) -> Bool, _ advice: String
    ) -> Int? {
        if let bytes = tree.integer ?? tree.string.flatMap(ValueSyntax.byteCount), isRight(bytes) { return bytes }
        fault(tree.offset, "'\(key)' must be \(advice)")
        return nil
    }

    private mutating func choice<Choice>(
        _ tree: JSONTree, _ key: String, _ choices: [(name: String, value: Choice)], later: [String] = []
    ) -> Choice? {
        if let found = choices.first(where: { $0.name == tree.string }) { return found.value }
        if let text = tree.string, later.contains(text) {
            fault(tree.offset, "'\(key)': '\(text)' is not supported by this version")
        } else {
            fault(tree.offset, "'\(key)' must be one of " + choices.map { "\"\($0.name)\"" }.joined(separator: ", "))
        }
        return nil
    }

    /// A list of strings, without those about which `complaint` has something to say.
    private mutating func list(
        _ tree: JSONTree, _ key: String, complaint: (String) -> String?
    ) -> [String] {
        guard let elements = tree.elements else {
            fault(tree.offset, "'\(key)' must be a list of strings, not \(tree.kindName)")
            return []
        }
        var result: [String] = []
        for element in elements {
            guard let text = element.string else {
                fault(element.offset, "'\(key)' must hold strings, not \(element.kindName)")
                continue
            }
            if let complaint = complaint(text) {
                fault(element.offset, "'\(key)': '\(text)' \(complaint)")
            } else {
                result.append(text)
            }
        }
        return result
    }
}
