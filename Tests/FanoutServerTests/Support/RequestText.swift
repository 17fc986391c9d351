// Requests as text, and streams begun with them.
import Testing

@testable import FanoutServer
@testable import Reactor

enum RequestText {
    static func get(_ target: String, _ fields: [String] = [], host: String = "127.0.0.1:7575") -> String {
        make("GET", target, fields, host: host)
    }

    static func post(
        _ body: String, to target: String = "/v1/events", type: String = "application/json", _ fields: [String] = []
    ) -> String {
        make("POST", target, ["Content-Type: \(type)", "Content-Length: \(body.utf8.count)"] + fields) + body
    }

    static func make(
        _ method: String, _ target: String, _ fields: [String] = [], host: String = "127.0.0.1:7575"
    ) -> String {
        "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    }

    static let upgrade = [
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
}

/// The ways to read a stream, behind one face.
enum ReaderKind: CaseIterable {
    case eventsSocket, jsonlTCP, jsonlHTTP, sse, webSocket
}

/// A subscriber of any kind.
struct SimulatedReader {
    let kind: ReaderKind
    let client: SimulatedClient
    /// The head of the answer, where there was one.
    private(set) var head: Answer?

    /// Connects and subscribes; `query` is for HTTP.
    init(_ server: SimulatedServer, _ kind: ReaderKind, query: String = "", _ fields: [String] = []) throws {
        self.kind = kind
        let target = "/v1/events" + (query.isEmpty ? "" : "?" + query)
        switch kind {
        case .eventsSocket:
            client = try server.connect(SimulatedServer.events)
        case .jsonlTCP:
            client = try server.connect(SimulatedServer.jsonl)
        case .jsonlHTTP:
            client = try server.connect()
            client.write(RequestText.get(target, ["Accept: application/x-ndjson"] + fields))
        case .sse:
            client = try server.connect()
            client.write(RequestText.get(target, ["Accept: text/event-stream"] + fields))
        case .webSocket:
            client = try server.connect()
            client.write(RequestText.get(target, RequestText.upgrade + fields))
        }
        try readHead()
    }

    private mutating func readHead() throws {
        guard kind != .eventsSocket, kind != .jsonlTCP else { return }
        client.read()
        let end = try #require(Answer.firstIndex(of: Array("\r\n\r\n".utf8), in: client.received)) + 4
        var bytes = Array(client.received[..<end])
        head = Answer.take(&bytes)
        if head?.fields["content-length"] == nil { client.received.removeFirst(end) }
    }

    /// What has come since the last call, keep-alives left out.
    func take(sourceLocation: SourceLocation = #_sourceLocation) -> [Record] {
        let bytes = client.takeAll()
        switch kind {
        case .eventsSocket, .jsonlTCP, .jsonlHTTP:
            return StreamReader.lines(bytes, sourceLocation: sourceLocation).filter { $0.kind != "$ping" }
        case .sse:
            return StreamReader.events(String(decoding: bytes, as: UTF8.self), sourceLocation: sourceLocation).records
        case .webSocket:
            let texts = ServerFrame.all(bytes, sourceLocation: sourceLocation).filter { $0.opcode == 1 }
            return texts.compactMap { frame in
                guard let object = JSONObject(frame.text) else {
                    Issue.record("not an object: \(frame.text)", sourceLocation: sourceLocation)
                    return nil
                }
                return Record(object: object, text: frame.text)
            }
        }
    }

    /// The numbers of the events that have come since the last call.
    func takeSeqs(sourceLocation: SourceLocation = #_sourceLocation) -> [Int] {
        take(sourceLocation: sourceLocation).filter { !$0.isControl }.compactMap(\.seq)
    }
}
