/// Where a server is: a JSONL socket in the file system, or its HTTP address.

/// A place to connect to.
public enum Endpoint: Sendable, Equatable, CustomStringConvertible {
    /// A unix socket that speaks JSONL: `events.socket` for readers, `ingest.socket` for publishers.
    case unix(path: String)
    /// HTTP/1.1 over TCP.
    case http(HTTPAddress)

    /// The HTTP address that a URL names: the server's base (`http://127.0.0.1:7575`), or a full `/v1/events` URL,
    /// whose query is kept. Throws `invalidInput` for any other scheme, for user names and for what is not a URL.
    public init(url: String) throws(ClientError) {
        self = .http(try HTTPAddress(url: url))
    }

    /// The path or the URL.
    public var description: String {
        switch self {
        case .unix(let path): path
        case .http(let address): address.description
        }
    }
}

/// An `http://` URL, taken apart.
public struct HTTPAddress: Sendable, Equatable, CustomStringConvertible {
    /// The host as the URL writes it, without the brackets of an IPv6 address.
    public let host: String
    /// The port; 80 where the URL names none.
    public let port: UInt16
    /// The path of the events resource, always ending in `/v1/events`.
    public let path: String
    /// The `name=value` pairs of the URL's query, as they were written.
    public let query: [String]

    /// Takes a URL apart; see `Endpoint.init(url:)`.
    public init(url: String) throws(ClientError) {
        func fault(_ why: String) -> ClientError { ClientError(.invalidInput, "'\(url)' \(why)") }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw fault("is not a URL: it holds blanks or bytes outside ASCII")
        }
        guard url.lowercased().hasPrefix("http://") else {
            let isTLS = url.lowercased().hasPrefix("https://")
            throw fault(
                isTLS
                    ? "needs TLS, which this version does not speak: use http://, or a proxy that does"
                    : "is not an http:// URL, such as http://127.0.0.1:7575")
        }
        let rest = url.dropFirst(7).prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let target = rest.dropFirst(authority.count)
        guard !authority.contains("@") else { throw fault("holds a user name, which this version does not send") }
        guard let (host, port) = Self.split(authority) else { throw fault("has no usable host and port") }
        self.host = host
        self.port = port
        var path = String(target.prefix { $0 != "?" })
        while path.hasSuffix("/") { path.removeLast() }
        self.path = path.hasSuffix("/v1/events") ? path : path + "/v1/events"
        self.query = target.drop { $0 != "?" }.dropFirst().split(separator: "&").map(String.init)
    }

    /// The value of the `Host` field.
    var authority: String { (host.contains(":") ? "[\(host)]" : host) + (port == 80 ? "" : ":\(port)") }

    /// The URL without its query.
    public var description: String { "http://\(authority)\(path)" }

    /// The value of the last pair of this name in the URL's query, as it was written.
    package func queryValue(_ name: String) -> String? {
        query.last { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.count + 1)) }
    }

    /// The request target: the path, the URL's own query without the names that `replaced` has, and `pairs`.
    package func target(adding pairs: [(name: String, value: String)], replaced: [String]) -> String {
        let kept = query.filter { pair in !replaced.contains(String(pair.prefix { $0 != "=" })) }
        let parts = kept + pairs.map { $0.name + "=" + Self.percentEncoded($0.value) }
        return parts.isEmpty ? path : path + "?" + parts.joined(separator: "&")
    }

    private static func split(_ authority: Substring) -> (host: String, port: UInt16)? {
        let host: Substring
        let tail: Substring
        if authority.first == "[" {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[authority.index(after: authority.startIndex)..<end]
            tail = authority[authority.index(after: end)...]
        } else {
            host = authority.prefix { $0 != ":" }
            tail = authority.dropFirst(host.count)
        }
        guard !host.isEmpty else { return nil }
        if tail.isEmpty { return (String(host), 80) }
        guard tail.first == ":", tail.dropFirst().utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
            let port = UInt16(tail.dropFirst()), port > 0
        else { return nil }
        return (String(host), port)
    }

    /// All but the unreserved characters of RFC 3986, `/` and `*` as `%XX`.
    static func percentEncoded(_ text: String) -> String {
        let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/*".utf8)
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in text.utf8 {
            if plain.contains(byte) {
                result.append(byte)
            } else {
                result += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
