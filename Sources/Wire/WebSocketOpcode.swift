/// The frame types that exist (RFC 6455 section 11.8).
package enum WebSocketOpcode: UInt8, BitwiseCopyable, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10
}
