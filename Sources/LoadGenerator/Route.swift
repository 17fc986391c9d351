/// Where readers and publishers go, and how a channel is named there.

import ClientSockets

/// Where one kind of reader goes.
package struct Route: Equatable, Sendable {
    /// What is spoken there.
    package var dialect: Dialect
    /// Where it connects to.
    package var destination: Destination
    /// The `Host` field of HTTP requests.
    package var host: String
    /// Path and query of HTTP requests; `{channel}` stands for the channel's name.
    package var path: String
    /// How many `$hello` a raw JSONL stream begins with: none for a server that is not fanout.
    package var hellos: Int
    /// The place that a reader comes back to, a cursor; nil begins with what is published next.
    package var from: String?

    /// The request target for a channel; nil leaves the choice to the server.
    package func target(channel: String?) -> String {
        let target = Route.target(path, channel: channel)
        guard let from else { return target }
        return target + (target.contains("?") ? "&" : "?") + "from=" + from
    }

    static func target(_ path: String, channel: String?) -> String {
        let mark = "{channel}"
        let pieces = path.split(separator: mark, omittingEmptySubsequences: false)
        if pieces.count > 1 { return pieces.joined(separator: channel ?? "events") }
        // Only fanout's own address takes the parameter; another server's path is used as it is.
        guard let channel, path.prefix(while: { $0 != "?" }).hasSuffix("/v1/events") else { return path }
        return path + (path.contains("?") ? "&" : "?") + "channel=" + channel
    }
}

/// Where publishers go.
package struct PublishRoute: Equatable, Sendable {
    /// What is spoken there.
    package var dialect: PublishDialect
    /// Where they connect to; nil is a descriptor that the plan names: a server's standard input.
    package var destination: Destination?
    /// The `Host` field of HTTP requests.
    package var host: String
    /// Path and query of HTTP requests; `{channel}` stands for the channel's name.
    package var path: String
    /// The channels' names; empty where the server's default is used.
    package var channels: [String] = []

    /// The standard input of a server, whose descriptor the plan names.
    package static let input = PublishRoute(dialect: .lines, destination: nil, host: "standard input", path: "")

    /// Whether one request may hold several events: fanout's own address does, for one channel.
    package var takesBatches: Bool {
        channels.count <= 1 && path.prefix(while: { $0 != "?" }).hasSuffix("/v1/events")
    }

    /// The request target for a channel; nil leaves the choice to the server.
    package func target(channel: String?) -> String {
        Route.target(path, channel: channel)
    }

    /// The name of a channel by its number; nil where the server's default is used.
    func name(of channel: Int) -> String? { channels.isEmpty ? nil : channels[channel] }
}

extension Dialect {
    /// The path of HTTP requests where the URL names none.
    var path: String {
        switch self {
        case .natsWS: "/"
        case .mqttWS: "/mqtt"
        default: "/v1/events"
        }
    }
}

/// What `--transport` and `--mix` name.
package enum Transport: String, CaseIterable, Sendable {
    case jsonl, sse, ws, nats, redis
    case natsWS = "nats-ws"
    case mqttWS = "mqtt-ws"
}
