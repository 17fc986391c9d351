/// What nearly every stream begins with, written once and copied: thousands of readers come in one second.

import Wire

/// Texts that are the same for whoever comes while nothing changes: the head of the answer within one second, and
/// `$hello` until the next event. Loop thread only; asking allocates nothing while they last.
struct OpeningTexts {
    private struct Head {
        var seconds: Int64 = -1
        var bytes: [UInt8] = []
    }

    private struct Hello {
        var seq = UInt64.max
        var discriminator: [UInt8] = []
        var schema: ContentDigest?
        var bytes: [UInt8] = []
    }

    private var eventStream = Head()
    private var lines = Head()
    /// By wire format.
    private var hellos: InlineArray<3, Hello> = InlineArray(repeating: Hello())

    /// Appends the head of a stream's answer that has no fields of its own.
    mutating func appendHead(eventStream isEventStream: Bool, dateSeconds: Int64, to output: inout [UInt8]) {
        if isEventStream {
            Self.append(&eventStream, "text/event-stream", dateSeconds, to: &output)
        } else {
            Self.append(&lines, "application/x-ndjson", dateSeconds, to: &output)
        }
    }

    private static func append(
        _ head: inout Head, _ contentType: StaticString, _ seconds: Int64, to output: inout [UInt8]
    ) {
        if head.seconds != seconds {
            head.bytes.removeAll(keepingCapacity: true)
            HTTPResponse.appendStreamHead(contentType: contentType, dateSeconds: seconds, to: &head.bytes)
            head.seconds = seconds
        }
        output.append(contentsOf: head.bytes)
    }

    /// Appends the `$hello` of a stream that begins at `head`, the newest event's place.
    mutating func appendHello(
        _ format: WireFormat, head: Cursor, heartbeatSeconds: Int, discriminator: [UInt8], schema: ContentDigest?,
        to output: inout [UInt8]
    ) {
        let place = Int(format.rawValue)
        if hellos[place].seq != head.seq || hellos[place].schema != schema
            || hellos[place].discriminator != discriminator
        {
            hellos[place].bytes.removeAll(keepingCapacity: true)
            ControlRecord.hello(
                epoch: head.epoch, seq: head.seq, server: Engine.serverName, heartbeatSeconds: heartbeatSeconds,
                schema: schema
            )
            .append(to: &hellos[place].bytes, format: format, discriminator: discriminator.span, eventID: head)
            hellos[place].discriminator = discriminator
            hellos[place].schema = schema
            hellos[place].seq = head.seq
        }
        output.append(contentsOf: hellos[place].bytes)
    }
}
