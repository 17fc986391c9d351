/// What the flags of `bench` say, and the plan that they make.

import FanoutServer
import Glibc
import LoadGenerator

/// What the flags of `bench` say.
package struct BenchOptions: Sendable {
    /// Where readers go: URLs, `unix:PATH`, `http+unix:PATH`.
    var urls: [String] = []
    /// Nil is all of them, mixed.
    var transport: Transport? = .sse
    /// `--mix`: how many of each; empty where `transport` says it.
    var mix: [(transport: Transport, count: Int)] = []
    var plan = LoadPlan()
    var readers = 1_000
    var channelCount = 1
    var channel: String?
    var publish: String?
    var waitsForPort = false
    var greetsNobody = false
    var jsonPath: String?
    var svgPath: String?
    var labels = LoadResult.Labels()
    var isQuiet = false
    var report = ReportOptions()

    package init() {}

    /// Whether events go to the standard input of the server that is started.
    var publishesToInput: Bool { publish == "stdin" }

    /// The plan; `ready` is what a server that was started here has said.
    package func finished(_ ready: ReadyLine?, input: Int32 = -1) throws(LoadFailure) -> LoadPlan {
        var plan = plan
        plan.channels = channelNames
        for (transport, count) in counts where count > 0 {
            let routes = try routes(transport, ready)
            for (index, var route) in routes.enumerated() {
                if greetsNobody { route.hellos = 0 }
                let its = count * (index + 1) / routes.count - count * index / routes.count
                if its > 0 { plan.readers.append((route, its)) }
            }
        }
        plan.publishing = try publishing(ready)
        plan.publishing?.channels = plan.channels
        plan.input = input
        guard plan.publishers == 1 || !publishesToInput else {
            throw LoadFailure(.usage, "--publishers: standard input has room for one")
        }
        guard plan.publishing?.dialect != .http || plan.publishing?.takesBatches == true || plan.burst <= 1_000 else {
            throw LoadFailure(.usage, "--burst: over HTTP, with one event to a request, at most 1000")
        }
        return plan
    }

    /// `NAME`, or `NAME-0` and so on; empty where nothing was said.
    private var channelNames: [String] {
        if channelCount == 1 { return channel.map { [$0] } ?? [] }
        return (0..<channelCount).map { "\(channel ?? "bench")-\($0)" }
    }

    private var counts: [(transport: Transport?, count: Int)] {
        if !mix.isEmpty { return mix.map { ($0.transport, $0.count) } }
        if transport != nil { return [(transport, readers)] }
        let all = Transport.allCases.prefix(3)
        return all.enumerated().map { ($1, readers * ($0 + 1) / all.count - readers * $0 / all.count) }
    }

    /// Where readers of one transport go.
    private func routes(_ transport: Transport?, _ ready: ReadyLine?) throws(LoadFailure) -> [Route] {
        let wanted = transport ?? .sse
        if urls.isEmpty {
            let place: String? =
                switch wanted {
                case .jsonl: ready?.jsonl.map { "tcp://\($0)" } ?? ready?.http.map { "http://\($0)" }
                default: ready?.http.map { "http://\($0)" }
                }
            guard let place else {
                throw LoadFailure(.usage, "the server did not say where it listens for \(wanted.rawValue): give --url")
            }
            return [try Place(place).route(wanted)]
        }
        var routes: [Route] = []
        for url in urls {
            let route = try Place(url).route(wanted)
            // One URL's scheme may leave no choice; in a mix it takes only what it can.
            if mix.isEmpty && self.transport != nil || route.dialect.name == wanted.rawValue { routes.append(route) }
        }
        guard !routes.isEmpty else { throw LoadFailure(.usage, "no --url is for \(wanted.rawValue) readers") }
        return routes
    }

    private func publishing(_ ready: ReadyLine?) throws(LoadFailure) -> PublishRoute? {
        switch publish {
        case "none": return nil
        case "stdin": return .input
        case let place?: return try Place(place).publishRoute()
        case nil:
            if let ingest = ready?.ingest { return try Place("unix:" + ingest).publishRoute() }
            if let http = ready?.http { return try Place("http://" + http).publishRoute() }
            guard let url = urls.first(where: { $0.hasPrefix("http://") }) else {
                throw LoadFailure(.usage, "say where to publish: --publish unix:PATH, an http:// URL, or none")
            }
            return try Place(url).publishRoute()
        }
    }
}
