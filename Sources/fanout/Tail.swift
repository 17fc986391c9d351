/// `fanout tail`: prints events as they happen.

import FanoutClient
import FanoutServer
import Glibc

/// What the flags of `tail` say.
package struct TailOptions: Sendable {
    var subscription = EventSubscription.Options()
    /// Whether `$` records are printed beside events.
    var printsControl = false
    /// How many events to print; nil is all.
    var count: Int?
    /// Where the place is kept from one run to the next.
    var resumeFile: String?

    package init() {}
}

/// The reader: its flags, and what it prints where.
package enum Tail {
    /// The flags and the help.
    package static let table = CommandTable<TailOptions>(
        name: "tail",
        about:
            "prints events as they happen, one line each, at once. When the connection ends it comes back by itself "
            + "and goes on where it stopped; what could not be kept is named on standard error.",
        usage: "[URL or SOCKET] [flags]",
        flags: ServerAddress.flags(socket: "events.socket") + [
            .value(
                "channel", "PATTERN", in: "What", default: "every channel", repeats: true,
                "Only events of channels like this: builds, host/*, sessions/**."
            ) { options, text throws(FlagValueFault) in
                guard ValueSyntax.isChannelPattern(text) else {
                    throw FlagValueFault("'\(text)': \(ValueSyntax.patternAdvice)")
                }
                options.subscription.channels.append(text)
            },
            .value("types", "A,B", in: "What", default: "every type", "Only events of these kinds.") {
                options, text throws(FlagValueFault) in
                options.subscription.types = try FlagValue.text(text).split(separator: ",").map(String.init)
            },
            .value(
                "from", "PLACE", in: "What", default: "now",
                "Where to begin: now, start (the oldest event held), snapshot (what is so at present, of channels that "
                    + "keep that), or a cursor such as an ack or $bye names."
            ) { options, text throws(FlagValueFault) in
                guard ValueSyntax.isStart(text) else {
                    throw FlagValueFault(
                        "needs now, start, snapshot or a cursor such as 9f86d081884c7d65-42, not '\(text)'")
                }
                options.subscription.from = text
            },
            .value(
                "resume", "FILE", in: "What",
                "Keeps the place in FILE: begins behind the event that was printed last, and lets --from say where "
                    + "only while there is no FILE. Nothing is lost or repeated, except by kill -9, which may come "
                    + "between printing and noting it: then what the last read brought, usually one event, is printed "
                    + "again. Each tail needs a FILE of its own."
            ) { options, text throws(FlagValueFault) in
                options.resumeFile = try FlagValue.text(text)
            },
            .value(
                "on-lag", "close|gap|conflate|resnapshot", in: "What", default: "what the server gives",
                "What the server does when what is printed is taken too slowly: end the stream, to which tail comes "
                    + "back; skip; send of each key only the newest event; or send the present state anew."
            ) { options, text throws(FlagValueFault) in
                options.subscription.onLag = try FlagValue.choice(
                    text, of: EventSubscription.Options.LagPolicy.self)
            },
            .toggle(
                "control", in: "Output",
                "Prints $hello, $gap, $bye and $ping too. Otherwise gaps and ends are told on standard error."
            ) { $0.printsControl = $1 },
            .toggle("once", in: "Output", "Ends after one event, like --count 1.") { $0.count = $1 ? 1 : nil },
            .value("count", "N", in: "Output", default: "no end", "Ends after N events.") {
                options, text throws(FlagValueFault) in
                options.count = try FlagValue.integer(text, 1...Int(Int32.max))
            },
            .toggle("no-reconnect", in: "Output", "Ends when the connection does, with exit code 69.") {
                $0.subscription.reconnects = !$1
            },
        ],
        plainArgumentsMax: 1,
        examples: [
            ("fanout tail", "Everything that this user's server on this machine sends."),
            ("fanout tail --channel 'host/*' | jq -c .type", "A part of it, as another program's input."),
            ("fanout tail --resume builds.place >> builds.log", "Goes on where it was when it was stopped."),
            ("fanout tail http://127.0.0.1:7575 --types deploy.started --once", "Waits for one event, then ends."),
        ],
        exitCodes: [
            ExitCode.data, ExitCode.noInput, ExitCode.unavailable, ExitCode.cannotCreate, ExitCode.inputOutput,
            ExitCode.protocolFault, ExitCode.configuration, ExitCode.interrupted,
        ])

    private static let socket = "events.socket"

    static func run(_ arguments: [String], environment: Environment) throws(CommandFault) -> Int32 {
        let given = try table.read(arguments)
        if given.wantsHelp { return Output.printHelp(table.helpText()) }
        var options = TailOptions()
        try table.apply(given, environment: environment, to: &options)
        let endpoint = try ServerAddress.resolve(
            table, given, environment: environment, plain: given.plain.first, socket: socket)
        options.subscription.watchedDescriptor = STDOUT_FILENO
        StopSignals.install()
        // A file that may not grow is an error that says so, not a signal that ends the process.
        signal(SIGXFSZ, SIG_IGN)
        let file = try resumeFile(&options, endpoint)
        return try follow(endpoint, options, TailOutput(keepingPlaceIn: file))
    }

    /// Opens the resume file, if one is asked for, and begins at the place in it.
    private static func resumeFile(
        _ options: inout TailOptions, _ endpoint: Endpoint
    ) throws(CommandFault) -> ResumeFile? {
        guard let path = options.resumeFile else { return nil }
        do throws(ResumeFileFault) {
            let file = try ResumeFile(path)
            if let place = file.place {
                options.subscription.from = place.description
            } else if options.subscription.from == nil {
                // By name, so that the place is known from the first moment: a channel may begin its readers elsewhere.
                options.subscription.from = placeInURL(endpoint) ?? "now"
            }
            return file
        } catch {
            throw CommandFault(error.message, exitCode: error.exitCode)
        }
    }

    private static func placeInURL(_ endpoint: Endpoint) -> String? {
        guard case .http(let address) = endpoint else { return nil }
        return address.queryValue("from") ?? address.queryValue("last_event_id")
    }

    private static func follow(
        _ endpoint: Endpoint, _ options: TailOptions, _ output: consuming TailOutput
    ) throws(CommandFault) -> Int32 {
        var events = EventSubscription(endpoint, options.subscription)
        var left = options.count
        var lastReason: ClientError?
        var isWarned = options.resumeFile == nil
        do throws(ClientError) {
            while true {
                // What one read has brought is printed together, before there is anything to wait for.
                guard let item = output.isPending ? try events.nextHeld() : try events.next() else {
                    if !output.isPending { return ExitCode.success }
                    if let code = output.flush() { return code }
                    continue
                }
                switch item {
                case .event(let line):
                    output.append(line, place: events.resumeCursor)
                    if !isWarned, ResumePlace.stampedSeq(line) == nil {
                        isWarned = true
                        Output.complain("fanout tail: \(unstamped)")
                    }
                    if let count = left {
                        if count == 1 { return output.flush() ?? ExitCode.success }
                        left = count - 1
                    }
                case .control(let message, let line):
                    lastReason = nil
                    if options.printsControl {
                        output.append(line, place: events.resumeCursor)
                    } else {
                        if let code = output.flush() { return code }
                        if let text = readable(message) { Output.complain("fanout tail: \(text)") }
                        output.note(events.resumeCursor)
                        if let code = output.flush() { return code }
                    }
                case .disconnected(let reason, let delay):
                    if let code = output.flush() { return code }
                    // A server that stays away is told of once, not at every attempt.
                    if reason != lastReason {
                        Output.complain("fanout tail: \(reason); trying again in \(seconds(delay)) s")
                    }
                    lastReason = reason
                }
            }
        } catch {
            if let code = output.flush() { return code }
            throw CommandFault(error.message, exitCode: error.exitCode)
        }
    }

    /// What the user of a resume file is told where it cannot follow.
    private static let unstamped =
        "events without a seq of the server's cannot be followed: the next run prints them again"

    /// What a person is told of a control record; nil where nothing needs to be said. Ends after which `tail` comes
    /// back are told with the time it takes.
    package static func readable(_ message: ControlMessage) -> String? {
        switch message {
        case .gap(let why, _, let from, let to, let dropped):
            var text = "gap (\(why)): "
            text += dropped.map { "\($0) event\($0 == 1 ? "" : "s") missed" } ?? "events were missed"
            if let from, let to { text += from == to ? ", seq \(from)" : ", seq \(from) to \(to)" }
            return text
        case .bye(1000, let why, _, _):
            return "the stream has ended (\(why))"
        case .hello, .snapshot, .live, .bye, .ping, .other:
            return nil
        }
    }

    /// Milliseconds as seconds with one digit, never less than 0.1.
    package static func seconds(_ milliseconds: Int) -> String {
        let tenths = max(1, (milliseconds + 50) / 100)
        return "\(tenths / 10).\(tenths % 10)"
    }
}
