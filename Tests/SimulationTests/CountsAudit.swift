/// The server's own counts, held against what its clients saw.

import Reactor
import Wire

@testable import FanoutServer

/// What all clients of a world saw together; each stream counts what it was told, which may be less than was said.
struct Seen {
    var gaps: UInt64 = 0
    var byes: [UInt64: UInt64] = [:]
    /// Streams that began, as far as their readers know.
    var streams: UInt64 = 0
    /// Connections that could have become streams.
    var clients: UInt64 = 0

    mutating func note(_ record: StreamRecord) {
        for entry in record.entries {
            switch entry {
            case .gap: gaps += 1
            case .bye(let code, _): byes[code, default: 0] += 1
            case .event, .unstamped, .hello: break
            }
        }
        if record.helloCount > 0 { streams += 1 }
    }
}

/// Compares the counters with the clients' account, and `/metrics` with the counters.
struct CountsAudit {
    let engine: Engine
    let seen: Seen
    /// Whether every connection has ended.
    let isOver: Bool

    /// Everything that does not agree.
    func faults() -> [String] {
        var faults: [String] = []
        let metrics = engine.metrics
        func check(_ isRight: Bool, _ what: @autoclosure () -> String) { if !isRight { faults.append(what()) } }
        check(metrics.eventsIn == engine.hub.head, "\(metrics.eventsIn) events counted, \(engine.hub.head) published")
        check(seen.gaps <= metrics.gaps, "\(seen.gaps) gaps were seen, \(metrics.gaps) counted")
        var closes: UInt64 = 0
        for reason in EndReason.allCases {
            let count = Transport.subscribers.reduce(0) { $0 + metrics.closed(reason, on: $1) }
            closes += count
            guard let code = reason.code else { continue }
            let byes = seen.byes[UInt64(code)] ?? 0
            // Who found no descriptor was told so without having become a connection.
            let told = reason == .overload ? count + engine.loop.stats.connectionsShed : count
            check(byes <= told, "\(byes) readers were told \(code), \(count) ends are counted for it")
        }
        check(closes <= seen.clients, "\(closes) ends of streams are counted for \(seen.clients) clients")
        if isOver { check(closes >= seen.streams, "\(closes) ends are counted for \(seen.streams) streams") }
        return faults + textFaults(closes)
    }

    /// `/metrics` says what is counted.
    private func textFaults(_ closes: UInt64) -> [String] {
        var values: [String: UInt64] = [:]
        for line in Array(engine.metricsText()).text.split(separator: "\n") where !line.hasPrefix("#") {
            let parts = line.split(separator: " ")
            guard parts.count == 2, let name = parts[0].split(separator: "{").first else {
                return ["/metrics: \(line)"]
            }
            if let value = UInt64(parts[1]) { values[String(name), default: 0] += value }
        }
        let replaying = (0..<UInt32(engine.delivery.connections.slotsUsed)).reduce(0 as UInt64) { count, slot in
            let connection = engine.delivery.connections[slot]
            return count + (connection.isLive && connection.flags.contains(.replaying) ? 1 : 0)
        }
        let expected: [(String, UInt64)] = [
            ("fanout_head_seq", engine.hub.head), ("fanout_events_in_total", engine.metrics.eventsIn),
            ("fanout_gaps_total", engine.metrics.gaps), ("fanout_closed_total", closes),
            ("fanout_deliveries_total", engine.delivery.counters.deliveries),
            ("fanout_history_first_seq", engine.hub.oldestHeld),
            ("fanout_history_events", engine.hub.window.isOn ? engine.hub.head + 1 - engine.hub.oldestHeld : 0),
            ("fanout_replaying_subscribers", replaying),
        ]
        return expected.compactMap { name, value in
            values[name] == value ? nil : "\(name) is \(values[name].map(String.init) ?? "missing"), not \(value)"
        }
    }
}
