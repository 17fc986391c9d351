// Whose limits hold: the server's, a channel's, a listener's, the subscriber's own.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

@Suite("LagLimits")
struct LagLimitsTests {
    private static func limits(_ events: Int, _ bytes: Int, _ age: Int) -> Configuration.LagLimits {
        var limits = Configuration.LagLimits()
        (limits.events, limits.bytes, limits.ageMilliseconds) = (events, bytes, age)
        return limits
    }

    /// Every listener but `events.socket` has limits of its own, and so has the channel `own`.
    private static func configure(_ configuration: inout Configuration) {
        configuration.limits = limits(100, 100_000, 10_000)
        configuration.listenerLimits.http = limits(50, 200_000, 20_000)
        configuration.listenerLimits.httpSocket = limits(60, 60_000, 6_000)
        configuration.listenerLimits.jsonl = limits(1, 1, 1)
        var rules = Configuration.ChannelRules()
        rules.limits = limits(70, 70_000, 70_000)
        configuration.channelRules = [("own", rules)]
    }

    private func limitsInForce(_ server: SimulatedServer) throws -> Configuration.LagLimits {
        let slot = try #require(
            (0..<UInt32(server.engine.delivery.connections.slotsUsed)).last {
                server.engine.delivery.connections[$0].phase == .subscriber
            })
        return server.engine.hub.subscriptions[server.engine.delivery.connections[slot].group].limits
    }

    @Test("both the channel and the listener bind, either alone holds instead of the server's")
    func resolution() throws {
        for (address, plain, own) in [
            (SimulatedServer.http, Self.limits(50, 200_000, 20_000), Self.limits(50, 70_000, 20_000)),
            (SimulatedServer.httpUnix, Self.limits(60, 60_000, 6_000), Self.limits(60, 60_000, 6_000)),
            (SimulatedServer.events, Self.limits(100, 100_000, 10_000), Self.limits(70, 70_000, 70_000)),
            (SimulatedServer.jsonl, Self.limits(1, 1, 1), Self.limits(1, 1, 1)),
        ] {
            let server = try SimulatedServer(seed: 1, Self.configure)
            let client = try server.connect(address)
            let isRaw = address == SimulatedServer.events || address == SimulatedServer.jsonl
            if !isRaw { client.write(RequestText.get("/v1/events")) }
            #expect(try limitsInForce(server) == plain, "\(address)")
            if isRaw {
                client.write("{\"$subscribe\":{\"channel\":\"own\"}}\n")
            } else {
                try server.connect(address).write(RequestText.get("/v1/events?channel=own"))
            }
            #expect(try limitsInForce(server) == own, "\(address)")
        }
    }

    @Test("a subscription to channels with different limits has the server's, or the listener's")
    func mixed() throws {
        for (address, expected) in [
            (SimulatedServer.http, Self.limits(50, 200_000, 20_000)),
            (SimulatedServer.events, Self.limits(100, 100_000, 10_000)),
        ] {
            let server = try SimulatedServer(seed: 1, Self.configure)
            let client = try server.connect(address)
            if address == SimulatedServer.http {
                client.write(RequestText.get("/v1/events?channel=own&channel=events"))
            } else {
                client.write("{\"$subscribe\":{\"channel\":[\"own\",\"events\"]}}\n")
            }
            #expect(try limitsInForce(server) == expected)
        }
    }

    @Test("a reader gets smaller limits where it asks for them, in a query and in $subscribe")
    func wishes() throws {
        let server = try SimulatedServer(seed: 1, Self.configure)
        for (query, object, expected) in [
            ("lag_events=7", "\"lag_events\":7", Self.limits(7, 100_000, 10_000)),
            ("lag_bytes=1&lag_ms=100", "\"lag_bytes\":\"1\",\"lag_ms\":100", Self.limits(100, 1, 100)),
            (
                "lag_events=100&lag_bytes=100000&lag_ms=10000",
                "\"lag_events\":100,\"lag_bytes\":100000,\"lag_ms\":10000",
                Self.limits(100, 100_000, 10_000)
            ),
        ] {
            let raw = try server.connect(SimulatedServer.events)
            raw.write("{\"$subscribe\":{\(object)}}\n")
            #expect(try limitsInForce(server) == expected, "\(object)")
            raw.close()
            try server.publish("{}")
            server.settle()
            let unlimited = try SimulatedServer { $0.limits = Self.limits(100, 100_000, 10_000) }
            _ = try SimulatedReader(unlimited, .webSocket, query: query)
            #expect(try limitsInForce(unlimited) == expected, "\(query)")
        }
    }

    @Test(
        "one more than a reader would have anyway is refused with the number it could have",
        arguments: [
            ("lag_events=51", "lag_events is at most 50 here"), ("lag_bytes=70001", "lag_bytes is at most 70000 here"),
            ("lag_ms=20001", "lag_ms is at most 20000 here"),
            ("lag_ms=99999999999999999999999999", "lag_ms is at most 20000 here"),
            ("lag_events=0", "whole numbers"), ("lag_events=-1", "whole numbers"), ("lag_events=", "whole numbers"),
            ("lag_events=1.5", "whole numbers"), ("lag_events=%2B5", "whole numbers"), ("lag_ms=1e3", "whole numbers"),
            ("lag_ms=07", "whole numbers"),
        ])
    func refusals(query: String, message: String) throws {
        let server = try SimulatedServer(seed: 1, Self.configure)
        for form in ["application/x-ndjson", "text/event-stream"] {
            let client = try server.connect()
            client.write(RequestText.get("/v1/events?channel=own&" + query, ["Accept: \(form)"]))
            let answer = try #require(Answer.all(client.takeAll()).first)
            #expect(answer.status == 400)
            #expect(answer.errorCode == "bad_lag_limit")
            let said = try #require((answer.json["error"] as? [String: Any])?["message"] as? String)
            #expect(said.contains(message))
        }
    }

    @Test(
        "the same in $subscribe ends the stream with 1008 and the code, and the log names the number",
        arguments: ["101", "\"101\"", "0", "\"x\"", "1.5", "-3", "1e2", "99999999999999999999"])
    func refusedLines(value: String) throws {
        for isWebSocket in [false, true] {
            let server = try SimulatedServer(
                seed: 1,
                {
                    $0.limits.events = 100
                    $0.limits.bytes = 5
                })
            let reader = try SimulatedReader(server, isWebSocket ? .webSocket : .eventsSocket)
            let text = "{\"$subscribe\":{\"lag_events\":\(value)}}"
            reader.client.write(isWebSocket ? ServerFrame.clientText(text) : Array((text + "\n").utf8))
            let bye = try #require(reader.take().last)
            #expect(bye.object["code"] as? Int == 1008)
            #expect(bye.object["why"] as? String == "bad_lag_limit")
            let isNumber = Int(value.filter { $0 != "\"" }).map { $0 > 0 } ?? (value.count == 20)
            #expect(server.log.contains { $0.contains("lag_events is at most 100 here") } == isNumber, "\(server.log)")
        }
    }

    @Test("what is neither a string nor a number is no limit", arguments: ["true", "null", "[5]", "{}"])
    func otherKinds(value: String) throws {
        let server = try SimulatedServer()
        let reader = try SimulatedReader(server, .eventsSocket)
        reader.client.write("{\"$subscribe\":{\"lag_ms\":\(value)}}\n")
        #expect(reader.take().last?.object["why"] as? String == "bad_subscribe")
    }

    @Test("equal subscribers share a group, whichever way their limits came to be the same")
    func groups() throws {
        let server = try SimulatedServer {
            $0.limits = Self.limits(40, 1000, 1000)
            $0.listenerLimits.httpSocket = Self.limits(20, 1000, 1000)
        }
        var clients: [SimulatedClient] = []
        func subscribe(_ query: String, at address: SocketAddress = SimulatedServer.http) throws -> Int {
            let client = try server.connect(address)
            client.write(RequestText.get("/v1/events" + query))
            clients.append(client)
            return server.engine.hub.groupsInUse
        }
        #expect(try subscribe("") == 1)
        #expect(try subscribe("?lag_events=40") == 1)
        #expect(try subscribe("?lag_events=20&lag_ms=1000") == 2)
        #expect(try subscribe("", at: SimulatedServer.httpUnix) == 2)
        #expect(try subscribe("?lag_events=20", at: SimulatedServer.httpUnix) == 2)
        #expect(try subscribe("?lag_events=19", at: SimulatedServer.httpUnix) == 3)
        #expect(try subscribe("?lag_bytes=999") == 4)
        #expect(try subscribe("?lag_ms=999") == 5)
        #expect(try subscribe("?lag_ms=999&on_lag=gap") == 6)
    }

    @Test("a smaller limit is a reader's own: it is cut, and its neighbour on the same channel is not")
    func ownLimit() throws {
        let server = try SimulatedServer(pipeBytes: 400)
        let small = try SimulatedReader(server, .sse, query: "lag_events=10")
        let large = try SimulatedReader(server, .sse)
        for _ in 0..<30 {
            try server.publish("{\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxx\"}")
            server.pass(milliseconds: 20, step: 20)
        }
        server.pass(milliseconds: 500)
        #expect(server.metric("fanout_laggards_total", "reason=\"events\",transport=\"sse\"") == 1)
        #expect(server.metric("fanout_laggards_total") == 1)
        #expect(small.take().last?.object["code"] as? Int == 4008)
        #expect(large.takeSeqs() == Array(1...30))
    }

    @Test("limits that no limit may be are refused at the start, a listener's too")
    func badConfiguration() {
        for limits in [Self.limits(0, 1, 1), Self.limits(1, 0, 1), Self.limits(1, 1, (1 << 30) + 1)] {
            #expect(throws: StartError.self) { try SimulatedServer { $0.limits = limits } }
            #expect(throws: StartError.self) { try SimulatedServer { $0.listenerLimits.http = limits } }
            #expect(throws: StartError.self) { try SimulatedServer { $0.listenerLimits.httpSocket = limits } }
            #expect(throws: StartError.self) { try SimulatedServer { $0.listenerLimits.events = limits } }
            #expect(throws: StartError.self) { try SimulatedServer { $0.listenerLimits.jsonl = limits } }
        }
    }

    @Test("the kernel waits for the largest age limit there can be, thirty seconds for $bye, and a little")
    func kernelPatience() throws {
        let server = try SimulatedServer(seed: 1, Self.configure)
        #expect(server.engine.userTimeoutMilliseconds(at: .http) == 20_000 + 35_000)
        #expect(server.engine.userTimeoutMilliseconds(at: .jsonl) == 1 + 35_000)
        #expect(server.engine.userTimeoutMilliseconds(at: .events) == 0, "unix sockets have no such option")
        #expect(server.engine.userTimeoutMilliseconds(at: .httpSocket) == 0)
        let plain = try SimulatedServer {
            Self.configure(&$0)
            $0.listenerLimits = Configuration.ListenerLimits()
        }
        #expect(plain.engine.userTimeoutMilliseconds(at: .http) == 70_000 + 35_000, "the channel's is the largest")
        let endless = try SimulatedServer { $0.limits.ageMilliseconds = 1 << 30 }
        #expect(endless.engine.userTimeoutMilliseconds(at: .http) == 0, "a peer that is gone is found no later for it")
    }
}
