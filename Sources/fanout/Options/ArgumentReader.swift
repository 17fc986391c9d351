/// Splits a command line into flags and plain arguments with getopt_long.

import CLinux
import FanoutServer
import Glibc
import Synchronization

/// What a command line says, before it is applied.
package struct GivenArguments: Sendable {
    /// The flags in order; `index` is the place in the table, `value` nil where the flag takes none.
    package var flags: [(index: Int, value: String?)] = []
    /// The arguments that are not flags.
    package var plain: [String] = []
    /// Whether `--help` or `-h` stands anywhere.
    package var wantsHelp = false
}

enum ArgumentReader {
    /// getopt keeps its place in globals; tests parse on several threads.
    private static let turn = Mutex<Void>(())

    /// Reads `arguments` against the flags' names. `advice` ends every fault.
    static func read(
        _ arguments: [String], names: [(name: String, takesValue: Bool)], plainMax: Int, advice: String
    ) throws(CommandFault) -> GivenArguments {
        let outcome: Result<GivenArguments, CommandFault> = turn.withLock { _ in
            do throws(CommandFault) {
                return .success(try readAlone(arguments, names: names, plainMax: plainMax, advice: advice))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private static func readAlone(
        _ arguments: [String], names: [(name: String, takesValue: Bool)], plainMax: Int, advice: String
    ) throws(CommandFault) -> GivenArguments {
        // getopt keeps pointers into both arrays between calls, so both outlive the loop.
        var argv: [UnsafeMutablePointer<CChar>?] = (["fanout"] + arguments).map { strdup($0) } + [nil]
        var options = names.map { option(strdup($0.name), takesValue: $0.takesValue) }
        options.append(option(strdup("help"), takesValue: false))
        options.append(CLinux.option())
        defer {
            for pointer in argv { free(pointer) }
            for option in options { free(UnsafeMutablePointer(mutating: option.name)) }
        }
        return try argv.withUnsafeMutableBufferPointer { argv throws(CommandFault) in
            try options.withUnsafeBufferPointer { options throws(CommandFault) in
                try walk(argv, options, names: names, plainMax: plainMax, advice: advice)
            }
        }
    }

    private static func walk(
        _ argv: UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>, _ options: UnsafeBufferPointer<option>,
        names: [(name: String, takesValue: Bool)], plainMax: Int, advice: String
    ) throws(CommandFault) -> GivenArguments {
        func fault(_ text: String) -> CommandFault { CommandFault("\(text) (\(advice))", exitCode: ExitCode.usage) }
        func name(_ index: Int) -> String { index < names.count ? names[index].name : "help" }

        var given = GivenArguments()
        let help = names.count
        fanout_arguments_begin()
        while true {
            let step = fanout_arguments_next(
                Int32(argv.count - 1), argv.baseAddress, options.baseAddress, Int32(help))
            let text = step.text.map { String(cString: $0) }
            switch step.kind {
            case FANOUT_ARGUMENT_FLAG where Int(step.option) == help:
                given.wantsHelp = true
            case FANOUT_ARGUMENT_FLAG:
                given.flags.append((Int(step.option), text))
            case FANOUT_ARGUMENT_PLAIN:
                given.plain.append(text ?? "")
                if given.plain.count > plainMax, !given.wantsHelp {
                    throw fault("unexpected argument '\(text ?? "")'")
                }
            case FANOUT_ARGUMENT_VALUE_MISSING:
                throw fault("--\(name(Int(step.option))) needs a value")
            case FANOUT_ARGUMENT_VALUE_UNWANTED:
                throw fault("--\(name(Int(step.option))) takes no value")
            case FANOUT_ARGUMENT_UNKNOWN:
                throw fault(unknown(text ?? "", names: names.map(\.name)))
            default:
                return given
            }
        }
    }

    private static func unknown(_ written: String, names: [String]) -> String {
        let flag = written.split(separator: "=", omittingEmptySubsequences: false).first.map(String.init) ?? written
        let bare = String(flag.drop { $0 == "-" })
        guard let near = NearestName.find(bare, among: names) else { return "unknown flag \(flag)" }
        return "unknown flag \(flag), did you mean --\(near)?"
    }

    private static func option(_ name: UnsafeMutablePointer<CChar>?, takesValue: Bool) -> option {
        CLinux.option(
            name: UnsafePointer(name), has_arg: takesValue ? required_argument : no_argument, flag: nil, val: 0)
    }
}
