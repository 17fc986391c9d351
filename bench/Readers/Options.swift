// What the command line asks of a run: where the server is, how many readers of which transport, what is published.

import ClientSockets
import Glibc

/// How one reader listens. The order is the order in which `--mix` counts are reported.
enum Transport: UInt8, CaseIterable {
    case unix, tcp, ndjson, sse, ws

    var name: String { ["unix", "tcp", "ndjson", "sse", "ws"][Int(rawValue)] }
    var isHTTP: Bool { rawValue >= Transport.ndjson.rawValue }
    /// JSON lines, with or without an HTTP head before them.
    var isLines: Bool { rawValue <= Transport.ndjson.rawValue }
}

/// Who publishes.
enum PublisherKind: Equatable {
    case none
    case unix(String)
    case http
}

/// Which of the streams (channel and type go together) a reader asks for.
enum FilterKind: String {
    case all, channel, types, mixed
}

/// One run's orders. Everything counted is bounded here, so that the rest may allocate by it.
struct Options {
    var unixPath: String?
    var tcp: Destination?
    var http: Destination?
    var counts = [Int](repeating: 0, count: Transport.allCases.count)
    var eventsTotal = 0
    var eventBytes = 200
    var publisher = PublisherKind.none
    var ratePerSecond = 0
    var burst = 1
    var channels: [String] = []
    var filter = FilterKind.all
    var allowGaps = false
    var serverPID: pid_t = 0
    var stopServer = false
    var holdSeconds = 0
    var stallSeconds = 60
    var faultsShownMax = 10
    var isQuiet = false

    var readers: Int { counts.reduce(0, +) }

    static let usage = """
        usage: fanout-readers --mix unix=N,tcp=N,ndjson=N,sse=N,ws=N --expect EVENTS [options]

        Connects N readers of each transport to a fanout server and checks every byte that each one gets.

        where the server is
          --jsonl-unix PATH        events.socket, for unix readers
          --jsonl-tcp ADDR:PORT    the --jsonl port, for tcp readers
          --http ADDR:PORT         the HTTP port (or unix:PATH), for ndjson, sse and ws readers
        what is published
          --expect EVENTS          how many events (0: connect, hold, leave)
          --bytes B                size of each event as published, 128 to 262144 (default 200)
          --publish unix:PATH      through an ingest socket; `http`: POST /v1/events; `none` (default): others publish
          --burst K                closed loop: the next K events when all readers have the last K (default 1)
          --rate R                 paced at R events a second instead
          --channel NAME           repeatable: event n goes to the channel n mod count (default: events)
          --filter KIND            all (default), channel, types: reader i asks for one stream; mixed: every other
        what is checked
          --allow-gaps             a $gap that covers exactly what is missing, and a $bye, are no faults
          --server-pid PID         the server's process, for the next one
          --stop-server            send it a SIGTERM at the end: every reader must get $bye 1001, then the end
          --hold SECONDS           stay connected that long before leaving
          --stall SECONDS          give up after so long without a byte (default 60)
          --quiet                  no progress on standard error

        The last two lines are the totals (key=value) and `N passed, N failed`.
        Exit: 0 all passed, 1 a fault, 64 usage, 69 no server.
        """
}

/// A fault in the command line or in reaching the server: said in one line, then the end.
struct Refusal: Error {
    var status: Int32
    var text: String

    static func usage(_ text: String) -> Refusal { Refusal(status: 64, text: text + " (see --help)") }
    static func unavailable(_ text: String) -> Refusal { Refusal(status: 69, text: text) }
}

extension Options {
    /// Reads the words after the program's name.
    init(_ words: [String]) throws(Refusal) {
        var rest = words[...]
        while let flag = rest.popFirst() {
            switch flag {
            case "--allow-gaps": allowGaps = true
            case "--stop-server": stopServer = true
            case "--quiet": isQuiet = true
            default:
                guard let value = rest.popFirst() else { throw .usage("\(flag): unknown, or its value is missing") }
                try take(flag, value)
            }
        }
        try check()
    }

    private mutating func take(_ flag: String, _ value: String) throws(Refusal) {
        switch flag {
        case "--jsonl-unix": unixPath = value
        case "--jsonl-tcp": tcp = try Self.place(flag, value)
        case "--http": http = try Self.place(flag, value)
        case "--mix": try takeMix(value)
        case "--expect": eventsTotal = try Self.number(flag, value, 0...10_000_000)
        case "--bytes": eventBytes = try Self.number(flag, value, 128...262_144)
        case "--publish": try takePublisher(value)
        case "--burst": burst = try Self.number(flag, value, 1...100_000)
        case "--rate": ratePerSecond = try Self.number(flag, value, 1...10_000_000)
        case "--channel": channels.append(value)
        case "--filter":
            guard let kind = FilterKind(rawValue: value) else { throw .usage("--filter: no kind named \(value)") }
            filter = kind
        case "--server-pid": serverPID = pid_t(try Self.number(flag, value, 1...Int(Int32.max)))
        case "--hold": holdSeconds = try Self.number(flag, value, 0...86_400)
        case "--stall": stallSeconds = try Self.number(flag, value, 1...86_400)
        default: throw .usage("\(flag): no such option")
        }
    }

    private mutating func takeMix(_ text: String) throws(Refusal) {
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=")
            guard pair.count == 2, let kind = Transport.allCases.first(where: { $0.name == pair[0] }) else {
                throw .usage("--mix: \(part): expected one of unix, tcp, ndjson, sse, ws, then =COUNT")
            }
            counts[Int(kind.rawValue)] = try Self.number("--mix \(kind.name)", String(pair[1]), 0...1_000_000)
        }
    }

    private mutating func takePublisher(_ text: String) throws(Refusal) {
        if text == "none" {
            publisher = .none
        } else if text == "http" {
            publisher = .http
        } else if text.hasPrefix("unix:") {
            publisher = .unix(String(text.dropFirst(5)))
        } else {
            throw .usage("--publish: \(text): expected unix:PATH, http or none")
        }
    }

    private mutating func check() throws(Refusal) {
        if channels.isEmpty { channels = ["events"] }
        if readers == 0 { throw .usage("--mix names no reader") }
        if counts[Int(Transport.unix.rawValue)] > 0, unixPath == nil { throw .usage("unix readers need --jsonl-unix") }
        if counts[Int(Transport.tcp.rawValue)] > 0, tcp == nil { throw .usage("tcp readers need --jsonl-tcp") }
        if counts[2...].contains(where: { $0 > 0 }), http == nil { throw .usage("HTTP readers need --http") }
        if publisher == .http, http == nil { throw .usage("--publish http needs --http") }
        if eventsTotal % channels.count != 0 {
            throw .usage("--expect must be a multiple of the number of channels")
        }
        if stopServer, serverPID == 0 { throw .usage("--stop-server needs --server-pid") }
        if eventsTotal * (eventBytes + EventBook.overheadBytesMax) > 2 << 30 {
            throw .usage("--expect times --bytes: over 2 GiB would be held for comparison")
        }
    }

    private static func place(_ flag: String, _ text: String) throws(Refusal) -> Destination {
        guard let place = Destination(text) else {
            throw .usage("\(flag): \(text): expected a.b.c.d:port or unix:PATH")
        }
        return place
    }

    private static func number(_ flag: String, _ text: String, _ range: ClosedRange<Int>) throws(Refusal) -> Int {
        guard let value = Int(text), range.contains(value) else {
            throw .usage("\(flag): \(text): expected a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }
}
