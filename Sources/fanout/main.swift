/// The `fanout` command: finds the subcommand and turns faults into one line and an exit code.

import Glibc

// A reader of our output that goes away is told by EPIPE, not by a signal that ends the process.
signal(SIGPIPE, SIG_IGN)

StandardDescriptors.occupyClosed()

let arguments = Array(CommandLine.arguments.dropFirst())
let environment = Environment { name in getenv(name).map { String(cString: $0) } }
exit(Dispatcher.run(arguments, environment: environment))
