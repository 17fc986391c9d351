// Routes: which paths mean which channel, on every transport and for publishers, and what keeps other pages away.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("Routes")
struct RouteTableTests {
    private func table(_ routes: [(String, String)]) throws -> RouteTable {
        var configuration = Configuration()
        configuration.routes = routes.map { (path: $0.0, channel: $0.1) }
        return try RouteTable(configuration)
    }

    private func channel(_ table: RouteTable, _ path: String) -> String? {
        let bytes = Array(path.utf8)
        return table.channel(of: bytes.span)?.description
    }

    @Test("a path means the channel of the nearest route, wherever that stands", arguments: [false, true])
    func nearest(isReversed: Bool) throws {
        let routes = [
            ("/{x}/{y}", "two/{x}/{y}"), ("/a/{y}", "a/{y}"), ("/a/b", "ab"), ("/{x}/{y}/c", "c/{y}/{x}"),
            ("/a/{y}/d", "d/{y}"), ("/{x}/", "slash/{x}"), ("/ü", "u"),
        ]
        let table = try table(isReversed ? routes.reversed() : routes)
        for (path, wanted) in [
            ("/a/b", "ab"), ("/a/x", "a/x"), ("/x/b", "two/x/b"), ("/a/x/d", "d/x"), ("/a/x/c", "c/x/a"),
            ("/q/", "slash/q"), ("/ü", "u"), ("/a/b/c", "c/b/a"),
        ] {
            #expect(channel(table, path) == wanted, "\(path)")
        }
        for path in [
            "", "a", "/", "/a", "//b", "/a//c", "/a/b/c/d", "/a/x/e", "/a /b", "/../b", "/x/é", "x/b", "/a/b/",
        ] {
            #expect(channel(table, path) == nil, "\(path)")
        }
    }

    @Test("a name that would be too long is none")
    func long() throws {
        let table = try table([("/{a}/{b}", "{a}/{b}")])
        let half = String(repeating: "a", count: 127)
        #expect(channel(table, "/\(half)/\(half)")?.utf8.count == 255)
        #expect(channel(table, "/\(half)/\(half)a") == nil)
    }

    @Test("a table agrees with the plain reading of every template, over random tables and paths")
    func model() throws {
        var random = SeededRandom(seed: 7)
        let parts = ["a", "b", "{x}", "{y}"]
        for _ in 0..<300 {
            var routes: [(String, String)] = []
            for number in 0..<6 {
                let segments = (0...random.below(3)).map { _ in parts[random.below(parts.count)] }
                let places = segments.filter { $0.hasPrefix("{") }
                guard Set(places).count == places.count else { continue }
                let route = ("/" + segments.joined(separator: "/"), (["r\(number)"] + places).joined(separator: "/"))
                if (try? table(routes + [route])) != nil { routes.append(route) }
            }
            let table = try table(routes)
            for _ in 0..<20 {
                let segments = (0...random.below(3)).map { _ in ["a", "b", "c"][random.below(3)] }
                let path = "/" + segments.joined(separator: "/")
                // Of those that match, the one that has the fewest places: others would be refused.
                let fitting = routes.filter { route in
                    let wanted = route.0.split(separator: "/")
                    return wanted.count == segments.count
                        && zip(wanted, segments).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
                }
                let nearest = fitting.min { one, other in
                    one.0.split(separator: "/").count { $0.hasPrefix("{") }
                        < other.0.split(separator: "/").count { $0.hasPrefix("{") }
                }
                let found = channel(table, path)
                #expect(
                    found?.split(separator: "/").first == nearest?.1.split(separator: "/").first, "\(path) \(routes)")
            }
        }
    }

    @Test("what the file's reader would refuse is refused of an embedding program too")
    func faults() {
        for routes in [
            [("/v1/x", "a")], [("x", "a")], [("/{x}", "a")], [("/a/{x}", "{x}"), ("/{x}/a", "{x}")],
            [("/{x}", "{x}"), ("/{y}", "{y}")], Array(repeating: ("/a", "a"), count: 1025),
        ] {
            #expect(throws: StartError.self) { try table(routes) }
        }
    }

    private func server(_ configure: (inout Configuration) -> Void = { _ in }) throws -> SimulatedServer {
        try SimulatedServer {
            $0.routes = [("/api/v1/sessions/{id}/events", "sessions/{id}"), ("/feed", "news")]
            configure(&$0)
        }
    }

    @Test(
        "a route is read on every transport, and published to, as /v1/events is",
        arguments: [["Accept: application/x-ndjson"], ["Accept: text/event-stream"], RequestText.upgrade])
    func transports(fields: [String]) throws {
        let server = try server()
        let reader = try server.connect()
        reader.write(RequestText.get("/api/v1/sessions/42/events?types=a", fields))
        let writer = try server.connect()
        writer.write(RequestText.post("{\"type\":\"a\"}", to: "/api/v1/sessions/42/events?ack=accepted"))
        writer.write(RequestText.post("{\"type\":\"b\"}", to: "/api/v1/sessions/42/events"))
        writer.write(RequestText.post("{\"type\":\"a\"}", to: "/api/v1/sessions/43/events"))
        #expect(Answer.all(writer.takeAll()).map(\.status) == [200, 200, 200])
        let text = String(decoding: reader.takeAll(), as: UTF8.self)
        #expect(text.contains(#"{"seq":1,"channel":"sessions/42","type":"a"}"#))
        #expect(!text.contains("\"seq\":2") && !text.contains("sessions/43"))
    }

    @Test("a path is decoded once, and what names no channel is not found")
    func decoding() throws {
        let server = try server()
        let client = try server.connect()
        client.write(RequestText.post("{}", to: "/api/v1/sessions/%342/%65vents"))
        client.write(RequestText.post("{}", to: "/api/v1/sessions/%2541/events"))
        client.write(RequestText.post("{}", to: "/api/v1/sessions/a%20b/events"))
        client.write(RequestText.post("{}", to: "/api/v1/sessions/a%2Fb/events"))
        client.write(RequestText.post("{}", to: "/api/v1/sessions//events"))
        client.write(RequestText.post("{}", to: "/api/v1/sessions/../events"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 404, 404, 400, 404, 404])
        #expect(server.engine.hub.channels.index(of: try #require(ChannelName("sessions/42"))) != nil)
    }

    @Test("the query may not name a channel, and other methods are told what there is")
    func rules() throws {
        let server = try server()
        let client = try server.connect()
        client.write(RequestText.get("/feed?channel=a"))
        client.write(RequestText.post("{}", to: "/feed?channel=news"))
        client.write(RequestText.get("/feed?form=now"))
        client.write(RequestText.make("DELETE", "/feed"))
        client.write(RequestText.make("OPTIONS", "/feed"))
        let answers = Answer.all(client.takeAll())
        #expect(answers.map(\.status) == [400, 400, 400, 405, 200])
        #expect(answers.prefix(3).map(\.errorCode) == ["channel_fixed", "channel_fixed", "unknown_parameter"])
        #expect(answers[3].fields["allow"] == "GET, POST, OPTIONS" && answers[3].errorCode == "method_not_allowed")
        let head = try server.connect()
        head.write(RequestText.make("HEAD", "/feed"))
        var bytes = head.takeAll()
        #expect(Answer.take(&bytes, toHead: true)?.status == 405 && bytes.isEmpty)
    }

    @Test("pages of other sites reach a route no more than /v1/, and its Host is checked")
    func admission() throws {
        let server = try server()
        let cross = try server.connect()
        cross.write(RequestText.get("/feed", ["Sec-Fetch-Site: cross-site"]))
        cross.write(RequestText.get("/elsewhere", ["Sec-Fetch-Site: cross-site"]))
        cross.write(RequestText.get("/feed", host: "evil.example"))
        #expect(Answer.all(cross.takeAll()).map(\.status) == [403, 404, 421])
        let listed = try self.server { $0.allowedOrigins = ["https://app.example"] }
        let page = try listed.connect()
        page.write(RequestText.post("{}", to: "/feed", ["Origin: https://app.example"]))
        let answer = try #require(Answer.all(page.takeAll()).first)
        #expect(answer.status == 200 && answer.fields["access-control-allow-origin"] == "https://app.example")
    }

    @Test("the server's own paths stay its own under a route of any path")
    func ownPaths() throws {
        let server = try SimulatedServer { $0.routes = [("/{any}", "any/{any}"), ("/{a}/{b}", "any/{a}/{b}")] }
        let client = try server.connect()
        for path in ["/healthz", "/readyz", "/metrics", "/", "/fanout.js", "/v1/lag", "/v1/nothing"] {
            client.write(RequestText.get(path))
        }
        #expect(Answer.all(client.takeAll()).map(\.status) == [200, 200, 200, 200, 200, 200, 404])
        client.write(RequestText.post("{}", to: "/v2/events"))
        #expect(Answer.all(client.takeAll()).map(\.status) == [200])
    }

    @Test("a full server turns readers of a route away as it does those of /v1/events")
    func shed() throws {
        let server = try server { $0.connectionsMax = 9 }
        let first = try server.connect()
        first.write(RequestText.get("/feed", ["Accept: text/event-stream"]))
        let second = try server.connect()
        second.write(RequestText.get("/feed", ["Accept: text/event-stream"]))
        let text = String(decoding: second.takeAll(), as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 200") && text.contains("\"why\":\"overload\""))
    }
}
