/// One reader: a row of a flat table, without a class or a buffer of its own while nothing is half received.

import ClientSockets

/// What a reader is there for.
enum ReaderRole: UInt8 {
    /// Reads everything at once; the run waits for it, and its latency counts.
    case awaited
    /// Stops reading after warming.
    case stalled
    /// Reads 1 KiB a second.
    case crawling
    /// Lives about a second, then another takes its place.
    case churning
}

/// What a reader is waiting for.
enum ReaderPhase: UInt8 {
    case idle, connecting, opening, streaming, ended
}

/// The state of one connection.
struct Reader {
    var descriptor: Int32 = -1
    var phase = ReaderPhase.idle
    var role = ReaderRole.awaited
    var route: UInt8 = 0
    var opening = OpeningState()
    /// Whether the server has said that it ends the stream.
    var endSeen = false
    /// Whether it was waited for in the present closed loop: streaming and awaited.
    var isCounted = false
    var channel: UInt32 = 0
    /// The slot of the last frame it got, where several publishers make the next one uncertain; -1 for none.
    var lastSlot: Int32 = -1
    /// The bytes of a frame whose end has not come yet; released with the reader.
    var kept = KeptBytes()
    var received: UInt64 = 0
    /// Bit p: since the server last spoke of a gap, nothing has come from publisher p.
    var gapMask: UInt64 = 0

    var isLive: Bool { phase == .connecting || phase == .opening || phase == .streaming }
}
