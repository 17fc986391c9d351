/// From the first argument to the subcommand.

import FanoutServer

enum Dispatcher {
    /// Runs a command line, without the program's name, and returns the exit code.
    static func run(_ arguments: [String], environment: Environment) -> Int32 {
        guard let name = arguments.first else {
            Output.complain(Help.text)
            return ExitCode.usage
        }
        do throws(CommandFault) {
            return try run(name, Array(arguments.dropFirst()), environment: environment)
        } catch {
            let prefix = Help.commands.contains { $0.name == name } ? "fanout \(name): " : "fanout: "
            Output.complain(error.isBare ? error.message : prefix + error.message)
            return error.exitCode
        }
    }

    private static func run(
        _ name: String, _ rest: [String], environment: Environment
    ) throws(CommandFault) -> Int32 {
        switch name {
        case "serve": return try Serve.run(rest, environment: environment)
        case "tail": return try Tail.run(rest, environment: environment)
        case "emit": return try Emit.run(rest, environment: environment)
        case "demo": return try Demo.run(rest, environment: environment)
        case "check": return try Check.run(rest, environment: environment)
        case "schema": return try SchemaCommand.run(rest, environment: environment)
        case "bench": return try Bench.run(rest, environment: environment)
        case "help", "--help", "-h": return try help(rest, environment: environment)
        case "--version", "version": return Output.printHelp("fanout \(Server.version)\n")
        default: throw unknown(name)
        }
    }

    private static func help(_ rest: [String], environment: Environment) throws(CommandFault) -> Int32 {
        guard let name = rest.first, name != "help" else { return Output.printHelp(Help.text) }
        guard Help.commands.contains(where: { $0.name == name }) else { throw unknown(name) }
        return try run(name, ["--help"], environment: environment)
    }

    private static func unknown(_ name: String) -> CommandFault {
        if name.hasPrefix("-") {
            return CommandFault(
                "unknown flag \(name); a command comes first: fanout COMMAND [flags] (see fanout help)",
                exitCode: ExitCode.usage)
        }
        let near = NearestName.find(name, among: Help.commands.map(\.name))
        let question = near.map { ", did you mean \($0)?" } ?? ""
        return CommandFault("unknown command '\(name)'\(question) (see fanout help)", exitCode: ExitCode.usage)
    }
}
