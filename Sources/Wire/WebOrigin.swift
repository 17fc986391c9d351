/// An origin as browsers serialise it, `scheme://host[:port]` (RFC 6454 section 6.2), compared part by part and never
/// by prefix or suffix.
package struct WebOrigin: BitwiseCopyable, Sendable {
    /// In the case it was written in.
    package var scheme: ByteRange
    /// Without the port; an IPv6 address keeps its brackets.
    package var host: ByteRange
    /// The port said, or the scheme's usual one: 80 for http and ws, 443 for https and wss.
    package var port: UInt16?

    /// Reads `bytes` as a whole. `null`, a path, user information, a list of origins and everything else are nil.
    package static func parse(_ bytes: Span<UInt8>) -> WebOrigin? {
        var colon = 0
        while colon < bytes.count, ASCII.isToken(bytes[colon]) { colon += 1 }
        guard colon > 0, colon + 3 < bytes.count, ASCII.isLetter(bytes[0]),
            ASCII.matches(bytes, ASCII.range(colon, colon + 3), "://"),
            let authority = HostPort.parse(bytes, ASCII.range(colon + 3, bytes.count))
        else { return nil }
        let scheme = ASCII.range(0, colon)
        return WebOrigin(
            scheme: scheme, host: authority.name, port: authority.port ?? usualPort(bytes, scheme))
    }

    static func usualPort(_ bytes: Span<UInt8>, _ scheme: ByteRange) -> UInt16? {
        if ASCII.matchesAnyCase(bytes, scheme, "http") || ASCII.matchesAnyCase(bytes, scheme, "ws") { return 80 }
        if ASCII.matchesAnyCase(bytes, scheme, "https") || ASCII.matchesAnyCase(bytes, scheme, "wss") { return 443 }
        return nil
    }
}
