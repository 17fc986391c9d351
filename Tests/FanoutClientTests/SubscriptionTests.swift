/// Subscriptions against scripted servers: what is asked, what is skipped, how they come back.

import FanoutClient
import Testing

private let epoch = "00000000000000aa"

private func hello(_ seq: Int, _ epoch: String = epoch) -> String {
    #"{"type":"$hello","epoch":"\#(epoch)","seq":\#(seq),"server":"t","heartbeat_s":15}"# + "\n"
}

private func event(_ seq: Int) -> String { #"{"seq":\#(seq),"channel":"events","n":\#(seq)}"# + "\n" }

/// What a subscription gives, as short texts, until it ends or throws; waits between connections are cut to nothing by
/// servers that say `retry_ms` 0.
private func items(_ endpoint: Endpoint, _ options: EventSubscription.Options = .init(), max: Int = 20) -> [String] {
    var events = EventSubscription(endpoint, options)
    var result: [String] = []
    do throws(ClientError) {
        while result.count < max {
            switch try events.next() {
            case nil: return result + ["end"]
            case .event(let line)?: result.append(String(decoding: line, as: UTF8.self))
            case .control(.hello(_, let seq, _, _), _)?: result.append("hello \(seq)")
            case .control(.gap(let why, _, let from, let to, let dropped), _)?:
                result.append("gap \(why) \(from ?? 0) \(to ?? 0) \(dropped ?? 0)")
            case .control(.bye(let code, let why, _, _), _)?: result.append("bye \(code) \(why)")
            case .control(.snapshot(let seq, let count), _)?: result.append("snapshot \(seq) \(count ?? 0)")
            case .control(.live(let seq, let count), _)?: result.append("live \(seq) \(count ?? 0)")
            case .control(let message, _)?: result.append("\(message)")
            case .disconnected?: result.append("disconnected")
            }
        }
    } catch {
        result.append("\(error.kind)")
    }
    return result
}

private let goodbye = #"{"type":"$bye","code":1000,"why":"ended","last":"00000000000000aa-1"}"# + "\n"

@Suite("Subscription", .timeLimit(.minutes(1)))
struct SubscriptionTests {
    @Test("on a socket the wishes go first, and what comes before the second hello is for everyone")
    func socket() throws {
        let server = try TinyServer([
            { connection in
                connection.send(hello(4) + event(5))
                let line = connection.receiveLine()
                connection.send(event(6) + hello(6))
                connection.send(#"{"seq":7,"line":\#(line ?? "none")}"# + "\n" + goodbye)
            }
        ])
        var options = EventSubscription.Options()
        options.channels = ["a/*", "b"]
        options.types = ["x"]
        options.from = "start"
        #expect(
            items(server.endpoint, options) == [
                "hello 6",
                #"{"seq":7,"line":{"$subscribe":{"control":"on","channel":["a/*","b"],"types":["x"],"from":"start"}}}"#,
                "bye 1000 ended", "end",
            ])
    }

    @Test("where nobody is greeted who does not ask, events may come before both greetings")
    func silentSocket() throws {
        let server = try TinyServer([
            { connection in
                connection.send(#"{"type":"snapshot"}"# + "\n" + event(5))
                _ = connection.receiveLine()
                connection.send(hello(5) + hello(5) + event(6) + goodbye)
            }
        ])
        #expect(items(server.endpoint) == ["hello 5", #"{"seq":6,"channel":"events","n":6}"#, "bye 1000 ended", "end"])
    }

    @Test("over HTTP the wishes stand in the query, and the URL's own query is kept")
    func http() throws {
        let server = try TinyServer(
            http: true,
            [
                { connection in
                    let head = connection.receive(until: "\r\n\r\n") ?? ""
                    let line = head.split(separator: "\r\n").first ?? ""
                    connection.send(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n")
                    let accepts = head.contains("\r\nAccept: application/x-ndjson\r\n")
                    connection.send(hello(0) + "{\"seq\":1,\"line\":\"\(line) \(accepts)\"}\n" + goodbye)
                }
            ])
        guard case .http(let address) = server.endpoint else { return }
        var options = EventSubscription.Options()
        options.channels = ["a b"]
        options.types = ["x", "y"]
        let endpoint = try Endpoint(url: "http://127.0.0.1:\(address.port)/v1/events?on_lag=gap&control=off")
        #expect(
            items(endpoint, options)[1]
                == #"{"seq":1,"line":"GET /v1/events?on_lag=gap&control=on&channel=a%20b&types=x%2Cy HTTP/1.1 true"}"#)
    }

    /// Scripts that say a state, cut within it and behind it, and what each of these connections is asked for.
    private func statesCut(_ options: EventSubscription.Options) throws -> [String] {
        let rows = #"{"type":"$snapshot","seq":9,"count":2}"# + "\n" + event(3)
        let rest = event(7) + #"{"type":"$live","seq":9,"count":2}"# + "\n"
        func script(_ text: String) -> @Sendable (TinyServer.Connection) -> Void {
            return { connection in
                connection.send(hello(9))
                let line = connection.receiveLine() ?? ""
                connection.send(hello(9) + "{\"asked\":\(line)}\n" + text)
            }
        }
        let server = try TinyServer([script(rows), script(rows + rest + event(12)), script(goodbye)])
        return items(server.endpoint, options)
    }

    private func asked(_ wishes: String) -> String { #"{"asked":{"$subscribe":{"control":"on",\#(wishes)}}}"# }

    @Test("a state is told from its beginning to its end, and one that is cut is asked for again")
    func state() throws {
        var options = EventSubscription.Options()
        options.from = "snapshot"
        options.onLag = .resnapshot
        options.failsOnGap = true
        let rows = ["snapshot 9 2", #"{"seq":3,"channel":"events","n":3}"#]
        let rest = [#"{"seq":7,"channel":"events","n":7}"#, "live 9 2", #"{"seq":12,"channel":"events","n":12}"#]
        let wishes = #""on_lag":"resnapshot","on_gap":"fail""#
        let first = ["hello 9", asked(#""from":"snapshot",\#(wishes)"#)] + rows + ["disconnected"]
        let second = ["hello 9", asked(#""from":"snapshot",\#(wishes)"#)] + rows + rest + ["disconnected"]
        let third = ["hello 9", asked(#""from":"\#(epoch)-12",\#(wishes)"#), "bye 1000 ended", "end"]
        #expect(try statesCut(options) == first + second + third)
    }

    @Test("who does not resume begins every connection where the first one began")
    func beginningAnew() throws {
        var options = EventSubscription.Options()
        options.from = "snapshot"
        options.resumes = false
        let wishes = try statesCut(options).filter { $0.contains("asked") }
        #expect(wishes == Array(repeating: asked(#""from":"snapshot""#), count: 3))
    }

    @Test("a server that restarts is come back to by the old place, and what it lost is told")
    func restart() throws {
        let second = "00000000000000bb"
        let gap = #"{"type":"$gap","epoch":"\#(epoch)","from":2,"to":3,"dropped":2,"why":"rewound"}"# + "\n"
        let bye = #"{"type":"$bye","code":1001,"why":"shutdown","last":"\#(epoch)-1","retry_ms":0}"# + "\n"
        func script(_ head: String, _ text: String) -> @Sendable (TinyServer.Connection) -> Void {
            return { connection in
                connection.send(head)
                let line = connection.receiveLine() ?? ""
                connection.send(head + "{\"asked\":\(line)}\n" + text)
            }
        }
        let server = try TinyServer([
            script(hello(0), event(1) + bye), script(hello(4, second), gap + event(4)),
            script(hello(4, second), goodbye),
        ])
        #expect(
            items(server.endpoint) == [
                "hello 0", #"{"asked":{"$subscribe":{"control":"on"}}}"#, #"{"seq":1,"channel":"events","n":1}"#,
                "bye 1001 shutdown", "disconnected",
                "hello 4", asked(#""from":"\#(epoch)-1""#), "gap rewound 2 3 2", #"{"seq":4,"channel":"events","n":4}"#,
                "disconnected",
                "hello 4", asked(#""from":"\#(second)-4""#), "bye 1000 ended", "end",
            ])
    }

    @Test("a cut connection is resumed from the last event, a gap or the hello")
    func resume() throws {
        let bye = #"{"type":"$bye","code":1012,"why":"restarting","retry_ms":0}"# + "\n"
        let gap = #"{"type":"$gap","epoch":"\#(epoch)","from":5,"to":8,"dropped":2,"why":"lagged"}"# + "\n"
        func script(_ text: String) -> @Sendable (TinyServer.Connection) -> Void {
            return { connection in
                connection.send(hello(0))
                let line = connection.receiveLine() ?? ""
                // The wish comes back as an event without a number of its own.
                connection.send(hello(3) + "{\"asked\":\(line)}\n" + text + bye)
                _ = connection.receiveLine()
            }
        }
        let server = try TinyServer([script(""), script(event(4)), script(gap), script("")])
        let asked = items(server.endpoint, max: 18).filter { $0.contains("asked") }
        #expect(
            asked == [
                #"{"asked":{"$subscribe":{"control":"on"}}}"#,
                #"{"asked":{"$subscribe":{"control":"on","from":"\#(epoch)-3"}}}"#,
                #"{"asked":{"$subscribe":{"control":"on","from":"\#(epoch)-4"}}}"#,
                #"{"asked":{"$subscribe":{"control":"on","from":"\#(epoch)-8"}}}"#,
            ])
    }

    @Test("what a socket says before it knows our wishes is no place to come back to")
    func earlyBye() throws {
        let bye = #"{"type":"$bye","code":1001,"why":"shutdown","last":"\#(epoch)-50","retry_ms":0}"# + "\n"
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                connection.send(hello(50) + hello(50) + event(8))
            },
            { connection in
                connection.send(hello(50) + bye)
                _ = connection.receiveLine()
            },
            { connection in
                let line = connection.receiveLine() ?? ""
                connection.send(hello(50) + hello(50) + "{\"asked\":\(line)}\n" + goodbye)
            },
        ])
        var options = EventSubscription.Options()
        options.from = "\(epoch)-7"
        #expect(
            items(server.endpoint, options) == [
                "hello 50", #"{"seq":8,"channel":"events","n":8}"#, "disconnected", "bye 1001 shutdown",
                "disconnected", "hello 50",
                #"{"asked":{"$subscribe":{"control":"on","from":"\#(epoch)-8"}}}"#, "bye 1000 ended", "end",
            ])
    }

    @Test("what one read has brought is told without another read, and the place is behind each of it")
    func held() throws {
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                connection.send(hello(0) + hello(0) + event(1) + "\n" + event(2) + "{\"seq\":3,")
                // The rest comes when the reader has gone: it must not have been waited for.
                _ = connection.receiveLine()
            }
        ])
        var events = EventSubscription(server.endpoint, .init())
        var places: [String?] = []
        #expect(try events.nextHeld() == nil)
        _ = try events.next()
        places.append(events.cursor)
        // One write may be two reads.
        if try events.nextHeld() == nil { _ = try events.next() }
        places.append(events.cursor)
        while try events.nextHeld() != nil { places.append(events.cursor) }
        #expect(places == ["\(epoch)-0", "\(epoch)-1", "\(epoch)-2"])
    }

    @Test("a connection that breaks without a word is made again")
    func brokenConnection() throws {
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                connection.send(hello(0) + hello(0) + event(1))
            },
            { connection in
                let line = connection.receiveLine() ?? ""
                connection.send(hello(1) + hello(1) + "{\"asked\":\(line)}\n" + goodbye)
            },
        ])
        #expect(
            items(server.endpoint) == [
                "hello 0", #"{"seq":1,"channel":"events","n":1}"#, "disconnected", "hello 1",
                #"{"asked":{"$subscribe":{"control":"on","from":"\#(epoch)-1"}}}"#, "bye 1000 ended", "end",
            ])
    }

    @Test("a first connection that fails is an error, not a reason to wait")
    func firstFailure() throws {
        #expect(items(.unix(path: "/does/not/exist")) == ["unreachable"])
        let server = try TinyServer([{ connection in connection.send(hello(0)) }])
        #expect(items(server.endpoint) == ["lost"])
    }

    @Test("without reconnecting the end of the connection is an error")
    func noReconnect() throws {
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                connection.send(hello(0) + hello(0) + event(1))
            }
        ])
        var options = EventSubscription.Options()
        options.reconnects = false
        #expect(items(server.endpoint, options) == ["hello 0", #"{"seq":1,"channel":"events","n":1}"#, "lost"])
    }

    @Test("a bye without a time to come back ends the subscription")
    func finalBye() throws {
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                connection.send(hello(0) + hello(0) + #"{"type":"$bye","code":1008,"why":"policy"}"# + "\n")
            }
        ])
        #expect(items(server.endpoint) == ["hello 0", "bye 1008 policy", "ended(code: 1008)"])
    }

    @Test("a subscription that the server refuses says why, on a socket and over HTTP")
    func refused() throws {
        let error = #"{"error":{"code":"bad_channel","message":"No."}}"#
        let socket = try TinyServer([
            { connection in
                connection.send(hello(0))
                _ = connection.receiveLine()
                connection.send(error + "\n")
                _ = connection.receiveLine()
            }
        ])
        #expect(items(socket.endpoint) == [#"refused(code: "bad_channel", status: nil)"#])
        let http = try TinyServer(
            http: true,
            [
                { connection in
                    _ = connection.receiveRequest()
                    connection.answer("400 Bad Request", error)
                }
            ])
        #expect(items(http.endpoint) == [#"refused(code: "bad_channel", status: Optional(400))"#])
    }

    @Test("a channel that has ended is the end, and something else than a server is told apart")
    func endedAndForeign() throws {
        let ended = try TinyServer(
            http: true,
            [
                {
                    _ = $0.receiveRequest(); $0.send("HTTP/1.1 204 No Content\r\n\r\n")
                }
            ])
        #expect(items(ended.endpoint) == ["end"])
        let page = try TinyServer(
            http: true,
            [
                {
                    _ = $0.receiveRequest(); $0.answer("200 OK", "<html>", type: "text/html")
                }
            ])
        #expect(items(page.endpoint) == ["protocolFault"])
        let mail = try TinyServer(
            http: true,
            [
                {
                    $0.send("220 mail ready\r\n"); _ = $0.receiveRequest()
                }
            ])
        #expect(items(mail.endpoint) == ["protocolFault"])
        let other = try TinyServer([
            {
                $0.send("hello there\n"); _ = $0.receiveLine(); _ = $0.receiveLine()
            }
        ])
        #expect(items(other.endpoint) == ["protocolFault"])
    }

    @Test("a server that never speaks is given up")
    func silence() throws {
        let server = try TinyServer([
            {
                _ = $0.receiveLine(); _ = $0.receiveLine()
            }
        ])
        var options = EventSubscription.Options()
        options.connectMilliseconds = 50
        #expect(items(server.endpoint, options) == ["timedOut"])
    }

    @Test("chunked streams are read, cut anywhere")
    func chunked() throws {
        let server = try TinyServer(
            http: true,
            [
                { connection in
                    _ = connection.receiveRequest()
                    connection.send(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for byte in (hello(0) + event(1) + goodbye).utf8 {
                        connection.send("1;x=y\r\n\(Character(Unicode.Scalar(byte)))\r\n")
                    }
                    connection.send("0\r\n\r\n")
                }
            ])
        #expect(
            items(server.endpoint) == ["hello 0", #"{"seq":1,"channel":"events","n":1}"#, "bye 1000 ended", "end"])
    }

    @Test("a discriminator of another name is followed, and an event's own $ names are not control records")
    func discriminator() throws {
        let server = try TinyServer([
            { connection in
                _ = connection.receiveLine()
                let hello = #"{"kind":"$hello","epoch":"\#(epoch)","seq":0,"server":"t"}"# + "\n"
                connection.send(hello + hello + #"{"type":"$bye","code":1000}"# + "\n")
                connection.send(#"{"seq":1,"channel":"dash","type":"$gap"}"# + "\n")
                connection.send(#"{"kind":"$ping"}"# + "\n" + #"{"kind":"$later","x":1}"# + "\n")
                connection.send(#"{"kind":"$bye","code":1000,"why":"ended"}"# + "\n")
            }
        ])
        #expect(
            items(server.endpoint) == [
                "hello 0", #"{"type":"$bye","code":1000}"#, #"{"seq":1,"channel":"dash","type":"$gap"}"#, "ping",
                #"other(name: "$later")"#, "bye 1000 ended", "end",
            ])
    }
}
