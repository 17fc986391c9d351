/// What the server counts, and how `/metrics` says it.

import Reactor
import Wire

/// Counters since the start. The ones of the data path are kept where it is: in `Delivery` and in the reactor.
struct Metrics {
    var accepted: UInt64 = 0
    var acceptErrors: UInt64 = 0
    var bytesReceived: UInt64 = 0
    var requests: UInt64 = 0
    var refusedRequests: UInt64 = 0
    var eventsIn: UInt64 = 0
    var refusedEvents: UInt64 = 0
    /// Publications that were repetitions, and those whose conditions did not hold.
    var duplicates: UInt64 = 0
    var conflicts: UInt64 = 0
    /// Readers that passed a limit, and `$gap`s said.
    var laggards = LagCounts()
    var gaps: UInt64 = 0
    /// Readers that were sent a state; those of them, and those that were sent changes, because they had fallen behind,
    /// and the events that they were not sent for that.
    var snapshots: UInt64 = 0
    private(set) var conflations: UInt64 = 0
    private(set) var resnapshots: UInt64 = 0
    private(set) var conflatedEvents: UInt64 = 0
    private(set) var resnapshotEvents: UInt64 = 0
    /// Bytes of the history that were queued for readers.
    var replayedBytes: UInt64 = 0
    var shed: UInt64 = 0
    /// Times the configuration was read again and taken, and read and refused.
    var reloads: (taken: UInt64, refused: UInt64) = (0, 0)
    /// Streams ended, by reason and transport: room for 16 reasons.
    private(set) var closes: InlineArray<128, UInt64> = InlineArray(repeating: 0)
    /// The longest turn, its wait left out, in the present half minute and in the one before.
    private var turnMillisecondsMax: UInt64 = 0
    private var turnMillisecondsMaxBefore: UInt64 = 0
    private var halfMinute: UInt64 = 0
    /// All turns together, their waits left out.
    private(set) var busyMilliseconds: UInt64 = 0
    /// Answers by hundreds of the status: 1xx to 5xx.
    private(set) var responses: InlineArray<6, UInt64> = InlineArray(repeating: 0)

    /// A reader that had fallen behind is brought up to date, without so many events.
    mutating func caughtUp(_ kind: StateImage.Kind, dropped: UInt64) {
        switch kind {
        case .changes:
            conflations &+= 1
            conflatedEvents &+= dropped
        case .rows:
            resnapshots &+= 1
            resnapshotEvents &+= dropped
        }
    }

    mutating func closed(_ reason: EndReason, _ transport: Transport) {
        closes[Self.place(reason, transport)] &+= 1
    }

    /// Streams ended for a reason on a transport.
    func closed(_ reason: EndReason, on transport: Transport) -> UInt64 { closes[Self.place(reason, transport)] }

    private static func place(_ reason: EndReason, _ transport: Transport) -> Int {
        Int(reason.rawValue) * Transport.allCases.count + Int(transport.rawValue)
    }

    /// A turn that ended at `now` took so long, its wait left out.
    mutating func noteTurn(milliseconds: UInt64, now: UInt64) {
        moveOn(to: now)
        turnMillisecondsMax = max(turnMillisecondsMax, milliseconds)
        busyMilliseconds &+= milliseconds
    }

    /// The longest turn of the last half minute at least, and of a minute at most: whoever reads it takes nothing from
    /// others who do.
    mutating func longestTurnMilliseconds(now: UInt64) -> UInt64 {
        moveOn(to: now)
        return max(turnMillisecondsMax, turnMillisecondsMaxBefore)
    }

    private mutating func moveOn(to now: UInt64) {
        let present = now / 30_000
        guard present != halfMinute else { return }
        turnMillisecondsMaxBefore = present == halfMinute + 1 ? turnMillisecondsMax : 0
        turnMillisecondsMax = 0
        halfMinute = present
    }

    mutating func responded(_ status: Int) { responses[min(5, status / 100)] &+= 1 }
}

/// Builds the Prometheus text format.
struct MetricsText {
    var bytes: [UInt8] = []

    mutating func family(_ name: StaticString, _ type: StaticString, _ help: StaticString) {
        bytes.append(contentsOf: "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n".utf8)
    }

    mutating func sample(_ name: StaticString, labels: String = "", _ value: UInt64) {
        bytes.append(contentsOf: "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(value)\n".utf8)
    }

    mutating func sample(_ name: StaticString, thousandths value: UInt64) {
        let fraction = String(value % 1000)
        let zeros = String(repeating: "0", count: 3 - fraction.count)
        bytes.append(contentsOf: "\(name) \(value / 1000).\(zeros)\(fraction)\n".utf8)
    }

    mutating func counter(_ name: StaticString, _ value: UInt64, _ help: StaticString) {
        family(name, "counter", help)
        sample(name, value)
    }

    mutating func gauge(_ name: StaticString, _ value: UInt64, _ help: StaticString) {
        family(name, "gauge", help)
        sample(name, value)
    }
}

extension Engine {
    /// The Prometheus text of everything that is counted. Labels come from closed sets only.
    func metricsText() -> [UInt8] {
        var text = MetricsText()
        text.family("fanout_connections", "gauge", "Open connections by transport.")
        for transport in Transport.allCases where transport != .listener {
            text.sample(
                "fanout_connections", labels: "transport=\"\(transport.label)\"",
                UInt64(delivery.connections.counts[Int(transport.rawValue)]))
        }
        text.gauge("fanout_connections_max", UInt64(connectionsMax), "Connections that may be open.")
        text.counter("fanout_accepted_total", metrics.accepted, "Connections accepted.")
        text.counter("fanout_accept_errors_total", metrics.acceptErrors, "Times accepting stopped with an error.")
        text.counter("fanout_accept_backoffs_total", acceptRest.restsBegun, "Rests of accepting after an error.")
        text.counter(
            "fanout_accept_shed_total", loop.stats.connectionsShed, "Connections closed for want of a descriptor.")
        text.gauge("fanout_accept_resting", UInt64(resting.count), "Listeners that rest before they accept again.")
        text.counter("fanout_shed_total", metrics.shed, "Requests turned away because no place was left.")
        text.family(
            "fanout_refused_total", "counter", "Connections and requests of an address or a user with too many.")
        for want in PeerLimits.Want.allCases {
            text.sample(
                "fanout_refused_total", labels: "reason=\"\(want.label)\"", peers.refusals[Int(want.rawValue)])
        }
        text.counter("fanout_events_in_total", metrics.eventsIn, "Events published.")
        text.counter("fanout_events_refused_total", metrics.refusedEvents, "Events refused.")
        text.family(
            "fanout_schema_misfits_total", "counter",
            "Events that did not fit their channel's schema, by what it says of such.")
        for mode in Configuration.SchemaMode.allCases {
            text.sample("fanout_schema_misfits_total", labels: "mode=\"\(mode.rawValue)\"", hub.misfits[mode])
        }
        text.counter(
            "fanout_publish_duplicates_total", metrics.duplicates, "Publications that had been published before.")
        text.counter(
            "fanout_publish_conflicts_total", metrics.conflicts,
            "Publications refused for a key, a producer or expect_last.")
        text.gauge("fanout_idempotency_keys", UInt64(keys.count), "Idempotency keys that are remembered.")
        text.gauge("fanout_producers", UInt64(producers.count), "Producers that are remembered.")
        text.counter("fanout_deliveries_total", delivery.counters.deliveries, "Events queued for subscribers.")
        text.counter("fanout_bytes_sent_total", delivery.counters.bytesSent, "Bytes taken by sockets.")
        text.counter("fanout_bytes_received_total", metrics.bytesReceived, "Bytes received.")
        text.family(
            "fanout_laggards_total", "counter", "Times a reader fell behind, by the limit it passed and transport.")
        for reason in LagReason.allCases {
            for transport in Transport.subscribers {
                text.sample(
                    "fanout_laggards_total", labels: "reason=\"\(reason.label)\",transport=\"\(transport.label)\"",
                    metrics.laggards[reason, transport])
            }
        }
        text.counter("fanout_gaps_total", metrics.gaps, "$gap records: at the start of a stream, and after a lag.")
        text.counter("fanout_conflations_total", metrics.conflations, "Laggards that were sent the newest of each key.")
        text.counter("fanout_conflated_events_total", metrics.conflatedEvents, "Events that they were not sent.")
        text.counter("fanout_resnapshots_total", metrics.resnapshots, "Laggards that were sent the present state.")
        text.counter("fanout_resnapshot_events_total", metrics.resnapshotEvents, "Events that they were not sent.")
        text.counter("fanout_snapshots_total", metrics.snapshots, "Times a reader was sent the present state.")
        text.counter("fanout_state_images_total", hub.images.made, "States encoded for them, in one form each.")
        text.gauge("fanout_head_seq", hub.head, "Number of the newest event.")
        text.gauge("fanout_channels", UInt64(hub.channels.count), "Channels that exist.")
        text.gauge("fanout_state_rows", UInt64(hub.states.rowCount), "Keys that channels keep the newest event of.")
        text.gauge("fanout_state_bytes", UInt64(hub.states.bytes), "Memory of channels' state.")
        text.family("fanout_closed_total", "counter", "Streams ended, by reason and transport.")
        for reason in EndReason.allCases {
            for transport in Transport.subscribers {
                text.sample(
                    "fanout_closed_total", labels: "reason=\"\(reason.why)\",transport=\"\(transport.label)\"",
                    metrics.closed(reason, on: transport))
            }
        }
        text.family("fanout_reloads_total", "counter", "Times the configuration was read again, by what came of it.")
        text.sample("fanout_reloads_total", labels: "result=\"ok\"", metrics.reloads.taken)
        text.sample("fanout_reloads_total", labels: "result=\"refused\"", metrics.reloads.refused)
        text.counter("fanout_http_requests_total", metrics.requests, "HTTP requests answered.")
        text.counter("fanout_http_refused_total", metrics.refusedRequests, "HTTP requests that were not HTTP.")
        text.family("fanout_http_responses_total", "counter", "HTTP answers by class of status.")
        for hundreds in 1...5 {
            text.sample("fanout_http_responses_total", labels: "class=\"\(hundreds)xx\"", metrics.responses[hundreds])
        }
        appendLoop(&text)
        return text.bytes
    }

    private func appendHistory(_ text: inout MetricsText) {
        text.gauge(
            "fanout_history_bytes", UInt64(hub.window.bytesHeld(delivery.log.segments)), "Memory of events held.")
        text.gauge("fanout_history_events", hub.window.eventCount, "Events held.")
        text.gauge("fanout_history_first_seq", hub.oldestHeld, "The oldest event held, or the next one.")
        text.gauge("fanout_replaying_subscribers", UInt64(hub.replayingCount), "Readers that are sent what is held.")
        text.counter("fanout_replayed_bytes_total", metrics.replayedBytes, "Bytes of the history queued for readers.")
        text.counter(
            "fanout_replay_pages_total", hub.pages.made, "Pages of the history encoded for those who come back.")
        guard storage != nil else { return }
        text.counter(
            "fanout_replay_stored_pages_total", storedReplay.pages, "Pages read from the database for them.")
        text.counter("fanout_replay_stored_failures_total", storedReplay.failures, "Pages that could not be read.")
        text.gauge(
            "fanout_replay_stored_requests", UInt64(storedReplay.requests.count), "Pages asked for, not yet read.")
        text.gauge(
            "fanout_replay_stored_waiting", UInt64(storedReplay.waiting.count),
            "Readers for whom no page was asked yet, because others wait for enough.")
        text.counter(
            "fanout_history_stored_pages_total", storedHistory.pages, "Pages read from the database for /v1/history.")
        text.gauge("fanout_history_requests", UInt64(storedHistory.count), "Requests for history that wait for pages.")
    }

    private func appendMemory(_ text: inout MetricsText) {
        let held = memoryHeld
        text.family("fanout_memory_bytes", "gauge", "Memory of everything that varies, by what it is for.")
        let parts: [(StaticString, Int)] = [
            ("segments", held.segments), ("runs", held.runs), ("input", held.input),
            ("subscriptions", held.subscriptions), ("channels", held.channels), ("state", held.state),
            ("storage", held.storage), ("repetition", held.repetition),
        ]
        for (name, bytes) in parts { text.sample("fanout_memory_bytes", labels: "of=\"\(name)\"", UInt64(bytes)) }
        text.gauge("fanout_memory_max_bytes", UInt64(memory.bytesMax), "What all of it may come to (--max-memory).")
        text.counter("fanout_memory_resets_total", memory.resets, "Connections reset because memory was at its limit.")
        text.counter("fanout_memory_refusals_total", memory.refusals, "Turned away because memory was at its limit.")
    }

    private func appendLoop(_ text: inout MetricsText) {
        let stats = loop.stats
        text.counter("fanout_loop_ticks_total", stats.ticks, "Turns of the event loop.")
        text.counter("fanout_loop_enters_total", stats.enters, "System calls that submitted or waited.")
        text.counter("fanout_loop_completions_total", stats.completions, "Completions handled.")
        text.counter(
            "fanout_sends_total", delivery.counters.sends, "Sends started; divided by enters: sends per enter.")
        text.family("fanout_sends_per_enter", "gauge", "Sends for each system call, since the start.")
        text.sample("fanout_sends_per_enter", thousandths: delivery.counters.sends &* 1000 / max(1, stats.enters))
        text.gauge(
            "fanout_loop_lag_milliseconds", metrics.longestTurnMilliseconds(now: loop.now),
            "The longest turn of the last half minute or more: how late anything else could be.")
        text.counter("fanout_loop_busy_milliseconds_total", metrics.busyMilliseconds, "Time not spent waiting.")
        text.counter("fanout_short_sends_total", stats.shortSends, "Sends that were taken only in part.")
        text.counter(
            "fanout_receive_buffers_exhausted_total", stats.receiveBufferExhaustions,
            "Times no receive buffer was free.")
        text.counter(
            "fanout_completion_queue_overflows_total", stats.completionQueueOverflows,
            "Times completions found no place in io_uring's queue and came later.")
        text.counter(
            "fanout_stale_completions_total", stats.staleCompletions, "Results for sockets that were gone, dropped.")
        text.gauge("fanout_pinned_bytes", UInt64(delivery.log.segments.bytesHeld), "Bytes of segments in use.")
        appendHistory(&text)
        appendStorage(&text)
        appendMemory(&text)
        text.gauge("fanout_input_buffers", UInt64(inputs.inUse), "Connections with input that is not whole.")
        text.gauge("fanout_uptime_seconds", (loop.now - startedAt) / 1000, "Seconds since the start.")
        text.family("fanout_io_backend", "gauge", "The I/O interface in use is 1.")
        text.sample("fanout_io_backend", labels: "backend=\"\(loop.backendName)\"", 1)
        text.family("fanout_build_info", "gauge", "Version.")
        text.sample("fanout_build_info", labels: "version=\"\(Server.version)\"", 1)
    }
}
