/// A strict reader of HTTP/1.1 responses, from RFC 9112.

/// A response head, and the body where it has a length.
struct Response {
    var status: Int
    var fields: [(name: String, value: String)]
    var body: [UInt8] = []

    subscript(_ name: String) -> String? { fields.first { $0.name.lowercased() == name }?.value }

    /// Whether the connection goes on after it.
    var keepsAlive: Bool { self["connection"]?.lowercased() == "keep-alive" }
}

/// Cuts the bytes of one connection into responses.
struct ResponseReader {
    private(set) var incoming = Incoming()
    private var head: Response?
    private var bodyBytes = 0
    private var lines: [[UInt8]] = []

    mutating func append(_ bytes: [UInt8]) { incoming.append(bytes) }

    /// Whether the connection stands between two responses.
    var isAtBoundary: Bool { incoming.isEmpty && head == nil && lines.isEmpty }

    /// The bytes that follow a head which began a stream.
    mutating func takeRest() -> [UInt8] { incoming.take(incoming.count) }

    /// The next response with its body. A head without a length whose body lasts as long as the connection, and 101,
    /// come as soon as the head is whole.
    mutating func next() throws -> Response? {
        while head == nil {
            guard var line = incoming.takeLine() else { return nil }
            guard line.popLast() == 0x0D else {
                throw Malformed("a bare line feed in a response head: \(line.excerpt)")
            }
            if !line.isEmpty {
                lines.append(line)
                continue
            }
            let whole = lines
            lines = []
            let response = try Self.head(whole)
            if response.status == 100 { continue }
            guard let text = response["content-length"] else {
                if response.status == 101 || response.status == 204 { return response }
                guard response["connection"] == "close" else {
                    throw Malformed("a response without a length on a connection that goes on")
                }
                return response
            }
            guard let length = Int(text) else { throw Malformed("Content-Length: \(text)") }
            head = response
            bodyBytes = length
        }
        guard incoming.count >= bodyBytes, var response = head else { return nil }
        head = nil
        response.body = incoming.take(bodyBytes)
        return response
    }

    private static func head(_ lines: [[UInt8]]) throws -> Response {
        guard let first = lines.first, first.hasPrefix("HTTP/1.1 "), first.count > 13, first[12] == 0x20,
            let status = Int(Array(first[9..<12]).text)
        else { throw Malformed("a status line: \(lines.first?.excerpt ?? "none")") }
        var fields: [(name: String, value: String)] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: 0x3A), colon > 0, line.has(": ", at: colon),
                line.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
            else { throw Malformed("a field line: \(line.excerpt)") }
            fields.append((Array(line[..<colon]).text, Array(line[(colon + 2)...]).text))
        }
        for name in ["content-length", "content-type", "connection"] {
            guard fields.count(where: { $0.name.lowercased() == name }) <= 1 else { throw Malformed("\(name) twice") }
        }
        return Response(status: status, fields: fields)
    }
}
