/// JSON lines, raw over a socket or as an HTTP body.

import Wire

enum JSONLDialect {
    static let requestFields = "Accept: application/x-ndjson\r\n"

    /// A raw connection asks for its channel and its place in a line; without either it says nothing.
    static func appendOpening(channel: String?, from place: String?, to output: inout [UInt8]) {
        guard channel != nil || place != nil else { return }
        var members: [UInt8] = []
        for (name, value) in [("channel", channel), ("from", place)] {
            guard let value else { continue }
            members += "\(members.isEmpty ? "" : ",")\"\(name)\":".utf8
            JSONText.appendQuoted(value, to: &members)
        }
        output += Array("{\"$subscribe\":{".utf8) + members + Array("}}\n".utf8)
    }

    /// The stream stands with the last `$hello` that is due: connecting alone says nothing, because the kernel accepts
    /// before the server does. A server that greets nobody is read with no hello due.
    static func handshake(_ bytes: Span<UInt8>, _ state: inout OpeningState) -> HandshakeStep {
        if state.hellosDue == 0 { return .done(used: 0) }
        guard let end = bytes.first(10, from: 0) else { return .incomplete }
        if bytes.has("{\"type\":\"$hello\"", at: 0, before: end) {
            state.hellosDue -= 1
            state.stage = 1
        }
        // Between two of them events may come.
        guard state.stage == 1 else { return .refused("no $hello first (see --no-hello): \(bytes.excerpt)") }
        return state.hellosDue == 0 ? .done(used: end + 1) : .step(used: end + 1)
    }

    static func find(_ bytes: Span<UInt8>) -> Finding {
        guard let end = bytes.first(10, from: 0) else {
            return bytes.count >= frameBytesMax ? .fault("a line of more than \(frameBytesMax) bytes") : .incomplete
        }
        let last = end > 0 && bytes[end - 1] == 13 ? end - 1 : end
        return last == 0 ? .skip(frame: end + 1) : .classified(bytes, frame: end + 1, payload: 0..<last)
    }
}
