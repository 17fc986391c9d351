/// The flags of `serve` and `demo`: one table over `Configuration`.

import FanoutServer

/// What the flags of a server say before they become a `Configuration`.
package struct ServerOptions: Sendable {
    /// Where the flags go; a configuration file fills it first.
    package var configuration = Configuration()
    /// `--config`.
    package var file: String?
    /// `--stdin`.
    package var readsStandardInput = false
    /// `--text`.
    package var linesAreText = false
    /// `--allow-host`; where it is given it replaces the file's list.
    package var allowedHosts: [String] = []
    /// `--allow-origin`; where it is given it replaces the file's list.
    package var allowedOrigins: [String] = []

    package init() {}

    /// The configuration that the file, the environment and the flags make together.
    package func finished() throws(CommandFault) -> Configuration {
        var result = configuration
        if !allowedHosts.isEmpty { result.allowedHosts = allowedHosts }
        if !allowedOrigins.isEmpty { result.allowedOrigins = allowedOrigins }
        if readsStandardInput {
            result.standardInput = linesAreText ? .text : .events
        } else if linesAreText || result.exitOnEndOfInput {
            throw CommandFault(
                "--\(linesAreText ? "text" : "exit-on-eof") is about standard input: give --stdin too",
                exitCode: ExitCode.usage)
        }
        if result.dataDirectory == nil, result.dataIsOptional || result.beginsNewLog {
            throw CommandFault(
                "--\(result.dataIsOptional ? "data-optional" : "new-log") is about the database: give --data too",
                exitCode: ExitCode.usage)
        }
        return result
    }
}

extension ServerOptions {
    /// Where the server listens: `serve` and `demo` have them.
    static let listening: [Flag<ServerOptions>] = [
        .value(
            "listen", "ADDRESS:PORT", in: "Listening", default: "127.0.0.1:7575",
            "HTTP, SSE and WebSocket, and the live page. Port 0 takes a free one. An address that is not loopback "
                + "needs --insecure, because nothing checks yet who comes in."
        ) { options, text throws(FlagValueFault) in
            options.configuration.listen = try address(text)
        },
        .value(
            "jsonl", "ADDRESS:PORT", in: "Listening", default: "off",
            "Raw JSONL over TCP: every reader gets every event from now on, one line each."
        ) { options, text throws(FlagValueFault) in
            options.configuration.jsonl = try address(text)
        },
        .value(
            "runtime-dir", "DIR", in: "Listening",
            default: "$XDG_RUNTIME_DIR/fanout, else /run/fanout as root, else fanout-$UID in the temporary directory",
            "The folder of the sockets, all of mode 0600: events.socket (JSONL out), http.socket (HTTP), "
                + "ingest.socket and ingest/CHANNEL.socket (JSONL in)."
        ) { options, text throws(FlagValueFault) in
            options.configuration.runtimeDirectory = try FlagValue.text(text)
        },
        .value(
            "channel", "NAME", in: "Listening", repeats: true,
            "Declares a channel, which gets the socket ingest/NAME.socket. Publishing to a channel over HTTP or with "
                + "fanout emit needs no declaration."
        ) { options, text throws(FlagValueFault) in
            guard ValueSyntax.isChannelName(text) else {
                throw FlagValueFault(
                    "needs a channel name (letters, digits, . _ ~ - and / between parts), not '\(text)'")
            }
            options.configuration.channels.append(text)
        },
    ]

    private static func address(_ text: String) throws(FlagValueFault) -> String {
        guard ValueSyntax.isAddress(text) else {
            throw FlagValueFault("needs ADDRESS:PORT, such as 127.0.0.1:7575 or [::1]:7575, not '\(text)'")
        }
        return text
    }

    /// What standard input holds: only `serve` has them.
    static let input: [Flag<ServerOptions>] = [
        .toggle("stdin", in: "Input", "Publishes standard input to the channel 'events': one JSON object per line.") {
            $0.readsStandardInput = $1
        },
        .toggle("text", in: "Input", #"With --stdin: wraps each plain line as {"type":"line","text":"…"}."#) {
            $0.linesAreText = $1
        },
        .toggle(
            "exit-on-eof", in: "Input",
            "With --stdin: when it ends, sends what is pending and ends. Otherwise the server stays."
        ) { $0.configuration.exitOnEndOfInput = $1 },
    ]

    /// How readers are treated, who may come in, and how the process runs.
    static let behaviour: [Flag<ServerOptions>] = [
        .value(
            "on-lag", "close|gap|conflate|resnapshot", in: "Readers", default: "close",
            "What a reader that falls behind gets: close ends it with $bye 4008 and the cursor to resume from, gap "
                + "skips to the newest event and says exactly what was missed, conflate sends the newest event of each "
                + "key instead, resnapshot the present state. A reader may choose for itself."
        ) { options, text throws(FlagValueFault) in
            options.configuration.onLag = try FlagValue.choice(text, of: Configuration.LagPolicy.self)
        },
        .value("heartbeat", "SECONDS", in: "Readers", default: "15 s", "The time between keep-alives.") {
            options, text throws(FlagValueFault) in
            options.configuration.heartbeatSeconds = try FlagValue.integer(text, 1...3_600)
        },
        .value(
            "max-connections", "N", in: "Readers", default: "what the limit on open files allows",
            "All sockets together; eight places are kept for /healthz, /readyz and /metrics."
        ) { options, text throws(FlagValueFault) in
            options.configuration.connectionsMax = try FlagValue.integer(text, 9...10_000_000)
        },
        .value(
            "max-per-address", "N", in: "Readers", default: "1,024, and any number on loopback addresses",
            "Connections of one IPv4 address or one IPv6 /64. Behind a proxy every client has the proxy's address: "
                + "limit them there."
        ) { options, text throws(FlagValueFault) in
            options.configuration.connectionsPerAddressMax = try FlagValue.integer(text, 1...10_000_000)
        },
        .value(
            "max-per-user", "N", in: "Readers", default: "any number",
            "Connections of one user on the unix sockets together."
        ) { options, text throws(FlagValueFault) in
            options.configuration.connectionsPerUserMax = try FlagValue.integer(text, 1...10_000_000)
        },
        .value(
            "max-memory", "BYTES", in: "Readers", default: "a quarter of the memory the process may have, 64M at least",
            "What everything that varies may take of memory together, such as 256M or 2G: what waits for readers, "
                + "input that is not whole, subscriptions, channels. Beyond it the largest laggard goes first, and "
                + "new ones are refused."
        ) { options, text throws(FlagValueFault) in
            guard let bytes = ValueSyntax.byteCount(text), ValueSyntax.memoryRange.contains(bytes) else {
                throw FlagValueFault("needs \(ValueSyntax.memoryAdvice), not '\(text)'")
            }
            options.configuration.memoryMax = bytes
        },
        .value(
            "history", "BYTES", in: "Readers", default: "64M, or --max-memory where that is less",
            "How much of the past is held in memory, beside --max-memory: the newest events of all channels together, "
                + "for readers that come back and for GET /v1/history. 0 holds none, otherwise it is 1M at least."
        ) { options, text throws(FlagValueFault) in
            guard let bytes = ValueSyntax.byteCount(text), ValueSyntax.isHistorySize(bytes) else {
                throw FlagValueFault("needs \(ValueSyntax.historyAdvice), not '\(text)'")
            }
            options.configuration.historyBytes = bytes
        },
        .value(
            "data", "DIR", in: "History", default: "none: everything is kept in memory only",
            "A folder for the database, made if it is not there: events, their numbers and idempotency keys survive a "
                + "restart. One server uses it at a time."
        ) { options, text throws(FlagValueFault) in
            options.configuration.dataDirectory = try FlagValue.text(text)
        },
        .toggle(
            "data-optional", in: "History",
            "With --data: a database that cannot be opened is warned of, and everything is kept in memory only. "
                + "Otherwise the server does not start."
        ) { $0.configuration.dataIsOptional = $1 },
        .toggle(
            "new-log", in: "History",
            "With --data: begins a new log where the old one is damaged, or was set aside as damaged. A healthy one "
                + "stays as it is."
        ) { $0.configuration.beginsNewLog = $1 },
        .toggle(
            "insecure", in: "Who may come in",
            "Allows --listen and --jsonl on addresses that are not loopback: anyone who can reach them may read and "
                + "publish."
        ) { $0.configuration.insecure = $1 },
        .value(
            "allow-host", "HOST", in: "Who may come in", repeats: true,
            "A host name, beside localhost, 127.0.0.1 and [::1], that HTTP requests may name."
        ) { options, text throws(FlagValueFault) in
            options.allowedHosts.append(try FlagValue.text(text))
        },
        .value(
            "allow-origin", "ORIGIN", in: "Who may come in", repeats: true,
            "An origin, such as https://app.example, whose web pages may subscribe and publish."
        ) { options, text throws(FlagValueFault) in
            guard ValueSyntax.isOrigin(text) else {
                throw FlagValueFault("needs an origin like https://app.example, without a path, not '\(text)'")
            }
            options.allowedOrigins.append(text)
        },
        .value(
            "io", "auto|io_uring|epoll", in: "Running", default: "auto",
            "The I/O interface: auto takes io_uring, and epoll where the kernel refuses it; the ready line says why."
        ) { options, text throws(FlagValueFault) in
            options.configuration.io = try FlagValue.choice(text, of: Configuration.IOChoice.self)
        },
        .value("log-level", "error|warning|info|debug", in: "Running", default: "info", "What standard error is told.")
        {
            options, text throws(FlagValueFault) in
            guard let level = Configuration.LogLevel.allCases.first(where: { "\($0)" == text }) else {
                throw FlagValueFault("needs one of error, warning, info, debug, not '\(text)'")
            }
            options.configuration.logLevel = level
        },
        .value(
            "config", "FILE", in: "Running",
            "A configuration file in JSON; fanout check says whether it is right. SIGHUP has it read again."
        ) {
            options, text throws(FlagValueFault) in
            options.file = try FlagValue.text(text)
        },
    ]

    /// Reads the command line, the environment and the configuration file; nil where `--help` was asked for.
    package static func resolve(
        _ table: CommandTable<ServerOptions>, _ arguments: [String], environment: Environment
    ) throws(CommandFault) -> ServerOptions? {
        let given = try table.read(arguments)
        if given.wantsHelp { return nil }
        var options = ServerOptions()
        if let file = table.value(of: "config", in: given, environment: environment), !file.isEmpty {
            options.configuration = try ConfigurationFile.load(file)
        }
        try table.apply(given, environment: environment, to: &options)
        return options
    }
}
