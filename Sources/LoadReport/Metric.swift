/// The figures that a run can have, by the names they have in its line, in goals and in tables.

/// One figure of a run. Less is better unless `isRate`.
package enum Metric: String, CaseIterable, Sendable {
    case cost, userCost = "user_cost", systemCost = "system_cost", eventCost = "event_cost"
    case p50, p99, p999, max
    case eventsPerSecond = "events_per_second"
    case connectsPerSecond = "connects_per_second", connectSeconds = "connect_seconds", connectCost = "connect_cost"
    case bytesPerReader = "bytes_per_reader", memory, idle = "idle_cpu"

    /// The member of a run's line that holds it, as names from the outside in; nil for what is computed from others.
    var place: [String]? {
        switch self {
        case .cost: ["server_cpu_us_per_delivery"]
        case .userCost: ["server_user_us_per_delivery"]
        case .systemCost: ["server_system_us_per_delivery"]
        case .eventCost: ["server_cpu_us_per_event"]
        case .p50, .p99, .p999, .max: ["latency_us", rawValue]
        case .eventsPerSecond, .connectsPerSecond, .connectSeconds: [rawValue]
        case .connectCost: ["connect_cpu_us"]
        case .bytesPerReader: nil
        case .memory: ["rss_peak"]
        case .idle: ["idle_cpu_percent"]
        }
    }

    /// True exactly when more is better.
    var isRate: Bool { self == .eventsPerSecond || self == .connectsPerSecond }

    /// A column's heading, unit included.
    var title: String {
        switch self {
        case .cost: "CPU per delivery, µs"
        case .userCost: "of it user, µs"
        case .systemCost: "of it system, µs"
        case .eventCost: "CPU per event, µs"
        case .p50: "p50"
        case .p99: "p99"
        case .p999: "p99.9"
        case .max: "max"
        case .eventsPerSecond: "events/s"
        case .connectsPerSecond: "connections/s"
        case .connectSeconds: "seconds until all had the stream"
        case .connectCost: "CPU per connection, µs"
        case .bytesPerReader: "memory per reader, bytes"
        case .memory: "most memory"
        case .idle: "idle CPU, % of a core"
        }
    }

    /// One value as it stands in a table: times and sizes with their unit, all else as a bare number.
    func text(_ value: Double) -> String {
        switch self {
        case .p50, .p99, .p999, .max: FigureText.time(microseconds: value)
        case .memory: FigureText.bytes(value)
        default: FigureText.short(value)
        }
    }
}

/// What a run measured: it decides which columns its table has.
enum Measure: CaseIterable {
    case delivery, ingest, storm, idle

    /// The figure that is compared, drawn as bars and given as a ratio.
    var chief: Metric {
        switch self {
        case .delivery: .cost
        case .ingest: .eventsPerSecond
        case .storm: .connectsPerSecond
        case .idle: .bytesPerReader
        }
    }

    /// The further columns.
    var others: [Metric] {
        switch self {
        case .delivery: [.p50, .p99, .p999]
        case .ingest: [.eventCost]
        case .storm: [.connectCost]
        case .idle: [.idle]
        }
    }
}
