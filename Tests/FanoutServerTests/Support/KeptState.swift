// A client that keeps what its channels keep, by the same rules: from a snapshot's rows, then from events.
import Testing

@testable import FanoutServer
@testable import Reactor

/// The state as a reader knows it. Kinds: `put` and `gone` have a `key`, `whole` is one of its kind, `all` is
/// everything there is.
struct KeptState: Equatable {
    /// Row by key: the object's text.
    var rows: [String: String] = [:]
    /// Whether it is between `$snapshot` and `$live`.
    var isLoading = false

    /// The rules that it keeps to.
    static var rules: Configuration.StateRules {
        var rules = Configuration.StateRules()
        rules.upsert = ["put": Configuration.StateKey(pointer: "/key")]
        rules.remove = ["gone": Configuration.StateKey(pointer: "/key")]
        rules.replace = ["whole"]
        rules.snapshot = ["all"]
        return rules
    }

    mutating func apply(_ records: [Record], sourceLocation: SourceLocation = #_sourceLocation) {
        for record in records {
            let channel = record.object["channel"] as? String ?? ""
            switch record.kind {
            case "$snapshot":
                rows = [:]
                isLoading = true
            case "$live": isLoading = false
            case "put": rows["\(channel) \(record.object["key"] ?? "")"] = record.text
            case "gone": rows["\(channel) \(record.object["key"] ?? "")"] = nil
            case "whole": rows["\(channel) whole"] = record.text
            case "all":
                rows = rows.filter { !$0.key.hasPrefix(channel + " ") }
                rows["\(channel) all"] = record.text
            default: break
            }
        }
    }
}

extension SimulatedServer {
    /// A server whose channels below `kept` keep state by the rules of `KeptState`.
    static func keeping(
        pipeBytes: Int = 65_536, segmentBytes: Int? = 1024, store: SimulatedStore? = nil,
        _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> SimulatedServer {
        try SimulatedServer(pipeBytes: pipeBytes, store: store) {
            var rules = Configuration.ChannelRules()
            rules.state = KeptState.rules
            $0.channelRules.append(("kept/**", rules))
            if let segmentBytes { $0.segmentBytes = segmentBytes }
            configure(&$0)
        }
    }

    /// Publishes an event that keeps a key.
    @discardableResult
    func put(_ key: String, _ n: Int = 0, on channel: String = "kept/a", pad: Int = 0) throws -> UInt64 {
        let pad = String(repeating: "x", count: pad)
        return try publish("{\"type\":\"put\",\"key\":\"\(key)\",\"n\":\(n),\"pad\":\"\(pad)\"}", on: channel)
    }

    @discardableResult
    func gone(_ key: String, on channel: String = "kept/a") throws -> UInt64 {
        try publish("{\"type\":\"gone\",\"key\":\"\(key)\"}", on: channel)
    }

    /// One request, one answer.
    func ask(
        _ method: String, _ target: String, _ fields: [String] = [], body: String? = nil,
        type: String = "application/x-ndjson", at address: SocketAddress = SimulatedServer.http
    ) throws -> Answer {
        let client = try connect(address)
        var fields = fields
        if let body { fields += ["Content-Type: \(type)", "Content-Length: \(body.utf8.count)"] }
        client.write(RequestText.make(method, target, fields) + (body ?? ""))
        var bytes = client.takeAll()
        let answer = try #require(Answer.take(&bytes, toHead: method == "HEAD"))
        #expect(bytes.isEmpty)
        client.close()
        return answer
    }
}

extension [Record] {
    var kinds: [String] { compactMap(\.kind) }
}
