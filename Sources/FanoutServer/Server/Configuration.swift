/// Everything a server is told at start: every number with its unit, its default and the reason for it.

/// A server's configuration. `Configuration()` is what `fanout serve` uses without flags.
public struct Configuration: Sendable {
    /// The I/O interface the event loop uses.
    public enum IOChoice: String, Sendable, CaseIterable {
        /// io_uring, or epoll where the kernel refuses it.
        case auto
        /// io_uring or an error.
        case uring = "io_uring"
        /// epoll.
        case epoll
    }

    /// What standard input holds, if it is read at all.
    public enum StandardInput: Sendable {
        /// Standard input is left alone.
        case ignored
        /// JSONL: each line is an event.
        case events
        /// Plain lines, each wrapped as `{"type":"line","text":…}`.
        case text
    }

    /// What happens to a subscriber that falls behind its limits.
    public enum LagPolicy: String, Sendable, CaseIterable {
        /// `$bye` 4008, naming the last event sent.
        case close
        /// Skip to the newest event and say exactly what was missed with one `$gap`.
        case gap
        /// Skip what newer events have made out of date: of each key only the newest event is sent, after one `$gap`
        /// that counts the others. Where the channel keeps no state it is `gap`.
        case conflate
        /// Drop what waits, and send the channel's present state. Where it keeps none it is `gap`.
        case resnapshot
    }

    /// Where a subscriber that does not say begins.
    public enum StartPlace: String, Sendable, CaseIterable {
        /// With the next event.
        case now
        /// With the oldest event held.
        case start
        /// With the channel's present state.
        case snapshot
    }

    /// How far a subscriber may fall behind; the first limit reached decides.
    public struct LagLimits: Sendable, Equatable {
        /// The most that a limit may be: 2^30 events, bytes (1 GiB) or milliseconds (12 days).
        public static let most = 1 << 30

        /// Events not sent yet. 4,096: a second of a busy stream.
        public var events = 4096
        /// Bytes not sent yet. 1 MiB: what a thousand 1 KiB events need.
        public var bytes = 1 << 20
        /// Age of the oldest unsent byte, in milliseconds. 10 s: longer than a garbage collection, shorter than a
        /// person's patience.
        public var ageMilliseconds = 10_000

        /// The defaults above.
        public init() {}
    }

    /// When subscribers get what was published.
    public enum Visibility: String, Sendable, CaseIterable {
        /// As soon as it is accepted.
        case accepted
        /// When the disk has it: what they have seen is never lost. Takes a database.
        case synced
    }

    /// Lag limits of each listener's subscribers; nil leaves them to the channel and the server. Where the channel has
    /// limits too, the smaller of each number holds.
    public struct ListenerLimits: Sendable {
        /// HTTP over TCP.
        public var http: LagLimits?
        /// `http.socket`.
        public var httpSocket: LagLimits?
        /// `events.socket`.
        public var events: LagLimits?
        /// Raw JSONL over TCP.
        public var jsonl: LagLimits?

        /// No limits.
        public init() {}
    }

    /// How much of a channel the database keeps: each limit that is set holds. Retention is counted for each channel.
    public struct Retention: Sendable, Equatable {
        /// The most that each limit may be: 2^40 events, 100 years, 2^50 bytes.
        public static let countMost = 1 << 40
        public static let ageSecondsMost = 3_155_760_000
        public static let bytesMost = 1 << 50

        /// The newest events that are kept; nil is any number.
        public var count: Int?
        /// How long an event is kept, in seconds; nil is for ever.
        public var ageSeconds: Int?
        /// Bytes of lines that are kept, the newest ones; nil is any number.
        public var bytes: Int?

        /// Everything is kept.
        public init() {}
    }

    /// Where the key of an event lies, and which keys it is one of.
    public struct StateKey: Sendable, Equatable {
        /// A JSON Pointer (RFC 6901) to the member that is the key.
        public var pointer: String
        /// Kinds with the same table share their keys; nil is the table named after the channel.
        public var table: String?

        /// A key at `pointer`.
        public init(pointer: String, table: String? = nil) {
            self.pointer = pointer
            self.table = table
        }
    }

    /// How the events of a channel make up its present state. A kind stands in one of these at most; any other kind
    /// changes nothing.
    public struct StateRules: Sendable, Equatable {
        /// Kinds of which the newest event of each key is the state of that key.
        public var upsert: [String: StateKey] = [:]
        /// Kinds that end the state of a key.
        public var remove: [String: StateKey] = [:]
        /// Kinds of which the newest event is state.
        public var replace: [String] = []
        /// Kinds of which an event is the whole state.
        public var snapshot: [String] = []

        /// No state.
        public init() {}
    }

    /// What happens to an event that does not fit its channel's schema.
    public enum SchemaMode: String, Sendable, CaseIterable {
        /// It is refused: 422.
        case reject
        /// It is published, counted and logged.
        case warn
        /// It is published and counted.
        case pass
    }

    /// What is particular to the channels that one pattern names.
    public struct ChannelRules: Sendable {
        /// The members the server puts in front of each event: any of `seq`, `channel` and `time`.
        public var stamp: [String] = ["seq", "channel"]
        /// The member that names an event's kind.
        public var discriminator = "type"
        /// Whether subscribers that do not say get control records.
        public var control = true
        /// Where subscribers that do not say begin.
        public var from = StartPlace.now
        /// The lag policy for subscribers that do not say; nil is the server's.
        public var onLag: LagPolicy?
        /// The lag limits; nil is the server's.
        public var limits: LagLimits?
        /// When subscribers get the events.
        public var visible = Visibility.accepted
        /// How much of each channel the database keeps; nil is everything. Without a database it says nothing.
        public var retention: Retention?
        /// What makes up the channel's state; nil is none.
        public var state: StateRules?
        /// Kinds whose event is the channel's last.
        public var terminal: [String] = []
        /// What events must look like: a JSON Type Definition (RFC 8927), as JSON text.
        public var schema: [UInt8]?
        /// What happens to events that do not.
        public var schemaMode = SchemaMode.reject

        /// The defaults above.
        public init() {}
    }

    /// How much is written to standard error.
    public enum LogLevel: Int, Sendable, CaseIterable {
        case error, warning, info, debug
    }

    /// `ADDRESS:PORT` of the HTTP listener; port 0 lets the kernel choose.
    public var listen = "127.0.0.1:7575"
    /// `ADDRESS:PORT` of the raw JSONL listener, off by default.
    public var jsonl: String?
    /// The folder that holds the sockets; nil finds it as DESIGN says (`RuntimeDirectory.standard`).
    public var runtimeDirectory: String?
    /// The I/O interface.
    public var io = IOChoice.auto
    /// Channels declared at start: each gets `ingest/<channel>.socket`.
    public var channels: [String] = []
    /// Rules by channel pattern; the most specific pattern wins.
    public var channelRules: [(pattern: String, rules: ChannelRules)] = []
    /// Paths that mean a channel, in the order in which they were written: `/api/v1/sessions/{id}/events` is that of
    /// `sessions/{id}`.
    public var routes: [(path: String, channel: String)] = []
    /// Further ingest sockets and their channels: a path that is absolute, or relative to the runtime directory's
    /// parent. One `{id}` in both makes a family.
    public var ingest: [(path: String, channel: String)] = []
    /// What standard input holds.
    public var standardInput = StandardInput.ignored
    /// Whether the end of standard input drains and ends the server.
    public var exitOnEndOfInput = false
    /// All sockets together, eight of them kept for health and metrics; nil takes it from RLIMIT_NOFILE.
    public var connectionsMax: Int?
    /// Connections of one IPv4 address or one IPv6 /64, on every TCP listener; nil is 1,024, and any number on loopback
    /// addresses.
    public var connectionsPerAddressMax: Int?
    /// Connections of one user on all unix sockets together; nil is any number.
    public var connectionsPerUserMax: Int?
    /// What everything that varies may take of memory together, in bytes: what waits for readers, input that is not
    /// whole, subscriptions, channels; 16 MiB at least. nil is a quarter of what the machine or the process's cgroup
    /// has, 64 MiB at least.
    public var memoryMax: Int?
    /// Bytes of events that are held for readers that come back and for `/v1/history`, beside `memoryMax`: the newest
    /// of all channels together. 0 holds none, otherwise 1 MiB at least. nil is 64 MiB, or `memoryMax` where that is
    /// less: minutes of a busy stream.
    public var historyBytes: Int?
    /// The folder of the database that keeps events, numbers and keys over restarts; nil keeps them in memory only.
    /// It is made if it is not there (0700); a relative path begins where the process is when the server is made.
    public var dataDirectory: String?
    /// Whether a database that cannot be opened is warned of, and the server runs in memory only.
    public var dataIsOptional = false
    /// Whether a new log is begun in place of a damaged one, which is set aside. Says nothing about a healthy one.
    public var beginsNewLog = false
    /// A segment's size: the simulation has smaller ones, so that little traffic fills many.
    var segmentBytes = SegmentStore.segmentBytes
    /// What is held in memory at least where there is a database. The simulation holds less, so that readers soon need
    /// the database.
    var historyLeastBytes = MemoryFormula.historyLeast
    /// The lag policy of subscribers that do not say, on channels that do not.
    public var onLag = LagPolicy.close
    /// The lag limits.
    public var limits = LagLimits()
    /// The lag limits by listener.
    public var listenerLimits = ListenerLimits()
    /// Seconds between keep-alives. 15: below the 30 s at which common proxies cut an idle stream.
    public var heartbeatSeconds = 15
    /// Whether the ready line is written to standard error; a program that greets in its own way turns it off.
    public var writesReadyLine = true
    /// How much is logged.
    public var logLevel = LogLevel.info
    /// Whether an address that is not loopback may be bound although nothing checks who comes in.
    public var insecure = false
    /// Host names beside the loopback literals that requests may name.
    public var allowedHosts: [String] = []
    /// Origins (`https://app.example`) whose pages may subscribe and publish.
    public var allowedOrigins: [String] = []

    /// The defaults above.
    public init() {}
}
