/// Publishing JSON lines: an ingest socket, or a server's standard input.

enum LinePublishing {
    /// The event and a line feed; where it is for a named channel, in fanout's envelope.
    static func append(
        _ event: UnsafeBufferPointer<UInt8>, _ route: PublishRoute, channel: Int, to output: inout [UInt8]
    ) {
        if route.channels.isEmpty {
            output.append(contentsOf: event)
        } else {
            output += "{\"$publish\":{\"event\":".utf8
            output.append(contentsOf: event)
            output += ",\"channel\":\"".utf8
            output += route.channels[channel].utf8
            output += "\"}}".utf8
        }
        output.append(10)
    }
}
