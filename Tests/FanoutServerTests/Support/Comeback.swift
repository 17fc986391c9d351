// Readers that come back to a place, over whatever they speak.
import Testing

@testable import FanoutServer
@testable import Reactor

/// What is asked for by someone who comes back, as a query or as a `$subscribe` line.
struct Comeback {
    var from: String
    var channels: [String] = []
    var types: [String] = []
    /// Further names and values: `on_lag`, `on_gap`, `control`.
    var more: [(name: String, value: String)] = []

    init(_ from: String, channels: [String] = [], types: [String] = [], _ more: (name: String, value: String)...) {
        self.from = from
        self.channels = channels
        self.types = types
        self.more = more
    }

    /// After the event of this number.
    init(
        after seq: Int, channels: [String] = [], types: [String] = [], _ more: (name: String, value: String)...
    ) {
        self.init("\(SimulatedServer.epochText)-\(seq)", channels: channels, types: types)
        self.more = more
    }

    var query: String {
        var parts = ["from=" + from] + channels.map { "channel=" + $0 }
        if !types.isEmpty { parts.append("types=" + types.joined(separator: ",")) }
        return (parts + more.map { $0.name + "=" + $0.value }).joined(separator: "&")
    }

    var line: String {
        func list(_ names: [String]) -> String { "[" + names.map { "\"\($0)\"" }.joined(separator: ",") + "]" }
        var parts = ["\"from\":\"\(from)\""]
        if !channels.isEmpty { parts.append("\"channel\":" + list(channels)) }
        if !types.isEmpty { parts.append("\"types\":" + list(types)) }
        parts += more.map { "\"\($0.name)\":\"\($0.value)\"" }
        return "{\"$subscribe\":{" + parts.joined(separator: ",") + "}}\n"
    }
}

extension SimulatedReader {
    /// Connects and comes back; what a raw reader is told before it has said so is thrown away.
    init(_ server: SimulatedServer, _ kind: ReaderKind, _ comeback: Comeback) throws {
        switch kind {
        case .eventsSocket, .jsonlTCP:
            try self.init(server, kind)
            _ = client.takeAll()
            client.write(comeback.line)
        default: try self.init(server, kind, query: comeback.query)
        }
    }
}

extension [Record] {
    /// The numbers of the events.
    var seqs: [Int] { filter { !$0.isControl }.compactMap(\.seq) }
    /// The first record of this kind.
    func first(_ kind: String) -> [String: Any]? { first { $0.kind == kind }?.object }
}

/// A reader that reads when the test says so, and only as much.
final class PatientReader {
    let kind: ReaderKind
    let client: SimulatedClient
    private var bytes: [UInt8] = []
    private var hasHead: Bool

    /// Connects and asks; reads nothing.
    init(_ server: SimulatedServer, _ kind: ReaderKind, _ comeback: Comeback) throws {
        self.kind = kind
        let target = "/v1/events?" + comeback.query
        hasHead = kind == .eventsSocket || kind == .jsonlTCP
        switch kind {
        case .eventsSocket:
            client = try server.connect(SimulatedServer.events)
            client.write(comeback.line)
        case .jsonlTCP:
            client = try server.connect(SimulatedServer.jsonl)
            client.write(comeback.line)
        case .jsonlHTTP:
            client = try server.connect()
            client.write(RequestText.get(target, ["Accept: application/x-ndjson"]))
        case .sse:
            client = try server.connect()
            client.write(RequestText.get(target, ["Accept: text/event-stream"]))
        case .webSocket:
            client = try server.connect()
            client.write(RequestText.get(target, RequestText.upgrade))
        }
    }

    /// Reads so many bytes, as far as they are there, and lets the server turn.
    func read(_ bytesMax: Int) {
        bytes += client.server.kernel.peerRead(client.peer, max: bytesMax)
        client.server.settle()
    }

    /// Reads everything there is, and says what was told since the beginning, whole records only where the stream is at
    /// its end. The `$hello` of a raw reader's first subscription is left out.
    func finish(sourceLocation: SourceLocation = #_sourceLocation) throws -> [Record] {
        bytes += client.takeAll()
        if !hasHead {
            let end = try #require(Answer.firstIndex(of: Array("\r\n\r\n".utf8), in: bytes)) + 4
            bytes.removeFirst(end)
            hasHead = true
        }
        switch kind {
        case .eventsSocket, .jsonlTCP:
            return Array(
                StreamReader.lines(bytes, sourceLocation: sourceLocation).filter { $0.kind != "$ping" }.dropFirst())
        case .jsonlHTTP:
            return StreamReader.lines(bytes, sourceLocation: sourceLocation).filter { $0.kind != "$ping" }
        case .sse:
            let text = String(decoding: bytes, as: UTF8.self)
            return StreamReader.events(text, sourceLocation: sourceLocation).records
        case .webSocket:
            return ServerFrame.all(bytes, sourceLocation: sourceLocation).filter { $0.opcode == 1 }.compactMap {
                frame in
                JSONObject(frame.text).map { Record(object: $0, text: frame.text) }
            }
        }
    }
}
