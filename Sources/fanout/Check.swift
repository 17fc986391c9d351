/// `fanout check`: says every fault of a configuration file.

import FanoutServer

/// What the flags of `check` say.
package struct CheckOptions: Sendable {
    var file: String?
    var printsSchema = false

    package init() {}
}

/// The check of a configuration file.
package enum Check {
    /// The flags and the help.
    package static let table = CommandTable<CheckOptions>(
        name: "check",
        about: "reads a configuration file and says every fault in it with its place, as FILE:LINE:COLUMN: message. "
            + "It starts nothing and touches no socket.",
        usage: "--config FILE | --schema",
        flags: [
            .value("config", "FILE", in: "Flags", "The configuration file, in JSON.") {
                options, text throws(FlagValueFault) in
                options.file = try FlagValue.text(text)
            },
            .toggle(
                "schema", in: "Flags",
                "Prints a JSON Schema of the file instead, for editors and other checkers. The check itself knows more."
            ) { $0.printsSchema = $1 },
        ],
        plainArgumentsMax: 1,
        examples: [
            ("fanout check --config fanout.json", "Prints 'fanout.json: ok', or a line for each fault."),
            ("fanout check --config fanout.json && systemctl reload fanout", "Only what is right gets installed."),
            ("fanout check --schema > fanout.schema.json", #"Then "$schema": "./fanout.schema.json" in the file."#),
        ],
        exitCodes: [ExitCode.configuration])

    static func run(_ arguments: [String], environment: Environment) throws(CommandFault) -> Int32 {
        let given = try table.read(arguments)
        if given.wantsHelp { return Output.printHelp(table.helpText()) }
        var options = CheckOptions()
        try table.apply(given, environment: environment, to: &options)
        if options.printsSchema { return Output.printHelp(String(decoding: ConfigurationSchema.text, as: UTF8.self)) }
        guard let file = given.plain.first ?? options.file else {
            throw CommandFault("give the file to check: fanout check --config FILE", exitCode: ExitCode.usage)
        }
        _ = try ConfigurationFile.load(file)
        Output.print("\(file): ok")
        return ExitCode.success
    }
}

extension ConfigurationFile {
    /// The configuration in a file. Faults are printed, one line each, as they are; the error is what ends the command.
    static func load(_ path: String) throws(CommandFault) -> Configuration {
        let (configuration, faults) = ConfigurationFile.read(path)
        if faults.isEmpty { return configuration }
        throw CommandFault(
            bareLines: faults.map(\.description).joined(separator: "\n"), exitCode: ExitCode.configuration)
    }
}
