/// The tables of the commands: what `--help` says is what is parsed.

import Foundation
import Testing
import fanout

/// What every table has, whatever its options are.
private struct TableFacts: CustomTestStringConvertible, Sendable {
    let name: String
    let help: String
    let flags: [(name: String, variable: String, about: String, placeholder: String?)]
    var testDescription: String { name }

    init<Options>(_ table: CommandTable<Options>) {
        name = table.name
        help = table.helpText()
        flags = table.flags.map { ($0.name, $0.variable, $0.about, $0.placeholder) }
    }

    static let all = [
        TableFacts(Serve.table), TableFacts(Demo.table), TableFacts(Tail.table), TableFacts(Emit.table),
        TableFacts(Check.table), TableFacts(Bench.table), TableFacts(SchemaCommand.table),
    ]
}

@Suite("Flag tables")
struct FlagTableTests {
    @Test("every flag of the table stands in the help, with its placeholder", arguments: TableFacts.all)
    fileprivate func helpHasEveryFlag(facts: TableFacts) {
        for flag in facts.flags {
            #expect(facts.help.contains("  --\(flag.name)" + (flag.placeholder.map { " \($0)" } ?? "") + "\n"))
            #expect(flag.about.hasSuffix("."), "--\(flag.name) is described by sentences")
        }
        #expect(facts.help.contains("--help, -h"))
    }

    @Test("no flag stands in a table twice, and each has its own variable", arguments: TableFacts.all)
    fileprivate func namesAreUnique(facts: TableFacts) {
        #expect(Set(facts.flags.map(\.name)).count == facts.flags.count)
        #expect(Set(facts.flags.map(\.variable)).count == facts.flags.count)
    }

    @Test("the help has usage, examples, exit codes and environment, and fits 100 columns", arguments: TableFacts.all)
    fileprivate func helpIsComplete(facts: TableFacts) {
        for part in ["\nUsage: fanout \(facts.name)", "\nExamples:\n", "\nExit codes:\n", "\nEnvironment:\n"] {
            #expect(facts.help.contains(part))
        }
        for line in facts.help.split(separator: "\n") { #expect(line.count <= 100, "\(line)") }
    }

    @Test("the list of commands has every table")
    func commandsAreListed() {
        #expect(TableFacts.all.allSatisfy { facts in Help.commands.contains { $0.name == facts.name } })
        #expect(Help.commands.allSatisfy { Help.text.contains($0.about) })
    }

    @Test("serve has exactly the flags of this version")
    func serveFlags() {
        #expect(
            Set(Serve.table.flags.map(\.name)) == [
                "listen", "jsonl", "runtime-dir", "channel", "io", "stdin", "text", "exit-on-eof", "on-lag",
                "max-connections", "max-memory", "max-per-address", "max-per-user", "history", "data", "data-optional",
                "new-log", "log-level", "insecure", "allow-host", "allow-origin", "heartbeat", "config",
            ])
    }

    @Test("the help of check reads as it should")
    func checkHelp() {
        #expect(
            Check.table.helpText() == """
                fanout check - reads a configuration file and says every fault in it with its place, as
                FILE:LINE:COLUMN: message. It starts nothing and touches no socket.

                Usage: fanout check --config FILE | --schema

                Flags:
                  --config FILE
                      The configuration file, in JSON.
                  --schema
                      Prints a JSON Schema of the file instead, for editors and other checkers. The check itself
                      knows more.

                Other:
                  --help, -h
                      Prints this text.

                Examples:
                  fanout check --config fanout.json
                      Prints 'fanout.json: ok', or a line for each fault.
                  fanout check --config fanout.json && systemctl reload fanout
                      Only what is right gets installed.
                  fanout check --schema > fanout.schema.json
                      Then "$schema": "./fanout.schema.json" in the file.

                Exit codes:
                  0   success
                  64  the command line is wrong
                  78  the configuration file or the environment is wrong

                Environment:
                  Every flag can be set by a variable: FANOUT_ and its name in capitals with underscores, such as
                  FANOUT_CONFIG for --config. A flag wins over its variable.

                """)
    }

    @Test("the demo greets with the five lines of the first five minutes")
    func demoGreeting() {
        #expect(
            Demo.greeting(
                backend: "io_uring (single issuer, deferred task run)", process: 4711, address: "127.0.0.1:7575",
                runtimeDirectory: "/run/fanout", isFoundByDefault: true) == """
                    fanout 0.1.0 · io_uring (single issuer, deferred task run) · pid 4711
                    page       http://127.0.0.1:7575/
                    subscribe  curl -N http://127.0.0.1:7575/v1/events        \
                    websocket ws://127.0.0.1:7575/v1/events        \
                    nc -U /run/fanout/events.socket
                    publish    fanout emit '{"type":"hello"}'
                    publishing this host's own events on host/cpu, host/memory, host/network, host/disk, host/process \
                    — stop with Ctrl-C
                    """)
        let elsewhere = Demo.greeting(
            backend: "epoll (asked for)", process: 1, address: "127.0.0.1:1", runtimeDirectory: "/x",
            isFoundByDefault: false, dataDirectory: "/var/lib/fanout")
        #expect(elsewhere.contains("\ndata       /var/lib/fanout\npublishing "))
        #expect(elsewhere.contains("\npublish    fanout emit --runtime-dir /x '{\"type\":\"hello\"}'\n"))
    }
}
