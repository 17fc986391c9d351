// A program with its own events socket: publishes the load average each second until Ctrl-C.
//
//     swift run embed-example
//     curl -N http://127.0.0.1:7575/v1/events

import FanoutServer
import Glibc

var configuration = Configuration()
configuration.channels = ["load"]
do {
    // The server belongs to the thread that makes it; a publisher may be used from any.
    let server = try Server(configuration)
    startMeasuring(server.publisher)
    exit(server.run())
} catch {
    complain("embed-example: \(error)")
    exit(error.exitCode.rawValue)
}
