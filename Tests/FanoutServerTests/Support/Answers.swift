// What HTTP clients read, by strict readers that share nothing with the server.
import Foundation
import Testing

/// One answer of an HTTP/1.1 server.
struct Answer: Equatable {
    var status = 0
    var fields: [String: String] = [:]
    var body = ""

    /// Takes the first answer off the bytes; nil if it is not whole or not HTTP.
    ///
    /// Bodies have a Content-Length, except those of 1xx, 204, 304 and answers to HEAD. An answer without one lasts
    /// until the end of the connection: everything is its body.
    static func take(_ bytes: inout [UInt8], toHead: Bool = false) -> Answer? {
        guard let headEnd = firstIndex(of: Array("\r\n\r\n".utf8), in: bytes) else { return nil }
        guard let head = String(bytes: bytes[..<headEnd], encoding: .ascii) else { return nil }
        var lines = head.components(separatedBy: "\r\n")
        let statusLine = lines.removeFirst().split(separator: " ", maxSplits: 2)
        guard statusLine.count == 3, statusLine[0] == "HTTP/1.1", let status = Int(statusLine[1]) else { return nil }
        var answer = Answer(status: status)
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), !line.contains("\n"), !line.contains("\r") else { return nil }
            let name = line[..<colon].lowercased()
            guard answer.fields[name] == nil else { return nil }
            answer.fields[name] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        var end = headEnd + 4
        if status >= 200, status != 204, status != 304, !toHead {
            if let length = answer.fields["content-length"] {
                guard let count = Int(length), bytes.count >= end + count else { return nil }
                answer.body = String(decoding: bytes[end..<end + count], as: UTF8.self)
                end += count
            } else {
                answer.body = String(decoding: bytes[end...], as: UTF8.self)
                end = bytes.count
            }
        }
        bytes.removeFirst(end)
        return answer
    }

    /// All answers; what is left over must be nothing.
    static func all(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> [Answer] {
        var left = bytes
        var answers: [Answer] = []
        while let answer = take(&left) { answers.append(answer) }
        #expect(left.isEmpty, "not an answer: \(String(decoding: left, as: UTF8.self))", sourceLocation: sourceLocation)
        return answers
    }

    /// `error.code` of the body.
    var errorCode: String? {
        (JSONObject(body)?["error"] as? [String: Any])?["code"] as? String
    }

    var json: [String: Any] { JSONObject(body) ?? [:] }

    static func firstIndex(of part: [UInt8], in bytes: [UInt8]) -> Int? {
        guard bytes.count >= part.count else { return nil }
        return (0...(bytes.count - part.count)).first { bytes[$0...].starts(with: part) }
    }
}

/// The members of a JSON object, nil if it is none.
func JSONObject(_ text: some StringProtocol) -> [String: Any]? {
    (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any]
}

/// One record of a stream, whatever the transport.
struct Record {
    var object: [String: Any]
    /// SSE: the id, the event name.
    var id: String?
    var event: String?
    /// The object's bytes.
    var text: String

    var kind: String? { object["type"] as? String }
    var seq: Int? { object["seq"] as? Int }
    /// `$hello` and the like.
    var isControl: Bool { (object["type"] ?? object["kind"]).flatMap { $0 as? String }?.hasPrefix("$") ?? false }
}

/// Reads streams strictly: whatever is not exactly as DESIGN says is an issue.
enum StreamReader {
    /// JSONL: objects, each with its newline.
    static func lines(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> [Record] {
        let text = String(decoding: bytes, as: UTF8.self)
        guard !text.isEmpty else { return [] }
        #expect(text.hasSuffix("\n"), "a line is not whole: …\(text.suffix(80))", sourceLocation: sourceLocation)
        return text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().compactMap { line in
            guard let object = JSONObject(line) else {
                Issue.record("not an object: \(line)", sourceLocation: sourceLocation)
                return nil
            }
            return Record(object: object, text: String(line))
        }
    }

    /// What an EventSource would see, and what it must not.
    struct Events {
        var records: [Record] = []
        var comments = 0
        var retry: [Int] = []
        /// `lastEventId` of the EventSource at the end.
        var lastID = ""
    }

    static func events(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) -> Events {
        var events = Events()
        guard !text.isEmpty else { return events }
        #expect(text.hasSuffix("\n"), "an SSE line is not whole: …\(text.suffix(80))", sourceLocation: sourceLocation)
        var (data, event): (String?, String?) = (nil, nil)
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if line.isEmpty {
                if let data {
                    guard let object = JSONObject(data) else {
                        Issue.record("SSE data is not an object: \(data)", sourceLocation: sourceLocation)
                        continue
                    }
                    events.records.append(Record(object: object, id: events.lastID, event: event, text: data))
                }
                (data, event) = (nil, nil)
            } else if line.hasPrefix(":") {
                events.comments += 1
            } else if line.hasPrefix("data: ") {
                #expect(data == nil, "two data lines", sourceLocation: sourceLocation)
                data = String(line.dropFirst(6))
            } else if line.hasPrefix("id: ") {
                events.lastID = String(line.dropFirst(4))
            } else if line.hasPrefix("event: ") {
                event = String(line.dropFirst(7))
            } else if line.hasPrefix("retry: "), let retry = Int(line.dropFirst(7)) {
                events.retry.append(retry)
            } else {
                Issue.record("not a field of SSE: \(line)", sourceLocation: sourceLocation)
            }
        }
        #expect(data == nil && event == nil, "an SSE record is not whole", sourceLocation: sourceLocation)
        return events
    }
}

/// A frame as a WebSocket client reads it.
struct ServerFrame: Equatable {
    var opcode: UInt8
    var payload: [UInt8]

    var text: String { String(decoding: payload, as: UTF8.self) }
    var closeCode: Int? {
        opcode == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil
    }

    /// All frames; each final, unmasked, without reserved bits, its length in the shortest form.
    static func all(_ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> [ServerFrame] {
        var frames: [ServerFrame] = []
        var place = 0
        while place < bytes.count {
            guard place + 2 <= bytes.count, bytes[place] & 0xF0 == 0x80, bytes[place + 1] & 0x80 == 0 else {
                Issue.record("not a server's frame at byte \(place)", sourceLocation: sourceLocation)
                return frames
            }
            let opcode = bytes[place] & 0x0F
            var count = Int(bytes[place + 1])
            var header = 2
            if count >= 126 {
                let lengthBytes = count == 126 ? 2 : 8
                header += lengthBytes
                guard place + header <= bytes.count else {
                    Issue.record("half a header", sourceLocation: sourceLocation)
                    return frames
                }
                count = bytes[place + 2..<place + header].reduce(0) { $0 << 8 | Int($1) }
                #expect(count >= (lengthBytes == 2 ? 126 : 65_536), sourceLocation: sourceLocation)
            }
            guard place + header + count <= bytes.count else {
                Issue.record("half a frame", sourceLocation: sourceLocation)
                return frames
            }
            frames.append(ServerFrame(opcode: opcode, payload: Array(bytes[place + header..<place + header + count])))
            place += header + count
        }
        return frames
    }

    /// A client's frame, masked.
    static func client(_ opcode: UInt8, _ payload: [UInt8] = [], final: Bool = true) -> [UInt8] {
        let mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
        var bytes: [UInt8] = [(final ? 0x80 : 0) | opcode]
        switch payload.count {
        case ..<126: bytes.append(0x80 | UInt8(payload.count))
        case ..<65_536: bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [0x80 | 127] + (0..<8).reversed().map { UInt8(truncatingIfNeeded: payload.count >> ($0 * 8)) }
        }
        bytes += mask
        for (index, byte) in payload.enumerated() { bytes.append(byte ^ mask[index % 4]) }
        return bytes
    }

    static func clientText(_ text: String) -> [UInt8] { client(1, Array(text.utf8)) }
}
