/// The flags of `bench` and its help.

import FanoutServer
import Glibc
import LoadGenerator

extension Bench {
    /// The flags and the help.
    package static let table = CommandTable<BenchOptions>(
        name: "bench",
        about: "measures what a delivery costs: connects readers to a server, publishes events, checks that every "
            + "reader gets every event in order, and prints the server's CPU per delivery, latencies and memory. "
            + "Without a URL it starts a server of its own, or the command behind --, and ends it afterwards.",
        usage: "[URL or unix:PATH] [flags] [-- SERVER COMMAND]",
        flags: server + load + slowness + output + ReportOptions.flags.map { $0.within(\.report) },
        plainArgumentsMax: 1,
        examples: [
            ("fanout bench", "1,000 SSE readers of a server that it starts; some seconds."),
            (
                "fanout bench http://127.0.0.1:7575/v1/events --readers 5000 --burst 16",
                "5,000 readers of a server that runs; publishes to it by POST."
            ),
            (
                "fanout bench --transport ws --rate 1000 --duration 10 -- fanout serve --io epoll",
                "1,000 events a second for 10 seconds, each at its time: latencies without flattery."
            ),
            (
                "fanout bench http://127.0.0.1:8080/feed --publish none --duration 10",
                "Counts what another server sends to 1,000 SSE readers."
            ),
            (
                "fanout bench --readers 0 --burst 100 --publish http://127.0.0.1:7575 --events 1000000",
                "How fast events are taken, in requests of 100."
            ),
            (
                "fanout bench --report runs.jsonl --write results",
                "Medians, ranges and plots of the runs that --json wrote."
            ),
        ],
        exitCodes: [ExitCode.faults, ExitCode.unavailable, ExitCode.inputOutput, ExitCode.interrupted])

    private static let server: [Flag<BenchOptions>] = [
        .value(
            "url", "URL", in: "Server", repeats: true,
            "Where readers go: http://127.0.0.1:7575/v1/events, ws://…, or http+unix:PATH of HTTP's socket; for raw "
                + "JSONL tcp://127.0.0.1:7576 or unix:PATH. Any server that speaks SSE, WebSocket or JSONL will do, "
                + "without TLS; {channel} in a path stands for the channel's name."
        ) { options, text throws(FlagValueFault) in
            options.urls.append(try place(text))
        },
        .value(
            "publish", "URL|unix:PATH|stdin|none", in: "Server",
            default: "the ingest socket of a server that is started, else POST to the readers' URL",
            "Where events are published. Over HTTP a burst is one request where the path is /v1/events, and a request "
                + "for each event elsewhere. stdin is that of the server that is started. With none others publish: "
                + "what comes is counted and timed, and nothing is checked, because it is not known."
        ) { options, text throws(FlagValueFault) in
            options.publish = ["none", "stdin"].contains(text) ? text : try place(text)
        },
        .value(
            "server-pid", "PID", in: "Server", default: "the server that is started, with its children", repeats: true,
            "Reports the CPU and the memory of this process; of several, the sum."
        ) { options, text throws(FlagValueFault) in
            options.plan.serverPIDs.append(pid_t(try FlagValue.integer(text, 1...Int(Int32.max))))
        },
        .toggle(
            "ready-port", in: "Server",
            "The server that is started is ready when the first URL accepts connections, not when it says so as fanout "
                + "does."
        ) { $0.waitsForPort = $1 },
        .toggle(
            "no-hello", in: "Server",
            "A raw JSONL server does not begin with $hello: readers count as soon as they are connected."
        ) { $0.greetsNobody = $1 },
    ]

    private static let load: [Flag<BenchOptions>] = [
        .value(
            "readers", "N", in: "Load", default: "1000",
            "How many readers. With 0 it measures how fast events are taken."
        ) {
            options, text throws(FlagValueFault) in
            options.readers = try FlagValue.integer(text, 0...1_000_000)
        },
        .value(
            "transport", Transport.allCases.map(\.rawValue).joined(separator: "|") + "|mixed", in: "Load",
            default: "sse", "How readers read. mixed is a third each of jsonl, sse and ws."
        ) { options, text throws(FlagValueFault) in
            options.transport = text == "mixed" ? nil : try FlagValue.choice(text, of: Transport.self)
        },
        .value("mix", "jsonl=N,sse=N,ws=N", in: "Load", "How many readers of each transport, instead of the two above.")
        {
            options, text throws(FlagValueFault) in
            options.mix = try mix(text)
        },
        .value("channels", "N", in: "Load", default: "1", "Reader i reads channel i mod N; events go to them in turn.")
        {
            options, text throws(FlagValueFault) in
            options.channelCount = try FlagValue.integer(text, 1...1_000_000)
        },
        .value(
            "channel", "NAME", in: "Load", default: "the server's, or bench-0 and so on with --channels",
            "The channel's name, or what stands before -0, -1 of several."
        ) { options, text throws(FlagValueFault) in
            guard ValueSyntax.isChannelName(text) else {
                throw FlagValueFault(
                    "needs a channel name (letters, digits, . _ ~ - and / between parts), not '\(text)'")
            }
            options.channel = text
        },
        .value(
            "publishers", "M", in: "Load", default: "1", "How many publishers take turns; each one's order is checked."
        ) {
            options, text throws(FlagValueFault) in
            options.plan.publishers = try FlagValue.integer(text, 1...64)
        },
        .value("events", "N", in: "Load", default: "200", "How many events are measured.") {
            options, text throws(FlagValueFault) in
            options.plan.events = try FlagValue.integer(text, 0...1_000_000_000)
        },
        .value("duration", "SECONDS", in: "Load", "Measures so long, instead of a number of events.") {
            options, text throws(FlagValueFault) in
            options.plan.durationSeconds = try FlagValue.integer(text, 1...86_400)
        },
        .value(
            "warm", "N", in: "Load", default: "40",
            "Events for each reader before those that are measured, one at a time: a new TCP connection costs twice as "
                + "much for its first 16."
        ) { options, text throws(FlagValueFault) in
            options.plan.warm = try FlagValue.integer(text, 0...100_000)
        },
        .value(
            "behind", "N", in: "Load", default: "0",
            "Readers come back: N events for each are published before the first one connects, and all ask for the "
                + "place before them. Says how long until all are at the head; what else is measured follows."
        ) { options, text throws(FlagValueFault) in
            options.plan.behind = try FlagValue.integer(text, 0...10_000_000)
        },
        .value("lead", "SECONDS", in: "Load", default: "0", "Between the events of --behind and the first reader.") {
            options, text throws(FlagValueFault) in
            options.plan.leadSeconds = try FlagValue.integer(text, 0...3_600)
        },
        .toggle(
            "snapshot", in: "Load",
            "The events of --behind are rows of the channel's state, and readers ask for that (from=snapshot). A "
                + "server that is started keeps one row for each event; another needs the rules "
                + "{\"upsert\":{\"bench\":{\"key\":\"/n\"}}}."
        ) { $0.plan.wantsSnapshot = $1 },
        .value("bytes", "N", in: "Load", default: "200", "Size of an event as it is published.") {
            options, text throws(FlagValueFault) in
            options.plan.bytes = try FlagValue.integer(text, 64...262_144)
        },
        .value(
            "burst", "K", in: "Load", default: "1", "Publishes K events at once when every reader has the last ones."
        ) {
            options, text throws(FlagValueFault) in
            options.plan.burst = try FlagValue.integer(text, 1...100_000)
        },
        .value(
            "rate", "R", in: "Load", default: "off",
            "Publishes R events a second, whether or not readers have the last ones. Latency counts from the moment "
                + "that an event was due."
        ) { options, text throws(FlagValueFault) in
            options.plan.rate = try FlagValue.integer(text, 1...10_000_000)
        },
        .value(
            "patience", "SECONDS", in: "Load", default: "30 s",
            "Readers to which nothing comes for so long, while something is due, have failed."
        ) { options, text throws(FlagValueFault) in
            options.plan.patienceSeconds = try FlagValue.integer(text, 1...86_400)
        },
    ]

    private static let slowness: [Flag<BenchOptions>] = [
        .value("stalled", "P%", in: "Other readers", default: "0%", "Share of readers that stop reading after warming.")
        {
            options, text throws(FlagValueFault) in
            options.plan.stalledShare = try share(text)
        },
        .value("crawling", "P%", in: "Other readers", default: "0%", "Share of readers that then read 1 KiB a second.")
        {
            options, text throws(FlagValueFault) in
            options.plan.crawlingShare = try share(text)
        },
        .value(
            "churn", "N/s", in: "Other readers", default: "0/s",
            "So many readers a second leave and others come instead; each stays about a second. None of these three "
                + "kinds is waited for or counts for latency; gaps and ends that they are told of are counted."
        ) { options, text throws(FlagValueFault) in
            let number = text.hasSuffix("/s") ? String(text.dropLast(2)) : text
            options.plan.churnPerSecond = try FlagValue.integer(number, 0...100_000)
        },
        .toggle(
            "storm", in: "Other readers",
            "Only connects, up to 1,024 at a time, until every reader's stream has begun, and goes."
        ) { $0.plan.isStorm = $1 },
        .value(
            "hold", "SECONDS", in: "Other readers", default: "0 s",
            "Stays idle so long before publishing; CPU and memory over it."
        ) {
            options, text throws(FlagValueFault) in
            options.plan.holdSeconds = try FlagValue.integer(text, 0...86_400)
        },
    ]

    private static let output: [Flag<BenchOptions>] = [
        .value(
            "json", "FILE", in: "Output",
            "Appends a whole run's result to FILE as one line of JSON; - is standard output."
        ) {
            options, text throws(FlagValueFault) in
            options.jsonPath = try FlagValue.text(text)
        },
        .value("svg", "FILE", in: "Output", "Draws the latencies by percentile, as an SVG picture.") {
            options, text throws(FlagValueFault) in
            options.svgPath = try FlagValue.text(text)
        },
        .value("label", "TEXT", in: "Output", "Goes into that line: what was measured.") {
            options, text throws(FlagValueFault) in
            options.labels.label = try FlagValue.text(text)
        },
        .value("row", "TEXT", in: "Output", "Goes into that line: under which load.") {
            options, text throws(FlagValueFault) in
            options.labels.row = try FlagValue.text(text)
        },
        .value("round", "N", in: "Output", "Goes into that line: in which round.") {
            options, text throws(FlagValueFault) in
            options.labels.round = try FlagValue.integer(text, 0...1_000_000)
        },
        .value("commit", "TEXT", in: "Output", "Goes into that line: which version was measured.") {
            options, text throws(FlagValueFault) in
            options.labels.commit = try FlagValue.text(text)
        },
        .toggle("quiet", in: "Output", "Prints no table and no progress.") { $0.isQuiet = $1 },
    ]

    // MARK: Values

    private static func place(_ text: String) throws(FlagValueFault) -> String {
        do throws(LoadFailure) {
            _ = try Place(text)
            return text
        } catch {
            throw FlagValueFault(error.text)
        }
    }

    private static func mix(_ text: String) throws(FlagValueFault) -> [(transport: Transport, count: Int)] {
        var mix: [(Transport, Int)] = []
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2 else { throw FlagValueFault("needs TRANSPORT=COUNT between commas, not '\(text)'") }
            let transport = try FlagValue.choice(pair[0], of: Transport.self)
            mix.append((transport, try FlagValue.integer(pair[1], 0...1_000_000)))
        }
        guard mix.contains(where: { $0.1 > 0 }) else { throw FlagValueFault("names no reader: '\(text)'") }
        return mix
    }

    /// `10%`, `10` or `0.5%`, as a share of 1.
    private static func share(_ text: String) throws(FlagValueFault) -> Double {
        let number = text.hasSuffix("%") ? String(text.dropLast()) : text
        guard number.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 || $0 == 0x2E }), let percent = Double(number),
            percent <= 100
        else { throw FlagValueFault("needs a share such as 10%, not '\(text)'") }
        return percent / 100
    }
}
