/// State rules, terminal kinds, routes and further ingest sockets in the configuration file.

import FanoutServer
import Testing

@Suite("Configuration file: state, routes and ingest")
struct ConfigurationStateTests {
    private func parse(_ text: String) -> (configuration: Configuration, faults: [String]) {
        let (configuration, faults) = ConfigurationFile.parse(Array(text.utf8), named: "f")
        return (configuration, faults.map(\.description))
    }

    /// The faults of a channel's rules, without the file's name; columns count from the rules' brace.
    private func ruleFaults(_ rules: String) -> [String] {
        let head = #"{"channels":{"a":"#
        return parse(head + rules + "}}").faults.map { fault in
            let parts = fault.split(separator: ":", maxSplits: 3, omittingEmptySubsequences: false)
            return "\((Int(parts[2]) ?? 0) - head.utf8.count):\(parts[3])"
        }
    }

    @Test("state, terminal kinds and the places and policies that need them are read")
    func state() throws {
        let (configuration, faults) = parse(
            """
            {"on_lag": "conflate", "channels": {"dash": {"from": "snapshot", "on_lag": "resnapshot",
              "state": {"upsert": {"set": {"key": "/container/name", "table": "containers"}, "row": "/a~1b/0"},
                        "remove": {"gone": {"table": "containers", "key": "/name"}, "row.gone": {"key": "/~0"}},
                        "replace": ["list", "m\\u00e9ta"], "snapshot": ["all"]},
              "terminal": ["done", "failed"]}}}
            """)
        #expect(faults == [])
        #expect(configuration.onLag == .conflate)
        let rules = try #require(configuration.channelRules.first).rules
        #expect(rules.from == .snapshot && rules.onLag == .resnapshot && rules.terminal == ["done", "failed"])
        let state = try #require(rules.state)
        #expect(
            state.upsert == [
                "set": Configuration.StateKey(pointer: "/container/name", table: "containers"),
                "row": Configuration.StateKey(pointer: "/a~1b/0"),
            ])
        #expect(
            state.remove == [
                "gone": Configuration.StateKey(pointer: "/name", table: "containers"),
                "row.gone": Configuration.StateKey(pointer: "/~0"),
            ])
        #expect(state.replace == ["list", "méta"] && state.snapshot == ["all"])
        #expect(parse(#"{"channels":{"a":{}}}"#).configuration.channelRules.first?.rules.state == nil)
        let empty = parse(#"{"channels":{"a":{"state":{}}}}"#).configuration
        #expect(empty.channelRules.first?.rules.state == Configuration.StateRules())
    }

    @Test(
        "a kind has one rule, and is one that an event could have",
        arguments: [
            (
                #"{"state":{"upsert":{"k":"/a"},"remove":{"k":"/a"}}}"#,
                ["41: 'remove': 'k' stands in 'upsert' already: a kind has one rule"]
            ),
            (
                #"{"state":{"replace":["k","l","k"],"snapshot":["l"]}}"#,
                [
                    "30: 'replace': 'k' stands here twice",
                    "47: 'snapshot': 'l' stands in 'replace' already: a kind has one rule",
                ]
            ),
            (#"{"state":{"upsert":{"k":"/a","k":"/b"}}}"#, ["30: 'upsert': 'k' stands here twice"]),
            (
                #"{"state":{"replace":["$hello",""]},"terminal":["$bye","x","x"]}"#,
                [
                    "22: 'replace': '$hello' is reserved: kinds that begin with $ are the server's",
                    "31: 'replace': '' must not be empty",
                    "48: 'terminal': '$bye' is reserved: kinds that begin with $ are the server's",
                    "59: 'terminal': 'x' stands here twice",
                ]
            ),
            (
                #"{"state":{"upsert":["k"]}}"#,
                ["20: 'upsert' must be an object that has a kind for each key, not an array"]
            ),
            (#"{"state":{"replace":{"k":"/a"}}}"#, ["21: 'replace' must be a list of strings, not an object"]),
            (#"{"state":{"upsrt":{}}}"#, ["11: unknown key 'upsrt', did you mean 'upsert'?"]),
            (#"{"terminal":"done"}"#, ["13: 'terminal' must be a list of strings, not a string"]),
        ])
    func kinds(rules: String, faults: [String]) {
        #expect(ruleFaults(rules) == faults)
    }

    @Test(
        "a key is a pointer to a member",
        arguments: [
            ("\"\"", "'k' must be \(JSONPointerSyntax.advice), not ''"),
            ("\"id\"", "'k' must be \(JSONPointerSyntax.advice), not 'id'"),
            (#""/a~2""#, "'k' must be \(JSONPointerSyntax.advice), not '/a~2'"),
            (#""/a~""#, "'k' must be \(JSONPointerSyntax.advice), not '/a~'"),
            ("7", "the key of 'k' must be a JSON Pointer or an object, not a number"),
            ("{}", "the key of 'k' needs \"key\", \(JSONPointerSyntax.advice)"),
        ])
    func pointers(value: String, fault: String) {
        #expect(ruleFaults(#"{"state":{"upsert":{"k":\#(value)}}}"#) == ["25: \(fault)"])
    }

    @Test("the parts of a key are checked one by one")
    func keyParts() {
        #expect(
            ruleFaults(#"{"state":{"remove":{"k":{"key":"a","table":"","tabel":"t"}}}}"#) == [
                "32: 'key' must be \(JSONPointerSyntax.advice), not 'a'",
                "44: 'table' must be a string that is not empty",
                "47: unknown key 'tabel', did you mean 'table'?",
            ])
        #expect(JSONPointerSyntax.pointsInside("/") && JSONPointerSyntax.pointsInside("/~1~0"))
        #expect(JSONPointerSyntax.pointsInside("/" + String(repeating: "a", count: 1023)))
        #expect(!JSONPointerSyntax.pointsInside("/" + String(repeating: "a", count: 1024)))
    }

    @Test("1,024 kinds are taken, one more is not")
    func manyKinds() {
        func list(_ count: Int, _ letter: String) -> String {
            "[" + (0..<count).map { "\"\(letter)\($0)\"" }.joined(separator: ",") + "]"
        }
        #expect(ruleFaults(#"{"state":{"replace":\#(list(1000, "a")),"snapshot":\#(list(24, "b"))}}"#) == [])
        #expect(
            ruleFaults(#"{"state":{"replace":\#(list(1000, "a")),"snapshot":\#(list(25, "b"))}}"#)
                == ["10: 'state' names more than 1024 kinds"])
        #expect(ruleFaults(#"{"terminal":\#(list(1025, "a"))}"#) == ["13: 'terminal' has more than 1024 kinds"])
    }

    @Test("routes and ingest sockets are read in their order")
    func paths() {
        let (configuration, faults) = parse(
            """
            {"routes": {"/api/v1/sessions/{id}/events": "sessions/{id}", "/feed/": "news",
                        "/{org}/{repo}": "r/{repo}/{org}", "/api/ü": "u"},
             "ingest": {"terok/events/{id}.sock": "terok/{id}", "/run/x/in.sock": "x"}}
            """)
        #expect(faults == [])
        #expect(
            configuration.routes.map(\.path) == ["/api/v1/sessions/{id}/events", "/feed/", "/{org}/{repo}", "/api/ü"])
        #expect(configuration.routes.map(\.channel) == ["sessions/{id}", "news", "r/{repo}/{org}", "u"])
        #expect(configuration.ingest.map(\.path) == ["terok/events/{id}.sock", "/run/x/in.sock"])
        #expect(configuration.ingest.map(\.channel) == ["terok/{id}", "x"])
    }

    private static let notAPath =
        "is not a path that a request could name: write it decoded, without empty segments, blanks and ? # %"
    private static let ownPath = "is one of the server's own paths: choose one that is not under /v1/"
    private static let noPlace = "a place is a whole segment of letters, digits and _ in braces, such as {id}"
    private static let notAChannel =
        "is not a channel: it has parts of letters, digits and . _ ~ - joined by /, and a part may be one of its "
        + "path's places, such as {id}"

    @Test(
        "every fault of a route has its place",
        arguments: [
            (#""feed":"a""#, "12: 'feed' is not a path: it begins with /"),
            (#""/v1/x":"a""#, "12: '/v1/x' \(ownPath)"), (#""/v1":"a""#, "12: '/v1' \(ownPath)"),
            (#""/":"a""#, "12: '/' \(ownPath)"), (#""/metrics":"a""#, "12: '/metrics' \(ownPath)"),
            (#""/healthz":"a""#, "12: '/healthz' \(ownPath)"), (#""/readyz":"a""#, "12: '/readyz' \(ownPath)"),
            (#""/fanout.js":"a""#, "12: '/fanout.js' \(ownPath)"), (#""/page.css":"a""#, "12: '/page.css' \(ownPath)"),
            (#""/a//b":"a""#, "12: '/a//b' \(notAPath)"), (#""/a%20b":"a""#, "12: '/a%20b' \(notAPath)"),
            (#""/a?b":"a""#, "12: '/a?b' \(notAPath)"), (#""/a/../b":"a""#, "12: '/a/../b' \(notAPath)"),
            (#""/x{id}":"a/{id}""#, "12: '/x{id}': \(noPlace)"), (#""/{}":"a""#, "12: '/{}': \(noPlace)"),
            (#""/{a}/{a}":"{a}""#, "12: '/{a}/{a}' has {a} twice"),
            (#""/a/{id}":"a""#, "22: 'a' has no {id}, and its path has one"),
            (#""/a":"a/{id}""#, "17: 'a/{id}' has {id}, and its path has not"),
            (#""/a/{id}":"a/{name}""#, "22: 'a/{name}' has {name}, and its path has not"),
            (#""/a/{id}":"{id}/{id}""#, "22: '{id}/{id}' has {id} twice"),
            (#""/a":"a//b""#, "17: 'a//b' \(notAChannel)"), (#""/a":"a/*""#, "17: 'a/*' \(notAChannel)"),
            (#""/a/{id}":"a/x{id}""#, "22: 'a/x{id}' \(notAChannel)"),
            (#""/a":7"#, "17: 'routes': '/a' needs the name of a channel, not a number"),
            (#""/a":"a","/a":"b""#, "21: the path '/a' stands here twice"),
            (#""/a/{x}":"{x}","/a/{y}":"{y}""#, "27: '/a/{y}' means the same paths as '/a/{x}'"),
            (
                #""/a/{x}":"{x}","/{x}/b":"{x}""#,
                "27: '/{x}/b' and '/a/{x}' have paths in common, and neither is nearer to them"
            ),
        ])
    func routeFaults(routes: String, fault: String) {
        #expect(parse(#"{"routes":{\#(routes)}}"#).faults == ["f:1:\(fault)"])
    }

    @Test("templates that share no path, or of which one is nearer everywhere, stand side by side")
    func sideBySide() {
        let text = """
            {"routes": {"/{x}/{y}": "1/{x}/{y}", "/a/{y}": "2/{y}", "/a/b": "3", "/{x}/{y}/c": "4/{x}/{y}",
              "/a/{y}/d": "5/{y}", "/{x}/": "6/{x}"}}
            """
        #expect(parse(text).faults == [])
    }

    @Test(
        "every fault of an ingest socket has its place",
        arguments: [
            (#""":"a""#, "12: '' is not the path of a socket"), (#""a/":"a""#, "12: 'a/' is not the path of a socket"),
            (#""/":"a""#, "12: '/' is not the path of a socket"),
            (#""a//b":"a""#, "12: 'a//b' is not the path of a socket: it has no empty segments, no . and no .."),
            (#""../b":"a""#, "12: '../b' is not the path of a socket: it has no empty segments, no . and no .."),
            (#""{a}{b}":"{a}""#, "12: '{a}{b}' may have one place of letters, digits and _ in braces, such as {id}"),
            (#""a}":"a""#, "12: 'a}' may have one place of letters, digits and _ in braces, such as {id}"),
            (#""a":"a/{id}""#, "16: 'a/{id}' has {id}, and its path has not"),
            (#""a{id}":"a""#, "20: 'a' has no {id}, and its path has one"),
            (#""a":"a b""#, "16: 'a b' \(notAChannel)"),
            (#""a":null"#, "16: 'ingest': 'a' needs the name of a channel, not null"),
        ])
    func ingestFaults(ingest: String, fault: String) {
        #expect(parse(#"{"ingest":{\#(ingest)}}"#).faults == ["f:1:\(fault)"])
    }

    @Test("a socket's path may have 107 bytes")
    func longPaths() {
        func faults(_ path: String, _ channel: String) -> [String] {
            parse(#"{"ingest":{"\#(path)":"\#(channel)"}}"#).faults
        }
        let name = String(repeating: "a", count: 106)
        #expect(faults("/" + name, "a") == [])
        #expect(faults("/a" + name, "a") == ["f:1:12: '/a\(name)' is longer than a socket's path may be (107 bytes)"])
        #expect(faults(name + "{id}", "{id}") == [])
        #expect(faults("a" + name + "{id}", "{id}").count == 1)
    }

    @Test("1,024 routes are taken, one more is not")
    func manyRoutes() {
        func faults(_ count: Int) -> [String] {
            parse("{\"routes\":{" + (0..<count).map { "\"/\($0)\":\"a\"" }.joined(separator: ",") + "}}").faults
        }
        #expect(faults(1024) == [])
        #expect(faults(1025) == ["f:1:11: 'routes' has more than 1024 paths"])
    }
}
