/// The state of some channels at one moment, encoded once for all who are to be sent it.

import Reactor
import Wire

/// Rows in the order of their numbers, in one form. Its frames fill segments from the beginning; each has its mark.
///
/// ```
///  waits --its turn--> is being built, some rows a turn --no row left--> complete
///    |                    |  rows that change meanwhile are kept for it        |
///    +- place not known   +- as of `place`, whatever is published from now on  +- readers are sent it
/// ```
struct StateImage {
    /// Which rows are in it.
    enum Kind: UInt8 {
        /// What is true: what somebody needs who knows nothing.
        case rows
        /// What has changed behind a place, what was removed included.
        case changes
    }

    /// How its rows are written.
    enum Form: UInt8 {
        case jsonl = 0
        case sse = 1
        case webSocket = 2
        /// Members of a JSON array, each with its comma but for the first.
        case array = 3
        /// Lines for an HTTP answer.
        case lines = 4

        /// What readers of a format are sent.
        init(_ format: WireFormat) {
            switch format {
            case .jsonl: self = .jsonl
            case .sse: self = .sse
            case .webSocket: self = .webSocket
            }
        }

        /// The chain whose segments hold it. In an answer its rows are not somebody's events.
        var chain: Chain { isAnswer ? .control : Chain(rawValue: rawValue) ?? .control }
        var isAnswer: Bool { self == .array || self == .lines }
    }

    enum Stage: UInt8 { case waiting, building, complete }

    /// An HTTP client that waits for it. The slot may be somebody else's by the time.
    struct Answer {
        var socket: SocketID
        var asLines: Bool
        var withBody: Bool
        var keepAlive: Bool
        var fields: [HTTPResponse.Field]
    }

    /// Which image it is of all there ever were, from 1.
    let serial: UInt32
    /// Channels and kinds, and their key: who has the same wants the same.
    let patterns: [ChannelPattern]
    let types: [[UInt8]]
    let key: [UInt8]
    let form: Form
    let kind: Kind

    var stage = Stage.waiting
    /// With `changes`: the rows behind this one are in it.
    var after: UInt64 = 0
    /// The event as of which this is the state: what comes behind it is not in it. Known from the beginning of the
    /// building on.
    var place: UInt64 = 0
    /// When it was begun: the newest event, how often states had been replaced by what is no event, and what each of
    /// the channels' states had come to, where they are few.
    var head: UInt64 = 0
    var version: UInt64 = 0
    var tables: [(table: Int32, version: UInt64)] = []
    var areTablesKnown = false
    /// Rows in it that come from `PUT /v1/snapshot`: they have no number of their own, and a reader that was cut cannot
    /// go on from one.
    var hasUnnumbered = false
    var count: UInt64 = 0
    /// Bytes of its frames.
    var byteCount = 0
    /// Each with one reference, the image's.
    var segments: [UInt32] = []
    var builtAt: UInt64 = 0
    /// Connections that are sent it or are to be.
    var readers = 0
    /// Those of them who wait until it is complete, or until it is begun. Some of them may be gone by then.
    var waiting: [UInt32] = []
    var answers: [Answer] = []

    /// A number for what patterns and kinds ask for, the same whatever their order is.
    static func key(_ patterns: [ChannelPattern], _ types: [[UInt8]]) -> [UInt8] {
        var key: [UInt8] = []
        // Bytes below 0x20 stand in no pattern; kinds are counted, since they may hold anything.
        if !patterns.contains(where: \.isEverything) {
            for pattern in Set(patterns.map(\.description)).sorted() {
                key.append(1)
                key.append(contentsOf: pattern.utf8)
            }
        }
        for type in Set(types).sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            key.append(2)
            key.append(contentsOf: Array("\(type.count):".utf8))
            key.append(contentsOf: type)
        }
        return key
    }
}

/// Where a connection is in an image: what `Connection.replaySeq` holds meanwhile.
struct ImagePlace: BitwiseCopyable, Equatable {
    var serial: UInt32
    /// The next segment that it is to be sent.
    var segment: UInt32

    var packed: UInt64 { UInt64(serial) << 32 | UInt64(segment) }

    init(serial: UInt32, segment: UInt32 = 0) {
        self.serial = serial
        self.segment = segment
    }

    init(packed: UInt64) {
        serial = UInt32(truncatingIfNeeded: packed >> 32)
        segment = UInt32(truncatingIfNeeded: packed)
    }
}
