// The command line of the echo server.

import Reactor

/// What the flags say; the defaults are for those left out.
struct EchoOptions {
    var address = SocketAddress.loopback(port: 7676)
    var backend = BackendChoice.automatic
    var wantsHelp = false

    static let usage = """
        usage: echo-server [--listen ADDR:PORT] [--io auto|io_uring|epoll]

          --listen ADDR:PORT   where to listen; port 0 lets the kernel choose (127.0.0.1:7676)
          --io NAME            which I/O interface to use (auto: io_uring, or epoll where it is refused)
        """

    /// Reads the arguments behind the program's name; the error is one line for the user.
    static func parse(_ arguments: [String]) -> Result<EchoOptions, UsageError> {
        var options = EchoOptions()
        var rest = arguments[...]
        while let flag = rest.popFirst() {
            if flag == "--help" {
                options.wantsHelp = true
                continue
            }
            guard flag == "--listen" || flag == "--io" else { return .failure(UsageError("unknown option \(flag)")) }
            guard let value = rest.popFirst() else { return .failure(UsageError("\(flag) needs a value")) }
            if flag == "--listen" {
                guard let address = SocketAddress(parsing: value) else {
                    return .failure(UsageError("--listen \(value): not an address such as 127.0.0.1:7676"))
                }
                options.address = address
            } else {
                switch value {
                case "auto": options.backend = .automatic
                case "io_uring": options.backend = .uring
                case "epoll": options.backend = .epoll
                default: return .failure(UsageError("--io \(value): not one of auto, io_uring, epoll"))
                }
            }
        }
        return .success(options)
    }
}

/// A command line that cannot be followed, and why.
struct UsageError: Error {
    var message: String

    init(_ message: String) {
        self.message = message
    }
}
