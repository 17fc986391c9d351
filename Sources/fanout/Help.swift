/// `fanout help`, `fanout --help` and `fanout --version`.

/// What is told of the program as a whole.
package enum Help {
    /// The commands in the order of the help, each with what it does.
    package static let commands: [(name: String, about: String)] = [
        ("serve", "the server: one program writes events, any number of readers watch them live"),
        ("tail", "prints events as they happen, one line each, and comes back where it stopped"),
        ("emit", "publishes one event, or a stream of them from standard input"),
        ("demo", "a server with events about this host, and a page to watch them on"),
        ("check", "says every fault of a configuration file"),
        ("schema", "prints a channel's schema, or the TypeScript or Swift types that it makes"),
        ("bench", "measures what a delivery costs, of this server or of another"),
        ("help", "this text, or with a command's name that command's"),
    ]

    /// What `fanout help` prints.
    package static var text: String {
        let width = (commands.map(\.name.count).max() ?? 0) + 2
        let list = commands.map { "  " + $0.name + String(repeating: " ", count: width - $0.name.count) + $0.about }
        return """
            fanout - one program writes events; any number of readers watch them live, in order.
            A slow reader never hurts a fast one, and whatever a reader misses it is told.

            Usage: fanout COMMAND [flags]

            Commands:
            \(list.joined(separator: "\n"))

            fanout COMMAND --help tells a command's flags, with examples; fanout --version the version.

            """
    }
}
