/// Strict readers of the three stream formats, from DESIGN section 2, the WHATWG rules for event streams and RFC 6455.

/// One thing that a stream said.
enum Told {
    /// A data event: its stamp, with the time if its channel is stamped with that, and the producer's object as it
    /// would be without the stamp.
    case event(seq: UInt64, channel: String, time: String?, payload: [UInt8], id: String?)
    /// A data event of a channel whose events are not stamped.
    case unstamped(payload: [UInt8], id: String?)
    /// A `$` record with its object and, on SSE, its id and `retry:`.
    case record(TinyJSON, id: String?, retry: UInt64?)
    /// A keep-alive that is no record.
    case comment
    /// WebSocket control frames.
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16?, String)
}

/// Cuts the bytes of a stream into what they say; throws at the first byte that should not be there.
struct StreamReader {
    enum Format { case jsonl, sse, webSocket }

    let format: Format
    private(set) var incoming = Incoming()
    private var block: [[UInt8]] = []

    init(_ format: Format) { self.format = format }

    mutating func append(_ bytes: [UInt8]) { incoming.append(bytes) }

    /// Whether the stream stands between two records.
    var isAtBoundary: Bool { incoming.isEmpty && block.isEmpty }

    mutating func next() throws -> Told? {
        switch format {
        case .jsonl: try incoming.takeLine().map { try Self.object($0, id: nil, retry: nil) }
        case .sse: try nextBlock()
        case .webSocket: try nextFrame()
        }
    }

    // MARK: Objects

    /// An event's or a record's object. An event begins with its stamp: `{"seq":7,"channel":"a"`.
    private static func object(_ bytes: [UInt8], id: String?, retry: UInt64?) throws -> Told {
        guard bytes.hasPrefix(#"{"seq":"#) else {
            guard bytes.hasPrefix(#"{"type":"$"#) || bytes.hasPrefix(#"{"kind":"$"#) else {
                return .unstamped(payload: bytes, id: id)
            }
            let json = try TinyJSON(bytes)
            guard let first = json.names.first, json[first]?.text?.hasPrefix("$") == true else {
                throw Malformed("neither a stamped event nor a $ record: \(bytes.excerpt)")
            }
            return .record(json, id: id, retry: retry)
        }
        func broken() -> Malformed { Malformed("a broken stamp: \(bytes.excerpt)") }
        var place = 7
        guard let seq = bytes.number(at: &place), bytes.has(#","channel":""#, at: place) else { throw broken() }
        place += 12
        guard let end = bytes[place...].firstIndex(of: 0x22) else { throw broken() }
        let channel = Array(bytes[place..<end]).text
        place = end + 1
        var time: String?
        if channel == Channels.timeChannel {
            guard bytes.has(#","time":""#, at: place), bytes.count > place + 33, bytes[place + 33] == 0x22,
                isTime(bytes[place + 9..<place + 33])
            else { throw broken() }
            time = Array(bytes[place + 9..<place + 33]).text
            place += 34
        }
        guard place < bytes.count, bytes[place] == 0x2C else { throw broken() }
        return .event(seq: seq, channel: channel, time: time, payload: [0x7B] + bytes[(place + 1)...], id: id)
    }

    /// `2026-01-02T03:04:05.678Z`.
    private static func isTime(_ text: ArraySlice<UInt8>) -> Bool {
        zip(text, "0000-00-00T00:00:00.000Z".utf8).allSatisfy { byte, form in
            form == 0x30 ? (0x30...0x39).contains(byte) : byte == form
        }
    }

    // MARK: Server-sent events

    private mutating func nextBlock() throws -> Told? {
        while let line = incoming.takeLine() {
            if !line.isEmpty {
                block.append(line)
                continue
            }
            let lines = block
            block = []
            return try Self.told(lines)
        }
        return nil
    }

    /// A block of lines is a comment alone, an event (`id`, `data`), or a record (`retry`, `event`, `id`, `data`).
    private static func told(_ lines: [[UInt8]]) throws -> Told {
        var fields: [(name: String, value: [UInt8])] = []
        for line in lines {
            if line == [0x3A], lines.count == 1 { return .comment }
            guard !line.contains(0x0D), let colon = line.firstIndex(of: 0x3A), line.has(": ", at: colon) else {
                throw Malformed("a line of an event stream: \(line.excerpt)")
            }
            fields.append((Array(line[..<colon]).text, Array(line[(colon + 2)...])))
        }
        let names = fields.map(\.name)
        func value(_ name: String) -> [UInt8]? { fields.first { $0.name == name }?.value }
        let order = ["retry", "event", "id", "data"].filter(names.contains)
        guard names == order, let data = value("data") else { throw Malformed("fields \(names) in a block") }
        var retry: UInt64?
        if let text = value("retry") {
            var place = 0
            retry = text.number(at: &place)
            guard retry != nil, place == text.count else { throw Malformed("retry: \(text.excerpt)") }
        }
        let told = try object(data, id: value("id")?.text, retry: retry)
        switch told {
        case .event, .unstamped:
            // Rows of a state that is no event's have no id: `id` is nil then.
            guard names == ["id", "data"] || names == ["data"] else { throw Malformed("an event with fields \(names)") }
        case .record(let json, _, _):
            guard let event = value("event")?.text, json.names.first.flatMap({ json[$0]?.text }) == event else {
                throw Malformed("a record with fields \(names): \(data.excerpt)")
            }
        default: break
        }
        return told
    }

    // MARK: WebSocket

    private mutating func nextFrame() throws -> Told? {
        guard incoming.count >= 2 else { return nil }
        let first = incoming[0]
        let second = incoming[1]
        guard first & 0xF0 == 0x80 else { throw Malformed("a frame that begins with \(first): FIN alone may be set") }
        guard second & 0x80 == 0 else { throw Malformed("a masked frame from the server") }
        var header = 2
        var length = Int(second)
        if second >= 126 {
            header = second == 126 ? 4 : 10
            guard incoming.count >= header else { return nil }
            length = (2..<header).reduce(0) { $0 << 8 | Int(incoming[$1]) }
            guard length >= (second == 126 ? 126 : 65_536), length < 1 << 24 else {
                throw Malformed("a length of \(length) in \(header) bytes")
            }
        }
        guard incoming.count >= header + length else { return nil }
        let payload = Array(incoming.take(header + length)[header...])
        let opcode = first & 0x0F
        guard opcode < 8 || length <= 125 else { throw Malformed("a control frame of \(length) bytes") }
        switch opcode {
        case 1: return try Self.object(payload, id: nil, retry: nil)
        case 8: return try Self.close(payload)
        case 9: return .ping(payload)
        case 10: return .pong(payload)
        default: throw Malformed("opcode \(opcode)")
        }
    }

    private static func close(_ payload: [UInt8]) throws -> Told {
        if payload.isEmpty { return .close(nil, "") }
        guard payload.count >= 2, let reason = String(validating: payload[2...], as: UTF8.self) else {
            throw Malformed("a close frame of \(payload.count) bytes")
        }
        return .close(UInt16(payload[0]) << 8 | UInt16(payload[1]), reason)
    }
}

/// A frame as a client sends it: masked.
func clientFrame(_ opcode: UInt8, _ payload: [UInt8], isLast: Bool = true, mask: UInt32 = 0x1234_5678) -> [UInt8] {
    var bytes: [UInt8] = [opcode | (isLast ? 0x80 : 0)]
    switch payload.count {
    case 0...125: bytes.append(0x80 | UInt8(payload.count))
    case 126...65_535: bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
    default:
        bytes.append(0x80 | 127)
        for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(payload.count >> shift & 0xFF)) }
    }
    let key = (0..<4).map { UInt8(mask >> (24 - 8 * $0) & 0xFF) }
    return bytes + key + payload.enumerated().map { $1 ^ key[$0 % 4] }
}
