// Readers of what the server writes, from the specifications and with no leniency at all: nil means that a stream has
// something in it that it should not have.

/// One record of a stream, whatever the transport.
struct StreamRecord: Equatable {
    enum Kind: Equatable {
        case data
        /// An SSE comment or a WebSocket ping.
        case keepAlive
        case close, pong
    }

    var kind = Kind.data
    var payload: [UInt8] = []
    /// SSE only.
    var id: [UInt8]?
    /// SSE only.
    var event: [UInt8]?
}

enum StrictStreams {
    /// Lines that end with LF and hold no control character.
    static func jsonLines(_ bytes: [UInt8]) -> [StreamRecord]? {
        guard bytes.isEmpty || bytes.last == 10, !bytes.contains(where: { $0 < 0x20 && $0 != 10 }) else { return nil }
        return NaiveText.split(bytes, "\n").dropLast().map { StreamRecord(payload: $0) }
    }

    /// WHATWG HTML section 9.2.6, without the parts that the server does not use: a record is at most one `id`, one
    /// `event` and one `data` line, or a comment.
    static func serverSentEvents(_ bytes: [UInt8]) -> [StreamRecord]? {
        guard !bytes.contains(13), NaiveText.isUTF8(bytes) else { return nil }
        var records: [StreamRecord] = []
        var lines: [[UInt8]] = []
        var all = NaiveText.split(bytes, "\n")
        guard all.removeLast().isEmpty else { return nil }
        for line in all {
            guard line.isEmpty else {
                lines.append(line)
                continue
            }
            guard let record = record(lines) else { return nil }
            records.append(record)
            lines = []
        }
        return lines.isEmpty ? records : nil
    }

    private static func record(_ lines: [[UInt8]]) -> StreamRecord? {
        if lines == [Array(":".utf8)] { return StreamRecord(kind: .keepAlive) }
        var fields: [String: [UInt8]] = [:]
        for line in lines {
            let name = NaiveText.string(line.prefix { $0 != UInt8(ascii: ":") })
            let rest = Array(line.dropFirst(name.utf8.count))
            guard rest.prefix(2).elementsEqual(": ".utf8), fields[name] == nil,
                ["id", "event", "data"].contains(name), !rest.contains(0)
            else { return nil }
            fields[name] = Array(rest.dropFirst(2))
        }
        guard let data = fields["data"] else { return nil }
        return StreamRecord(payload: data, id: fields["id"], event: fields["event"])
    }

    /// RFC 6455 section 5.2, a server's side: whole unmasked messages, lengths in the shortest form.
    static func webSocket(_ bytes: [UInt8]) -> [StreamRecord]? {
        let kinds: [UInt8: StreamRecord.Kind] = [0x81: .data, 0x88: .close, 0x89: .keepAlive, 0x8A: .pong]
        var records: [StreamRecord] = []
        var rest = bytes[...]
        while let first = rest.popFirst() {
            guard let kind = kinds[first], let short = rest.popFirst(), short < 0x80 else { return nil }
            var count = Int(short)
            if short > 125 {
                let size = short == 126 ? 2 : 8
                guard kind == .data, rest.count >= size else { return nil }
                count = rest.prefix(size).reduce(0) { $0 * 256 + Int($1) }
                rest.removeFirst(size)
                guard count > (short == 126 ? 125 : 65_535) else { return nil }
            }
            guard rest.count >= count else { return nil }
            let payload = Array(rest.prefix(count))
            rest.removeFirst(count)
            guard kind != .data || NaiveText.isUTF8(payload) else { return nil }
            records.append(StreamRecord(kind: kind, payload: payload))
        }
        return records
    }

    /// A response's status, its fields with names as written, and its body.
    static func response(_ bytes: [UInt8]) -> (status: Int, fields: [(name: String, value: [UInt8])], body: [UInt8])? {
        let end: [UInt8] = [13, 10, 13, 10]
        guard let count = (0..<bytes.count).first(where: { bytes[$0] == 13 && bytes[$0...].starts(with: end) }) else {
            return nil
        }
        let head = Array(bytes[..<count]) + [13, 10]
        let returns = head.indices.filter { head[$0] == 13 }
        let feeds = head.indices.filter { head[$0] == 10 }
        guard returns.map({ $0 + 1 }) == feeds,
            !head.contains(where: { ($0 < 0x20 && ![9, 10, 13].contains($0)) || $0 == 0x7F })
        else { return nil }
        var lines = NaiveText.split(head, "\n").dropLast().map { Array($0.dropLast()) }
        let status = NaiveText.string(lines.removeFirst())
        guard status.hasPrefix("HTTP/1.1 "), status.count > 13, let code = Int(status.dropFirst(9).prefix(3)) else {
            return nil
        }
        var fields: [(name: String, value: [UInt8])] = []
        for line in lines {
            let name = Array(line.prefix { $0 != UInt8(ascii: ":") })
            guard NaiveText.isToken(name), line.count > name.count else { return nil }
            fields.append((NaiveText.string(name), NaiveText.trimmed(Array(line[(name.count + 1)...]))))
        }
        return (code, fields, Array(bytes[(count + 4)...]))
    }
}
