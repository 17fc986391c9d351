/// One step in a WebSocket's input.
package enum WebSocketEvent: BitwiseCopyable, Equatable, Sendable {
    /// A piece of a message, unmasked, as a range of the input. `opcode` is the message's, `.text` or `.binary`,
    /// whichever frame the piece is from. `first` and `last` are true exactly for the first and the last piece of a
    /// message; only a last piece may be empty. Text has been checked up to here: a last piece completes valid UTF-8.
    case data(ByteRange, opcode: WebSocketOpcode, first: Bool, last: Bool)
    /// A ping; answer it with a pong of the same payload, which `WebSocketDecoder.withControlPayload` lends.
    case ping
    case pong
    /// The peer's close frame, its code if it gave one. The reason is what `withControlPayload` lends. Nothing follows
    /// it: all further input is swallowed.
    case close(code: UInt16?)
}
