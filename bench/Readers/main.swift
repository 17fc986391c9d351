// fanout-readers: many readers of a fanout server in one process, every delivery checked. See bench/README.md.

import ClientSockets
import Glibc

signal(SIGPIPE, SIG_IGN)
let words = Array(CommandLine.arguments.dropFirst())
if words.contains("--help") || words.contains("-h") {
    write(Options.usage + "\n", to: 1)
    exit(0)
}
do throws(Refusal) {
    let options = try Options(words)
    let checker = try Checker(options)
    let passed = try checker.run()
    exit(passed == options.readers && checker.faults == 0 ? 0 : 1)
} catch {
    write("fanout-readers: \(error.text)\n", to: 2)
    exit(error.status)
}
