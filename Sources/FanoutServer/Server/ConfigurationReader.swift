/// From the configuration file's JSON to a `Configuration`, collecting every fault on the way.

import Wire

/// Walks the tree once. Each object is read against a table of its keys, so that an unknown key can be told from one
/// that a later version will know.
struct ConfigurationReader {
    var configuration = Configuration()
    /// What is wrong, by byte offset in the text.
    private(set) var faults: [(offset: Int, message: String)] = []

    /// The file that is read, as it was named.
    var file = ""
    /// What is wrong in the files of schemas.
    var schemaFaults: [ConfigurationFault] = []

    mutating func fault(_ offset: Int, _ message: String) {
        faults.append((offset, message))
    }

    /// Reads the whole file.
    mutating func read(_ tree: JSONTree) {
        var channels: JSONTree?
        var listeners: JSONTree?
        for (key, value) in members(of: tree, "a configuration", known: Self.fileKeys, later: []) {
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
            // For editors: where the schema is that `fanout check --schema` prints.
            case "$schema": _ = text(value, key)
            case "routes": read(routes: value)
            case "ingest": read(ingest: value)
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
        for (name, listener) in members(of: tree, "'listeners'", known: Self.listenersKeys, later: []) {
            for (_, value) in members(of: listener, "listener '\(name)'", known: Self.listenerKeys, later: []) {
                configuration.listenerLimits[keyPath: places[name]!] = limits(value, from: configuration.limits)
            }
        }
    }
}

// MARK: - Keys

extension ConfigurationReader {
    static let fileKeys = [
        "listen", "jsonl", "runtime_dir", "io", "heartbeat_s", "max_connections", "max_memory", "max_per_address",
        "max_per_user", "history", "on_lag", "limits", "allow_hosts", "allow_origins", "log_level", "channels",
        "listeners", "data", "data_optional", "new_log", "routes", "ingest", "$schema",
    ]
    static let channelKeys = [
        "stamp", "discriminator", "control", "on_lag", "limits", "from", "visible", "retention", "state", "terminal",
        "schema", "schema_mode",
    ]
    static let limitKeys = ["events", "bytes", "age_ms"]
    static let retentionKeys = ["count", "age_s", "bytes"]
    static let listenersKeys = ["http", "http_socket", "events", "jsonl"]
    static let listenerKeys = ["limits"]
    static let stateKeys = ["upsert", "remove", "replace", "snapshot"]
    static let stateKeyKeys = ["key", "table"]
}
