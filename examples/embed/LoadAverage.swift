// The program's own business: a thread that measures something and publishes it.

import FanoutServer
import Glibc

/// Starts a thread that publishes the load average each second. It ends with the process.
func startMeasuring(_ publisher: Publisher) {
    var thread = pthread_t()
    let argument = Unmanaged.passRetained(ThreadArgument(publisher))
    guard pthread_create(&thread, nil, measureForever, argument.toOpaque()) == 0 else {
        argument.release()
        return complain("embed-example: no thread can be made: nothing will be published")
    }
    pthread_detach(thread)
}

/// pthread_create hands over one pointer.
private final class ThreadArgument: Sendable {
    let publisher: Publisher

    init(_ publisher: Publisher) {
        self.publisher = publisher
    }
}

private func measureForever(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let publisher = Unmanaged<ThreadArgument>.fromOpaque(argument).takeRetainedValue().publisher
    var averages = [0.0, 0.0, 0.0]
    while true {
        if getloadavg(&averages, 3) == 3 {
            let event = #"{"type":"load","minutes_1":\#(averages[0]),"minutes_5":\#(averages[1])}"#
            // False only where the server has ended or is far behind: the next second brings a newer one.
            _ = publisher.publish(channel: "load", event: Array(event.utf8))
        }
        sleep(1)
    }
}

/// Writes a line to standard error.
func complain(_ message: String) {
    let line = Array((message + "\n").utf8)
    _ = write(STDERR_FILENO, line, line.count)
}
