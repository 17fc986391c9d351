// The program: options, the server, one line when it is ready, an exit code from sysexits.

import Glibc
import Reactor

@main
enum EchoCommand {
    static func main() {
        switch EchoOptions.parse(Array(CommandLine.arguments.dropFirst())) {
        case .failure(let error):
            say("echo-server: \(error.message)\n\(EchoOptions.usage)")
            exit(EX_USAGE)
        case .success(let options) where options.wantsHelp:
            say(EchoOptions.usage)
        case .success(let options):
            serve(options)
        }
    }

    private static func serve(_ options: EchoOptions) {
        do throws(SystemError) {
            let server = try EchoServer(options)
            say(server.readyLine)
            server.run()
        } catch {
            say("echo-server: \(error)")
            exit(EX_CANTCREAT)
        }
    }

    /// Writes one line to standard error.
    private static func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(2, bytes, bytes.count)
    }
}
