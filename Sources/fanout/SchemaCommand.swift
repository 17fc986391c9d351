/// `fanout schema`: a channel's schema, or the types that it makes.

import FanoutClient
import FanoutServer
import TypeDefinition
import Wire

/// What the flags of `schema` say.
package struct SchemaOptions: Sendable {
    /// What is printed.
    enum Language { case json, typeScript, swift }

    var language = Language.json
    var configuration: String?
    var channel: String?
    var name = "Event"
    /// Both languages were asked for.
    var asksForTwo = false

    package init() {}

    fileprivate mutating func ask(for language: Language) {
        if self.language != .json, self.language != language { asksForTwo = true }
        self.language = language
    }
}

/// The generator: where its schema comes from, and what it prints.
package enum SchemaCommand {
    /// The flags and the help.
    package static let table = CommandTable<SchemaOptions>(
        name: "schema",
        about: "prints the types that a schema in JSON Type Definition (RFC 8927) makes. The schema is in a file, in a "
            + "configuration file under its channel, or at a server that runs.",
        usage: "[--typescript | --swift] [FILE or URL] [flags]",
        flags: [
            .toggle("typescript", in: "Output", "TypeScript: a discriminated union and its interfaces.") {
                if $1 { $0.ask(for: .typeScript) }
            },
            .toggle("swift", in: "Output", "Swift: an enum with a struct for each kind, Codable.") {
                if $1 { $0.ask(for: .swift) }
            },
            .value("name", "NAME", in: "Output", default: "Event", "What the type of the whole is called.") {
                options, text throws(FlagValueFault) in
                guard isTypeName(text) else { throw FlagValueFault("needs ASCII letters and digits, not '\(text)'") }
                options.name = text
            },
            .value("config", "FILE", in: "Schema", "The schema that this configuration file has for --channel.") {
                options, text throws(FlagValueFault) in
                options.configuration = try FlagValue.text(text)
            },
            .value("channel", "NAME", in: "Schema", default: "events", "The channel whose schema is meant.") {
                options, text throws(FlagValueFault) in
                guard ChannelName(text) != nil else { throw FlagValueFault("'\(text)' is not a channel") }
                options.channel = text
            },
        ] + ServerAddress.flags(socket: socket),
        plainArgumentsMax: 1,
        examples: [
            ("fanout schema --typescript events.jtd.json > events.ts", "The types of a schema in a file."),
            ("fanout schema --swift --config fanout.json --channel dash", "Those of a channel of a configuration."),
            ("fanout schema --typescript http://127.0.0.1:7575 --channel dash", "Those of a channel of a server."),
            ("fanout schema --channel dash", "The schema itself, from this user's server on this machine."),
        ],
        exitCodes: [
            ExitCode.data, ExitCode.unavailable, ExitCode.protocolFault, ExitCode.configuration,
        ])

    private static let socket = "http.socket"

    static func run(_ arguments: [String], environment: Environment) throws(CommandFault) -> Int32 {
        let given = try table.read(arguments)
        if given.wantsHelp { return Output.printHelp(table.helpText()) }
        var options = SchemaOptions()
        try table.apply(given, environment: environment, to: &options)
        guard !options.asksForTwo else {
            throw CommandFault("give --typescript or --swift", exitCode: ExitCode.usage)
        }
        let (schema, text) = try read(options, given, environment)
        switch options.language {
        case .json: Output.print(text)
        case .typeScript: Output.print(String(schema.typeScript(named: options.name).dropLast()))
        case .swift: Output.print(String(schema.swift(named: options.name).dropLast()))
        }
        return ExitCode.success
    }

    private static func isTypeName(_ text: String) -> Bool {
        guard let first = text.utf8.first else { return false }
        let letters = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        return letters && !(UInt8(ascii: "0")...UInt8(ascii: "9") ~= first)
    }

    /// The schema that the flags name, and its JSON without white space.
    private static func read(
        _ options: SchemaOptions, _ given: GivenArguments, _ environment: Environment
    ) throws(CommandFault) -> (Schema, String) {
        let plain = given.plain.first
        // An argument wins over variables, which may be there for `serve`; beside other flags it is one too many.
        let nothing = Environment { _ in nil }
        let asksElsewhere = table.value(of: "config", in: given, environment: nothing) != nil
        if let plain, !plain.contains("://") {
            let namesChannel = table.value(of: "channel", in: given, environment: nothing) != nil
            guard !asksElsewhere, !namesChannel else {
                throw CommandFault(
                    "'\(plain)' is a schema: it has no channels (--config names a configuration)",
                    exitCode: ExitCode.usage)
            }
            return try result(ConfigurationFile.readSchema(plain))
        }
        if let plain, asksElsewhere {
            throw CommandFault("'\(plain)' and --config each name a schema: give one", exitCode: ExitCode.usage)
        }
        // So does a server that the command line names.
        let namesServer = ["url", "runtime-dir"].contains {
            table.value(of: $0, in: given, environment: nothing) != nil
        }
        if asksElsewhere, namesServer {
            throw CommandFault("--config and a server each name a schema: give one", exitCode: ExitCode.usage)
        }
        if let file = options.configuration, plain == nil, !namesServer {
            return try configured(file, options.channel ?? "events")
        }
        let endpoint = try ServerAddress.resolve(
            table, given, environment: environment, plain: plain, socket: socket)
        let target = target(endpoint, options.channel)
        let text: [UInt8]
        do throws(ClientError) {
            text = try HTTPQuestion.get(target, from: endpoint)
        } catch {
            throw CommandFault(error.message, exitCode: error.exitCode)
        }
        return try result(ConfigurationFile.parseSchema(text, named: "the schema of \(endpoint)"))
    }

    private static func configured(_ file: String, _ channel: String) throws(CommandFault) -> (Schema, String) {
        let configuration = try ConfigurationFile.load(file)
        guard let text = configuration.schema(of: channel) else {
            throw CommandFault("\(file): the channel '\(channel)' has no schema", exitCode: ExitCode.configuration)
        }
        return try result(ConfigurationFile.parseSchema(text, named: file))
    }

    /// The request target of a channel's schema, beside where events are.
    private static func target(_ endpoint: Endpoint, _ channel: String?) -> String {
        guard case .http(let address) = endpoint else { return "/v1/schema?channel=" + (channel ?? "events") }
        var base = String(address.path.dropLast("/v1/events".count))
        if base.hasSuffix("/v1/schema") { base.removeLast("/v1/schema".count) }
        return base + "/v1/schema?channel=" + (channel ?? address.queryValue("channel") ?? "events")
    }

    private static func result(
        _ read: (schema: Schema?, text: [UInt8], faults: [ConfigurationFault])
    ) throws(CommandFault) -> (Schema, String) {
        if let schema = read.schema { return (schema, String(decoding: read.text, as: UTF8.self)) }
        throw CommandFault(
            bareLines: read.faults.map(\.description).joined(separator: "\n"), exitCode: ExitCode.configuration)
    }
}
