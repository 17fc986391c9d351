/// Limits on what a client may send. A limit that says N accepts N and refuses N + 1.
package struct WebSocketLimits: BitwiseCopyable, Sendable {
    /// The payload of one message, all fragments together, in bytes; more is 1009.
    package var messageBytesMax = 65_536
    /// Frames of one message; more is 1008.
    package var fragmentsMax = 1024

    package init() {}
}
