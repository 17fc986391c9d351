/// What the configuration file says of a channel's state: which kinds change it, and how.

import Wire

extension ConfigurationReader {
    mutating func state(_ tree: JSONTree) -> Configuration.StateRules {
        var state = Configuration.StateRules()
        // Which rule a kind stands in.
        var rules: [String: String] = [:]
        for (key, value) in members(of: tree, "'state'", known: Self.stateKeys, later: []) {
            switch key {
            case "upsert": state.upsert = keys(value, key, &rules)
            case "remove": state.remove = keys(value, key, &rules)
            case "replace": state.replace = kinds(value, key, &rules)
            case "snapshot": state.snapshot = kinds(value, key, &rules)
            default: preconditionFailure("'\(key)' is in the table and is not read")
            }
        }
        if rules.count > KindSyntax.countMax {
            fault(tree.offset, "'state' names more than \(KindSyntax.countMax) kinds")
        }
        return state
    }

    mutating func terminal(_ tree: JSONTree) -> [String] {
        var seen: Set<String> = []
        let kinds = list(tree, "terminal") { kind in
            KindSyntax.complaint(kind) ?? (seen.insert(kind).inserted ? nil : "stands here twice")
        }
        if kinds.count > KindSyntax.countMax {
            fault(tree.offset, "'terminal' has more than \(KindSyntax.countMax) kinds")
        }
        return kinds
    }

    private mutating func kinds(_ tree: JSONTree, _ rule: String, _ rules: inout [String: String]) -> [String] {
        list(tree, rule) { kind in Self.complaint(kind, rule, &rules) }
    }

    /// Kinds and where the key of each lies.
    private mutating func keys(
        _ tree: JSONTree, _ rule: String, _ rules: inout [String: String]
    ) -> [String: Configuration.StateKey] {
        guard let members = tree.members else {
            fault(tree.offset, "'\(rule)' must be an object that has a kind for each key, not \(tree.kindName)")
            return [:]
        }
        var keys: [String: Configuration.StateKey] = [:]
        for member in members {
            if let complaint = Self.complaint(member.name, rule, &rules) {
                fault(member.offset, "'\(rule)': '\(member.name)' \(complaint)")
            }
            if let key = stateKey(member.value, of: member.name) { keys[member.name] = key }
        }
        return keys
    }

    /// Why a kind cannot stand in a rule; else it is noted that it does.
    private static func complaint(_ kind: String, _ rule: String, _ rules: inout [String: String]) -> String? {
        if let complaint = KindSyntax.complaint(kind) { return complaint }
        if let other = rules[kind] {
            return other == rule ? "stands here twice" : "stands in '\(other)' already: a kind has one rule"
        }
        rules[kind] = rule
        return nil
    }

    /// `"/id"` or `{"key": "/id", "table": "rows"}`.
    private mutating func stateKey(_ tree: JSONTree, of kind: String) -> Configuration.StateKey? {
        if tree.string != nil { return pointer(tree, "'\(kind)'").map { Configuration.StateKey(pointer: $0) } }
        guard tree.members != nil else {
            fault(tree.offset, "the key of '\(kind)' must be a JSON Pointer or an object, not \(tree.kindName)")
            return nil
        }
        var found: String?
        var table: String?
        var isNamed = false
        for (key, value) in members(of: tree, "the key of '\(kind)'", known: Self.stateKeyKeys, later: []) {
            switch key {
            case "key":
                isNamed = true
                found = pointer(value, "'key'")
            case "table": table = text(value, key)
            default: preconditionFailure("'\(key)' is in the table and is not read")
            }
        }
        if !isNamed { fault(tree.offset, "the key of '\(kind)' needs \"key\", \(JSONPointerSyntax.advice)") }
        return found.map { Configuration.StateKey(pointer: $0, table: table) }
    }

    private mutating func pointer(_ tree: JSONTree, _ subject: String) -> String? {
        if let text = tree.string, JSONPointerSyntax.pointsInside(text) { return text }
        let seen = tree.string.map { "'\($0)'" } ?? "\(tree.kindName)"
        fault(tree.offset, "\(subject) must be \(JSONPointerSyntax.advice), not \(seen)")
        return nil
    }
}
