/// A place that a command line names, taken apart.

import ClientSockets

/// A place that a command line names: a URL, `unix:PATH`, or `http+unix:PATH` and the like.
package struct Place: Equatable, Sendable {
    private enum Address: Equatable, Sendable {
        case host(String, port: UInt16)
        case unix(String)
    }

    /// What stands before `://`, in lower case; `unix` for the path of a raw socket.
    package var scheme: String
    /// The host and port as the URL writes them.
    package var host: String
    /// Path and query; empty where the URL has none.
    package var path: String
    private var address: Address

    /// The schemes that readers or publishers know, with the port that each has where the URL names none.
    static let ports: [(scheme: String, port: UInt16)] = [
        ("http", 80), ("ws", 80), ("tcp", 0), ("nats", 4222), ("redis", 6379), ("mqtt-ws", 80),
    ]
    /// What stands before the path of a unix socket, with the scheme of the URLs that it is like.
    private static let sockets = [("unix:", "unix"), ("http+unix:", "http"), ("redis+unix:", "redis")]

    /// Reads a place; names are not looked up yet. Throws what is wrong with it, as the end of a sentence that begins
    /// with the text.
    package init(_ text: String) throws(LoadFailure) {
        func fault(_ why: String) -> LoadFailure { LoadFailure(.usage, "'\(text)' \(why)") }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw fault("is no address: it holds blanks or bytes outside ASCII")
        }
        for (prefix, scheme) in Self.sockets where text.hasPrefix(prefix) {
            guard text.utf8.count > prefix.utf8.count else { throw fault("names no socket: \(prefix)PATH") }
            self.init(
                scheme: scheme, host: "localhost", path: "", address: .unix(String(text.dropFirst(prefix.count))))
            return
        }
        let known = Self.ports.map { $0.scheme + "://" }.joined(separator: ", ")
        guard let colon = text.range(of: "://"),
            let kind = Self.ports.first(where: { $0.scheme == text[..<colon.0].lowercased() })
        else { throw fault("is not unix:PATH, http+unix:PATH or one of \(known)") }
        let rest = text[colon.1...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard let (host, port) = Self.split(authority, kind.port) else {
            throw fault("has no usable address: a host and, behind a colon, a port; IPv6 addresses in brackets")
        }
        self.init(
            scheme: kind.scheme, host: String(authority),
            path: String(rest.dropFirst(authority.count).prefix { $0 != "#" }), address: .host(host, port: port))
    }

    private init(scheme: String, host: String, path: String, address: Address) {
        self.scheme = scheme
        self.host = host
        self.path = path
        self.address = address
    }

    /// Host and port of `host:port`; `standard` is the port where none is written, 0 where one must be.
    private static func split(_ authority: Substring, _ standard: UInt16) -> (host: String, port: UInt16)? {
        var host = authority.prefix { $0 != ":" }
        var tail = authority.dropFirst(host.count)
        if authority.first == "[" {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[..<end].dropFirst()
            tail = authority[end...].dropFirst()
            guard host.contains(":") else { return nil }
        } else if host.utf8.allSatisfy({ $0 == 0x2E || $0 >= 0x30 && $0 <= 0x39 }) {
            // An IPv4 address, or nothing.
            guard Destination("\(host):1") != nil else { return nil }
        }
        let digits = tail.dropFirst().utf8
        guard tail.isEmpty || tail.first == ":" && digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
            let port = tail.isEmpty ? standard : UInt16(tail.dropFirst()), port > 0, !host.contains("@")
        else { return nil }
        return (String(host), port)
    }

    /// Where it is. A name is looked up, which may take its time.
    package func destination() throws(LoadFailure) -> Destination {
        switch address {
        case .unix(let path): return .unix(path)
        case .host(let name, let port):
            do throws(LookupFault) {
                return try Destination.find(name, port: port)
            } catch {
                throw LoadFailure(.unavailable, "cannot find \(name): \(error.text)")
            }
        }
    }

    /// The route of readers that want `transport` there; the scheme decides where it leaves no choice.
    package func route(_ transport: Transport) throws(LoadFailure) -> Route {
        let dialect: Dialect =
            switch scheme {
            case "unix", "tcp": .jsonl
            case "nats": .nats
            case "redis": .redis
            case "mqtt-ws": .mqttWS
            case "ws":
                switch transport {
                case .natsWS: .natsWS
                case .mqttWS: .mqttWS
                default: .ws
                }
            default:
                switch transport {
                case .jsonl: .jsonlHTTP
                case .sse: .sse
                case .ws: .ws
                case .nats, .natsWS, .redis, .mqttWS:
                    throw LoadFailure(.usage, "\(transport.rawValue) is not read over \(scheme)://")
                }
            }
        return Route(
            dialect: dialect, destination: try destination(), host: host, path: path.isEmpty ? dialect.path : path,
            hellos: 1)
    }

    /// The route of publishers.
    package func publishRoute() throws(LoadFailure) -> PublishRoute {
        let dialect: PublishDialect =
            switch scheme {
            case "unix", "tcp": .lines
            case "nats": .nats
            case "redis": .redis
            case "mqtt-ws": .mqttWS
            default: .http
            }
        return PublishRoute(
            dialect: dialect, destination: try destination(), host: host,
            path: path.isEmpty ? dialect == .mqttWS ? Dialect.mqttWS.path : "/v1/events" : path)
    }
}

extension String {
    /// Where `mark` first stands: its beginning and its end.
    fileprivate func range(of mark: String) -> (Index, Index)? {
        var at = startIndex
        while at < endIndex {
            if self[at...].hasPrefix(mark) { return (at, index(at, offsetBy: mark.count)) }
            at = index(after: at)
        }
        return nil
    }
}
