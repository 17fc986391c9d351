/// A command as a table: what drives its parsing, its `--help` and its environment.

/// One subcommand's description.
package struct CommandTable<Options>: Sendable {
    /// The word after `fanout`.
    package let name: String
    /// What it does, in two sentences or so.
    package let about: String
    /// What follows `fanout NAME` in the usage line.
    package let usage: String
    /// The flags, in the order of the help; groups stand together.
    package let flags: [Flag<Options>]
    /// How many arguments that are not flags it takes at most.
    package let plainArgumentsMax: Int
    /// Command lines worth copying, each with what it does.
    package let examples: [(line: String, about: String)]
    /// The exit codes it uses beside 0 and 64.
    package let exitCodes: [Int32]

    package init(
        name: String, about: String, usage: String, flags: [Flag<Options>], plainArgumentsMax: Int,
        examples: [(line: String, about: String)], exitCodes: [Int32]
    ) {
        self.name = name
        self.about = about
        self.usage = usage
        self.flags = flags
        self.plainArgumentsMax = plainArgumentsMax
        self.examples = examples
        self.exitCodes = exitCodes
    }

    /// Reads the arguments that follow the command's name; nothing is applied yet.
    package func read(_ arguments: [String]) throws(CommandFault) -> GivenArguments {
        try ArgumentReader.read(
            arguments, names: flags.map { ($0.name, $0.placeholder != nil) }, plainMax: plainArgumentsMax,
            advice: "see fanout \(name) --help")
    }

    /// The value of one flag: the last one on the command line, else the environment's; nil where neither names it.
    package func value(of flag: String, in given: GivenArguments, environment: Environment) -> String? {
        guard let index = flags.firstIndex(where: { $0.name == flag }) else {
            preconditionFailure("--\(flag) is not in the table of \(name)")
        }
        return given.flags.last { $0.index == index }?.value ?? environment.value(flags[index].variable)
    }

    /// Applies the environment and then the command line, so that the command line wins. A flag that the command line
    /// names hides its variable altogether, also where it repeats.
    package func apply(
        _ given: GivenArguments, environment: Environment, to options: inout Options
    ) throws(CommandFault) {
        for (index, flag) in flags.enumerated() where !given.flags.contains(where: { $0.index == index }) {
            guard let text = environment.value(flag.variable) else { continue }
            let values = flag.repeats ? text.split(separator: ",").map(String.init) : [text]
            for value in values {
                do {
                    try flag.assign(&options, value)
                } catch {
                    throw CommandFault("\(flag.variable) \(error.text)", exitCode: ExitCode.configuration)
                }
            }
        }
        for occurrence in given.flags {
            let flag = flags[occurrence.index]
            do {
                try flag.assign(&options, occurrence.value ?? "true")
            } catch {
                throw CommandFault(
                    "--\(flag.name) \(error.text) (see fanout \(name) --help)", exitCode: ExitCode.usage)
            }
        }
    }
}

/// The variables a command may read: the process's own, or a test's.
package struct Environment: Sendable {
    private let lookup: @Sendable (String) -> String?

    /// `lookup` gives a variable its value, nil where it is not set.
    package init(_ lookup: @escaping @Sendable (String) -> String?) {
        self.lookup = lookup
    }

    /// The variable's value; one that is empty counts as not set.
    package func value(_ name: String) -> String? {
        guard let value = lookup(name), !value.isEmpty else { return nil }
        return value
    }
}
