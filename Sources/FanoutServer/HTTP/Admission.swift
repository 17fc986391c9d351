/// Who may come in: the one decision about a request that came over TCP.

import Reactor
import Wire

/// Structural checks of `Host`, `Origin` and `Sec-Fetch-Site`, which keep web pages of other sites away from a server
/// that trusts its own machine. Tokens and per-channel rights will be decided here too.
struct Admission {
    let allowedHosts: [[UInt8]]
    let allowedOrigins: [[UInt8]]
    /// Whether any address literal may be named: the operator bound a public address on purpose.
    let acceptsAddressLiterals: Bool

    init(_ configuration: Configuration) {
        allowedHosts = configuration.allowedHosts.map { Array($0.utf8) }
        allowedOrigins = configuration.allowedOrigins.map { Array($0.utf8) }
        acceptsAddressLiterals = configuration.insecure
    }

    /// What the answer must say to a page of another origin that is listed.
    enum Verdict: Equatable {
        case welcome
        /// As welcome as the others, and its browser has to be told so.
        case welcomeFromOrigin([UInt8])
        case refused(HTTPFault)
    }

    /// Decides about one request. `path` is the decoded one, which decides what is asked for, and `isRoute` says
    /// whether it is that of a configured stream; `port` is the listener's.
    func decide(_ request: borrowing Request, path: Span<UInt8>, isRoute: Bool = false, port: UInt16) -> Verdict {
        let head = request.head
        guard let hostRange = head.host else { return .refused(Self.misdirected) }
        let host = request.headBytes.extracting(hostRange.range)
        guard isOurs(host, port: port) else { return .refused(Self.misdirected) }
        var listed: [UInt8]?
        if let origin = request.text(head.origin) {
            if allowedOrigins.contains(where: { HostCheck.originIsListed(origin.span, $0.span) }) {
                listed = origin
            } else if !HostCheck.originIsSame(origin.span, host: host) {
                return .refused(
                    HTTPFault(
                        status: 403, code: "origin_refused",
                        message: "pages of this origin may not use the server: list it with --allow-origin"))
            }
        }
        if listed == nil, let site = head.secFetchSite, !isFromHere(request, isRoute || path.starts(with: "/v1/"), site)
        {
            return .refused(
                HTTPFault(
                    status: 403, code: "cross_site",
                    message: "the request came from a page of another site: list its origin with --allow-origin"))
        }
        if let listed { return .welcomeFromOrigin(listed) }
        return .welcome
    }

    private static var misdirected: HTTPFault {
        HTTPFault(
            status: 421, code: "misdirected",
            message: "Host names another server: use 127.0.0.1, [::1], localhost or a name given with --allow-host")
    }

    private func isOurs(_ host: Span<UInt8>, port: UInt16) -> Bool {
        if HostCheck.isLoopbackLiteral(host, port: port) { return true }
        for listed in allowedHosts where HostCheck.isListed(host, listed.span, port: port) { return true }
        return acceptsAddressLiterals && isAddressLiteral(host)
    }

    /// DNS rebinding needs a name: an address that stands in the request itself cannot be rebound.
    private func isAddressLiteral(_ host: Span<UInt8>) -> Bool {
        guard let parts = HostPort.parse(host, ByteRange(0..<host.count)) else { return false }
        let name = Array(bytes: host.extracting(parts.name.range))
        return SocketAddress(parsing: String(decoding: name, as: UTF8.self) + ":1") != nil
    }

    /// What changes something must come from a page of ours or from no page; what only reads under `/v1/` or from a
    /// route must not come from another site. The page itself may be linked to from anywhere.
    private func isFromHere(_ request: borrowing Request, _ isStream: Bool, _ site: ByteRange) -> Bool {
        let bytes = request.headBytes
        if TokenList.contains(bytes, site, "same-origin") || TokenList.contains(bytes, site, "none") { return true }
        switch request.head.method {
        case .get, .head:
            return !isStream || !TokenList.contains(bytes, site, "cross-site")
        default: return false
        }
    }
}

extension Span<UInt8> {
    /// Whether these bytes begin with `text`.
    func starts(with text: StaticString) -> Bool {
        text.withUTF8Buffer { other in
            guard count >= other.count else { return false }
            for index in 0..<other.count where self[index] != other[index] { return false }
            return true
        }
    }

    /// Whether these bytes are `text`.
    func equals(_ text: StaticString) -> Bool { count == text.utf8CodeUnitCount && starts(with: text) }
}
