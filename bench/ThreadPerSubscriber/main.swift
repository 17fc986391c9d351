// The design that fanout replaces, as a server of its own to be measured: one thread for each subscriber.
//
// A publisher's thread puts each event into the queue of every subscriber, 64 events long, and drops the subscriber
// whose queue is full; the subscriber's thread waits for its queue and writes to its blocking socket, one write for
// each event. That is how daemons of this kind are written; the rest is done as well as it can be: events are checked
// and encoded once, by the encoder that fanout uses, and all queues share the bytes; stacks are small; no lock is held
// over anything that can wait.
//
//   thread-per-subscriber DIR [--gather]    listens on 127.0.0.1 (HTTP and JSONL, free ports), DIR/events.socket and
//                                           DIR/ingest.socket, and says where in one line, as `fanout serve` does
// --gather: a subscriber's thread takes all that is queued at once and writes it with one call.

import Glibc

func refuse(_ text: String, status: Int32) -> Never {
    write(text + "\n", to: STDERR_FILENO)
    exit(status)
}

func write(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { _ = Glibc.write(descriptor, $0.baseAddress, $0.count) }
}

func start() throws(SystemFault) {
    var words = CommandLine.arguments.dropFirst()
    let gathers = words.last == "--gather"
    if gathers { words.removeLast() }
    guard let directory = words.first, words.count == 1 else {
        refuse("usage: thread-per-subscriber DIR [--gather]", status: 64)
    }
    signal(SIGPIPE, SIG_IGN)
    raiseDescriptorLimit()
    let hub = Hub(gathers: gathers)
    let http = try listenTCP()
    let lines = try listenTCP()
    let events = try listenUnix("\(directory)/events.socket")
    let ingest = try listenUnix("\(directory)/ingest.socket")
    let httpPort = try port(of: http)
    let linesPort = try port(of: lines)
    try acceptForEver(http) { Subscriber(hub, $0).run(speaksHTTP: true) }
    try acceptForEver(lines) { Subscriber(hub, $0).run(speaksHTTP: false) }
    try acceptForEver(events) { Subscriber(hub, $0).run(speaksHTTP: false) }
    try acceptForEver(ingest) { Publisher(hub, $0).run() }
    write(
        "thread-per-subscriber ready · http 127.0.0.1:\(httpPort) · jsonl 127.0.0.1:\(linesPort)"
            + " · events \(directory)/events.socket · ingest \(directory)/ingest.socket\n", to: STDERR_FILENO)
}

do throws(SystemFault) {
    try start()
} catch {
    refuse("thread-per-subscriber: \(error)", status: 71)
}
while true { pause() }
