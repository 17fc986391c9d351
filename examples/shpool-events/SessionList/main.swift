// The table of sessions on another screen: `session-list SOCKET` prints it whenever it has changed, one line each time,
// and stays right over breaks: a slow reader's, the server's, the daemon's.

import FanoutClient
import Glibc

/// What the daemon's table holds, as its events say.
struct Sessions {
    private var attached: [String: Bool] = [:]

    /// Takes one event; false where it says nothing new, or is of a kind that this version does not know.
    mutating func take(_ event: JSONValue) -> Bool {
        let before = attached
        let name = event["name"]?.string
        switch (event["type"]?.string, name) {
        case ("snapshot", _):
            attached = [:]
            for session in event["sessions"]?.elements ?? [] {
                if let name = session["name"]?.string { attached[name] = session["attached"]?.bool == true }
            }
            return true
        case ("session.created", let name?), ("session.detached", let name?): attached[name] = false
        case ("session.attached", let name?): attached[name] = true
        case ("session.removed", let name?): attached[name] = nil
        default: return false
        }
        return attached != before
    }

    /// All sessions in one line, those that somebody looks at with a star.
    var line: String {
        let names = attached.keys.sorted().map { attached[$0] == true ? $0 + "*" : $0 }
        return names.isEmpty ? "no sessions" : names.joined(separator: " ")
    }
}

func say(_ text: String, to descriptor: Int32 = STDOUT_FILENO) {
    let line = Array((text + "\n").utf8)
    _ = write(descriptor, line, line.count)
}

guard CommandLine.arguments.count == 2, let path = CommandLine.arguments.last else {
    say("usage: session-list SOCKET, such as $XDG_RUNTIME_DIR/shpool/events.socket", to: STDERR_FILENO)
    exit(64)
}
var options = EventSubscription.Options()
options.from = "snapshot"
// The daemon's events have no numbers: where this reader was is not to be known, so it begins with the table each time.
options.resumes = false
options.watchedDescriptor = STDOUT_FILENO
var events = EventSubscription(.unix(path: path), options)
var sessions = Sessions()
do {
    while let item = try events.next() {
        switch item {
        case .event(let line):
            if let event = JSONValue(line), sessions.take(event) { say(sessions.line) }
        case .disconnected(let reason, let milliseconds):
            say("\(reason); again in \(milliseconds) ms", to: STDERR_FILENO)
        case .control:
            break  // Gaps end with the connection here: the next one begins with the whole table.
        }
    }
} catch {
    say("session-list: \(error)", to: STDERR_FILENO)
    exit(69)
}
