/// `fanout serve`: the server.

import FanoutServer

/// The server: its flags, and its start.
package enum Serve {
    /// The flags and the help.
    package static let table = CommandTable<ServerOptions>(
        name: "serve",
        about:
            "sends each published event to every reader, live and in order, as JSONL, SSE or WebSocket. A slow reader "
            + "never holds up the others: it is told what it missed.",
        usage: "[flags]",
        flags: ServerOptions.listening + ServerOptions.input + ServerOptions.behaviour,
        plainArgumentsMax: 0,
        examples: [
            ("fanout serve", "Then: curl -N http://127.0.0.1:7575/v1/events"),
            ("tail -F app.log | fanout serve --stdin --text", "Any number of viewers of one log."),
            (
                "fanout serve --channel builds --on-lag gap",
                #"Then: printf '{"type":"build.done"}\n' | nc -N -U DIR/ingest/builds.socket"#
            ),
        ],
        exitCodes: [ExitCode.cannotCreate, ExitCode.inputOutput, ExitCode.configuration])

    static func run(_ arguments: [String], environment: Environment) throws(CommandFault) -> Int32 {
        guard let options = try ServerOptions.resolve(table, arguments, environment: environment) else {
            return Output.printHelp(table.helpText())
        }
        let source = options.source(table, arguments, environment: environment)
        return try start(try options.finished(), source: source).run()
    }

    /// A server that is bound and ready to run.
    static func start(
        _ configuration: Configuration, source: ConfigurationSource?
    ) throws(CommandFault) -> Server {
        do {
            return try Server(configuration, source: source)
        } catch {
            throw CommandFault(error.message, exitCode: error.exitCode.rawValue)
        }
    }
}
