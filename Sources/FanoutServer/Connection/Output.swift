/// What becomes of a connection when a send of its is over.

import Glibc
import Planted
import Reactor

extension Engine {
    /// A send is over: `result` bytes were taken, or it failed.
    func sent(_ slot: UInt32, _ result: Int32) {
        let connection = delivery.connections.records + Int(slot)
        if result == -ENOBUFS || result == -ENOMEM { return sendLater(slot) }
        guard result >= 0 else {
            // The peer is gone: nothing can be said to it any more.
            delivery.sendEnded(slot)
            close(slot, .reset, .peerGone)
            return
        }
        guard delivery.sent(slot, count: UInt32(result)) == .empty else { return }
        if !connection.pointee.flags.isDisjoint(with: .withHistory), connection.pointee.isLive { replaySent(slot) }
        if connection.pointee.flags.contains(.endsWhenSent) {
            finishEnding(slot)
        } else if connection.pointee.flags.contains(.skipping), !isPlanted("skippingNeverEnds") {
            endSkipping(slot)
        } else if connection.pointee.flags.contains(.inputPaused), !connection.pointee.flags.contains(.inputDeferred) {
            resumeInput(slot)
        }
    }

    /// The kernel had no memory for a send: nothing was taken and the connection is as good as before. It is tried
    /// again after a rest, so that the shortage is met with patience and not with a spin.
    private func sendLater(_ slot: UInt32) {
        delivery.sendEnded(slot)
        delivery.connections[slot].flags.insert(.starving)
        if starved.isEmpty { loop.setTimer(sendTimer, at: loop.now + Limits.sendRestMilliseconds) }
        starved.append(slot)
        watchForLaggards()
    }

    /// The timer of `sendLater` fired.
    func sendAgain() {
        let slots = starved
        starved.removeAll(keepingCapacity: true)
        for slot in slots
        where delivery.connections[slot].phase != .free && delivery.connections[slot].flags.contains(.starving) {
            delivery.connections[slot].flags.remove(.starving)
            delivery.queue.append(slot, in: delivery.connections.records)
        }
    }
}
