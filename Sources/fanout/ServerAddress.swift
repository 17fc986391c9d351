/// How `tail` and `emit` find a server: `--url`, `--runtime-dir`, or an argument.

import FanoutClient
import FanoutServer

/// Finds the server that flags, variables or an argument name.
package enum ServerAddress {
    /// The flags; `socket` is the one inside of the runtime directory.
    static func flags<Options>(socket: String) -> [Flag<Options>] {
        [
            .value(
                "runtime-dir", "DIR", in: "Server",
                default:
                    "$XDG_RUNTIME_DIR/fanout, else /run/fanout as root, else fanout-$UID in the temporary directory",
                "The server's folder of sockets; \(socket) in it is used."
            ) { _, text throws(FlagValueFault) in _ = try FlagValue.text(text) },
            .value(
                "url", "URL", in: "Server",
                "The server's address, http://127.0.0.1:7575, or a whole URL with /v1/events and a query."
            ) { _, text throws(FlagValueFault) in _ = try endpoint(url: text) },
        ]
    }

    /// The place that the command line names, or else the environment, or else the usual one. `plain` is an argument
    /// that is a URL or a socket's path.
    package static func resolve<Options>(
        _ table: CommandTable<Options>, _ given: GivenArguments, environment: Environment, plain: String?,
        socket: String
    ) throws(CommandFault) -> Endpoint {
        let nothing = Environment { _ in nil }
        let flags = ["url", "runtime-dir"].map { ($0, table.value(of: $0, in: given, environment: nothing)) }
        let named = flags.filter { $0.1 != nil }.map { "--\($0.0)" } + (plain.map { ["'\($0)'"] } ?? [])
        guard named.count <= 1 else {
            throw CommandFault(
                "\(named.joined(separator: " and ")) each name a server: give one", exitCode: ExitCode.usage)
        }
        if let plain {
            if plain.contains("://") { return try endpoint(plain) }
            return .unix(path: plain)
        }
        // What stands on the command line wins over every variable, also over that of the other flag.
        let source = named.isEmpty ? environment : nothing
        if let url = table.value(of: "url", in: given, environment: source) { return try endpoint(url) }
        let folder = table.value(of: "runtime-dir", in: given, environment: source) ?? RuntimeDirectory.standard()
        return .unix(path: folder + "/" + socket)
    }

    private static func endpoint(url: String) throws(FlagValueFault) -> Endpoint {
        do throws(ClientError) {
            return try Endpoint(url: url)
        } catch {
            throw FlagValueFault(error.message)
        }
    }

    private static func endpoint(_ url: String) throws(CommandFault) -> Endpoint {
        do throws(ClientError) {
            return try Endpoint(url: url)
        } catch {
            throw CommandFault(error.message, exitCode: ExitCode.usage)
        }
    }
}

extension ClientError {
    /// The exit code that tells a script what kind of failure it was.
    var exitCode: Int32 {
        switch kind {
        case .unreachable, .lost, .timedOut, .ended: ExitCode.unavailable
        case .protocolFault: ExitCode.protocolFault
        case .invalidInput: ExitCode.data
        case .refused(let code, let status): Self.exitCode(code, status)
        }
    }

    private static func exitCode(_ code: String, _ status: Int?) -> Int32 {
        if EventText.faultCodes.contains(code) { return ExitCode.data }
        return switch status {
        case 413?, 422?: ExitCode.data
        case 429?, 408?: ExitCode.unavailable
        case let status? where (400...499).contains(status): ExitCode.usage
        case nil where code.hasPrefix("bad_") || usageCodes.contains(code): ExitCode.usage
        default: ExitCode.unavailable
        }
    }

    /// What sockets, which give no status, answer to a wrong wish rather than a wrong event.
    private static let usageCodes: Set<String> = [
        "channel_fixed", "id_conflict", "level_unavailable", "unknown_parameter", "unsupported",
    ]
}
