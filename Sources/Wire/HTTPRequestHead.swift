/// A request's head, understood: what was asked and where in the head's bytes its parts are.
///
/// It holds ranges and no bytes, allocates nothing, and is worth as much as the buffer that it was parsed from. Nothing
/// that is asked for twice is believed once: a field of which one value decides something may occur once (400). Fields
/// that are lists or decide nothing (`Accept`, `Connection`, `Upgrade`, `Expect`, `Sec-WebSocket-Protocol`,
/// `User-Agent`, everything unknown) may be repeated; the range is then that of the first, and `HTTPFieldLines` finds
/// the others.
package struct HTTPRequestHead: BitwiseCopyable, Sendable {
    /// How the body's end is found.
    package enum Body: BitwiseCopyable, Equatable, Sendable {
        /// Neither `Content-Length` nor `Transfer-Encoding`: there is no body.
        case none
        /// `Content-Length`, which may be 0; up to `Int.max`, so it is the caller who compares it with what he takes.
        case length(Int)
        /// `Transfer-Encoding: chunked`; see `ChunkedDecoder`.
        case chunked
    }

    /// The method; `.other` where it is none of those that this server uses.
    package internal(set) var method = HTTPMethod.other
    /// The method as it was written: a token.
    package internal(set) var methodName = ByteRange(start: 0, count: 0)
    /// The request target as it was written, all visible ASCII without `#`.
    package internal(set) var target = ByteRange(start: 0, count: 0)
    /// The target's path, never empty: it begins with `/`, or is `*` for OPTIONS. Still percent-encoded; see
    /// `RequestPath`.
    package internal(set) var path = ByteRange(start: 0, count: 0)
    /// What follows the first `?`, without it; empty where there is none. Still percent-encoded; see `QueryString`.
    package internal(set) var query = ByteRange(start: 0, count: 0)
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    package internal(set) var minorVersion: UInt8 = 1
    /// True exactly when the connection may carry another request after this one (RFC 9112 section 9.3).
    package internal(set) var keepAlive = true
    /// How the body's end is found; no byte of it has been looked at.
    package internal(set) var body = Body.none
    /// True exactly when the client waits for `100 Continue` before it sends the body.
    package internal(set) var expectsContinue = false
    /// True exactly when this is a GET of HTTP/1.1 with `Upgrade: websocket` and `Connection: upgrade`; anything less
    /// is an ordinary request, because a server may ignore `Upgrade`. `WebSocketHandshake.check` says whether it is a
    /// good one.
    package internal(set) var wantsWebSocket = false

    /// `Host`, or the authority of an absolute-form target where HTTP/1.0 sent no Host. Well formed; may be empty.
    package internal(set) var host: ByteRange?

    /// The values of the fields with these names, without surrounding blanks and otherwise unread; nil where the field
    /// is missing.
    package internal(set) var origin: ByteRange?
    package internal(set) var accept: ByteRange?
    package internal(set) var contentType: ByteRange?
    package internal(set) var contentEncoding: ByteRange?
    package internal(set) var lastEventID: ByteRange?
    package internal(set) var idempotencyKey: ByteRange?
    package internal(set) var secFetchSite: ByteRange?
    package internal(set) var secFetchMode: ByteRange?
    package internal(set) var secWebSocketKey: ByteRange?
    package internal(set) var secWebSocketVersion: ByteRange?
    package internal(set) var secWebSocketProtocol: ByteRange?
    package internal(set) var userAgent: ByteRange?
    /// All field lines with the empty line behind them; `HTTPFieldLines` walks them.
    package internal(set) var fields = ByteRange(start: 0, count: 0)

    init() {}
}

/// The methods that this server has a use for; `other` is every other token, also `get` in lower case.
package enum HTTPMethod: UInt8, BitwiseCopyable, Sendable {
    case get, head, post, put, delete, options, other
}
