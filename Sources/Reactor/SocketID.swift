/// Names for what the loop holds: sockets by slot and generation, timers by index.

/// One socket of a loop, from the call or completion that made it until its `.closed`.
///
/// Slots are dense (a new socket gets the lowest free one), so the layers above index tables by `slot`. The generation
/// tells a slot's successive sockets apart: an identifier kept too long never names somebody else's socket.
package struct SocketID: Hashable, BitwiseCopyable, Sendable {
    /// The place in tables, 0 ..< `LoopConfiguration.socketsMax`.
    package let slot: UInt32
    /// 24 bits, never 0 for a real socket.
    package let generation: UInt32

    package init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// No socket.
    package static let none = SocketID(slot: .max, generation: 0)
}

/// One timer of a loop. Every socket slot has its own; `EventLoop.makeTimer()` makes others.
package struct TimerID: Hashable, BitwiseCopyable, Sendable {
    /// The index: below `LoopConfiguration.socketsMax` a slot's own timer, from there on one that was made.
    package let rawValue: UInt32

    /// A timer by its index: a socket's timer has the index of its slot.
    package init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// The timer that belongs to a socket, cleared when the socket is closed.
    package init(_ socket: SocketID) {
        rawValue = socket.slot
    }
}
