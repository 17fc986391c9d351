/// Flag over environment over file.

import FanoutClient
import FanoutServer
import Foundation
import Testing
import fanout

@Suite("Precedence")
struct PrecedenceTests {
    private func resolve(
        _ arguments: [String], _ variables: [String: String] = [:], file: String? = nil
    ) throws -> Configuration {
        var arguments = arguments
        let path = FileManager.default.temporaryDirectory.appending(path: "fanout-\(UUID().uuidString).json").path
        if let file {
            try file.write(toFile: path, atomically: true, encoding: .utf8)
            arguments += ["--config", path]
        }
        defer { try? FileManager.default.removeItem(atPath: path) }
        let options = try ServerOptions.resolve(Serve.table, arguments, environment: Environment { variables[$0] })
        return try #require(options).finished()
    }

    private func fault(_ arguments: [String], _ variables: [String: String] = [:]) -> CommandFault? {
        do { _ = try resolve(arguments, variables) } catch { return error as? CommandFault }
        return nil
    }

    @Test("a flag wins over its variable, a variable over the file, the file over the default")
    func order() throws {
        let file = #"{"listen":"127.0.0.1:3","heartbeat_s":3}"#
        let variables = ["FANOUT_LISTEN": "127.0.0.1:2"]
        #expect(try resolve([]).listen == "127.0.0.1:7575")
        #expect(try resolve([], file: file).listen == "127.0.0.1:3")
        #expect(try resolve([], variables, file: file).listen == "127.0.0.1:2")
        #expect(try resolve(["--listen", "127.0.0.1:1"], variables, file: file).listen == "127.0.0.1:1")
        #expect(try resolve(["--listen", "127.0.0.1:1"], variables, file: file).heartbeatSeconds == 3)
    }

    @Test("the file itself can be named by the environment, and an empty variable counts as not set")
    func configVariable() throws {
        #expect(fault([], ["FANOUT_CONFIG": "/does/not/exist"])?.exitCode == 78)
        #expect(try resolve([], ["FANOUT_CONFIG": "", "FANOUT_IO": ""]).io == .auto)
    }

    @Test("a flag that repeats replaces its variable and the file's list")
    func lists() throws {
        let variables = ["FANOUT_CHANNEL": "a,b", "FANOUT_ALLOW_HOST": "one"]
        #expect(try resolve([], variables).channels == ["a", "b"])
        #expect(try resolve(["--channel", "c", "--channel", "d/e"], variables).channels == ["c", "d/e"])
        let file = #"{"allow_hosts":["three"]}"#
        #expect(try resolve([], file: file).allowedHosts == ["three"])
        #expect(try resolve([], variables, file: file).allowedHosts == ["one"])
        #expect(try resolve(["--allow-host", "two"], variables, file: file).allowedHosts == ["two"])
    }

    @Test("switches can be turned off by a variable")
    func switches() throws {
        #expect(try resolve([], ["FANOUT_INSECURE": "yes"]).insecure)
        #expect(try !resolve([], ["FANOUT_INSECURE": "0"]).insecure)
        #expect(fault([], ["FANOUT_INSECURE": "perhaps"])?.exitCode == 78)
    }

    @Test("a wrong value names the flag or the variable it came from")
    func wrongValues() {
        #expect(
            fault(["--io", "kqueue"])?.message
                == "--io needs one of auto, io_uring, epoll, not 'kqueue' (see fanout serve --help)")
        #expect(
            fault([], ["FANOUT_IO": "kqueue"])
                == CommandFault("FANOUT_IO needs one of auto, io_uring, epoll, not 'kqueue'", exitCode: 78))
        for arguments in [
            ["--heartbeat", "0"], ["--heartbeat", "+5"], ["--max-connections", "99999999999999999999"],
            ["--max-per-address", "0"], ["--max-per-user", "-1"],
            ["--listen", "7575"], ["--channel", "a//b"], ["--allow-origin", "app.example"], ["--log-level", "loud"],
            ["--on-lag", "wait"], ["--max-memory", "15M"], ["--max-memory", "1x"], ["--config", ""], ["--jsonl", ""],
            ["--history", "1023k"], ["--history", "none"], ["--history", ""],
        ] {
            #expect(fault(arguments)?.exitCode == 64, "\(arguments)")
        }
    }

    @Test("flags reach the configuration")
    func values() throws {
        let configuration = try resolve([
            "--jsonl", "[::1]:0", "--runtime-dir", "/x", "--io", "epoll", "--stdin", "--text", "--exit-on-eof",
            "--on-lag", "gap", "--max-connections", "100", "--max-per-address", "7", "--max-per-user", "8",
            "--log-level", "debug", "--insecure", "--allow-origin",
            "https://app.example", "--heartbeat", "5", "--max-memory", "256M", "--history", "0",
        ])
        #expect(configuration.jsonl == "[::1]:0")
        #expect(configuration.runtimeDirectory == "/x")
        #expect(configuration.io == .epoll)
        #expect(configuration.standardInput == .text)
        #expect(configuration.exitOnEndOfInput)
        #expect(configuration.onLag == .gap)
        #expect(configuration.connectionsMax == 100)
        #expect(configuration.connectionsPerAddressMax == 7)
        #expect(configuration.connectionsPerUserMax == 8)
        #expect(configuration.memoryMax == 256 << 20)
        #expect(configuration.historyBytes == 0)
        #expect(configuration.logLevel == .debug)
        #expect(configuration.insecure)
        #expect(configuration.allowedOrigins == ["https://app.example"])
        #expect(configuration.heartbeatSeconds == 5)
    }

    @Test("the data folder and what goes with it come from flags, variables and the file")
    func dataFolder() throws {
        let file = #"{"data":"/f","data_optional":true,"new_log":true}"#
        let fromFile = try resolve([], file: file)
        #expect(fromFile.dataDirectory == "/f" && fromFile.dataIsOptional && fromFile.beginsNewLog)
        let variables = ["FANOUT_DATA": "/v", "FANOUT_DATA_OPTIONAL": "0"]
        let mixed = try resolve(["--data", "d"], variables, file: file)
        #expect(mixed.dataDirectory == "d" && !mixed.dataIsOptional && mixed.beginsNewLog)
        #expect(try resolve([], variables, file: file).dataDirectory == "/v")
        #expect(try resolve(["--data", "d", "--new-log"]).beginsNewLog)
        #expect(try resolve(["--data", "d", "--data-optional"]).dataIsOptional)
        let nothing = try resolve([])
        #expect(nothing.dataDirectory == nil && !nothing.dataIsOptional && !nothing.beginsNewLog)
    }

    @Test("--data-optional and --new-log without --data are told what is missing")
    func dataFlags() {
        #expect(fault(["--new-log"])?.message == "--new-log is about the database: give --data too")
        #expect(fault(["--data-optional"])?.exitCode == 64)
        #expect(fault([], ["FANOUT_DATA_OPTIONAL": "1"])?.exitCode == 64)
        #expect(fault(["--data", ""])?.exitCode == 64)
    }

    @Test("--text and --exit-on-eof without --stdin are told what is missing")
    func standardInput() {
        #expect(fault(["--text"])?.message == "--text is about standard input: give --stdin too")
        #expect(fault(["--exit-on-eof"])?.exitCode == 64)
    }

    @Test("where a server is: an argument, a flag, a variable, or the usual place")
    func addresses() throws {
        func place(_ arguments: [String], _ variables: [String: String] = [:]) throws -> String {
            let given = try Tail.table.read(arguments)
            return try ServerAddress.resolve(
                Tail.table, given, environment: Environment { variables[$0] }, plain: given.plain.first,
                socket: "events.socket"
            ).description
        }
        #expect(try place(["/x/y.socket"]) == "/x/y.socket")
        #expect(try place(["http://[::1]:80/"], ["FANOUT_URL": "http://a"]) == "http://[::1]/v1/events")
        #expect(try place(["--runtime-dir", "/r"], ["FANOUT_URL": "http://a"]) == "/r/events.socket")
        #expect(try place([], ["FANOUT_URL": "http://a", "FANOUT_RUNTIME_DIR": "/r"]) == "http://a/v1/events")
        #expect(try place([], ["FANOUT_RUNTIME_DIR": "/r"]) == "/r/events.socket")
        #expect(try place([]) == RuntimeDirectory.standard() + "/events.socket")
        #expect(throws: CommandFault.self) { try place(["x", "--url", "http://a"]) }
        #expect(throws: CommandFault.self) { try place(["--runtime-dir", "/r", "--url", "http://a"]) }
    }

    @Test("the runtime directory follows the environment and the user")
    func runtimeDirectory() {
        func folder(_ user: UInt32, _ variables: [String: String]) -> String {
            RuntimeDirectory.standard(user: user) { variables[$0] }
        }
        #expect(folder(1000, ["XDG_RUNTIME_DIR": "/run/user/1000"]) == "/run/user/1000/fanout")
        #expect(folder(0, ["XDG_RUNTIME_DIR": "/run/user/0/"]) == "/run/user/0/fanout")
        #expect(folder(0, [:]) == "/run/fanout")
        #expect(folder(1000, [:]) == "/tmp/fanout-1000")
        #expect(folder(1000, ["TMPDIR": "/var/tmp/"]) == "/var/tmp/fanout-1000")
        #expect(folder(1000, ["XDG_RUNTIME_DIR": "relative", "TMPDIR": ""]) == "/tmp/fanout-1000")
    }
}
