// One reader: a row of a flat table, without a class or a buffer of its own while nothing is half received.

import ClientSockets

/// What a reader is waiting for.
enum ReaderPhase: UInt8 {
    case idle, connecting, head, hello, streaming, ended, failed
}

/// The state of one connection. `nextEvent` counts in the publisher's numbers, `lastSeq` in the server's.
struct Reader {
    static let everyStream: UInt16 = .max

    var descriptor: Int32 = -1
    var transport = Transport.unix
    var phase = ReaderPhase.idle
    /// The stream (event number modulo streams) that it asked for, or `everyStream`.
    var stream = Reader.everyStream
    /// `$hello`s still to come: one, or two for a raw connection that sends `$subscribe`.
    var hellosDue: UInt8 = 1
    var byeSeen = false
    var closeSeen = false
    var faults: UInt32 = 0
    var received: UInt32 = 0
    var nextEvent: UInt32 = 0
    var lastSeq: UInt64 = 0
    /// The bytes of a frame whose end has not come yet; released with the reader.
    var kept = KeptBytes()

    var isLive: Bool { phase != .ended && phase != .failed && phase != .idle }
    var isFiltered: Bool { stream != Reader.everyStream }

    /// How many of the events before `end` it has not got.
    func pending(before end: Int, streams: Int) -> Int {
        let next = Int(nextEvent)
        if next >= end { return 0 }
        return isFiltered ? (end - next + streams - 1) / streams : end - next
    }

    /// How many events it must get in all.
    func due(of total: Int, streams: Int) -> Int {
        isFiltered ? total / streams : total
    }
}
