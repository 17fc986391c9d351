/// Turning connections away when nothing is left to accept them with.

import Glibc

/// A connection that nobody can be given stays in the listener's queue: its peer waits without a word, and whoever
/// looks again finds the listener ready, for ever. So the loop holds a spare descriptor. Given up for a moment, it is
/// what one connection can be accepted with, told why, and closed. (The trick is old: libev's manual, "Special problem
/// of accept()ing when you can't".)
extension LoopCore {
    /// Takes a spare descriptor where none is held. Without one, connections wait until a slot or descriptor is free.
    mutating func takeSpare() {
        if spare < 0 { spare = backend.openSpare() }
    }

    /// Turns one connection away: the one whose refusal was just reported, else the one that waits longest.
    mutating func shed(_ listener: SocketID, _ farewell: UnsafeRawBufferPointer) -> Bool {
        let record = sockets.record(listener)
        precondition(record.pointee.flags.contains(.listener), "only listeners turn connections away")
        if let held = unplaced, held.listener == listener {
            unplaced = nil
            turnAway(held.descriptor, farewell)
            return true
        }
        // The queue has one consumer: while an accept is in the kernel it is that one.
        guard record.pointee.flags.isDisjoint(with: [.armed, .closing]) else { return false }
        takeSpare()
        guard spare >= 0 else { return false }
        backend.discard(spare)
        spare = -1
        let accepted = backend.acceptWaiting(record.pointee.descriptor)
        if accepted >= 0 { turnAway(accepted, farewell) }
        takeSpare()
        return accepted >= 0
    }

    private mutating func turnAway(_ descriptor: Int32, _ farewell: UnsafeRawBufferPointer) {
        stats.connectionsShed &+= 1
        backend.turnAway(descriptor, farewell)
    }

    /// Closes a connection that was accepted and found no place, if its refusal was reported and nobody shed it.
    mutating func dropUnplaced() {
        guard let held = unplaced else { return }
        unplaced = nil
        stats.connectionsShed &+= 1
        backend.discard(held.descriptor)
    }
}
