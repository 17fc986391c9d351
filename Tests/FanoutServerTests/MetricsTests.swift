// /metrics by a strict reader of the Prometheus text format 0.0.4.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Metrics")
struct MetricsTests {
    struct Family {
        var type = ""
        var samples: [(labels: [String: String], value: UInt64)] = []
    }

    /// HELP, TYPE, then samples; each family once, each set of labels once.
    private func parse(_ text: String) throws -> [String: Family] {
        var families: [String: Family] = [:]
        var current = ""
        #expect(text.hasSuffix("\n"))
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if let help = try #/# HELP ([a-z_]+) (\S.*)/#.wholeMatch(in: line) {
                current = String(help.1)
                #expect(families[current] == nil, "\(current) comes twice")
                #expect(help.2.hasSuffix("."), "\(line)")
                families[current] = Family()
            } else if let type = try #/# TYPE ([a-z_]+) (counter|gauge)/#.wholeMatch(in: line) {
                #expect(
                    String(type.1) == current && families[current]?.type == "" && families[current]!.samples.isEmpty)
                families[current]?.type = String(type.2)
            } else if let sample = try #/([a-z_]+)(?:\{([^}\n]*)\})? (\d+)(?:\.\d{3})?/#.wholeMatch(in: line) {
                #expect(String(sample.1) == current, "\(line)")
                var labels: [String: String] = [:]
                for pair in (sample.2 ?? "").split(separator: ",") {
                    guard let label = try #/([a-z]+)="([^"\\]*)"/#.wholeMatch(in: pair) else {
                        Issue.record("not a label: '\(pair)'")
                        continue
                    }
                    labels[String(label.1)] = String(label.2)
                }
                #expect(families[current]?.samples.contains { $0.labels == labels } == false, "\(line) comes twice")
                families[current]?.samples.append((labels, UInt64(sample.3)!))
            } else {
                Issue.record("not a line of the format: '\(line)'")
            }
        }
        return families
    }

    @Test("the text is well formed, names say their kind, labels come from closed sets")
    func format() throws {
        let server = try SimulatedServer()
        _ = try SimulatedReader(server, .sse, query: "channel=sec%72et&types=token")
        try server.publish("{}", on: "private/channel")
        let client = try server.connect()
        client.write(RequestText.get("/metrics"))
        let answer = try #require(Answer.all(client.takeAll()).first)
        #expect(answer.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
        let families = try parse(answer.body)
        let closed: [String: Set<String>] = [
            "transport": Set(Transport.allCases.map(\.label.description)),
            "reason": Set(
                EndReason.allCases.map(\.why.description) + LagReason.allCases.map(\.label.description)
                    + PeerLimits.Want.allCases.map(\.label.description)),
            "state": ["running", "refusing", "ended"],
            "result": ["ok", "refused"], "mode": Set(Configuration.SchemaMode.allCases.map(\.rawValue)),
            "class": ["1xx", "2xx", "3xx", "4xx", "5xx"],
            "of": ["segments", "runs", "input", "subscriptions", "channels", "storage", "repetition", "state"],
            "backend": [server.loop.backendName], "version": [Server.version],
        ]
        for (name, family) in families {
            #expect(name.hasPrefix("fanout_"))
            #expect(!family.samples.isEmpty, "\(name) has no sample")
            #expect(name.hasSuffix("_total") == (family.type == "counter"), "\(name) is a \(family.type)")
            for (labels, _) in family.samples {
                for (label, value) in labels {
                    #expect(closed[label]?.contains(value) == true, "\(name){\(label)=\(value)}")
                }
            }
        }
        #expect(!answer.body.contains("secret") && !answer.body.contains("private") && !answer.body.contains("token"))
        #expect(families["fanout_closed_total"]?.samples.count == EndReason.allCases.count * 5)
    }

    @Test("gauges and counters agree with what happened")
    func values() throws {
        let server = try SimulatedServer()
        let readers = try [ReaderKind.sse, .sse, .webSocket, .eventsSocket].map { try SimulatedReader(server, $0) }
        let client = try server.connect()
        client.write(
            RequestText.post("{}\n{}\n", type: "application/x-ndjson") + RequestText.post("{") + RequestText.get("/no"))
        client.write(RequestText.get("/metrics"))
        let text = try #require(Answer.all(client.takeAll()).last).body
        let families = try parse(text)
        func value(_ name: String, _ label: String? = nil) -> UInt64? {
            families[name]?.samples.first { label == nil || $0.labels.values.first == label }?.value
        }
        #expect(value("fanout_connections", "sse") == 2)
        #expect(value("fanout_connections", "websocket") == 1)
        #expect(value("fanout_connections", "jsonl_unix") == 1)
        #expect(value("fanout_connections", "http") == 1)
        #expect(value("fanout_events_in_total") == 2)
        #expect(value("fanout_events_refused_total") == 1)
        #expect(value("fanout_deliveries_total") == 8)
        #expect(value("fanout_head_seq") == 2)
        #expect(value("fanout_accepted_total") == 5)
        #expect(value("fanout_http_responses_total", "1xx") == 1)
        #expect(value("fanout_http_responses_total", "2xx") == 3)
        #expect(value("fanout_http_responses_total", "4xx") == 2)
        for reader in readers { server.kernel.peerReset(reader.client.peer) }
        server.settle()
        let gone = Transport.subscribers.map {
            server.metric("fanout_closed_total{reason=\"peer_gone\",transport=\"\($0.label)\"}") ?? 0
        }
        #expect(gone.reduce(0, +) == 4)
        #expect(server.metric("fanout_connections{transport=\"sse\"}") == 0)
    }

    @Test("/v1/channels lists every channel by name, with its events, readers and head")
    func channels() throws {
        let server = try SimulatedServer()
        _ = try SimulatedReader(server, .sse, query: "channel=a/*")
        for channel in ["b", "a/x", "a/x"] { try server.publish("{}", on: channel) }
        let client = try server.connect()
        client.write(RequestText.get("/v1/channels"))
        let list = try #require(Answer.all(client.takeAll()).first?.json["channels"] as? [[String: Any]])
        #expect(list.map { $0["channel"] as? String } == ["a/x", "b", "events", "fixed"])
        #expect(list.map { $0["events"] as? Int } == [2, 1, 0, 0])
        #expect(list.map { $0["subscribers"] as? Int } == [1, 0, 0, 0])
        #expect(list.map { $0["head"] as? String } == [3, 1, 0, 0].map { "\(SimulatedServer.epochText)-\($0)" })
    }
}
