/// The record of one connection: everything the server knows of it between two completions.

import Reactor
import Wire

/// How far a connection has come.
enum Phase: UInt8 {
    /// The slot is free.
    case free
    /// A listening socket; `group` is its place in the server's list of listeners.
    case listener
    /// HTTP requests, one after the other.
    case request
    /// A stream of events goes out; `group` and `member` are its place in the hub.
    case subscriber
    /// Events come in as lines; `group` is the channel they go to.
    case ingest
    /// Everything has been said and the write side is shut: what the peer still sends is thrown away until it ends.
    case draining
    /// `close` was called; the slot waits for the reactor's `.closed`.
    case closing
}

/// What a connection speaks, as metrics and `/v1/lag` name it.
enum Transport: UInt8, CaseIterable {
    case http, jsonlUnix, jsonlTCP, jsonlHTTP, sse, webSocket, ingest, listener

    /// Those that events go out on.
    static let subscribers: [Transport] = [.jsonlUnix, .jsonlTCP, .jsonlHTTP, .sse, .webSocket]

    /// The label in `/metrics`.
    var label: StaticString {
        switch self {
        case .http: "http"
        case .jsonlUnix: "jsonl_unix"
        case .jsonlTCP: "jsonl_tcp"
        case .jsonlHTTP: "jsonl_http"
        case .sse: "sse"
        case .webSocket: "websocket"
        case .ingest: "ingest"
        case .listener: "listener"
        }
    }

    /// The form in which this transport carries events.
    var format: WireFormat {
        switch self {
        case .sse: .sse
        case .webSocket: .webSocket
        default: .jsonl
        }
    }
}

/// 128 bytes per connection, two cache lines, flat, without a reference to anything: 19,000 of them are 2.4 MB.
struct Connection: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt32
        /// True exactly while the reactor has a send of this connection.
        static let sending = Flags(rawValue: 1 << 0)
        /// True exactly while the connection is in the flush queue.
        static let queued = Flags(rawValue: 1 << 1)
        /// The connection ends when its ring is empty.
        static let endsWhenSent = Flags(rawValue: 1 << 2)
        /// `$` records are silenced at the reader's own request.
        static let controlOff = Flags(rawValue: 1 << 3)
        /// A WebSocket ping went out and nothing has come back since.
        static let awaitsPong = Flags(rawValue: 1 << 4)
        /// The receive side is paused: input waits in the kernel and in `input`.
        static let inputPaused = Flags(rawValue: 1 << 5)
        /// Input waits for the next turn because this turn's budget was used up.
        static let inputDeferred = Flags(rawValue: 1 << 6)
        /// The ring passed a limit and has not been judged to be within it since: true exactly while it is in a list of
        /// suspects.
        static let suspected = Flags(rawValue: 1 << 7)
        /// The kernel does not give this TCP peer up while its host answers.
        static let kernelIsPatient = Flags(rawValue: 1 << 8)
        /// Acks were asked for on an ingest socket.
        static let acks = Flags(rawValue: 1 << 9)
        /// The first line or message, which may be `$subscribe`, has been seen.
        static let firstSeen = Flags(rawValue: 1 << 10)
        /// The peer has ended its side.
        static let peerEnded = Flags(rawValue: 1 << 11)
        /// The connection came over TCP: Host and Origin are checked.
        static let tcp = Flags(rawValue: 1 << 12)
        /// The WebSocket close frame was sent.
        static let closeFrameSent = Flags(rawValue: 1 << 13)
        /// Lines of this ingest socket may not name another channel.
        static let channelFixed = Flags(rawValue: 1 << 15)
        /// It fell behind and skips events until its ring is empty; then one `$gap` covers them.
        static let skipping = Flags(rawValue: 1 << 14)
        /// This is the process's standard input.
        static let standardInput = Flags(rawValue: 1 << 16)
        /// Lines are text to be wrapped, not events.
        static let plainText = Flags(rawValue: 1 << 17)
        /// The rest of a line that was too long is being thrown away; of an HTTP client, what came behind the request
        /// whose answer waits, and could not be kept.
        static let skipsLine = Flags(rawValue: 1 << 18)
        /// It was accepted into one of the places kept for health and metrics: none was left, for anybody or for its
        /// peer.
        static let inReservedPlace = Flags(rawValue: 1 << 19)
        /// It is sent what was published before: no member of its group yet.
        static let replaying = Flags(rawValue: 1 << 20)
        /// It is a member, and its ring has not been empty since: history waits in it.
        static let catchingUp = Flags(rawValue: 1 << 21)
        /// It waits for its turn to be given more of the history: true exactly while it is in that queue.
        static let awaitsReplay = Flags(rawValue: 1 << 22)
        /// A missed event ends its stream instead of being reported.
        static let failsOnGap = Flags(rawValue: 1 << 23)
        /// It waits for the database to read what it is sent next: true exactly while it is in a list of those.
        static let awaitsStore = Flags(rawValue: 1 << 29)
        /// It is sent a state, or waits for that: its place in it stands in `replaySeq`. It is replaying, too.
        static let inImage = Flags(rawValue: 1 << 24)
        /// It waits for an image of a state to be begun, where it skips, or to be complete.
        static let awaitsImage = Flags(rawValue: 1 << 25)
        /// It is sent a state because it fell behind.
        static let wasLagging = Flags(rawValue: 1 << 26)
        /// It was being sent a state when it fell behind: it is sent one again.
        static let needsState = Flags(rawValue: 1 << 30)
        /// An HTTP connection that has had an answer and may go on: it is idle from the moment that was taken.
        static let answered = Flags(rawValue: 1 << 28)
        /// The kernel had no memory for its send, which is tried again after a rest.
        static let starving = Flags(rawValue: 1 << 27)

        /// No send is begun while one of these is set.
        static let unsendable: Flags = [.sending, .starving]
        /// Something is to be done when the ring is empty.
        static let duties: Flags = [.endsWhenSent, .skipping, .inputPaused, .replaying, .catchingUp]
        static let sendingWithDuties: Flags = duties.union(.sending)
        /// What waits for it was published long before it was queued.
        static let withHistory: Flags = [.replaying, .catchingUp]
    }

    // The first cache line: all that an event on its way to a reader that keeps up reads or writes.

    /// The reactor's name for it.
    var socket = SocketID(slot: .max, generation: 0)
    var phase = Phase.free
    var transport = Transport.http
    /// Where it came in.
    var listener = ListenerName.other
    var flags: Flags = []
    /// Bytes of the send in flight: the first ones of the ring.
    var inFlight: UInt32 = 0
    /// Events in the ring that have not gone out whole.
    var pendingEvents: UInt32 = 0
    /// The newest event that has been taken by the socket, and the newest in the ring; 0 is none.
    var sentSeq: UInt64 = 0
    var queuedSeq: UInt64 = 0
    /// When the ring last became non-empty or lost bytes: the low 32 bits of the loop's milliseconds.
    var waitingSince: UInt32 = 0
    /// What is yet to be sent. The first 20 bytes of it, which are all that a ring of one run uses, end the line.
    var ring = OutboundRing()

    // The second line.

    /// Events that matched while it was skipping, for the `$gap`; the largest number stands for any that is larger.
    var missed: UInt32 = 0
    var group = Connection.none
    var member: UInt32 = 0
    /// Its input buffer, if bytes wait in one.
    var input = Connection.none
    /// Input rate: bytes since the window began (low 32 bits of milliseconds), control frames in the present second.
    var windowStart: UInt32 = 0
    var windowBytes: UInt32 = 0
    var controlSecond: UInt32 = 0
    var controlCount: UInt32 = 0
    /// While it replays: the history up to this event is queued, or not for it.
    var replaySeq: UInt64 = 0

    /// "No index".
    static let none = UInt32.max

    /// Answers of an HTTP client or a writer that wait for the database. These have no place in a group, and use its
    /// field: the record is full.
    var waitingAnswers: UInt32 {
        get { member }
        set { member = newValue }
    }

    /// Whether an answer waits for the database.
    var isAwaiting: Bool { waitingAnswers > 0 && (phase == .request || phase == .ingest) }

    /// Whether events still go to it.
    var isLive: Bool { phase == .subscriber && !flags.contains(.endsWhenSent) }
}
