/// One vocabulary of ends: the code and word in `$bye`, in the WebSocket close frame and in the metrics.

/// Why the server ends a stream, or a connection ended.
enum EndReason: UInt8, CaseIterable {
    /// What was asked for is complete.
    case ended
    /// The server is stopping.
    case shutdown
    /// The peer broke its protocol.
    case protocolError
    /// The peer sent a binary message.
    case binary
    /// Text that is not UTF-8.
    case badUTF8
    /// The peer sent more, or something other, than a reader may.
    case policy
    /// A message larger than the limit.
    case tooBig
    /// What comes next could not be read from the database.
    case internalError
    /// The server stops because its database cannot go on, and is started again.
    case restarting
    /// No place for this reader now.
    case overload
    /// The reader fell behind its limits.
    case slow
    /// A WebSocket ping was not answered.
    case noPong
    /// What the reader came back for is gone, and it asked to be told by an end.
    case cursorGone
    /// The peer went away.
    case peerGone
    /// A request took too long.
    case timedOut

    /// The close code; nil where there is nobody to tell.
    var code: Int? {
        switch self {
        case .ended: 1000
        case .shutdown: 1001
        case .protocolError: 1002
        case .binary: 1003
        case .badUTF8: 1007
        case .policy: 1008
        case .tooBig: 1009
        case .internalError: 1011
        case .restarting: 1012
        case .overload: 1013
        case .slow: 4008
        case .noPong: 4408
        case .cursorGone: 4410
        case .peerGone, .timedOut: nil
        }
    }

    /// The word in `$bye.why` and in the label of `fanout_closed_total`.
    var why: StaticString {
        switch self {
        case .ended: "ended"
        case .shutdown: "shutdown"
        case .protocolError: "protocol"
        case .binary: "binary"
        case .badUTF8: "bad_utf8"
        case .policy: "policy"
        case .tooBig: "too_big"
        case .internalError: "internal"
        case .restarting: "restarting"
        case .overload: "overload"
        case .slow: "slow"
        case .noPong: "no_pong"
        case .cursorGone: "cursor_gone"
        case .peerGone: "peer_gone"
        case .timedOut: "timed_out"
        }
    }

    /// Whether coming back makes sense: then `$bye` says when.
    var invitesBack: Bool {
        switch self {
        case .shutdown, .restarting, .internalError, .overload, .slow, .noPong, .cursorGone: true
        default: false
        }
    }
}
