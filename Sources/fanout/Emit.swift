/// `fanout emit`: publishes one event, or those on standard input.

import FanoutClient
import FanoutServer
import Glibc

/// What the flags of `emit` say.
package struct EmitOptions: Sendable {
    var emitter = EventEmitter.Options()
    var key: String?
    /// Whether a server that is not there is no failure.
    var isQuietIfAbsent = false
    /// `--timeout`; nil is the default.
    var timeoutMilliseconds: Int?

    package init() {}

    /// How long connecting and each answer may take: short where the caller would rather go on, long where an answer
    /// may have to wait for a disk.
    var timeout: Int { timeoutMilliseconds ?? (isQuietIfAbsent ? 250 : 10_000) }
}

/// The publisher: its flags, and what it checks before it connects.
package enum Emit {
    /// The flags and the help.
    package static let table = CommandTable<EmitOptions>(
        name: "emit",
        about: "publishes one event, or with - every line of standard input, and prints the server's answers. What a "
            + "break leaves without an answer is sent again, and published once. An event is a JSON object, such as "
            + #"{"type":"deploy.started"}."#,
        usage: "JSON|- [flags]",
        flags: [
            .value("channel", "NAME", in: "What", default: "events", "The channel to publish to.") {
                options, text throws(FlagValueFault) in
                guard ValueSyntax.isChannelName(text) else {
                    throw FlagValueFault(
                        "needs a channel name (letters, digits, . _ ~ - and / between parts), not '\(text)'")
                }
                options.emitter.channel = text
            },
            .value(
                "key", "TEXT", in: "What", default: "a random one for each event",
                "The idempotency key: an event that is sent again with the same key within 10 minutes is not published "
                    + "twice. emit itself sends again, until --timeout, what was not answered."
            ) { options, text throws(FlagValueFault) in
                options.key = try FlagValue.text(text)
            },
            .value(
                "ack", "none|accepted|committed|synced", in: "Answers", default: "what the server gives",
                "What the answer has to mean: accepted is in memory, committed survives a crash, synced a loss of "
                    + "power. With none nothing is waited for. A server without a database refuses more than "
                    + "accepted."
            ) { options, text throws(FlagValueFault) in
                options.emitter.level = try FlagValue.choice(text, of: EventEmitter.Level.self)
            },
            .toggle(
                "quiet-if-absent", in: "Answers",
                "Ends with 0 and says nothing when no server listens, or none answers in time: for programs that must "
                    + "not mind whether anyone watches."
            ) { $0.isQuietIfAbsent = $1 },
            .value(
                "timeout", "MS", in: "Answers", default: "10000 ms, with --quiet-if-absent 250 ms",
                "How long to wait for an answer, over restarts of the server too; in a stream, for an answer to any "
                    + "event. Then the exit code is 69 and whether the events were taken is unknown."
            ) { options, text throws(FlagValueFault) in
                options.timeoutMilliseconds = try FlagValue.integer(text, 1...3_600_000)
            },
        ] + ServerAddress.flags(socket: "ingest.socket"),
        plainArgumentsMax: 1,
        examples: [
            (#"fanout emit '{"type":"deploy.started","app":"web"}'"#, "Prints the answer, with the event's cursor."),
            ("journalctl -f -o json | fanout emit - --channel journal", "One event for each line."),
            (#"fanout emit '{"type":"build.done"}' --quiet-if-absent"#, "In a script that works without a server too."),
        ],
        exitCodes: [
            ExitCode.data, ExitCode.unavailable, ExitCode.inputOutput, ExitCode.protocolFault, ExitCode.configuration,
        ])

    static func run(_ arguments: [String], environment: Environment) throws(CommandFault) -> Int32 {
        let given = try table.read(arguments)
        if given.wantsHelp { return Output.printHelp(table.helpText()) }
        var options = EmitOptions()
        try table.apply(given, environment: environment, to: &options)
        guard let event = given.plain.first else {
            throw CommandFault(
                #"give an event, such as '{"type":"hello"}', or - for standard input (see fanout emit --help)"#,
                exitCode: ExitCode.usage)
        }
        guard event != "-" || options.key == nil else {
            throw CommandFault("--key names one event and cannot go with -", exitCode: ExitCode.usage)
        }
        let endpoint = try ServerAddress.resolve(
            table, given, environment: environment, plain: nil, socket: "ingest.socket")
        if let key = options.key { try check { () throws(ClientError) in try EventText.check(key: key) } }
        // Where an absent server is no failure, nothing is when there is none.
        if event != "-", !options.isQuietIfAbsent {
            try check { () throws(ClientError) in _ = try EventText.singleLine(Array(event.utf8)) }
        }
        return try publish(event, to: endpoint, options)
    }

    private static func publish(
        _ event: String, to endpoint: Endpoint, _ options: EmitOptions
    ) throws(CommandFault) -> Int32 {
        var input = event == "-" ? EventInput() : EventInput(Array(event.utf8))
        do throws(ClientError) {
            var publication = Publication(options)
            return try publication.run(&input, to: endpoint)
        } catch {
            if options.isQuietIfAbsent, error.isAbsence {
                // The producer in front of us would be ended by a pipe that nobody reads.
                input.discardRest()
                return ExitCode.success
            }
            throw CommandFault(error.message, exitCode: error.exitCode)
        }
    }

    private static func check(_ test: () throws(ClientError) -> Void) throws(CommandFault) {
        do throws(ClientError) {
            try test()
        } catch {
            throw CommandFault(error.message, exitCode: ExitCode.data)
        }
    }
}

extension ClientError {
    /// Whether the error means that nobody listens, rather than that somebody objects.
    fileprivate var isAbsence: Bool {
        switch kind {
        case .unreachable, .lost, .timedOut: true
        case .refused(_, let status): isRefusalForNow || status.map { $0 >= 500 } ?? false
        case .ended, .protocolFault, .invalidInput: false
        }
    }
}
