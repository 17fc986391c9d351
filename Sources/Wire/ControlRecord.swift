/// The server's own records between the events: `$hello`, `$gap`, `$bye` and keep-alives.

/// What a subscriber is told about its stream (DESIGN section 2). Built per subscriber, off the hot path.
package enum ControlRecord: Sendable {
    /// Why events are missing.
    package enum GapReason: String, CaseIterable, Sendable {
        case lagged, conflated, pruned, ahead
        case unknownEpoch = "unknown_epoch"
        case rewound, upstream
    }

    /// First of all: the numbering, the newest event's number, the server's name and version, and the keep-alive's
    /// period, and which schema all events have, if they have one.
    case hello(
        epoch: Epoch, seq: UInt64, server: StaticString, heartbeatSeconds: Int, schema: ContentDigest? = nil)
    /// Events this subscriber will never get: `from` to `to` of `epoch`, inclusive, `dropped` of which were for it.
    /// What is not known is left out.
    case gap(why: GapReason, epoch: Epoch, from: UInt64?, to: UInt64?, dropped: UInt64?)
    /// The present state follows: so many events that are still true, as of event `seq`. No place to resume from.
    case snapshot(seq: UInt64, count: UInt64)
    /// That was the state as of event `seq`; what follows are the events after it.
    case live(seq: UInt64, count: UInt64)
    /// The end, on purpose: the code of DESIGN's one vocabulary, the last event sent, and when to come back, if at all.
    case bye(code: Int, why: StaticString, last: Cursor?, retryMilliseconds: Int?)
    /// Nothing new: on SSE a comment, on WebSocket a ping frame.
    case ping

    /// Appends the record in one form.
    /// - Parameters:
    ///   - discriminator: the name of the member that names an event's kind, unescaped.
    ///   - eventID: for SSE, where a reader that is cut now resumes; nil leaves the `id` line out, and the reader keeps
    ///     the id it has. A keep-alive never has one.
    package func append(to output: inout [UInt8], format: WireFormat, discriminator: Span<UInt8>, eventID: Cursor?) {
        if case .ping = self, format == .sse { return output.append(text: ":\n\n") }
        if case .ping = self, format == .webSocket {
            return WebSocketFrame.appendHeader(.ping, payload: 0, to: &output)
        }
        switch format {
        case .jsonl:
            appendObject(to: &output, discriminator)
            output.append(UInt8(ascii: "\n"))
        case .sse:
            output.append(text: "event: ")
            output.append(text: name)
            if let eventID {
                output.append(text: "\nid: ")
                eventID.append(to: &output)
            }
            output.append(text: "\ndata: ")
            appendObject(to: &output, discriminator)
            output.append(text: "\n\n")
        case .webSocket:
            var object: [UInt8] = []
            appendObject(to: &object, discriminator)
            WebSocketFrame.append(.text, object.span, to: &output)
        }
    }

    /// The record's kind: the discriminator's value and the SSE event name.
    package var name: StaticString {
        switch self {
        case .hello: "$hello"
        case .gap: "$gap"
        case .snapshot: "$snapshot"
        case .live: "$live"
        case .bye: "$bye"
        case .ping: "$ping"
        }
    }

    private func appendObject(to output: inout [UInt8], _ discriminator: Span<UInt8>) {
        output.append(text: "{\"")
        JSONText.appendEscaped(discriminator, to: &output)
        output.append(text: "\":\"")
        output.append(text: name)
        output.append(text: "\"")
        switch self {
        case .hello(let epoch, let seq, let server, let heartbeatSeconds, let schema):
            Self.append(epoch, to: &output)
            output.append(text: ",\"seq\":")
            output.append(decimal: seq)
            output.append(text: ",\"server\":\"")
            output.append(text: server)
            output.append(text: "\",\"heartbeat_s\":")
            output.append(decimal: heartbeatSeconds)
            if let schema {
                output.append(text: ",\"schema\":\"")
                output.append(contentsOf: schema.hex)
                output.append(text: "\"")
            }
        case .gap(let why, let epoch, let from, let to, let dropped):
            Self.append(epoch, to: &output)
            Self.append(",\"from\":", from, to: &output)
            Self.append(",\"to\":", to, to: &output)
            Self.append(",\"dropped\":", dropped, to: &output)
            output.append(text: ",\"why\":\"")
            output.append(contentsOf: why.rawValue.utf8)
            output.append(text: "\"")
        case .snapshot(let seq, let count), .live(let seq, let count):
            Self.append(",\"seq\":", seq, to: &output)
            Self.append(",\"count\":", count, to: &output)
        case .bye(let code, let why, let last, let retryMilliseconds):
            output.append(text: ",\"code\":")
            output.append(decimal: code)
            output.append(text: ",\"why\":\"")
            output.append(text: why)
            output.append(text: "\"")
            if let last {
                output.append(text: ",\"last\":\"")
                last.append(to: &output)
                output.append(text: "\"")
            }
            if let retryMilliseconds {
                output.append(text: ",\"retry_ms\":")
                output.append(decimal: retryMilliseconds)
            }
        case .ping: break
        }
        output.append(text: "}")
    }

    private static func append(_ epoch: Epoch, to output: inout [UInt8]) {
        output.append(text: ",\"epoch\":\"")
        output.append(hex16: epoch.rawValue)
        output.append(text: "\"")
    }

    private static func append(_ member: StaticString, _ value: UInt64?, to output: inout [UInt8]) {
        guard let value else { return }
        output.append(text: member)
        output.append(decimal: value)
    }
}
