/// The configuration file: what is read, and every fault with its place.

import FanoutServer
import Testing

@Suite("Configuration file")
struct ConfigurationFileTests {
    private func faults(_ text: String) -> [String] {
        ConfigurationFile.parse(Array(text.utf8), named: "f").faults.map(\.description)
    }

    @Test("everything that this version knows is read")
    func everything() throws {
        let text = """
            {"listen": "127.0.0.1:1", "jsonl": "[::1]:2", "runtime_dir": "/r", "io": "epoll", "heartbeat_s": 5,
             "max_connections": 100, "max_memory": "64M", "max_per_address": 20, "max_per_user": 30, "history": "2M",
             "on_lag": "gap", "limits": {"events": 10}, "allow_hosts": ["h"],
             "allow_origins": ["https://o"], "log_level": "debug",
             "data": "/d", "data_optional": true, "new_log": false,
             "listeners": {"http": {"limits": {"events": 4}}, "http_socket": {"limits": {"bytes": 5}},
                           "events": {"limits": {"age_ms": 6}}, "jsonl": {}},
             "channels": {
               "dash": {"stamp": ["seq", "time"], "discriminator": "kind", "control": "off", "on_lag": "close",
                        "limits": {"events": 1, "bytes": 2, "age_ms": 3}, "from": "start",
                        "retention": {"count": 2000, "age_s": 86400, "bytes": "64M"}},
               "a/**": {"stamp": []}}}
            """
        let (configuration, faults) = ConfigurationFile.parse(Array(text.utf8), named: "f")
        #expect(faults == [])
        #expect(configuration.listen == "127.0.0.1:1")
        #expect(configuration.jsonl == "[::1]:2")
        #expect(configuration.runtimeDirectory == "/r")
        #expect(configuration.io == .epoll)
        #expect(configuration.heartbeatSeconds == 5)
        #expect(configuration.connectionsMax == 100)
        #expect(configuration.connectionsPerAddressMax == 20)
        #expect(configuration.connectionsPerUserMax == 30)
        #expect(configuration.memoryMax == 64 << 20)
        #expect(configuration.historyBytes == 2 << 20)
        #expect(configuration.onLag == .gap)
        #expect(configuration.limits.events == 10)
        #expect(configuration.limits.bytes == 1 << 20)
        #expect(configuration.listenerLimits.http?.events == 4)
        #expect(configuration.listenerLimits.http?.bytes == 1 << 20)
        #expect(configuration.listenerLimits.httpSocket?.bytes == 5)
        #expect(configuration.listenerLimits.httpSocket?.events == 10)
        #expect(configuration.listenerLimits.events?.ageMilliseconds == 6)
        #expect(configuration.listenerLimits.jsonl == nil)
        #expect(configuration.allowedHosts == ["h"])
        #expect(configuration.allowedOrigins == ["https://o"])
        #expect(configuration.logLevel == .debug)
        try #require(configuration.channelRules.map(\.pattern) == ["dash", "a/**"])
        let dash = configuration.channelRules[0].rules
        #expect(dash.stamp == ["seq", "time"])
        #expect(dash.discriminator == "kind")
        #expect(!dash.control)
        #expect(dash.onLag == .close)
        #expect(dash.limits?.events == 1)
        #expect(dash.limits?.bytes == 2)
        #expect(dash.limits?.ageMilliseconds == 3)
        #expect(dash.from == .start)
        #expect(dash.retention?.count == 2000)
        #expect(dash.retention?.ageSeconds == 86_400)
        #expect(dash.retention?.bytes == 64 << 20)
        #expect(configuration.dataDirectory == "/d" && configuration.dataIsOptional && !configuration.beginsNewLog)
        #expect(configuration.channelRules[1].rules.stamp == [])
        #expect(configuration.channelRules[1].rules.onLag == nil)
    }

    @Test("an empty object is a right configuration")
    func empty() {
        #expect(faults("{}") == [])
    }

    @Test("history is a megabyte and more, or none; what is said of it and of the budget names what each may be")
    func sizes() {
        for (text, bytes) in [("0", 0), ("1048576", 1 << 20), (#""1M""#, 1 << 20), (#""1g""#, 1 << 30)] {
            let (configuration, faults) = ConfigurationFile.parse(Array(#"{"history":\#(text)}"#.utf8), named: "f")
            #expect(faults == [])
            #expect(configuration.historyBytes == bytes)
        }
        for text in ["1048575", #""1023k""#, "-1", "1.5", "null", #""all""#, "2e6"] {
            let fault = "f:1:12: 'history' must be \(ValueSyntax.historyAdvice)"
            #expect(faults(#"{"history":\#(text)}"#) == [fault], "\(text)")
        }
        #expect(faults(#"{"max_memory":"1M"}"#) == ["f:1:15: 'max_memory' must be \(ValueSyntax.memoryAdvice)"])
        #expect(ConfigurationFile.parse(Array("{}".utf8), named: "f").configuration.historyBytes == nil)
    }

    @Test("retention is by count, age and bytes, each optional, and every fault in it has its place")
    func retention() throws {
        func retention(_ text: String) throws -> Configuration.Retention? {
            let file = #"{"channels":{"a":{"retention":\#(text)}}}"#
            let (configuration, faults) = ConfigurationFile.parse(Array(file.utf8), named: "f")
            #expect(faults == [], "\(text)")
            return try #require(configuration.channelRules.first).rules.retention
        }
        var wanted = Configuration.Retention()
        #expect(try retention("{}") == wanted)
        wanted.count = 1
        wanted.bytes = 1
        #expect(try retention(#"{"count":1,"bytes":1}"#) == wanted)
        wanted = Configuration.Retention()
        wanted.ageSeconds = Configuration.Retention.ageSecondsMost
        #expect(try retention(#"{"age_s":3155760000}"#) == wanted)
        let wrong = #"{"count":0,"age_s":1.5,"bytes":"1x","ages":3}"#
        let file = #"{"channels":{"a":{"retention":\#(wrong)},"b":{"retention":[]}}}"#
        #expect(
            faults(file) == [
                "f:1:40: 'count' must be a whole number from 1 to 1099511627776",
                "f:1:50: 'age_s' must be a whole number from 1 to 3155760000",
                "f:1:62: 'bytes' must be \(ValueSyntax.retentionAdvice)",
                "f:1:67: unknown key 'ages', did you mean 'age_s'?",
                "f:1:95: 'retention' must be an object, not an array",
            ])
        #expect(faults(#"{"data_optional":1}"#) == ["f:1:18: 'data_optional' must be true or false"])
        #expect(faults(#"{"data":""}"#) == ["f:1:9: 'data' must be a string that is not empty"])
    }

    @Test("a channel's limits begin with the file's, wherever those stand")
    func limitsOrder() {
        let text = #"{"channels":{"a":{"limits":{"bytes":5}}},"limits":{"events":7}}"#
        let rules = ConfigurationFile.parse(Array(text.utf8), named: "f").configuration.channelRules[0].rules
        #expect(rules.limits?.events == 7)
        #expect(rules.limits?.bytes == 5)
    }

    @Test("a listener's limits begin with the file's too, and every fault in them has its place")
    func listeners() {
        let text = #"{"listeners":{"jsonl":{"limits":{"bytes":5}}},"limits":{"events":7}}"#
        let configuration = ConfigurationFile.parse(Array(text.utf8), named: "f").configuration
        #expect(configuration.listenerLimits.jsonl?.events == 7)
        #expect(configuration.listenerLimits.jsonl?.bytes == 5)
        #expect(
            faults(#"{"listeners":{"htp":{},"http":{"limit":{}},"events":{"limits":{"events":0,"age":1}},"jsonl":1}}"#)
                == [
                    "f:1:15: unknown key 'htp', did you mean 'http'?",
                    "f:1:32: unknown key 'limit', did you mean 'limits'?",
                    "f:1:73: 'events' must be a whole number from 1 to 1073741824",
                    "f:1:75: unknown key 'age': 'limits' has events, bytes, age_ms",
                    "f:1:93: listener 'jsonl' must be an object, not a number",
                ])
        #expect(
            faults(#"{"listeners":{"ingest":{}}}"#)
                == ["f:1:15: unknown key 'ingest': 'listeners' has http, http_socket, events, jsonl"])
        #expect(faults(#"{"listeners":[]}"#) == ["f:1:14: 'listeners' must be an object, not an array"])
    }

    @Test("all faults are said, in the order of their places")
    func allFaults() {
        let text = """
            {
              "lisen": "127.0.0.1:1",
              "io": "kqueue",
              "channels": {"a//b": {"state": [], "stamp": ["seq", "seq", 1]}, "ö": {}},
              "routes": [],
              "heartbeat_s": 1.5, "heartbeat_s": 2,
              "limits": [], "listen": "7575"
            }
            """
        #expect(
            faults(text) == [
                "f:2:3: unknown key 'lisen', did you mean 'listen'?",
                #"f:3:9: 'io' must be one of "auto", "io_uring", "epoll""#,
                "f:4:16: 'a//b' is not a pattern: \(ValueSyntax.patternAdvice)",
                "f:4:34: 'state' must be an object, not an array",
                "f:4:55: 'stamp': 'seq' stands here twice",
                "f:4:62: 'stamp' must hold strings, not a number",
                "f:4:67: 'ö' is not a pattern: \(ValueSyntax.patternAdvice)",
                "f:5:13: 'routes' must be an object that has a path for each key, not an array",
                "f:6:18: 'heartbeat_s' must be a whole number from 1 to 3600",
                "f:6:23: the key 'heartbeat_s' stands here twice",
                "f:7:13: 'limits' must be an object, not an array",
                "f:7:27: 'listen' must be ADDRESS:PORT, such as 127.0.0.1:7575 or [::1]:7575, not '7575'",
            ])
    }

    @Test(
        "what is not JSON is said with its place and a guess",
        arguments: [
            ("{\"a\":1,}", "f:1:8: not valid JSON at '}': is there a comma too many before it?"),
            ("{\n  // no\n}", "f:2:3: not valid JSON at '/': JSON has no comments"),
            ("{'a':1}", "f:1:2: not valid JSON at ''': strings stand between double quotes"),
            ("{\"a\":", "f:1:6: not valid JSON: the file ends too early"),
            ("", "f:1:1: not valid JSON: the file ends too early"),
            ("[]", "f:1:1: a configuration must be an object, not an array"),
        ])
    func syntax(text: String, fault: String) {
        #expect(faults(text) == [fault])
    }

    @Test("no bytes in a file trap, and each fault has a place")
    func noise() {
        var generator = SystemRandomNumberGenerator()
        let sample = Array(
            #"{"listen":"127.0.0.1:1","limits":{"events":1},"channels":{"a/*":{"stamp":["seq"],"from":"now"}}}"#
                .utf8)
        for _ in 0..<3_000 {
            var text = sample
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let index = Int.random(in: 0..<text.count, using: &generator)
                text[index] = Bool.random(using: &generator) ? UInt8.random(in: 0...255, using: &generator) : text[0]
            }
            for fault in ConfigurationFile.parse(text, named: "f").faults { #expect(fault.place != nil) }
        }
    }

    @Test("a file that cannot be read is one fault without a place")
    func missing() {
        #expect(
            ConfigurationFile.read("/does/not/exist").faults.map(\.description)
                == ["/does/not/exist: cannot be read: No such file or directory"])
        #expect(ConfigurationFile.read("/").faults.count == 1)
    }
}
