// Who may come in: every spelling of Host, Origin and Sec-Fetch-Site that matters, with every method.
import Testing

@testable import FanoutServer
@testable import Wire

@Suite("Admission")
struct AdmissionTests {
    enum Outcome: Equatable {
        case welcome, listed, misdirected, origin, site, malformed
    }

    private static let port: UInt16 = 7575

    /// Decides about a request as the engine does.
    private func decide(
        _ method: String = "GET", _ path: String = "/v1/events", host: String?, origin: String? = nil,
        site: String? = nil, _ configuration: Configuration = AdmissionTests.configuration
    ) -> Outcome {
        var text = "\(method) \(path) HTTP/1.1\r\n"
        if let host { text += "Host: \(host)\r\n" }
        if let origin { text += "Origin: \(origin)\r\n" }
        if let site { text += "Sec-Fetch-Site: \(site)\r\n" }
        let bytes = Array((text + "\r\n").utf8)
        do throws(HTTPFault) {
            let head = try HTTPRequestHead.parse(bytes.span, limits: HTTPLimits())
            let body: [UInt8] = []
            let request = Request(head: head, headBytes: bytes.span, body: body.span)
            let decoded = try RequestPath.decode(bytes.span.extracting(head.path.range))
            switch Admission(configuration).decide(request, path: decoded.span, port: Self.port) {
            case .welcome: return .welcome
            case .welcomeFromOrigin: return .listed
            case .refused(let fault):
                switch fault.code.description {
                case "misdirected": return .misdirected
                case "origin_refused": return .origin
                default: return .site
                }
            }
        } catch {
            return .malformed
        }
    }

    private static var configuration: Configuration {
        var configuration = Configuration()
        configuration.allowedHosts = ["fanout.example", "pinned.example:8080"]
        configuration.allowedOrigins = ["https://app.example", "http://127.0.0.1:3000"]
        return configuration
    }

    static let hosts: [(String, Outcome)] = [
        ("127.0.0.1:7575", .welcome), ("127.0.0.1", .welcome), ("localhost:7575", .welcome), ("localhost", .welcome),
        ("LOCALHOST:7575", .welcome), ("LocalHost", .welcome), ("[::1]:7575", .welcome), ("[::1]", .welcome),
        ("127.255.255.254:7575", .welcome), ("127.0.0.0", .welcome), ("fanout.example", .welcome),
        ("FANOUT.example:7575", .welcome), ("pinned.example:8080", .welcome),
        ("127.0.0.1:7576", .misdirected), ("localhost:80", .misdirected), ("[::1]:1", .misdirected),
        ("127.attacker.example", .misdirected), ("127.0.0.1.attacker.example", .misdirected),
        ("localhost.", .misdirected), ("localhost.:7575", .misdirected), ("localhost.evil", .misdirected),
        ("notlocalhost", .misdirected), ("localhost.localdomain", .misdirected), ("sub.localhost", .misdirected),
        ("0.0.0.0:7575", .misdirected), ("0:7575", .misdirected), ("[::]:7575", .misdirected),
        ("[::ffff:127.0.0.1]:7575", .misdirected), ("[0:0:0:0:0:0:0:1]", .misdirected), ("127.1", .misdirected),
        ("2130706433", .misdirected), ("0x7f000001", .misdirected), ("0177.0.0.1", .misdirected),
        ("127.0.0.01", .misdirected), ("127.0.0.256", .misdirected), ("127.0.0.1.", .misdirected),
        ("10.0.0.1:7575", .misdirected), ("128.0.0.1", .misdirected), ("evil.example", .misdirected),
        ("fanout.example.evil", .misdirected), ("xfanout.example", .misdirected), ("fanout.example:80", .misdirected),
        ("pinned.example", .misdirected), ("pinned.example:7575", .misdirected), ("loc%61lhost", .misdirected),
        ("localhost@evil.example", .malformed), ("localhost:", .malformed), ("localhost:7575:7575", .malformed),
        ("localhost, evil.example", .malformed), ("::1", .malformed), ("localhost:99999", .malformed),
        ("", .misdirected),
    ]

    @Test("each spelling of Host is ours or not, with every method", arguments: hosts)
    func host(host: String, outcome: Outcome) {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "PUT"] {
            let found = decide(method, host: host)
            if outcome == .malformed {
                #expect(found == .malformed || found == .misdirected, "\(method) '\(host)'")
            } else {
                #expect(found == outcome, "\(method) '\(host)'")
            }
        }
    }

    @Test("a request without Host, or with two, is not let in")
    func hostMissing() {
        #expect(decide(host: nil) != .welcome)
        #expect(decide(host: "localhost\r\nHost: localhost") == .malformed)
        #expect(decide("GET", "http://evil.example/v1/events", host: "localhost:7575") != .welcome)
    }

    static let origins: [(String, Outcome)] = [
        ("http://127.0.0.1:7575", .welcome), ("HTTP://127.0.0.1:7575", .welcome),
        ("https://app.example", .listed), ("https://APP.example", .listed), ("https://app.example:443", .listed),
        ("http://127.0.0.1:3000", .listed),
        ("null", .origin), ("", .origin), ("*", .origin), ("https://127.0.0.1:7575", .origin),
        ("http://127.0.0.1", .origin), ("http://127.0.0.1:7576", .origin), ("http://localhost:7575", .origin),
        ("http://127.0.0.1:7575.evil.example", .origin), ("http://127.0.0.1:75755", .origin),
        ("http://evil.example", .origin), ("https://app.example.evil", .origin), ("https://xapp.example", .origin),
        ("http://app.example", .origin), ("https://app.example:8443", .origin), ("https://app.example/", .origin),
        ("https://app.example@evil.example", .origin), ("https://evil.example#https://app.example", .origin),
        ("https://app.example https://evil.example", .origin), ("https://app.example.", .origin),
        ("file://", .origin), ("chrome-extension://abcdef", .origin), ("http://[::1]:7575", .origin),
    ]

    @Test("each spelling of Origin is ours, listed or refused, with every method", arguments: origins)
    func origin(origin: String, outcome: Outcome) {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            for path in ["/", "/v1/events", "/metrics"] {
                #expect(
                    decide(method, path, host: "127.0.0.1:7575", origin: origin) == outcome, "\(method) '\(origin)'")
            }
        }
    }

    @Test("a listed origin is let in whatever its browser says of the site, on our hosts only")
    func listed() {
        for site in ["cross-site", "same-site", "none", nil] {
            #expect(decide("POST", host: "127.0.0.1:7575", origin: "https://app.example", site: site) == .listed)
        }
        #expect(decide(host: "evil.example", origin: "https://app.example") == .misdirected)
    }

    /// Sec-Fetch-Site, and what it means for GET under /v1/, GET of the page, and what changes something.
    static let sites: [(String?, Outcome, Outcome, Outcome)] = [
        (nil, .welcome, .welcome, .welcome), ("same-origin", .welcome, .welcome, .welcome),
        ("none", .welcome, .welcome, .welcome), ("Same-Origin", .welcome, .welcome, .welcome),
        ("cross-site", .site, .welcome, .site), ("CROSS-SITE", .site, .welcome, .site),
        ("same-site", .welcome, .welcome, .site), ("", .welcome, .welcome, .site),
        ("nonsense", .welcome, .welcome, .site), ("cross-site;x", .welcome, .welcome, .site),
        ("same-originx", .welcome, .welcome, .site), ("xnone", .welcome, .welcome, .site),
    ]

    @Test("each Sec-Fetch-Site without an Origin", arguments: sites)
    func site(site: String?, stream: Outcome, page: Outcome, change: Outcome) {
        let host = "127.0.0.1:7575"
        for method in ["GET", "HEAD"] {
            for path in ["/v1/events", "/v1/channels", "/v1/history", "/v1/events?channel=a", "/v1/"] {
                #expect(decide(method, path, host: host, site: site) == stream, "\(method) \(path)")
            }
            for path in ["/", "/fanout.js", "/healthz"] {
                #expect(decide(method, path, host: host, site: site) == page, "\(method) \(path)")
            }
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            #expect(decide(method, host: host, site: site) == change, "\(method)")
        }
    }

    @Test("a path that is spelt with escapes is the same path")
    func escapedPath() throws {
        for path in ["/%761/events", "/v%31/events", "/%76%31/events", "/v1/%65vents"] {
            #expect(decide("GET", path, host: "127.0.0.1:7575", site: "cross-site") == .site, "\(path)")
        }
        let server = try SimulatedServer()
        let client = try server.connect()
        client.write(RequestText.get("/%761/events", ["Sec-Fetch-Site: cross-site"]))
        #expect(Answer.all(client.takeAll()).map(\.status) == [403])
    }

    @Test("an operator who bound a public address may be named by any address literal, but not by names")
    func insecure() {
        var configuration = Configuration()
        configuration.insecure = true
        for host in ["10.1.2.3:7575", "192.168.0.9", "[fe80::1]:7575", "[2001:db8::1]"] {
            #expect(decide(host: host, configuration) == .welcome, "\(host)")
        }
        for host in ["evil.example", "10.1.2.3.evil.example", "localhost.", "10.1", "0x0a010203"] {
            #expect(decide(host: host, configuration) == .misdirected, "\(host)")
        }
    }

    @Test("over a unix socket nothing of this is asked")
    func unixSocket() throws {
        let server = try SimulatedServer()
        let client = try server.connect(SimulatedServer.httpUnix)
        client.write(
            RequestText.make(
                "GET", "/v1/channels", ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"],
                host: "evil.example"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
    }

    @Test("only a listed origin is told that it may read, and it is told its own name")
    func allowOrigin() throws {
        let server = try SimulatedServer { $0.allowedOrigins = ["https://app.example"] }
        func answer(_ method: String, _ origin: String?) throws -> Answer? {
            let client = try server.connect()
            client.write(RequestText.make(method, "/v1/channels", origin.map { ["Origin: \($0)"] } ?? []))
            return Answer.all(client.takeAll()).first
        }
        let listed = try answer("GET", "https://app.example")
        #expect(listed?.fields["access-control-allow-origin"] == "https://app.example")
        #expect(listed?.fields["vary"] == "Origin")
        #expect(listed?.fields["access-control-allow-credentials"] == nil)
        for origin in ["http://127.0.0.1:7575", "https://evil.example", nil] {
            let answer = try answer("GET", origin)
            #expect(answer?.fields["access-control-allow-origin"] == nil)
            #expect(answer?.fields["x-content-type-options"] == "nosniff")
        }
        let preflight = try answer("OPTIONS", "https://app.example")
        #expect(preflight?.status == 200)
        #expect(preflight?.fields["access-control-allow-methods"]?.contains("POST") == true)
        #expect(try answer("OPTIONS", "https://evil.example")?.status == 403)
        #expect(try answer("OPTIONS", nil)?.fields["access-control-allow-methods"] == nil)
    }

    @Test("a page of another origin gets no WebSocket and no stream")
    func crossSiteStreams() throws {
        let server = try SimulatedServer()
        for fields in [RequestText.upgrade, ["Accept: text/event-stream"], []] {
            let client = try server.connect()
            client.write(RequestText.get("/v1/events", fields + ["Origin: http://evil.example"]))
            #expect(Answer.all(client.takeAll()).map(\.status) == [403])
        }
        #expect(server.engine.hub.groupsInUse == 0)
    }
}
