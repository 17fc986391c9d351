// Tells the hub that a container's shield has changed, and does not mind whether anybody listens: `shield_event.py`
// as a Swift program, with the same arguments and the same line on the wire.
//
//     shield-event KIND CONTAINER_ID [--project P] [--task T] [--name N] [--destination HOST:PORT]

import FanoutClient
import Glibc

let kinds = ["shield_up", "shield_down", "shield_disengaged", "connection_blocked"]
let identity = ["project", "task", "name"]

func fail(_ message: String) -> Never {
    let line = Array(("shield-event: " + message + "\n").utf8)
    _ = write(STDERR_FILENO, line, line.count)
    exit(64)
}

/// The members that have a value, as the inside of a JSON object.
func members(_ pairs: [(String, String?)]) -> String {
    pairs.compactMap { name, value in
        guard let value, !value.isEmpty else { return nil }
        return "\(JSONString.quoted(name)):\(JSONString.quoted(value))"
    }.joined(separator: ",")
}

var arguments = CommandLine.arguments.dropFirst()
guard let kind = arguments.popFirst(), kinds.contains(kind) else { fail("KIND is one of \(kinds)") }
guard let container = arguments.popFirst(), container.utf8.count == 64,
    container.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
else { fail("CONTAINER_ID is a full container id: 64 hexadecimal digits") }
var values: [String: String] = [:]
while let flag = arguments.popFirst() {
    guard flag.hasPrefix("--"), (identity + ["destination"]).contains(String(flag.dropFirst(2))),
        let value = arguments.popFirst()
    else { fail("unknown argument \(flag)") }
    values[String(flag.dropFirst(2))] = value
}

// The full id selects the socket; an empty dossier is left out altogether.
let asked = getenv("XDG_RUNTIME_DIR").map { String(cString: $0) } ?? ""
let folder = asked.isEmpty ? "/run/user/\(getuid())" : asked
let dossier = members(identity.map { ($0, values[$0]) })
let event =
    "{" + members([("type", kind), ("container", container), ("destination", values["destination"])])
    + (dossier.isEmpty ? "" : ",\"dossier\":{\(dossier)}") + "}"

// 0 never waits: a shield must not depend on who watches it.
EventEmitter.emitOnce(
    Array(event.utf8), to: .unix(path: "\(folder)/terok/events/\(container.prefix(12)).sock"), withinMilliseconds: 0)
