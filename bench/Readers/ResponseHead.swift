// The head of an HTTP response, read strictly (RFC 9112): what a stream's answer must and must not say.

import Glibc

/// A parsed response head.
struct ResponseHead {
    var status = 0
    private var fields: [(name: String, value: String)] = []

    /// The length of the head in `bytes`, its empty line included; nil while that has not come.
    static func length(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        find([13, 10, 13, 10], in: bytes, count).map { $0 + 4 }
    }

    /// Reads a whole head of `count` bytes; nil if it is malformed.
    init?(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
        var start = 0
        while start < count - 2 {
            guard let size = find([13, 10], in: bytes + start, count - start) else { return nil }
            let line = UnsafeBufferPointer(start: bytes + start, count: size)
            guard line.allSatisfy({ $0 >= 32 && $0 < 127 }) else { return nil }
            guard take(String(decoding: line, as: UTF8.self), isFirst: start == 0) else { return nil }
            start += size + 2
        }
    }

    private mutating func take(_ line: String, isFirst: Bool) -> Bool {
        if isFirst {
            guard line.hasPrefix("HTTP/1.1 "), line.count > 12, line.dropFirst(12).first == " " else { return false }
            status = Int(line.dropFirst(9).prefix(3)) ?? 0
            return status >= 100
        }
        guard let colon = line.firstIndex(of: ":"), colon > line.startIndex, !line[..<colon].contains(" ") else {
            return false
        }
        fields.append((line[..<colon].lowercased(), String(line[line.index(after: colon)...].drop { $0 == " " })))
        return true
    }

    /// The value of a field that occurs exactly once.
    subscript(name: String) -> String? {
        let found = fields.filter { $0.name == name }
        return found.count == 1 ? found[0].value : nil
    }

    func has(_ name: String) -> Bool { fields.contains { $0.name == name } }

    /// What is wrong with this head as the answer to a subscription over `transport`; nil if nothing is.
    func fault(for transport: Transport) -> String? {
        if transport == .ws {
            guard status == 101 else { return "status \(status), not 101" }
            guard self["upgrade"]?.lowercased() == "websocket" else { return "no Upgrade: websocket" }
            guard self["connection"]?.lowercased() == "upgrade" else { return "no Connection: Upgrade" }
            guard self["sec-websocket-accept"] == Self.webSocketAccept else { return "a wrong Sec-WebSocket-Accept" }
            if has("sec-websocket-extensions") { return "an extension that was not offered" }
            if has("sec-websocket-protocol") { return "a subprotocol that was not offered" }
        } else {
            guard status == 200 else { return "status \(status), not 200" }
            let wanted = transport == .sse ? "text/event-stream" : "application/x-ndjson"
            guard let type = self["content-type"], type == wanted || type.hasPrefix(wanted + ";") else {
                return "Content-Type is not \(wanted)"
            }
            guard let caching = self["cache-control"], caching.contains("no-store") else {
                return "no Cache-Control: no-store"
            }
            if has("content-length") { return "a Content-Length on a stream" }
        }
        return has("transfer-encoding") ? "a Transfer-Encoding on a stream that ends with its connection" : nil
    }

    // RFC 6455, section 1.3: the example key and what must answer it.
    static let webSocketKey = "dGhlIHNhbXBsZSBub25jZQ=="
    static let webSocketAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
}
