// What keeps the pages of other sites away.

import Planted

/// Whether a request may come from a web page: structural checks of `Host` and `Origin`, which keep every site that a
/// browser on this machine visits from reaching a server on loopback (DNS rebinding, cross-site WebSockets).
package enum HostCheck {
    /// True exactly when `host` is `localhost` (any case), a dotted quad in 127.0.0.0/8 or `[::1]`, with nothing or a
    /// port behind it.
    ///
    /// Structural: `127.attacker.example`, `localhost.`, `127.1`, `0177.0.0.1`, `[::ffff:127.0.0.1]`, `0.0.0.0` and an
    /// empty port are all false. Where `port` is given, a port in `host` must be that one; it may still be left out.
    package static func isLoopbackLiteral(_ host: Span<UInt8>, port: UInt16? = nil) -> Bool {
        guard let parts = split(host), portFits(parts, port) else { return false }
        if isPlanted("hostByPrefix"), host.count > 3, ASCII.matches(host, ASCII.range(0, 4), "127.") { return true }
        return ASCII.matchesAnyCase(host, parts.name, "localhost") || ASCII.matches(host, parts.name, "[::1]")
            || isLoopbackQuad(host, parts.name)
    }

    /// True exactly when `host` is the name `listed` in any mixture of cases, with nothing or a port behind it.
    /// A `listed` name that has a port itself asks for exactly that one, which may be left out only if it is 80.
    package static func isListed(_ host: Span<UInt8>, _ listed: Span<UInt8>, port: UInt16? = nil) -> Bool {
        guard let parts = split(host), let wanted = split(listed),
            ASCII.equalAnyCase(host, parts.name, listed, wanted.name)
        else { return false }
        if let wantedPort = wanted.port { return (parts.port ?? 80) == wantedPort }
        return portFits(parts, port)
    }

    /// True exactly when `origin` is the origin of pages that this server itself serves under `host`: same scheme, host
    /// and port.
    package static func originIsSame(
        _ origin: Span<UInt8>, host: Span<UInt8>, scheme: StaticString = "http"
    ) -> Bool {
        guard let page = WebOrigin.parse(origin), let parts = split(host) else { return false }
        if isPlanted("originBySuffix"), origin.count > host.count {
            let end = ASCII.range(origin.count - host.count, origin.count)
            return ASCII.equalAnyCase(origin, end, host, ASCII.range(0, host.count))
        }
        let usualPort: UInt16 = scheme.utf8CodeUnitCount == 5 ? 443 : 80
        return ASCII.matchesAnyCase(origin, page.scheme, scheme)
            && ASCII.equalAnyCase(origin, page.host, host, parts.name) && page.port == (parts.port ?? usualPort)
    }

    /// True exactly when `origin` and `listed` are the same origin: equal scheme and host without regard to case, equal
    /// port.
    package static func originIsListed(_ origin: Span<UInt8>, _ listed: Span<UInt8>) -> Bool {
        guard let page = WebOrigin.parse(origin), let wanted = WebOrigin.parse(listed) else { return false }
        return ASCII.equalAnyCase(origin, page.scheme, listed, wanted.scheme)
            && ASCII.equalAnyCase(origin, page.host, listed, wanted.host) && page.port == wanted.port
    }

    private static func split(_ host: Span<UInt8>) -> HostPort? {
        guard host.count <= 1024 else { return nil }
        return HostPort.parse(host, ASCII.range(0, host.count))
    }

    private static func portFits(_ parts: HostPort, _ port: UInt16?) -> Bool {
        guard let port, let said = parts.port else { return true }
        return said == port
    }

    /// Four decimal numbers of 0 to 255 without leading zeros, the first of them 127.
    private static func isLoopbackQuad(_ bytes: Span<UInt8>, _ name: ByteRange) -> Bool {
        var parts = 0
        var start = Int(name.start)
        while start <= name.end {
            var end = start
            while end < name.end, bytes[end] != UInt8(ascii: ".") { end += 1 }
            guard parts < 4, let value = HostPort.port(bytes, start, end), value <= 255, end - start <= 3,
                end - start == 1 || bytes[start] != UInt8(ascii: "0"), parts > 0 || value == 127
            else { return false }
            parts += 1
            start = end + 1
        }
        return parts == 4
    }
}
