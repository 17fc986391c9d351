/// What SIGHUP reads: the configuration file again, with the flags and variables of the start.

import FanoutServer

extension ServerOptions {
    /// Reads the configuration again as it was read at the start; nil where there was no file.
    func source(
        _ table: CommandTable<ServerOptions>, _ arguments: [String], environment: Environment
    ) -> ConfigurationSource? {
        guard let file, !file.isEmpty else { return nil }
        return ConfigurationSource(name: file) { () throws(ConfigurationSource.Refusal) in
            do throws(CommandFault) {
                if let complaint = ConfigurationFile.complaint(aboutReadingAgain: file) {
                    throw CommandFault(complaint, exitCode: ExitCode.configuration)
                }
                guard let options = try ServerOptions.resolve(table, arguments, environment: environment) else {
                    throw CommandFault("--help was given", exitCode: ExitCode.usage)
                }
                return try options.finished()
            } catch {
                throw ConfigurationSource.Refusal(faults: error.message.split(separator: "\n").map(String.init))
            }
        }
    }
}
